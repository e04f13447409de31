//! The files of the log: appended to, synced, begun anew when one is large, and the head beside them.

use super::line::{Entry, HASH, hash_of, place_of};
use bursa_core::limits;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The hash before the first line.
pub(super) const NONE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// More than the longest line has.
const TAIL: u64 = 64 << 10;

/// The open end of the log.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    bytes: u64,
    file: File,
    size: u64,
    head: File,
    n: u64,
    hash: String,
}

/// Number and hash of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) n: u64,
    pub(super) hash: String,
}

impl Log {
    /// Goes on behind the last whole line.
    pub(super) fn open(directory: &Path, bytes: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let found = files(directory)?;
        let path = found.last().cloned().unwrap_or_else(|| directory.join(name(1)));
        let file = private().read(true).append(true).create(true).open(&path)?;
        let (size, last) = end_of(&file)?;
        let last = last.and_then(|line| Some((place_of(&line)?.0, hash_of(&line)?.to_owned())));
        // A line without its end was being written when the power went.
        file.set_len(size)?;
        let head =
            private().read(true).write(true).create(true).truncate(false).open(directory.join("head"))?;
        let (n, hash) = last.unwrap_or((0, NONE.to_owned()));
        let mut log = Self { directory: directory.to_owned(), bytes, file, size, head, n, hash };
        // The head goes ahead of no line that was synced: where it does, lines are gone, and stay missing.
        if let Some(head) = read_head(directory)
            && head.n > log.n
        {
            (log.n, log.hash) = (head.n, head.hash);
            log.append(&[Entry::now("lines were removed from the end of this log")], 0)?;
        }
        Ok(log)
    }

    /// Appends a line for each entry, and is synced when it returns.
    ///
    /// # Errors
    /// The files cannot be written; nothing was appended.
    pub(super) fn append(&mut self, entries: &[Entry], lost: u64) -> io::Result<()> {
        if self.size >= self.file_bytes() {
            self.begin_file()?;
        }
        let (mut n, mut hash, mut text) = (self.n, self.hash.clone(), String::new());
        let lost = (lost > 0).then(|| Entry::lost(lost));
        for entry in entries.iter().chain(&lost) {
            n += 1;
            let (line, own) = entry.line(n, &hash);
            text.push_str(&line);
            hash = own;
        }
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line would be taken for a change by somebody.
            self.file.set_len(self.size)?;
            return Err(error);
        }
        (self.n, self.hash, self.size) = (n, hash, self.size + text.len() as u64);
        self.head.write_all_at(format!("{:020} {}\n", self.n, self.hash).as_bytes(), 0)
    }

    /// A file of this size is not gone on with.
    fn file_bytes(&self) -> u64 {
        limits::AUDIT_FILE_BYTES.min(self.bytes / 4)
    }

    /// A new file; the oldest go while all are larger than they may be.
    fn begin_file(&mut self) -> io::Result<()> {
        let path = self.directory.join(name(self.n + 1));
        self.file = private().append(true).create(true).open(path)?;
        File::open(&self.directory)?.sync_all()?;
        self.size = 0;
        let files = files(&self.directory)?;
        let sizes =
            files.iter().map(|file| Ok(fs::metadata(file)?.len())).collect::<io::Result<Vec<u64>>>()?;
        let mut all: u64 = sizes.iter().sum();
        for (file, size) in files.iter().zip(sizes) {
            if all + self.file_bytes() <= self.bytes {
                break;
            }
            fs::remove_file(file)?;
            all -= size;
        }
        Ok(())
    }
}

/// Where the last whole line of the file ends, and that line.
fn end_of(file: &File) -> io::Result<(u64, Option<String>)> {
    let size = file.metadata()?.len();
    let from = size.saturating_sub(TAIL);
    let mut tail = vec![0; usize::try_from(size - from).unwrap_or_default()];
    file.read_exact_at(&mut tail, from)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok((from, None)) };
    let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    Ok((from + end as u64 + 1, String::from_utf8(tail[begin..end].to_vec()).ok()))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// What a file is called whose first line has this number.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

/// The files of the log, oldest first.
pub(super) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    files.sort();
    Ok(files)
}

/// What the head says was written last.
pub(super) fn read_head(directory: &Path) -> Option<Head> {
    let text = fs::read_to_string(directory.join("head")).ok()?;
    let (n, hash) = text.trim_end().split_once(' ')?;
    let head = Head { n: n.parse().ok()?, hash: hash.to_owned() };
    (head.hash.len() == HASH).then_some(head)
}

#[cfg(test)]
impl Log {
    /// From now on its file takes nothing, as on a full disk; or does again.
    pub(super) fn fail(&mut self, fails: bool) {
        let path = if fails { PathBuf::from("/dev/full") } else { self.directory.join(name(1)) };
        self.file = private().append(true).create(true).open(path).unwrap();
    }
}
