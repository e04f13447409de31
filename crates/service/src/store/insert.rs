//! Inserting many rows by few statements: a statement's fixed cost is about that of inserting its row.
//!
//! They are `INSERT OR FAIL`: what a statement that fails has inserted is undone with its savepoint or transaction, so
//! SQLite need not keep a copy of each page for the statement alone.

use rusqlite::{CachedStatement, Connection, Result, ToSql};

/// Rows of one statement.
const CHUNK: usize = 16;

/// The statements that insert into one table.
pub(super) struct Inserts<'c> {
    conn: &'c Connection,
    sql: &'static str,
    one: CachedStatement<'c>,
    /// Prepared when there are rows enough.
    many: Option<CachedStatement<'c>>,
}

/// Binds the values of one row after another.
pub(super) struct Binder<'s, 'c> {
    statement: &'s mut CachedStatement<'c>,
    bound: usize,
}

impl Binder<'_, '_> {
    /// The next value.
    pub(super) fn put(&mut self, value: impl ToSql) -> Result<()> {
        self.bound += 1;
        self.statement.raw_bind_parameter(self.bound, value)
    }
}

impl<'c> Inserts<'c> {
    /// `sql` ends with `VALUES ` and the places of one row.
    pub(super) fn new(conn: &'c Connection, sql: &'static str) -> Result<Self> {
        Ok(Self { conn, sql, one: conn.prepare_cached(sql)?, many: None })
    }

    fn prepare_many(&mut self) -> Result<()> {
        if self.many.is_none() {
            let (_, row) = self.sql.rsplit_once("VALUES ").unwrap_or_default();
            let mut sql = self.sql.to_owned();
            for _ in 1..CHUNK {
                sql.push(',');
                sql.push_str(row);
            }
            self.many = Some(self.conn.prepare_cached(&sql)?);
        }
        Ok(())
    }

    /// Inserts all of `rows`, in their order.
    pub(super) fn insert<T>(
        &mut self,
        rows: &[T],
        mut bind: impl FnMut(&T, &mut Binder<'_, 'c>) -> Result<()>,
    ) -> Result<()> {
        let (chunks, rest) = rows.as_chunks::<CHUNK>();
        if !chunks.is_empty() {
            self.prepare_many()?;
        }
        let many = chunks.iter().map(|chunk| (true, chunk.as_slice()));
        for (is_many, rows) in many.chain(rest.chunks(1).map(|row| (false, row))) {
            let statement = self.many.as_mut().filter(|_| is_many).unwrap_or(&mut self.one);
            let mut binder = Binder { statement, bound: 0 };
            for row in rows {
                bind(row, &mut binder)?;
            }
            binder.statement.raw_execute()?;
        }
        Ok(())
    }
}
