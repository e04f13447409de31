//! The durable store: SQLite in WAL mode with `synchronous=FULL`, one owner of the write connection, readers beside it.
//!
//! Owns the schema and its migrations, the one transaction per round, payload files, and every SQL statement of the
//! service. Knows nothing of HTTP, links or the hub's decisions: what it is told to write is an [`Op`] or a [`Change`].

mod accept;
mod ahead;
mod change;
mod checkpoint;
pub(crate) mod copy;
mod end;
mod hit;
mod insert;
mod live;
mod memo;
mod packed;
mod payload;
mod read;
mod read_tasks;
mod recover;
mod rows;
mod schema;
mod secrets;
mod shares;
mod slots;
mod sweep;
#[cfg(test)]
mod tests;
mod users;
mod words;
mod write;
mod writer;

pub(crate) use memo::MemoLimits;
pub(crate) use read::Reader;
pub(crate) use read_tasks::{Slice, SliceLimits};
pub(crate) use recover::Recovery;
pub(crate) use rows::{
    Added, Change, Changed, ContainerRow, Content, Done, EndRow, EndpointRow, FunctionRow, Granted, GroupRow,
    MemoFilter, MemoSums, Memoized, Page, RESULT_GONE, ResultRow, SecretRow, TaskFilter, TaskRow, UserRow,
    Write,
};

pub(crate) use shares::{Shared, Thing};
pub(crate) use sweep::Retention;
pub(crate) use users::{NewToken, TokenGrant};
pub(crate) use write::SqliteStore;
pub(crate) use writer::Writer;

use std::path::{Path, PathBuf};

/// Where the store's files are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) database: PathBuf,
    pub(crate) payloads: PathBuf,
    pub(crate) backups: PathBuf,
}

impl Paths {
    /// The store below the service's directory.
    pub(crate) fn below(service: &Path) -> Self {
        Self {
            database: service.join("bursa.db"),
            payloads: service.join("payloads"),
            backups: service.join("backups"),
        }
    }

    /// The database's write-ahead log.
    pub(crate) fn wal(&self) -> PathBuf {
        self.database.with_extension("db-wal")
    }

    /// There while a restored store takes the place of the one before.
    pub(crate) fn restoring(&self) -> PathBuf {
        self.database.with_file_name("restoring")
    }
}

/// What an error says of the writes that share its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// None of them can be written now: the disk is full, read-only or damaged.
    Database,
    /// Not this one now: its payload file cannot be written.
    File,
    /// Never this one, as it is.
    Write,
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused.
    #[error("{}", words::of_database(.0))]
    Sql(#[from] rusqlite::Error),
    /// The database cannot be used at all.
    #[error("cannot use the database {path}: {why}")]
    Unusable {
        /// The database.
        path: String,
        /// Why, and what to do.
        why: String,
    },
    /// A file could not be written or read.
    #[error("{what}: {source}; {}", words::of_file(source))]
    Io {
        /// Which file, and what for.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A newer Bursa has written this database.
    #[error(
        "the database {path} has schema {found}, this bursa knows up to {known}: a newer bursa wrote it. Run that version, or restore the backup it made before the upgrade from {backups}"
    )]
    Newer {
        /// The database.
        path: String,
        /// Its schema.
        found: u32,
        /// The newest known schema.
        known: u32,
        /// Where backups are.
        backups: String,
    },
    /// A migration failed; the database is as it was.
    #[error("migration {number} of {path} failed, the database is unchanged: {why}")]
    Migration {
        /// The migration.
        number: u32,
        /// The database.
        path: String,
        /// Why.
        why: String,
    },
    /// Something that cannot be: a bug or a damaged disk.
    #[error("{0}")]
    Damaged(String),
}

impl Error {
    /// Whose fault it is that nothing was written. What is not known to be one write's is the database's.
    fn blame(&self) -> Blame {
        use rusqlite::ErrorCode::{ConstraintViolation, ParameterOutOfRange, TooBig, TypeMismatch};
        match self {
            Self::Sql(rusqlite::Error::SqliteFailure(why, _)) => match why.code {
                ConstraintViolation | TooBig | TypeMismatch | ParameterOutOfRange => Blame::Write,
                _ => Blame::Database,
            },
            Self::Sql(_) | Self::Damaged(_) => Blame::Write,
            Self::Io { .. } => Blame::File,
            Self::Unusable { .. } | Self::Newer { .. } | Self::Migration { .. } => Blame::Database,
        }
    }

    /// Whether the same may succeed later without anybody changing what is stored.
    pub(crate) fn may_pass(&self) -> bool {
        self.blame() != Blame::Write
    }

    /// The same, of the database at `path`.
    fn at(self, path: &Path) -> Self {
        match self {
            Self::Sql(_) | Self::Damaged(_) => {
                Self::Unusable { path: path.display().to_string(), why: self.to_string() }
            }
            other => other,
        }
    }

    /// An IO error with what was attempted on which path.
    pub(crate) fn io(what: impl std::fmt::Display, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Io { what, source }
    }
}

/// Rows of user `no` lie in this range of ids, `n` from 1.
pub(crate) const USER_SHIFT: u32 = 40;

/// The id of a user's `n`th row.
pub(crate) const fn row_id(user_no: i64, n: u64) -> i64 {
    (user_no << USER_SHIFT) | n.cast_signed()
}

/// The place of a row among its user's.
pub(crate) const fn row_n(id: i64) -> u64 {
    (id & ((1 << USER_SHIFT) - 1)).cast_unsigned()
}

/// The user's number in a row's id.
pub(crate) const fn row_user(id: i64) -> i64 {
    id >> USER_SHIFT
}
