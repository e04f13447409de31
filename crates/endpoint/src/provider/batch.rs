//! Blocks of a batch scheduler: what was asked for, on disk before it is asked, and one command after the other.
//!
//! A block's record is written before its job is submitted and says which job it became. A manager that starts again finds
//! its blocks by these records, and a job that was submitted a moment before a crash by the block's id in the job's name: so
//! nothing is asked for twice.

use super::scheduler::{Call, JobState, Request, Scheduler};
use super::{Found, News};
use crate::config::Config;
use crate::home::{self, EndpointDir};
use bursa_core::id::{BlockId, ExecutorId};
use bursa_core::limits;
use bursa_fabric::{KeyPair, PublicKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A command that takes longer is given up: a scheduler under load answers within seconds.
const CALL: Duration = Duration::from_secs(30);
/// A job that is not known this long after its record was written was never submitted.
const UNKNOWN: Duration = Duration::from_secs(60);

/// What is known of a block, in the endpoint's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its executors.
    pub executors: Vec<ExecutorId>,
    /// Its job, once the scheduler has named it.
    pub job: Option<String>,
}

/// What to ask the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Submit(BlockId),
    Status,
    Cancel(BlockId),
}

type Answer = Pin<Box<dyn Future<Output = Result<String, String>>>>;

/// The blocks of one scheduler.
pub struct Batch {
    scheduler: Box<dyn Scheduler>,
    config: Config,
    dir: EndpointDir,
    blocks: BTreeMap<BlockId, Record>,
    waiting: VecDeque<Ask>,
    running: Option<(Ask, Answer)>,
    news: VecDeque<News>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("scheduler", &self.scheduler).field("blocks", &self.blocks).finish()
    }
}

impl Batch {
    /// Knows of no block yet.
    #[must_use]
    pub fn new(scheduler: Box<dyn Scheduler>, config: Config, dir: EndpointDir) -> Self {
        let (blocks, waiting, news) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Self { scheduler, config, dir, blocks, waiting, running: None, news }
    }

    /// The blocks of the manager before, and their executors' keys.
    pub fn find(&mut self) -> Found {
        let mut found = Found::default();
        self.blocks = self.dir.blocks();
        for record in self.blocks.values() {
            for executor in &record.executors {
                if let Ok(key) = KeyPair::load(&self.dir.executor_key(*executor)) {
                    found.alive.push((*executor, key.public));
                }
            }
        }
        found.blocks = self.blocks.iter().map(|(block, record)| (*block, record.executors.clone())).collect();
        for executor in self.dir.executors() {
            if !self.blocks.values().any(|record| record.executors.contains(&executor)) {
                self.dir.remove_executor(executor);
                found.dead.push(executor);
            }
        }
        found
    }

    /// Writes down what is wanted, and has it submitted.
    ///
    /// # Errors
    /// Keys or the record cannot be written.
    pub fn launch(
        &mut self,
        block: BlockId,
        executors: &[ExecutorId],
    ) -> Result<Vec<(ExecutorId, PublicKey)>, super::local::Error> {
        let mut keys = Vec::new();
        for executor in executors {
            let pair = KeyPair::generate()?;
            pair.save(&self.dir.executor_key(*executor)).map_err(home::Error::from)?;
            keys.push((*executor, pair.public));
        }
        let record = Record { executors: executors.to_vec(), job: None };
        self.dir.save_block(block, &record)?;
        self.blocks.insert(block, record);
        self.waiting.push_back(Ask::Submit(block));
        Ok(keys)
    }

    /// Ends a block; one that was not submitted yet never is.
    pub fn cancel(&mut self, block: BlockId) {
        if let Some(at) = self.waiting.iter().position(|ask| *ask == Ask::Submit(block)) {
            self.waiting.remove(at);
            self.ended(block, "it was not needed any more".into());
        } else {
            self.waiting.push_back(Ask::Cancel(block));
        }
    }

    /// Asks about all blocks.
    pub fn ask(&mut self) {
        self.waiting.push_back(Ask::Status);
    }

    /// The next thing to tell. Cancel-safe: what runs is kept.
    pub async fn news(&mut self) -> News {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            self.step().await;
        }
    }

    /// Runs the command whose turn it is to its end; for ever, if there is none.
    async fn step(&mut self) {
        if self.running.is_none()
            && let Some(ask) = self.waiting.pop_front()
        {
            self.running = Some((ask, Box::pin(run(self.call(ask)))));
        }
        let Some((_, answer)) = &mut self.running else { return pending().await };
        let answer = answer.as_mut().await;
        if let Some((ask, _)) = self.running.take() {
            self.answered(ask, answer);
        }
    }

    fn call(&self, ask: Ask) -> Call {
        match ask {
            Ask::Status => self.scheduler.status(),
            Ask::Cancel(block) => {
                let job = self.blocks.get(&block).and_then(|record| record.job.as_deref());
                self.scheduler.cancel(block, job)
            }
            Ask::Submit(block) => {
                let executors = self.blocks.get(&block).map_or(&[][..], |record| &record.executors);
                let log = self.dir.block_log(block);
                let request = Request { block, executors, config: &self.config, log };
                self.scheduler.submit(self.scheduler.script(&request))
            }
        }
    }

    fn answered(&mut self, ask: Ask, answer: Result<String, String>) {
        match (ask, answer) {
            (Ask::Submit(block), answer) => {
                match answer.and_then(|stdout| self.scheduler.submitted(&stdout)) {
                    Ok(job) => self.submitted(block, job),
                    Err(why) => self.ended(block, why),
                }
            }
            (Ask::Status, Ok(stdout)) => self.compare(&stdout),
            (Ask::Status, Err(why)) => {
                self.news.push_back(News::Answered(Some(format!(
                    "{} does not answer: {why}",
                    self.scheduler.name()
                ))));
            }
            (Ask::Cancel(block), Ok(_)) => self.ended(block, "it was not needed any more".into()),
            // It is asked about again, and is then seen to have ended or to go on.
            (Ask::Cancel(block), Err(why)) => tracing::warn!("block {block} cannot be ended: {why}"),
        }
    }

    fn submitted(&mut self, block: BlockId, job: String) {
        let Some(record) = self.blocks.get_mut(&block) else { return };
        tracing::info!("block {block} is {} job {job}", self.scheduler.name());
        self.news
            .push_back(News::Waiting(block, format!("{} job {job} is submitted", self.scheduler.name())));
        record.job = Some(job);
        if let Err(error) = self.dir.save_block(block, record) {
            // It is found again by its name.
            tracing::warn!("{error}");
        }
    }

    /// Tells how each block fares, as the scheduler sees it.
    fn compare(&mut self, stdout: &str) {
        let jobs: BTreeMap<BlockId, _> =
            self.scheduler.jobs(stdout).into_iter().map(|job| (job.block, job)).collect();
        for (block, record) in self.blocks.clone() {
            match jobs.get(&block) {
                Some(job) => {
                    if record.job.is_none() && !self.waiting.contains(&Ask::Submit(block)) {
                        self.submitted(block, job.job.clone());
                    }
                    match job.state.clone() {
                        JobState::Waiting(reason) => self.news.push_back(News::Waiting(block, reason)),
                        JobState::Running(left_ms) => self.news.push_back(News::Started(block, left_ms)),
                        JobState::Ended(why) => self.ended(block, why),
                    }
                }
                None if record.job.is_none() && self.may_come(block) => {}
                None => {
                    let why = format!("{} does not know its job any more", self.scheduler.name());
                    self.ended(block, why);
                }
            }
        }
        self.news.push_back(News::Answered(None));
    }

    /// A block without a job: its command waits, or was under way when an earlier manager ended.
    fn may_come(&self, block: BlockId) -> bool {
        let written = self.dir.block_written(block);
        self.waiting.contains(&Ask::Submit(block))
            || written.is_some_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < UNKNOWN))
    }

    /// Nothing of the block is left; what it said last is told.
    fn ended(&mut self, block: BlockId, why: String) {
        let Some(record) = self.blocks.remove(&block) else { return };
        let log = self.dir.block_log(block);
        let said = super::local::last_lines(&log).unwrap_or_default();
        let why = if said.is_empty() { why } else { format!("{why}; it said: {said}") };
        tracing::info!("block {block} is over: {why}");
        for executor in &record.executors {
            self.dir.remove_executor(*executor);
            crate::scratch::remove(self.dir.work_dir(*executor));
        }
        self.dir.remove_block(block);
        self.news.push_back(News::Ended(block, record.executors, why));
    }

    /// Cancels every block and waits for the commands that are under way, within `limit`.
    pub async fn end(&mut self, limit: Duration) {
        self.waiting.retain(|ask| matches!(ask, Ask::Cancel(_)));
        for block in self.blocks.keys().copied().collect::<Vec<_>>() {
            self.waiting.push_back(Ask::Cancel(block));
        }
        let all = async {
            while self.running.is_some() || !self.waiting.is_empty() {
                self.step().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("not every block could be ended in time: they are found at the next start");
        }
    }
}

/// What a program printed; or why not, in its own words.
async fn run(call: Call) -> Result<String, String> {
    let name = call.words.first().cloned().unwrap_or_default();
    let mut command = Command::new(&name);
    command.args(call.words.iter().skip(1)).kill_on_drop(true);
    // A scheduler passes the environment on to the job and may keep it where others can read it.
    command.env_remove("BURSA_TOKEN");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it says why itself.
            let _ = stdin.write_all(call.stdin.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(CALL, output).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{name} cannot be run: {error}")),
        Err(_) => return Err(format!("{name} took longer than {} s", CALL.as_secs())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let said = &said[..said.floor_char_boundary(limits::TROUBLE_BYTES / 2)];
    Err(format!("{name} failed ({}): {said}", output.status))
}
