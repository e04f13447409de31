//! The right to use an endpoint's directory: a `flock`, which the system takes back when the process ends, and a lease
//! for what `flock` does not see (F6).

use super::Error;
use super::lease::{Lease, Owner, Verdict, Watch};
use super::write;
use crate::clock;
use crate::proc::Identity;
use nix::errno::Errno;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A start that waits for another node's sign of life looks this often: a shared file system tells of no changes.
const LOOK: Duration = Duration::from_millis(500);

/// The right to use a directory. Child processes do not inherit it.
#[derive(Debug)]
pub struct Lock {
    lease: Lease,
    /// `None` where the file system knows no `flock`.
    _file: Option<File>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.lease.give_back();
    }
}

impl Lock {
    /// Keeps the lease, as everybody does who holds the lock for long. Ends with the reason why this process may not
    /// go on.
    pub fn keep(&self, patience: Duration) -> impl Future<Output = Error> + use<> {
        self.lease.clone().keep(patience)
    }
}

/// A try to get the right, which may have to wait.
#[derive(Debug)]
pub(super) struct Claim {
    name: String,
    lease: PathBuf,
    owner: Owner,
    watch: Watch,
    file: Option<File>,
}

impl Claim {
    /// Keeps the other processes of this node away, if they do not do so themselves.
    pub(super) fn new(dir: &Path, name: &str, patience: Duration) -> Result<Self, Error> {
        let path = dir.join("lock");
        let owner = Owner::this().map_err(Error::io("lock", &path))?;
        let file = flock(&path, name, &owner)?;
        let watch = Watch::new(clock::host(), patience);
        Ok(Self { name: name.to_owned(), lease: dir.join("lease"), owner, watch, file })
    }

    /// What the lease says now.
    fn look(&mut self) -> Result<Verdict, Error> {
        Ok(self.watch.judge(write::read(&self.lease)?, Identity::is_alive, Instant::now()))
    }

    /// The lock, if nobody else may have it.
    pub(super) fn now(mut self) -> Result<Lock, Error> {
        match self.look()? {
            Verdict::Free => self.take(),
            Verdict::Held(owner) | Verdict::Silent(owner, _) => {
                Err(Error::Locked { name: self.name, owner: owner.map(Box::new) })
            }
        }
    }

    /// The lock, once nobody else may have it. `on_wait` is told whose silence is waited for, and how long at most.
    pub(super) async fn wait(
        mut self,
        on_wait: impl FnOnce(Option<&Owner>, Duration),
    ) -> Result<Lock, Error> {
        let mut on_wait = Some(on_wait);
        loop {
            match self.look()? {
                Verdict::Free => return self.take(),
                Verdict::Held(owner) => {
                    return Err(Error::Locked { name: self.name, owner: owner.map(Box::new) });
                }
                Verdict::Silent(owner, left) => {
                    if let Some(tell) = on_wait.take() {
                        tell(owner.as_ref(), left);
                    }
                    sleep(LOOK.min(left)).await;
                }
            }
        }
    }

    fn take(self) -> Result<Lock, Error> {
        let lease = Lease::take(&self.lease, &self.name, self.owner)?;
        Ok(Lock { lease, _file: self.file })
    }
}

/// Locks the file and writes who has it; `None` where the file system has no locks.
fn flock(path: &Path, name: &str, owner: &Owner) -> Result<Option<File>, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path).map_err(Error::io("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Locked { name: name.to_owned(), owner: read_owner(&mut file).map(Box::new) });
        }
        Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
    }
    let text = serde_json::to_vec(owner).map_err(|error| Error::io("write", path)(error.into()))?;
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
    written.map_err(Error::io("write", path))?;
    Ok(Some(file))
}

/// Locks a file that nobody else knows; false where the file system has no locks.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::Error(error)) if !has_no_locks(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    let unknown = [Errno::ENOLCK, Errno::ENOSYS, Errno::EOPNOTSUPP].map(|error| error as i32);
    error.raw_os_error().is_some_and(|code| unknown.contains(&code))
}

/// Who has the endpoint of this directory, as far as can be seen at once: one of another node may be gone.
pub(super) fn owner(dir: &Path) -> Result<Option<Owner>, Error> {
    let path = dir.join("lock");
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io("open", &path))?,
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => return Ok(read_owner(&mut file)),
        Err(TryLockError::Error(source)) if !has_no_locks(&source) => {
            return Err(Error::io("lock", &path)(source));
        }
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    drop(file);
    let text = write::read(&dir.join("lease"))?;
    match Watch::new(clock::host(), Duration::MAX).judge(text, Identity::is_alive, Instant::now()) {
        Verdict::Free => Ok(None),
        Verdict::Held(owner) | Verdict::Silent(owner, _) => Ok(owner),
    }
}

/// Whoever holds the lock may be about to write its name.
fn read_owner(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
