//! Providers: how an endpoint gets nodes. Decides nothing: the machine says what to ask for.
//!
//! `local` starts executors as processes of this node; `batch` asks a [`scheduler`](scheduler::Scheduler).

pub mod batch;
mod command;
pub mod interface;
pub mod kubernetes;
pub mod local;
pub mod lsf;
pub mod pbs;
pub mod scheduler;
pub mod script;
pub mod slurm;

use crate::config::{Config, blocks};
use crate::home::EndpointDir;
use batch::Batch;
use bursa_core::id::{BlockId, EndpointId, ExecutorId};
use bursa_fabric::PublicKey;
use local::Local;
use scheduler::{Request, Scheduler};
use std::time::Duration;

/// Executors of this node that were told to end are killed after this.
const EXECUTORS_END: Duration = Duration::from_secs(1);

/// The batch script that a block of this endpoint would be, if its nodes come from a scheduler.
#[must_use]
pub fn script(config: &Config) -> Option<String> {
    let endpoint = crate::home::load(&config.home, &config.name).and_then(|dir| dir.registration());
    let scheduler = scheduler(config, endpoint.ok().map(|registration| registration.endpoint_id))?;
    let block = BlockId::from_bytes([0; 16]);
    let executors = vec![ExecutorId::from_bytes([0; 16]); config.blocks.executors() as usize];
    let handed = Vec::new();
    let log = config.home.join("logs").join(format!("{}.{block}.block.log", config.name));
    Some(scheduler.script(&Request { block, executors: &executors, config, log, handed }))
}

/// The scheduler that is configured; the endpoint's id, once it is registered, tells its jobs from those of others.
fn scheduler(config: &Config, endpoint: Option<EndpointId>) -> Option<Box<dyn Scheduler>> {
    match config.blocks.provider {
        blocks::Provider::Local => None,
        blocks::Provider::Slurm => Some(Box::new(slurm::Slurm)),
        blocks::Provider::Pbs => Some(Box::new(pbs::Pbs)),
        blocks::Provider::Lsf => Some(Box::new(lsf::Lsf)),
        blocks::Provider::Kubernetes => Some(Box::new(kubernetes::Kubernetes::new(config, endpoint))),
    }
}

/// The scheduler's name and the programs that are run to use it; `None`: nodes come from no scheduler.
#[must_use]
pub fn programs(config: &Config) -> Option<(&'static str, Vec<String>)> {
    let scheduler = scheduler(config, None)?;
    let calls = [scheduler.submit(String::new()), scheduler.status(), scheduler.cancel(&[])];
    let mut programs: Vec<_> = calls.into_iter().filter_map(|call| call.words.into_iter().next()).collect();
    programs.dedup();
    Some((scheduler.name(), programs))
}

/// How long [`Provider::end`] may take beyond what a watchdog kills by itself.
#[must_use]
pub const fn ends_within(provider: blocks::Provider) -> Duration {
    match provider {
        blocks::Provider::Local => Duration::ZERO,
        _ => batch::END,
    }
}

/// What a provider tells.
#[derive(Debug)]
pub enum News {
    /// A process of this node ended.
    Gone(ExecutorId, String),
    /// A block waits, and for what.
    Waiting(BlockId, String),
    /// A block runs, and for how many milliseconds more.
    Started(BlockId, Option<u64>),
    /// A block ended with its executors, and why.
    Ended(BlockId, Vec<ExecutorId>, String),
    /// All that there was to say after a question; or why nothing could be learnt.
    Answered(Option<String>),
}

/// Executors found at the start of a manager.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that run, or may run, with their keys.
    pub alive: Vec<(ExecutorId, PublicKey)>,
    /// Those that are dead; nothing of them is left.
    pub dead: Vec<ExecutorId>,
    /// The blocks of those that are alive, or will be.
    pub blocks: Vec<(BlockId, Vec<ExecutorId>)>,
}

/// The provider of an endpoint.
#[derive(Debug)]
pub enum Provider {
    /// This node.
    Local(Local),
    /// A scheduler.
    Batch(Batch),
}

impl Provider {
    /// The one that is configured.
    #[must_use]
    pub fn new(config: Config, dir: EndpointDir) -> Self {
        let endpoint = dir.registration().ok().map(|registration| registration.endpoint_id);
        match scheduler(&config, endpoint) {
            None => Self::Local(Local::new(config, dir)),
            Some(scheduler) => Self::Batch(Batch::new(scheduler, config, dir)),
        }
    }

    /// What the manager before left.
    pub fn find(&mut self) -> Found {
        match self {
            Self::Local(local) => local.find(),
            Self::Batch(batch) => batch.find(),
        }
    }

    /// Asks for a block. Gives the keys of its executors, to be let in before they come.
    ///
    /// # Errors
    /// Why it could not even be asked for; nothing of it is left then.
    pub fn launch(
        &mut self,
        block: BlockId,
        executors: &[ExecutorId],
    ) -> Result<Vec<(ExecutorId, PublicKey)>, String> {
        match self {
            Self::Local(local) => local.launch(block, executors),
            Self::Batch(batch) => batch.launch(block, executors),
        }
        .map_err(|error| error.to_string())
    }

    /// Ends a block.
    pub fn cancel(&mut self, block: BlockId) {
        match self {
            Self::Local(local) => local.kill(block),
            Self::Batch(batch) => batch.cancel(block),
        }
    }

    /// Asks how all blocks fare.
    pub fn ask(&mut self) {
        match self {
            // It says by itself what there is to say.
            Self::Local(_) => {}
            Self::Batch(batch) => batch.ask(),
        }
    }

    /// The next thing to tell. Cancel-safe.
    pub async fn news(&mut self) -> News {
        match self {
            Self::Local(local) => local.news().await,
            Self::Batch(batch) => batch.news().await,
        }
    }

    /// Ends every block, within a bound.
    pub async fn end(&mut self) {
        match self {
            Self::Local(local) => local.end(EXECUTORS_END).await,
            Self::Batch(batch) => batch.end(batch::END).await,
        }
    }
}
