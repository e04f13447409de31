//! What a world is made of: its size, the kind of its tasks, and the faults it will see.

use super::faults::{Fault, Planned};
use super::scheduler::Scheduler;
use crate::id::TaskId;
use crate::resources::Resources;
use crate::rng::Rng;
use bytes::Bytes;

/// Size and kind of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Endpoints, each with one manager.
    pub endpoints: usize,
    /// Executors each manager keeps.
    pub executors: u32,
    /// Workers of each executor.
    pub workers: u32,
    /// Tasks submitted in all.
    pub tasks: usize,
    /// Most tasks in one submit.
    pub batch: usize,
    /// Submits are spread over this time.
    pub submit_ms: u64,
    /// What calls do.
    pub calls: Calls,
    /// A process begins its round this long after something arrived, as one that is busy does; what arrives meanwhile is
    /// of the same round.
    pub round_us: u64,
    /// Every message passes through `wire::encode` and `decode`.
    pub encode: bool,
    /// Executors come from a scheduler, at most so many at once; `None`: they are processes of their manager's node.
    pub scheduler: Option<Scheduler>,
    /// Look through a machine's whole state only after every so many of its steps (1: always).
    pub scan_every: u64,
}

/// What calls do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// All succeed after at most a millisecond.
    Short,
    /// All succeed after one second.
    Second,
    /// Mostly short, some of seconds, some fail, time out, expire, kill their worker, have large arguments or a memoized
    /// result.
    Mixed,
}

/// A world to come: everything but its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its size.
    pub shape: Shape,
    /// Its faults, in any order.
    pub faults: Vec<Planned>,
}

impl Shape {
    /// What each executor has: slots of more than one core, mostly.
    pub(super) const HAS: Resources =
        Resources { cores: 4, memory_mb: 1_000, gpus: 1, nodes: 1, ranks_per_node: 0 };
}

impl Plan {
    /// A small world with random faults.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed_0fa1_7000);
        let shape = Shape {
            endpoints: 1 + pick(&mut rng, 2),
            executors: 1 + narrow(rng.below(2)),
            workers: 1 + narrow(rng.below(3)),
            tasks: 4 + pick(&mut rng, 40),
            batch: 1 + pick(&mut rng, 12),
            submit_ms: 1 + rng.below(20_000),
            calls: if rng.below(4) == 0 { Calls::Short } else { Calls::Mixed },
            round_us: 0,
            encode: rng.below(4) == 0,
            // Drawn apart: the other worlds stay what they were.
            scheduler: Scheduler::random(&mut Rng::new(seed ^ 0xba7c_4000)),
            scan_every: 1,
        };
        let count = rng.below(9);
        let span = 2_000 + rng.below(60_000);
        let faults =
            (0..count).map(|_| Planned { at_ms: rng.below(span), fault: Fault::random(&mut rng) }).collect();
        Self { shape, faults }
    }
}

fn pick(rng: &mut Rng, below: u64) -> usize {
    usize::try_from(rng.below(below)).unwrap_or(0)
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// How a call ends in its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Return,
    Raise,
    /// It takes its worker down, each time.
    Crash,
}

/// What one task's call does, and what is asked for with it. Derived from the task's id, so nothing is remembered.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) run_us: u64,
    pub(super) act: Act,
    /// Outlives SIGTERM by this long.
    pub(super) stubborn_us: u64,
    pub(super) args_len: usize,
    pub(super) retries: u32,
    pub(super) retry_on_error: u32,
    pub(super) timeout_ms: Option<u64>,
    pub(super) deadline_ms: u64,
    pub(super) asks: Option<Resources>,
}

/// Far enough that only a task that is stuck meets it: 30 days.
pub(super) const FAR_MS: u64 = 30 * 24 * 3_600_000;

impl Call {
    pub(super) fn of(task: &TaskId, calls: Calls) -> Self {
        let mut half = [0; 8];
        half.copy_from_slice(&task.as_bytes()[..8]);
        let mut rng = Rng::new(u64::from_be_bytes(half));
        let mut call = Self {
            run_us: rng.below(1_000),
            act: Act::Return,
            stubborn_us: 0,
            args_len: 16,
            retries: narrow(rng.below(4)),
            retry_on_error: 0,
            timeout_ms: None,
            deadline_ms: FAR_MS,
            asks: None,
        };
        match calls {
            Calls::Short => return call,
            Calls::Second => return Self { run_us: 1_000_000, ..call },
            Calls::Mixed => {}
        }
        call.run_us = match rng.below(10) {
            0..=3 => rng.below(2_000),
            4..=6 => rng.below(500_000),
            7..=8 => rng.below(5_000_000),
            _ => rng.below(40_000_000),
        };
        match rng.below(20) {
            0 => (call.act, call.retry_on_error) = (Act::Raise, narrow(rng.below(3))),
            1 => call.act = Act::Crash,
            2 => call.timeout_ms = Some(1 + rng.below(3_000)),
            3 => call.deadline_ms = 1 + rng.below(20_000),
            4 | 5 => call.args_len = 5_000,
            6 => call.args_len = 300_000,
            // Longer than some blocks.
            8 => call.timeout_ms = Some(20_000 + rng.below(180_000)),
            // It ends at about its timeout.
            7 => call.timeout_ms = Some((call.run_us / 1_000 + rng.below(3)).max(1)),
            _ => {}
        }
        if rng.below(4) == 0 {
            call.stubborn_us = rng.below(10_000_000);
        }
        if rng.below(4) == 0 {
            // At times more than any executor of a random world has.
            let (cores, gpus) = (narrow(rng.below(6)), narrow(rng.below(2)));
            let memory_mb = rng.below(3) * 500;
            call.asks = Some(Resources { cores, memory_mb, gpus, ..Resources::NONE });
        }
        call
    }

    /// The arguments, or the result, of a task: its id and padding.
    pub(super) fn bytes(task: &TaskId, len: usize) -> Bytes {
        let mut bytes = task.as_bytes().to_vec();
        bytes.resize(len.max(16), 7);
        Bytes::from(bytes)
    }
}
