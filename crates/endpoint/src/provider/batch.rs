//! Blocks of a batch scheduler: what was asked for, on disk before it is asked, and one command after the other.
//!
//! A block's record is written before its job is submitted and says which job it became. A manager that starts again finds
//! its blocks by these records, and a job that was submitted a moment before a crash by the block's id in the job's name: so
//! nothing is asked for twice.

use super::scheduler::{Call, Job, JobState, Request, Scheduler};
use super::{Found, News, command};
use crate::config::Config;
use crate::home::{self, EndpointDir};
use bursa_core::id::{BlockId, ExecutorId};
use bursa_fabric::{KeyPair, PublicKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// Longest end of all blocks: the command that is under way, and the one that ends all jobs.
pub(super) const END: Duration = Duration::from_secs(2 * command::LONGEST.as_secs());
/// A job that is not known this long after its record was written was never submitted.
const UNKNOWN: Duration = Duration::from_secs(60);

/// Why a block is over that was ended from here.
const NOT_NEEDED: &str = "it was not needed any more";

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
    /// All that are known to have a job.
    CancelAll,
    /// What is left of a block that is over.
    Clean(BlockId),
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
            self.over(block, NOT_NEEDED.into());
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
            let call = self.call(ask);
            self.running = Some((ask, Box::pin(async { command::run(call?).await })));
        }
        let Some((_, answer)) = &mut self.running else { return pending().await };
        let answer = answer.as_mut().await;
        if let Some((ask, _)) = self.running.take() {
            self.answered(ask, answer);
        }
    }

    fn call(&self, ask: Ask) -> Result<Call, String> {
        Ok(match ask {
            Ask::Status => self.scheduler.status(),
            Ask::Cancel(block) => match self.blocks.get(&block).and_then(|record| record.job.as_deref()) {
                Some(job) => self.scheduler.cancel(&[job]),
                None => self.scheduler.cancel_unknown(block),
            },
            Ask::CancelAll => {
                let jobs: Vec<&str> =
                    self.blocks.values().filter_map(|record| record.job.as_deref()).collect();
                self.scheduler.cancel(&jobs)
            }
            Ask::Clean(block) => self.scheduler.cancel_unknown(block),
            Ask::Submit(block) => {
                let executors = self.blocks.get(&block).map_or(&[][..], |record| &record.executors);
                let handed = match self.scheduler.reaches_home() {
                    true => Vec::new(),
                    false => self.dir.handed(executors).map_err(|error| error.to_string())?,
                };
                let log = self.dir.block_log(block);
                let request = Request { block, executors, config: &self.config, log, handed };
                self.scheduler.submit(self.scheduler.script(&request))
            }
        })
    }

    fn answered(&mut self, ask: Ask, answer: Result<String, String>) {
        match (ask, answer) {
            (Ask::Submit(block), answer) => {
                match answer.and_then(|stdout| self.scheduler.submitted(&stdout)) {
                    Ok(job) => self.submitted(block, job),
                    Err(why) => self.ended(block, why),
                }
            }
            (Ask::Status, answer) => match answer.and_then(|stdout| self.scheduler.jobs(&stdout)) {
                Ok(jobs) => self.compare(jobs),
                Err(why) => {
                    let why = format!("{} does not answer: {why}", self.scheduler.name());
                    self.news.push_back(News::Answered(Some(why)));
                }
            },
            (Ask::Cancel(block), Ok(_)) => self.over(block, NOT_NEEDED.into()),
            (Ask::CancelAll, Ok(_)) => {
                let known = self.blocks.iter().filter(|(_, record)| record.job.is_some());
                for block in known.map(|(block, _)| *block).collect::<Vec<_>>() {
                    self.over(block, NOT_NEEDED.into());
                }
            }
            (Ask::Clean(block), Ok(_)) => self.dir.remove_block(block),
            // They are asked about again, and are then seen to have ended or to go on.
            (Ask::Cancel(block), Err(why)) => tracing::warn!("block {block} cannot be ended: {why}"),
            (Ask::CancelAll, Err(why)) => tracing::warn!("not all blocks can be ended: {why}"),
            // Its record stays: the next manager finds the block by it, and cleans again.
            (Ask::Clean(block), Err(why)) => tracing::warn!("something of block {block} is left: {why}"),
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
    fn compare(&mut self, jobs: Vec<Job>) {
        let jobs: BTreeMap<BlockId, _> = jobs.into_iter().map(|job| (job.block, job)).collect();
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

    /// It ended by itself, or could not be asked for.
    fn ended(&mut self, block: BlockId, why: String) {
        if self.scheduler.leaves_ended() {
            self.waiting.push_back(Ask::Clean(block));
        }
        self.over(block, why);
    }

    /// Nothing runs there any more; what it said last is told.
    fn over(&mut self, block: BlockId, why: String) {
        let Some(record) = self.blocks.remove(&block) else { return };
        let log = self.dir.block_log(block);
        let said = super::local::last_lines(&log).unwrap_or_default();
        let why = if said.is_empty() { why } else { format!("{why}; it said: {said}") };
        tracing::info!("block {block} is over: {why}");
        for executor in &record.executors {
            self.dir.remove_executor(*executor);
            crate::scratch::remove(self.dir.work_dir(*executor));
        }
        if !self.waiting.contains(&Ask::Clean(block)) {
            self.dir.remove_block(block);
        }
        self.news.push_back(News::Ended(block, record.executors, why));
    }

    /// Ends every block, within `limit`: with one command, after the one that is under way.
    pub async fn end(&mut self, limit: Duration) {
        for ask in std::mem::take(&mut self.waiting) {
            match ask {
                Ask::Submit(block) => self.over(block, NOT_NEEDED.into()),
                Ask::Clean(_) => self.waiting.push_back(ask),
                Ask::Status | Ask::Cancel(_) | Ask::CancelAll => {}
            }
        }
        let all = async {
            while self.running.is_some() {
                self.step().await;
            }
            let (known, unknown): (Vec<_>, Vec<_>) =
                self.blocks.iter().partition(|(_, record)| record.job.is_some());
            let unknown: Vec<Ask> = unknown.into_iter().map(|(block, _)| Ask::Cancel(*block)).collect();
            if !known.is_empty() {
                self.waiting.push_front(Ask::CancelAll);
            }
            self.waiting.extend(unknown);
            while self.running.is_some() || !self.waiting.is_empty() {
                self.step().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("not every block could be ended in time: they are found at the next start");
        }
    }
}
