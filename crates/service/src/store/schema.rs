//! Opening the database: pragmas, numbered migrations, the backup before each, the pre-extended WAL.

use super::{Error, Paths, payload};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The migrations, in order; the schema's number is `PRAGMA user_version`.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_init.sql"),
    include_str!("migrations/0002_retention.sql"),
    include_str!("migrations/0003_memo.sql"),
    include_str!("migrations/0004_timings.sql"),
    include_str!("migrations/0005_containers.sql"),
    include_str!("migrations/0006_ends.sql"),
    include_str!("migrations/0007_users.sql"),
    include_str!("migrations/0008_sharing.sql"),
    include_str!("migrations/0009_secrets.sql"),
    include_str!("migrations/0010_guests.sql"),
];

/// The newest schema.
pub(crate) const VERSION: u32 = 10;
const _: () = assert!(MIGRATIONS.len() == VERSION as usize);

/// Bytes of WAL written once at the start: after that a commit overwrites, and its fdatasync journals no new file size.
pub(super) const WAL_BYTES: u64 = 8 << 20;

/// How much of the database the writer keeps in memory.
const CACHE: &str = "PRAGMA cache_size=-65536";

/// Opens the database for writing and brings it to the newest schema.
pub(super) fn open_write(paths: &Paths) -> Result<Connection, Error> {
    open_and_migrate(paths).map_err(|error| error.at(&paths.database))
}

fn open_and_migrate(paths: &Paths) -> Result<Connection, Error> {
    if paths.restoring().exists() {
        return Err(Error::Damaged(
            "a restore did not finish; run `bursa restore FILE --force` again".to_owned(),
        ));
    }
    let length = std::fs::metadata(&paths.database).map(|meta| meta.len()).ok();
    let existed = length.is_some_and(|length| length > 0);
    if !existed && std::fs::metadata(paths.wal()).is_ok_and(|meta| meta.len() > 0) {
        return Err(Error::Damaged(
            "its file is missing or empty and its WAL is there; bring a backup back with `bursa restore FILE --force`"
                .to_owned(),
        ));
    }
    if length.is_none() {
        private_file(&paths.database)?;
    }
    // No mutex: a connection has one owner at any moment.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(&paths.database, flags)?;
    tune(&conn)?;
    check_ours(&conn)?;
    migrate(&mut conn, paths, existed, MIGRATIONS)?;
    extend_wal(&conn, paths)?;
    Ok(conn)
}

/// Refuses another program's database. What is damaged inside is found by what reads it: the live tasks at the start,
/// the rest when it is asked for. A check of everything would take as long as the database is large.
pub(super) fn check_ours(conn: &Connection) -> Result<(), Error> {
    let sql =
        "SELECT count(*), count(CASE name WHEN 'meta' THEN 1 END) FROM sqlite_schema WHERE type = 'table'";
    let (tables, ours): (u32, u32) = conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if (version(conn)? == 0 && tables == 0) || ours == 1 {
        return Ok(());
    }
    Err(Error::Damaged(
        "it is not Bursa's; move it away, or bring a backup back with `bursa restore FILE --force`"
            .to_owned(),
    ))
}

/// Makes the database's file for its owner alone; SQLite gives WAL and index the same mode.
fn private_file(path: &Path) -> Result<(), Error> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|source| Error::Io { what: format!("cannot make {}", path.display()), source })
}

/// Opens the database for reading.
pub(super) fn open_read(database: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(database, flags)?;
    keep_wal(&conn)?;
    conn.execute_batch("PRAGMA query_only=1; PRAGMA busy_timeout=5000; PRAGMA cache_size=-8192;")?;
    keep_statements(&conn)?;
    Ok(conn)
}

/// Statements are prepared once. Without this flag SQLite plans some of them anew for each set of values, since these
/// might make a partial index usable; ours need no such look.
fn keep_statements(conn: &Connection) -> Result<(), Error> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // More than the writer has statements.
    conn.set_prepared_statement_cache_capacity(96);
    Ok(())
}

/// The WAL stays as it is when the last connection closes: it was extended once.
pub(super) fn keep_wal(conn: &Connection) -> Result<(), Error> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

fn tune(conn: &Connection) -> Result<(), Error> {
    keep_wal(conn)?;
    let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::Damaged(format!(
            "its file system allows no WAL (journal mode {mode}); choose a home on a local disk"
        )));
    }
    // There is one writer; who else locks the database for longer than this makes the store fail, not the service hang.
    conn.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA foreign_keys=0; PRAGMA busy_timeout=200; PRAGMA temp_store=MEMORY;",
    )?;
    conn.execute_batch(CACHE)?;
    conn.query_row("PRAGMA wal_autocheckpoint=0", [], |_| Ok(()))?;
    conn.query_row("PRAGMA journal_size_limit=-1", [], |_| Ok(()))?;
    keep_statements(conn)?;
    Ok(())
}

pub(super) fn version(conn: &Connection) -> Result<u32, Error> {
    Ok(conn.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Applies what is missing, each in a transaction of its own, after a backup of an existing database.
fn migrate(conn: &mut Connection, paths: &Paths, existed: bool, migrations: &[&str]) -> Result<(), Error> {
    let found = version(conn)?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(Error::Newer {
            path: paths.database.display().to_string(),
            found,
            known,
            backups: paths.backups.display().to_string(),
        });
    }
    for (number, sql) in (1..).zip(migrations).skip(found as usize) {
        if existed && found > 0 {
            backup(conn, paths, number - 1)?;
        }
        apply(conn, number, sql).map_err(|error| Error::Migration {
            number,
            path: paths.database.display().to_string(),
            why: error.to_string(),
        })?;
    }
    Ok(())
}

/// The database as an older bursa left it.
#[cfg(test)]
pub(super) fn create_old(paths: &Paths, version: u32) -> Connection {
    let mut conn = Connection::open(&paths.database).unwrap();
    migrate(&mut conn, paths, false, &MIGRATIONS[..version as usize]).unwrap();
    conn
}

fn apply(conn: &mut Connection, number: u32, sql: &str) -> Result<(), rusqlite::Error> {
    let transaction = conn.transaction()?;
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}

/// Copies the database to the new file `into`, on disk and for its owner alone.
pub(super) fn copy_into(conn: &Connection, into: &Path) -> Result<(), Error> {
    // SQLite writes into an empty file that is there; one of its own would be readable by others.
    private_file(into)?;
    conn.execute("VACUUM INTO ?1", [into.to_string_lossy()])?;
    let file = std::fs::File::open(into).map_err(Error::io("cannot read", into))?;
    file.sync_all().map_err(Error::io("cannot write", into))
}

/// Brings a copy that is to replace the database to the newest schema.
pub(super) fn bring_up(conn: &mut Connection, paths: &Paths) -> Result<(), Error> {
    migrate(conn, paths, false, MIGRATIONS)
}

/// Copies the database to `backups/` before migration `from + 1`; an older backup of the same schema is replaced.
fn backup(conn: &Connection, paths: &Paths, from: u32) -> Result<(), Error> {
    payload::private_dir(&paths.backups).map_err(Error::io("cannot make", &paths.backups))?;
    let target = paths.backups.join(format!("bursa.schema-{from}.db"));
    let partial = paths.backups.join("partial.db");
    let _ = std::fs::remove_file(&partial);
    copy_into(conn, &partial)?;
    std::fs::rename(&partial, &target).map_err(Error::io("cannot write", &target))?;
    tracing::info!(backup = %target.display(), "the database was copied before its schema changes");
    Ok(())
}

/// Writes the WAL to its full size once, so that commits overwrite it from then on.
fn extend_wal(conn: &Connection, paths: &Paths) -> Result<(), Error> {
    if std::fs::metadata(paths.wal()).is_ok_and(|meta| meta.len() >= WAL_BYTES) {
        return checkpoint(conn);
    }
    // What fills it is of no use in the cache, whose memory a process does not give back.
    conn.execute_batch("PRAGMA cache_size=-256; BEGIN; CREATE TABLE wal_fill (x BLOB)")?;
    conn.execute("INSERT INTO wal_fill VALUES (zeroblob(?1))", [WAL_BYTES.cast_signed()])?;
    conn.execute_batch("COMMIT; DROP TABLE wal_fill")?;
    checkpoint(conn)?;
    Ok(conn.execute_batch(CACHE)?)
}

/// Brings the WAL into the database and begins it anew.
fn checkpoint(conn: &Connection) -> Result<(), Error> {
    conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(dir: &Path) -> Paths {
        Paths::below(dir)
    }

    #[test]
    fn a_migration_backs_up_first_and_leaves_all_unchanged_when_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        let mut conn = Connection::open(&paths.database).unwrap();
        migrate(&mut conn, &paths, false, &["CREATE TABLE a (x)"]).unwrap();
        assert!(!paths.backups.exists(), "a new database needs no backup");

        let error =
            migrate(&mut conn, &paths, true, &["", "CREATE TABLE b (x); nonsense"]).unwrap_err().to_string();
        assert!(error.starts_with("migration 2 of ") && error.contains("unchanged"), "{error}");
        assert_eq!(version(&conn).unwrap(), 1);

        migrate(&mut conn, &paths, true, &["", "CREATE TABLE b (x)", "CREATE TABLE c (x)"]).unwrap();
        assert_eq!(version(&conn).unwrap(), 3);
        let old = Connection::open(paths.backups.join("bursa.schema-1.db")).unwrap();
        assert_eq!(version(&old).unwrap(), 1);
        assert!(old.prepare("SELECT x FROM b").is_err(), "the backup is from before");
        assert!(paths.backups.join("bursa.schema-2.db").exists());
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        drop(open_write(&paths).unwrap());
        Connection::open(&paths.database).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = open_write(&paths).unwrap_err().to_string();
        assert!(error.contains(&format!("has schema 99, this bursa knows up to {VERSION}")), "{error}");
    }

    #[test]
    fn the_wal_is_extended_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        drop(open_write(&paths).unwrap());
        let wal = std::fs::metadata(paths.database.with_extension("db-wal")).unwrap();
        assert!(wal.len() >= WAL_BYTES, "{}", wal.len());
        let conn = open_write(&paths).unwrap();
        let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(conn.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    }
}
