//! A restore: what a backup holds takes the place of what the service had, which is kept aside.
//!
//! All is unpacked and checked first. From then on a directory `restoring` says that the swap is under way: a service
//! does not start beside it, and running the restore again completes it.

use crate::backup::{CHECKSUMS, DATABASE, KEY, PAYLOADS, checksum, hash_of, payload, sync};
use crate::home::Home;
use crate::store::{Error as StoreError, Paths, copy};
use crate::{Error, clock};
use bursa_core::id::Hash;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Payload files.
    pub payload_files: usize,
    /// The epoch that the service goes on from.
    pub epoch: u32,
    /// Where what was there before is kept; `None`: there was nothing.
    pub aside: Option<PathBuf>,
}

/// Puts the backup `file` into `home`, whose service must not run.
///
/// # Errors
/// One sentence: a service runs there, there is a database and `force` was not said, or the file is no whole backup.
pub fn restore(home: &Path, file: &Path, force: bool) -> Result<Restored, Error> {
    let home = Home::open(home)?;
    let paths = Paths::below(&home.service);
    let has_store = [&paths.database, &paths.wal(), &paths.restoring()].iter().any(|path| path.exists());
    if has_store && !force {
        return Err(Error::Refused(format!(
            "{} has a database already; say --force to put the backup in its place (it is kept aside), or choose \
             another home with --home",
            home.service.display()
        )));
    }
    let fresh = home.service.join("unpacking");
    remove_all(&fresh)?;
    let payload_files = unpack(file, &fresh)?;
    let database = fresh.join(DATABASE);
    copy::check(&database)?;
    let epoch = copy::begin_again(&database, &paths, clock::wall())?;
    sync(&database)?;
    let aside = swap(&home.service, &fresh, &paths)?;
    Ok(Restored { payload_files, epoch, aside })
}

fn unpack(file: &Path, fresh: &Path) -> Result<usize, Error> {
    // What the system refuses, such as a full disk, is not the backup's fault.
    let cannot = |error: std::io::Error| match error.raw_os_error() {
        Some(_) => StoreError::io("cannot unpack", file)(error).into(),
        None => not_whole(file, &error.to_string()),
    };
    let mut tar = tar::Archive::new(File::open(file).map_err(StoreError::io("cannot read", file))?);
    let mut payload_files = 0;
    let mut directories = vec![fresh.to_owned()];
    make(&fresh.join(PAYLOADS))?;
    for entry in tar.entries().map_err(cannot)? {
        let mut entry = entry.map_err(cannot)?;
        let name = entry.path().map_err(cannot)?.into_owned();
        let hash =
            expected(&name).ok_or_else(|| not_whole(file, &format!("it has a file {}", name.display())))?;
        let path = fresh.join(&name);
        if let (Some(_), Some(parent)) = (hash, path.parent()) {
            make(parent)?;
            directories.push(parent.to_owned());
            payload_files += 1;
        }
        let written = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let mut written = written.map_err(StoreError::io("cannot make", &path))?;
        std::io::copy(&mut entry, &mut written).map_err(cannot)?;
        written.sync_all().map_err(StoreError::io("cannot write", &path))?;
        if let Some(hash) = hash
            && hash_of(&path)? != hash
        {
            return Err(not_whole(file, &format!("{} has other content than its name says", name.display())));
        }
    }
    for name in [DATABASE, KEY, CHECKSUMS] {
        if !fresh.join(name).exists() {
            return Err(not_whole(file, &format!("it has no {name}")));
        }
    }
    let sums = fs::read_to_string(fresh.join(CHECKSUMS)).map_err(cannot)?;
    if sums != checksum(&fresh.join(KEY), KEY)? + &checksum(&fresh.join(DATABASE), DATABASE)? {
        return Err(not_whole(file, "its database or its key are not what they were when it was made"));
    }
    directories.sort_unstable();
    directories.dedup();
    directories.push(fresh.join(PAYLOADS));
    directories.iter().try_for_each(|directory| sync(directory))?;
    Ok(payload_files)
}

/// The content that a file of this name must have; `Some(None)`: any. `None`: a backup has no such file.
fn expected(name: &Path) -> Option<Option<Hash>> {
    if [DATABASE, KEY, CHECKSUMS].iter().any(|known| name == Path::new(known)) {
        return Some(None);
    }
    let Component::Normal(last) = name.components().next_back()? else { return None };
    let hash = Hash(*blake3::Hash::from_hex(last.as_encoded_bytes()).ok()?.as_bytes());
    (name == payload(Path::new(PAYLOADS), &hash)).then_some(Some(hash))
}

/// Whether `file` begins as a backup does.
pub(crate) fn is_backup(file: &Path) -> bool {
    let Ok(file) = File::open(file) else { return false };
    let mut tar = tar::Archive::new(file);
    let first = tar.entries().ok().and_then(|mut entries| entries.next()?.ok());
    first.and_then(|entry| entry.path().ok().map(|name| expected(&name).is_some())).unwrap_or(false)
}

fn not_whole(file: &Path, why: &str) -> Error {
    Error::Refused(format!("{} is not a whole backup of Bursa: {why}; take another one", file.display()))
}

/// The old store goes aside, the new one takes its place; the database last.
fn swap(service: &Path, fresh: &Path, paths: &Paths) -> Result<Option<PathBuf>, Error> {
    let restoring = paths.restoring();
    remove_all(&restoring)?;
    rename(fresh, &restoring)?;
    sync(service)?;
    let aside = service.join(format!("replaced-{}", clock::wall().0));
    let mut is_new = true;
    for name in [DATABASE, "bursa.db-wal", "bursa.db-shm", PAYLOADS, KEY] {
        if service.join(name).exists() {
            make(&aside)?;
            rename(&service.join(name), &aside.join(name))?;
            is_new = false;
        }
    }
    for name in [PAYLOADS, KEY, DATABASE] {
        rename(&restoring.join(name), &service.join(name))?;
    }
    sync(service)?;
    remove_all(&restoring)?;
    sync(service)?;
    Ok((!is_new).then_some(aside))
}

fn make(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::io("cannot make", path))?;
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(StoreError::io("cannot write", to))?;
    Ok(())
}

fn remove_all(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("cannot remove", path)(error).into())
        }
        _ => Ok(()),
    }
}
