//! The Python package of this binary, for workers: embedded at build time, unpacked once per content hash.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

mod embedded {
    //! Written by `build.rs`.
    include!(concat!(env!("OUT_DIR"), "/package_files.rs"));
}

/// Why the package could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack the Python package into {path}: {source}; check the space and permissions there", path = .path.display())]
pub struct Error {
    /// Where.
    path: PathBuf,
    /// The system's words.
    source: io::Error,
}

/// Names (relative to `bursa/`) and bytes of all files.
#[must_use]
pub const fn files() -> &'static [(&'static str, &'static [u8])] {
    embedded::FILES
}

/// Unpacks to `<home>/lib/<hash>/bursa/`, unless it is there, and gives `<home>/lib/<hash>` for `PYTHONPATH`.
///
/// The directory appears by rename with everything in it and on disk, so that two processes may do this at once, and
/// a power cut leaves no half of it.
///
/// # Errors
/// When the directory cannot be written.
pub fn unpack(home: &Path) -> Result<PathBuf, Error> {
    let lib = home.join("lib");
    let target = lib.join(embedded::HASH);
    let failed = |source| Error { path: target.clone(), source };
    if target.join("bursa/__init__.py").is_file() {
        return Ok(target);
    }
    let fresh = lib.join(format!(".{}.{}", embedded::HASH, std::process::id()));
    let written = write_all(&fresh).and_then(|()| match fs::rename(&fresh, &target) {
        // Another process was faster.
        Err(_) if target.join("bursa/__init__.py").is_file() => Ok(()),
        done => done.and_then(|()| sync(&lib)),
    });
    if fresh.exists() {
        // What cannot be removed now is in nobody's way.
        let _ = fs::remove_dir_all(&fresh);
    }
    written.map_err(failed)?;
    Ok(target)
}

fn write_all(root: &Path) -> io::Result<()> {
    let mut directories = BTreeSet::new();
    for (name, body) in files() {
        let path = root.join("bursa").join(name);
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(body)?;
        file.sync_all()?;
        let above = path.ancestors().skip(1).take_while(|dir| dir.starts_with(root));
        directories.extend(above.map(Path::to_owned));
    }
    directories.iter().try_for_each(|directory| sync(directory))
}

/// Puts the names in a directory on disk.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_package_is_embedded_and_it_unpacks_once() {
        assert!(files().iter().any(|(name, _)| *name == "__init__.py"));
        assert!(files().iter().all(|(name, _)| !name.contains("__pycache__") && !name.ends_with(".pyc")));
        let home = tempfile::tempdir().unwrap();
        let lib = unpack(home.path()).unwrap();
        let marker = lib.join("bursa/marker");
        fs::write(&marker, "").unwrap();
        assert_eq!(unpack(home.path()).unwrap(), lib);
        assert!(marker.exists(), "the second time changes nothing");
        for (name, body) in files() {
            assert_eq!(&fs::read(lib.join("bursa").join(name)).unwrap(), body);
        }
        let left = fs::read_dir(home.path().join("lib")).unwrap().count();
        assert_eq!(left, 1, "no temporary directory stays");
    }
}
