//! Large payloads: files named by their content, on disk with their directory before the row that names them.

use super::Error;
use super::ahead::Ahead;
use bursa_core::id::Hash;
use bursa_core::limits;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The directory of payload files: `payloads/xx/<blake3>`. Clones know what each of them has written.
#[derive(Debug, Clone)]
pub(super) struct Payloads {
    root: PathBuf,
    recent: Arc<Mutex<Recent>>,
    ahead: Arc<Ahead>,
    /// Directories with entries that may not be on disk yet.
    unsynced: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// Files begun: two writers of one content do not share an unfinished one.
    begun: Arc<AtomicU64>,
}

/// What was written last and not read since: it is sent on or pushed as soon as it is on disk, and then once.
#[derive(Debug, Default)]
struct Recent {
    contents: VecDeque<(Hash, Bytes)>,
    bytes: usize,
}

impl Recent {
    fn keep(&mut self, hash: Hash, data: &Bytes) {
        self.take(&hash);
        self.bytes += data.len();
        self.contents.push_back((hash, data.clone()));
        while self.bytes > limits::RECENT_BYTES
            && let Some((_, oldest)) = self.contents.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }

    fn take(&mut self, hash: &Hash) -> Option<Bytes> {
        let place = self.contents.iter().position(|(kept, _)| kept == hash)?;
        let (_, data) = self.contents.remove(place)?;
        self.bytes -= data.len();
        Some(data)
    }
}

impl Payloads {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        private_dir(root).map_err(Error::io("cannot make", root))?;
        // An earlier process may have ended between making a directory and this.
        sync_directory(root)?;
        Ok(Self {
            root: root.to_owned(),
            recent: Arc::default(),
            ahead: Arc::default(),
            unsynced: Arc::default(),
            begun: Arc::default(),
        })
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content of the file `hash` if it was just written: once.
    pub(super) fn at_hand(&self, hash: &Hash) -> Option<Bytes> {
        self.recent().take(hash)
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        let name = hash.to_string();
        self.root.join(&name[..2]).join(name)
    }

    /// Begins to write `data`, which a [`put`](Self::put) will name, on another thread. Within a runtime.
    pub(super) fn begin(&self, data: &Bytes) {
        if self.ahead.add(data) {
            let payloads = self.clone();
            tokio::task::spawn_blocking(move || {
                // What goes wrong here goes wrong again in `put`, which tells why.
                payloads.ahead.work(|data| {
                    let hash = Hash::of(data);
                    payloads.write(&hash, data).ok().map(|()| hash)
                });
            });
        }
    }

    /// The transaction for which `data` was begun is over.
    pub(super) fn forget(&self, data: &Bytes) {
        self.ahead.forget(data);
    }

    /// Writes `data` and returns its name; it survives a power cut once [`sync`](Self::sync) has returned too.
    pub(super) fn put(&self, data: &Bytes) -> Result<Hash, Error> {
        let ahead = self.ahead.take(data);
        let hash = ahead.unwrap_or_else(|| Hash::of(data));
        // No more than looks at it, unless the sweep has removed what nothing named yet.
        self.write(&hash, data)?;
        self.recent().keep(hash, data);
        Ok(hash)
    }

    /// Puts on disk that the files written so far are there: each of their directories once.
    pub(super) fn sync(&self) -> Result<(), Error> {
        loop {
            let Some(directory) = self.unsynced().pop_first() else { return Ok(()) };
            if let Err(error) = sync_directory(&directory) {
                self.unsynced().insert(directory);
                return Err(error);
            }
        }
    }

    fn unsynced(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, hash: &Hash, data: &[u8]) -> Result<(), Error> {
        let path = self.path(hash);
        let directory = path.parent().unwrap_or(&self.root);
        if !fs::metadata(&path).is_ok_and(|meta| meta.len() == data.len() as u64) {
            self.make_directory(directory)?;
            self.make(&path, data)?;
        }
        self.unsynced().insert(directory.to_owned());
        Ok(())
    }

    fn make_directory(&self, directory: &Path) -> Result<(), Error> {
        // Held over both steps: who finds the directory there finds the root among the unsynced, or synced since.
        let mut unsynced = self.unsynced();
        if !directory.exists() {
            private_dir(directory).map_err(Error::io("cannot make", directory))?;
            unsynced.insert(self.root.clone());
        }
        Ok(())
    }

    fn make(&self, path: &Path, data: &[u8]) -> Result<(), Error> {
        let count = self.begun.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_extension(format!("{count}.partial"));
        write_synced(&partial, data).and_then(|()| fs::rename(&partial, path)).map_err(|error| {
            // What a full disk took of it is given back.
            let _ = fs::remove_file(&partial);
            Error::io("cannot write", path)(error)
        })
    }

    /// Whether the file `hash` is there.
    pub(super) fn has(&self, hash: &Hash) -> bool {
        self.path(hash).exists()
    }

    /// Removes the file `hash`, if it is there.
    pub(super) fn remove(&self, hash: &Hash) -> Result<(), Error> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("cannot remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The files of one of the 256 directories, each with the content it is named by; none: a write left it unfinished.
    pub(super) fn list(&self, directory: u8) -> Result<Vec<(PathBuf, Option<Hash>)>, Error> {
        let path = self.root.join(format!("{directory:02x}"));
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io("cannot read", &path))?,
        };
        let files = entries.map(|entry| {
            let file = entry.map_err(Error::io("cannot read", &path))?.path();
            let name = file.file_name().and_then(|name| name.to_str());
            let hash =
                name.and_then(|name| blake3::Hash::from_hex(name).ok()).map(|hash| Hash(*hash.as_bytes()));
            Ok((file, hash))
        });
        files.collect()
    }

    /// Whether files can be written now.
    pub(super) fn probe(&self) -> Result<(), Error> {
        let path = self.root.join("probe.partial");
        let probed = write_synced(&path, b"probe").map_err(Error::io("cannot write", &path));
        let _ = fs::remove_file(&path);
        probed
    }

    /// The content of the file `hash`; `None`: it is gone. Where its directory is gone too, the disk may be elsewhere,
    /// and that is an error.
    pub(super) fn get(&self, hash: &Hash) -> Result<Option<Bytes>, Error> {
        let path = self.path(hash);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == ErrorKind::NotFound && path.parent().is_some_and(Path::exists) => {
                Ok(None)
            }
            Err(error) => Err(Error::io("cannot read", &path)(error)),
        }
    }
}

/// Makes a directory that only its owner can enter.
pub(super) fn private_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_synced(path: &Path, data: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(data)?;
    file.sync_data()
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io("cannot write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_names_the_file_and_a_second_put_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let payloads = Payloads::open(dir.path()).unwrap();
        let hello = Bytes::from_static(b"hello");
        let hash = payloads.put(&hello).unwrap();
        assert_eq!(payloads.put(&hello).unwrap(), hash);
        assert_eq!(payloads.get(&hash).unwrap(), Some(Bytes::from_static(b"hello")));
        assert_eq!(fs::read_dir(dir.path().join(&hash.to_string()[..2])).unwrap().count(), 1);
        assert!(payloads.get(&Hash::of(b"other")).unwrap_err().to_string().starts_with("cannot read "));
        fs::remove_file(payloads.path(&hash)).unwrap();
        assert_eq!(payloads.get(&hash).unwrap(), None, "gone, as its directory is there");
        payloads.probe().unwrap();
    }

    #[tokio::test]
    async fn what_was_begun_ahead_and_swept_since_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let payloads = Payloads::open(dir.path()).unwrap();
        let data = Bytes::from(vec![1; 100_000]);
        payloads.begin(&data);
        payloads.begin(&data);
        let hash = payloads.put(&data).unwrap();
        fs::remove_file(payloads.path(&hash)).unwrap();
        payloads.put(&data).unwrap();
        payloads.forget(&data);
        assert_eq!(payloads.get(&hash).unwrap(), Some(data));
        let left = fs::read_dir(dir.path().join(&hash.to_string()[..2])).unwrap().count();
        assert_eq!(left, 1, "and nothing unfinished");
    }

    #[test]
    fn a_directory_waits_for_its_sync_until_it_has_had_it() {
        let dir = tempfile::tempdir().unwrap();
        let payloads = Payloads::open(dir.path()).unwrap();
        let data = Bytes::from_static(b"hello");
        let hash = payloads.put(&data).unwrap();
        let directory = payloads.path(&hash).parent().unwrap().to_owned();
        let unsynced = || payloads.unsynced().iter().cloned().collect::<Vec<_>>();
        assert_eq!(unsynced(), [dir.path(), &directory]);
        payloads.sync().unwrap();
        assert_eq!(unsynced(), [] as [PathBuf; 0]);
        // Whoever made the file may have ended before its directory was on disk.
        payloads.put(&data).unwrap();
        assert_eq!(unsynced(), [directory.as_path()]);
        fs::remove_dir_all(&directory).unwrap();
        payloads.sync().unwrap_err();
        assert_eq!(unsynced(), [directory.as_path()]);
    }

    #[test]
    fn what_was_just_written_is_at_hand_once_and_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let payloads = Payloads::open(dir.path()).unwrap();
        let content = |mark: u8| Bytes::from(vec![mark; limits::RECENT_BYTES / 2]);
        let [one, two, three] = [1, 2, 3].map(|mark| payloads.put(&content(mark)).unwrap());
        payloads.put(&content(3)).unwrap();
        assert_eq!(payloads.at_hand(&one), None, "the oldest made room");
        assert_eq!(payloads.clone().at_hand(&two), Some(content(2)));
        assert_eq!(payloads.at_hand(&two), None);
        assert_eq!(payloads.get(&two).unwrap(), Some(content(2)), "the file is there all the same");
        assert_eq!(payloads.at_hand(&three), Some(content(3)));
        let huge = payloads.put(&Bytes::from(vec![4; limits::RECENT_BYTES + 1])).unwrap();
        assert_eq!((payloads.at_hand(&huge), payloads.recent().bytes), (None, 0));
    }
}
