//! One process per directory: a `flock` that the system takes back when the process ends, and the name of its owner.
//!
//! The file names pid and host for people; only the lock itself decides.

use super::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its process.
    pub pid: u32,
    /// Its node.
    pub host: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// The right to use a directory. Child processes do not inherit it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(path: &Path, name: &str) -> Result<Self, Error> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(Error::io("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { name: name.to_owned(), owner: read_owner(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
        }
        let owner = Owner { pid: std::process::id(), host: crate::clock::host() };
        let text = serde_json::to_vec(&owner).map_err(|error| Error::io("write", path)(error.into()))?;
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
        written.map_err(Error::io("write", path))?;
        Ok(Self { _file: file })
    }

    /// Who holds the lock at `path` now.
    pub(super) fn owner(path: &Path) -> Result<Option<Owner>, Error> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io("open", path))?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_owner(&mut file))),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", path)(source)),
        }
    }
}

fn read_owner(file: &mut File) -> Owner {
    let mut text = String::new();
    // Whoever holds the lock may be about to write its name.
    let _ = file.read_to_string(&mut text);
    serde_json::from_str(&text).unwrap_or(Owner { pid: 0, host: "an unknown host".into() })
}
