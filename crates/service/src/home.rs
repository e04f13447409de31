//! The service's part of the home directory: its modes, and the lock that keeps a second service away.

use crate::Error;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The locked home; dropping it lets another service in.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) root: PathBuf,
    pub(crate) service: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes what is missing, and locks it for this process.
    ///
    /// # Errors
    /// One sentence: it cannot be written, others can read it, or another service has it.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let service = root.join("service");
        for directory in [root, &service] {
            private(directory)?;
        }
        let lock = lock(&service.join("lock"), root)?;
        Ok(Self { root: root.to_owned(), service, _lock: lock })
    }
}

/// The process that has a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process; 0 if it has not written that yet.
    pub pid: i32,
    /// Its node.
    pub node: String,
}

impl Holder {
    /// Who has the home `root`, if anybody has.
    ///
    /// # Errors
    /// When the lock cannot be read.
    pub fn of(root: &Path) -> std::io::Result<Option<Self>> {
        let mut file = match File::open(root.join("service/lock")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(Self::in_file(&mut file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn in_file(file: &mut File) -> Self {
        let mut text = String::new();
        // Whoever holds the lock may be about to write its name.
        let _ = file.read_to_string(&mut text);
        let mut words = text.split_whitespace();
        let pid = words.next().and_then(|pid| pid.parse().ok()).unwrap_or_default();
        Self { pid, node: words.next().unwrap_or("an unknown one").to_owned() }
    }

    /// On this node, as far as names tell.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.node == node()
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on node {}", self.pid, self.node)
    }
}

/// The name of this node.
pub(crate) fn node() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// Makes the directory with mode 0700; narrows one that is wider.
fn private(path: &Path) -> Result<(), Error> {
    let unusable = |why: std::io::Error| Error::Home { path: path.display().to_string(), why };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(unusable)?;
    let mode = fs::metadata(path).map_err(unusable)?.permissions().mode() & 0o777;
    if mode != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    Ok(())
}

fn lock(path: &Path, root: &Path) -> Result<File, Error> {
    let unusable = |why: std::io::Error| Error::Home { path: path.display().to_string(), why };
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = Holder::in_file(&mut file);
            return Err(Error::Locked { home: root.display().to_string(), holder });
        }
        Err(TryLockError::Error(why)) => return Err(unusable(why)),
    }
    file.set_len(0).map_err(unusable)?;
    writeln!(file, "{} {}", std::process::id(), node()).map_err(unusable)?;
    Ok(file)
}

/// Replaces the file by one with this text that only the owner reads.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let unusable = |why: std::io::Error| Error::Home { path: path.display().to_string(), why };
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(unusable)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unusable)?;
    fs::rename(&partial, path).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_service_is_told_who_has_the_home() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("home");
        let home = Home::open(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        let error = Home::open(&root).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} on node {}", std::process::id(), node())), "{error}");
        let holder = Holder::of(&root).unwrap().unwrap();
        assert!(holder.is_here() && holder.pid.cast_unsigned() == std::process::id());
        drop(home);
        assert_eq!(Holder::of(&root).unwrap(), None);
        Home::open(&root).unwrap();
    }

    #[test]
    fn an_unusable_home_is_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = Home::open(&dir.path().join("file")).unwrap_err().to_string();
        assert!(error.starts_with("cannot use the home directory") && !error.contains('\n'), "{error}");
    }
}
