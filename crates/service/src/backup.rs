//! A backup: one file with all that the service has, made while it runs.
//!
//! A tar: the payload files that the database names, `curve.key`, and `bursa.db` as it is at one moment. Nothing else:
//! tokens of clients, the configuration and endpoints' keys are not the service's.

use crate::Error;
use crate::restore;
use crate::store::{Error as StoreError, Paths, copy};
use bursa_core::id::Hash;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The database in the tar.
pub(crate) const DATABASE: &str = "bursa.db";
/// The service's key in the tar.
pub(crate) const KEY: &str = "curve.key";
/// What the two must be, in the tar: a line for each, hash and name.
pub(crate) const CHECKSUMS: &str = "checksums";
/// The directory of payload files in the tar.
pub(crate) const PAYLOADS: &str = "payloads";

/// What was backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Bytes of the backup.
    pub bytes: u64,
    /// Payload files in it.
    pub payload_files: usize,
}

/// Writes everything the service in `home` has to `file`, whether it runs or not. A file of that name is replaced when
/// the new one is complete and on disk.
///
/// # Errors
/// One sentence: there is no service, or something cannot be read or written.
pub fn backup(home: &Path, file: &Path) -> Result<Saved, Error> {
    let service = home.join("service");
    let paths = Paths::below(&service);
    if !paths.database.exists() {
        let database = paths.database.display();
        return Err(Error::Refused(format!(
            "there is nothing to back up: {database} does not exist; choose the home with --home"
        )));
    }
    may_be_written(&service, file)?;
    let (partial, snapshot) = (beside(file, ".partial"), beside(file, ".db.partial"));
    let saved = write(&paths, &service.join(KEY), &partial, &snapshot);
    let _ = fs::remove_file(&snapshot);
    if saved.is_err() {
        let _ = fs::remove_file(&partial);
        return saved;
    }
    fs::rename(&partial, file).map_err(StoreError::io("cannot write", file))?;
    sync(directory(file))?;
    saved
}

/// A backup replaces an older one and nothing else: no device, no link, and nothing that the service has.
fn may_be_written(service: &Path, file: &Path) -> Result<(), Error> {
    let refused = |why: &str| {
        Err(Error::Refused(format!(
            "{} is not written: {why}; name a new file for the backup",
            file.display()
        )))
    };
    let parent = directory(file);
    let parent = parent.canonicalize().map_err(StoreError::io("cannot write the backup into", parent))?;
    if service.canonicalize().is_ok_and(|service| parent.starts_with(service)) {
        return refused("it lies among the service's own files");
    }
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("cannot look at", file)(error).into()),
        Ok(there) if !there.is_file() => refused("it is there and no regular file"),
        Ok(there) if there.len() > 0 && !restore::is_backup(file) => {
            refused("it is there and no backup of Bursa")
        }
        Ok(_) => Ok(()),
    }
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}

fn write(paths: &Paths, key: &Path, partial: &Path, snapshot: &Path) -> Result<Saved, Error> {
    let cannot = || StoreError::io("cannot write the backup", partial);
    // What an earlier try left.
    let _ = fs::remove_file(snapshot);
    let _ = fs::remove_file(partial);
    let named = copy::snapshot(paths, snapshot)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial);
    let mut tar = tar::Builder::new(file.map_err(cannot())?);
    let mut payload_files = 0;
    for hash in named {
        let path = payload(&paths.payloads, &hash);
        let file = match File::open(&path) {
            // Retention removed its task since the copy was made, and will do so again after a restore.
            Err(error) if error.kind() == ErrorKind::NotFound && !copy::is_named(paths, &hash)? => continue,
            file => file.map_err(StoreError::io("cannot read", &path))?,
        };
        let size = file.metadata().map_err(StoreError::io("cannot read", &path))?.len();
        append(&mut tar, &payload(Path::new(PAYLOADS), &hash), size, file).map_err(cannot())?;
        payload_files += 1;
    }
    let sums = checksum(key, KEY)? + &checksum(snapshot, DATABASE)?;
    append(&mut tar, Path::new(CHECKSUMS), sums.len() as u64, sums.as_bytes()).map_err(cannot())?;
    // The database comes last: a file that was cut off has none.
    for (name, path) in [(KEY, key), (DATABASE, snapshot)] {
        let file = File::open(path).map_err(StoreError::io("cannot read", path))?;
        let size = file.metadata().map_err(StoreError::io("cannot read", path))?.len();
        append(&mut tar, Path::new(name), size, file).map_err(cannot())?;
    }
    let file = tar.into_inner().map_err(cannot())?;
    file.sync_all().map_err(cannot())?;
    let bytes = file.metadata().map_err(cannot())?.len();
    Ok(Saved { bytes, payload_files })
}

/// The hash of a file's content, read in pieces.
pub(crate) fn hash_of(path: &Path) -> Result<Hash, Error> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(|hasher| hasher.finalize()));
    Ok(Hash(*read.map_err(StoreError::io("cannot read", path))?.as_bytes()))
}

/// The line of a file in [`CHECKSUMS`].
pub(crate) fn checksum(path: &Path, name: &str) -> Result<String, Error> {
    Ok(format!("{}  {name}\n", hash_of(path)?))
}

fn append(tar: &mut tar::Builder<File>, name: &Path, size: u64, data: impl Read) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    tar.append_data(&mut header, name, data)
}

/// Where a payload file is below `root`.
pub(crate) fn payload(root: &Path, hash: &Hash) -> PathBuf {
    let name = hash.to_string();
    root.join(&name[..2]).join(name)
}

/// Brings a directory's entries, or a file, to disk.
pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StoreError::io("cannot write", path))?;
    Ok(())
}
