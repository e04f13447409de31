//! What people read when the disk or the database does not do its work: what, why, and what to do next.

use rusqlite::{Error, ErrorCode};
use std::io::{self, ErrorKind};

/// One sentence for an error of SQLite.
pub(super) fn of_database(error: &Error) -> String {
    let (what, next) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            ("the disk of the database is full", "free some space: a running service goes on by itself")
        }
        Some(ErrorCode::ReadOnly) => {
            ("the database cannot be written", "make its file, directory and disk writable")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ("the database cannot be opened", "let the service's user read and write its file and directory")
        }
        Some(ErrorCode::SystemIoFailure) => (
            "the disk failed under the database",
            "free space or repair the disk; if the service does not go on by itself then, start it again",
        ),
        Some(ErrorCode::DatabaseCorrupt) => {
            ("the database is damaged", "stop the service and bring a backup back with `bursa restore FILE`")
        }
        Some(ErrorCode::NotADatabase) => (
            "the file is not a database",
            "move it away, or bring a backup back with `bursa restore FILE --force`",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ("another program keeps the database locked", "end that program")
        }
        _ => return format!("the database: {error}"),
    };
    format!("{what} ({error}); {next}")
}

/// What to do about a file that could not be read or written.
pub(super) fn of_file(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space: a running service goes on by itself"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "make it readable and writable for the service's user, and a running service goes on by itself"
        }
        ErrorKind::NotFound => "bring it back, or restore a backup with `bursa restore FILE`",
        _ => "check the disk, and a running service goes on by itself",
    }
}
