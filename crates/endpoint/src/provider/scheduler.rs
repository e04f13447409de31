//! What a batch scheduler is to us: a batch script, three commands, and how to read what they print.
//!
//! All of it is text in and text out. Running the commands, within a time and off the driver's path, is `batch`'s business.

use crate::config::Config;
use bursa_core::id::{BlockId, ExecutorId};
use std::fmt;
use std::path::PathBuf;

/// A block to ask for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Its id: part of the job's name, so that it is found again after a crash between asking and writing down.
    pub block: BlockId,
    /// Its executors, one for each node.
    pub executors: &'a [ExecutorId],
    /// The endpoint's configuration.
    pub config: &'a Config,
    /// Where the job writes what it has to say.
    pub log: PathBuf,
    /// What executors that cannot reach the home are handed: names and contents of files, keys among them.
    pub handed: Vec<(String, String)>,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name, looked for on `PATH`, and arguments.
    pub words: Vec<String>,
    /// What it reads.
    pub stdin: String,
}

impl Call {
    /// Without anything to read.
    pub fn new<const N: usize>(words: [&str; N]) -> Self {
        Self { words: words.map(str::to_owned).to_vec(), stdin: String::new() }
    }

    /// The same with further arguments.
    pub fn with(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }
}

/// One of our jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The block that it is.
    pub block: BlockId,
    /// The scheduler's name for it.
    pub job: String,
    /// How it fares.
    pub state: JobState,
}

/// How a job fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It waits, and for what.
    Waiting(String),
    /// It runs, for so many milliseconds more if that is known.
    Running(Option<u64>),
    /// It ended, and how.
    Ended(String),
}

/// A batch scheduler.
pub trait Scheduler: fmt::Debug {
    /// Its name, for people.
    fn name(&self) -> &'static str;
    /// Whether executors find the home directory on their nodes.
    fn reaches_home(&self) -> bool {
        true
    }
    /// Whether something of a job that ended stays until it is removed, which [`cancel_unknown`](Self::cancel_unknown) does.
    fn leaves_ended(&self) -> bool {
        false
    }
    /// The batch script of a block.
    fn script(&self, request: &Request<'_>) -> String;
    /// Submits a script.
    fn submit(&self, script: String) -> Call;
    /// The job's name from what `submit` printed.
    ///
    /// # Errors
    /// What was printed, if no job is named in it.
    fn submitted(&self, stdout: &str) -> Result<String, String>;
    /// Asks about all jobs of this user in one call, those that ended a moment ago too.
    fn status(&self) -> Call;
    /// The jobs that are ours from what `status` printed; the others are none of our business.
    ///
    /// # Errors
    /// What cannot be read in it: jobs that are not understood must not count as gone.
    fn jobs(&self, stdout: &str) -> Result<Vec<Job>, String>;
    /// Ends these jobs.
    fn cancel(&self, jobs: &[&str]) -> Call;
    /// Ends the job of a block that was asked for and whose job is not known.
    fn cancel_unknown(&self, block: BlockId) -> Call;
}

/// What the job of a block is called.
#[must_use]
pub fn job_name(block: BlockId) -> String {
    format!("bursa-{block}")
}

/// The block of a job of this name, if it is one of ours.
#[must_use]
pub fn block_of(name: &str) -> Option<BlockId> {
    name.strip_prefix("bursa-")?.parse().ok()
}

/// A word for a shell, whatever is in it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
