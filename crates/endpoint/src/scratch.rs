//! Directories of workers: whatever users left in them is removed without holding up a driver.

use std::fs;
use std::io;
use std::path::PathBuf;

/// Removes a directory of a worker, whatever is in it, without holding up the driver.
pub(crate) fn remove(path: PathBuf) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the directory of a worker could not be removed");
        }
    });
}
