//! Whether the log is what was written: no line edited, removed, added or moved, and its end not cut.

use super::line::{hash_of, place_of};
use super::log::{Head, NONE, files, name, read_head};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// A log that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Lines that are there.
    pub lines: u64,
    /// Number of the first: those before it were removed by age.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// Its hash: kept elsewhere, it proves later that nothing before it was changed.
    pub hash: String,
}

/// Why a log does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A line is not what was written, or not where.
    #[error("{file}:{line}: {why}; compare with a copy, and find out who could write in that directory")]
    Line {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The last lines are gone.
    #[error(
        "the last lines are gone: line {head} was written, and the last that is there is {last}; compare with a copy, and find out who could write in that directory"
    )]
    Cut {
        /// The last that was written.
        head: u64,
        /// The last that is there.
        last: u64,
    },
    /// It cannot be read.
    #[error(
        "the audit log in {directory} cannot be read: {why}; say this as the user of the service, on its host"
    )]
    Unreadable {
        /// Where it is.
        directory: String,
        /// Why.
        why: std::io::Error,
    },
}

/// Reads all of the log below the home `root`; the service may be running.
///
/// # Errors
/// [`Broken`]: the first thing that does not hold.
pub fn verify(root: &Path) -> Result<Verified, Broken> {
    let directory = root.join("service/audit");
    let unreadable = |why| Broken::Unreadable { directory: directory.display().to_string(), why };
    // Before the lines: what is written meanwhile is behind it.
    let head = read_head(&directory);
    let mut chain = Chain { lines: 0, first: 0, last: Head { n: 0, hash: NONE.to_owned() }, head };
    let files = files(&directory).map_err(unreadable)?;
    for path in &files {
        let mut lines = BufReader::new(File::open(path).map_err(unreadable)?);
        let (mut text, mut number) = (String::new(), 0);
        while lines.read_line(&mut text).map_err(unreadable)? > 0 {
            number += 1;
            let broken = |why| Broken::Line { file: path.display().to_string(), line: number, why };
            match text.strip_suffix('\n') {
                Some(line) => {
                    chain.take(line).map_err(broken)?;
                    if number == 1 && path.file_name() != Some(name(chain.last.n).as_ref()) {
                        return Err(broken("its file begins with another".to_owned()));
                    }
                }
                // It is being written.
                None if files.last() == Some(path) => break,
                None => return Err(broken("it has no end".to_owned())),
            }
            text.clear();
        }
    }
    chain.end()
}

struct Chain {
    lines: u64,
    first: u64,
    last: Head,
    head: Option<Head>,
}

impl Chain {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let hash = hash_of(line).ok_or("it was changed after it was written")?;
        let (n, prev) = place_of(line).ok_or("it is no line of an audit log")?;
        if self.lines == 0 {
            self.first = n;
            if n == 1 && prev != NONE {
                return Err("it does not begin this log".to_owned());
            }
        } else if n != self.last.n + 1 || prev != self.last.hash {
            return Err(format!(
                "it is line {n} and does not follow line {}: lines are missing or were moved",
                self.last.n
            ));
        }
        if let Some(head) = &self.head
            && head.n == n
            && head.hash != hash
        {
            return Err(format!("it is line {n}, and another line {n} was written"));
        }
        self.lines += 1;
        self.last = Head { n, hash: hash.to_owned() };
        Ok(())
    }

    fn end(self) -> Result<Verified, Broken> {
        let written = self.head.map_or(0, |head| head.n);
        if written > self.last.n {
            return Err(Broken::Cut { head: written, last: self.last.n });
        }
        Ok(Verified { lines: self.lines, first: self.first, last: self.last.n, hash: self.last.hash })
    }
}
