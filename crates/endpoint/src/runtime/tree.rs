//! The root of a container that bubblewrap makes: the entries of a directory, with room for what the owner grants.
//!
//! Nothing can be made in an image that is mounted read-only. So a directory that leads to a grant is made anew, and its
//! entries are mounted into it one by one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What each container has of its own.
const OWN: [&str; 4] = ["dev", "proc", "run", "tmp"];
/// Entries beyond which it is no system but something else.
const MOST: usize = 4_096;

/// An entry of the root, by the name that it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A file or directory of the image.
    Bind(PathBuf, PathBuf),
    /// A link, and where it leads.
    Link(PathBuf, PathBuf),
}

/// The entries of the image at `root`.
///
/// # Errors
/// In one sentence, when it cannot be read.
pub(crate) fn entries(root: &Path, granted: &[&Path]) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    spread(root, Path::new("/"), granted, &mut found)
        .map_err(|error| format!("the image {} cannot be read: {error}", root.display()))?;
    if found.len() > MOST {
        return Err(format!("the image {} has more than {MOST} entries at its root", root.display()));
    }
    found.sort_by(|one, other| one.name().cmp(other.name()));
    Ok(found)
}

impl Entry {
    fn name(&self) -> &Path {
        let (Self::Bind(_, name) | Self::Link(_, name)) = self;
        name
    }
}

fn spread(from: &Path, to: &Path, granted: &[&Path], found: &mut Vec<Entry>) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = to.join(entry.file_name());
        if to == Path::new("/") && OWN.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        let kind = entry.file_type()?;
        if granted.contains(&name.as_path()) {
            // What is granted takes its place.
        } else if kind.is_symlink() {
            found.push(Entry::Link(fs::read_link(entry.path())?, name));
        } else if kind.is_dir() && granted.iter().any(|path| path.starts_with(&name)) {
            spread(&entry.path(), &name, granted, found)?;
        } else {
            found.push(Entry::Bind(entry.path(), name));
        }
        if found.len() > MOST {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_a_grant_is_made_anew() {
        let image = tempfile::tempdir().unwrap();
        let root = image.path();
        for dir in ["usr/bin", "home/ada/old", "home/data", "dev", "tmp"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
        let bind = |name: &str| Entry::Bind(root.join(name), Path::new("/").join(name));
        let link = Entry::Link("usr/bin".into(), "/bin".into());
        assert_eq!(entries(root, &[]), Ok(vec![link.clone(), bind("home"), bind("usr")]));
        let granted = [Path::new("/home/ada/new"), Path::new("/home/data"), Path::new("/scratch")];
        assert_eq!(entries(root, &granted), Ok(vec![link, bind("home/ada/old"), bind("usr")]));
        assert!(entries(&root.join("none"), &[]).unwrap_err().contains("cannot be read"));
    }
}
