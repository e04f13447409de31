//! A scheduler of batch jobs: blocks of one executor that wait, start, end by their walltime, are cancelled and fail. It
//! outlives managers, and tells them of a job only what they ask or have just asked for.

use super::{Due, Note, Pid, Us, World};
use crate::id::{BlockId, ExecutorId};
use crate::manager::{Event, Scale};
use crate::rng::Rng;

/// What the scheduler of a world gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduler {
    /// Time of each block.
    pub walltime_ms: u64,
    /// A job waits for at most so long.
    pub wait_ms: u64,
    /// A block without calls ends after this.
    pub idle_ms: u64,
}

impl Scheduler {
    /// Of some worlds.
    pub(super) fn random(rng: &mut Rng) -> Option<Self> {
        (rng.below(4) == 0).then(|| Self {
            walltime_ms: 30_000 + rng.below(150_000),
            wait_ms: 1 + rng.below(60_000),
            idle_ms: rng.below(20_000),
        })
    }

    pub(super) fn scale(self, most: u32, slots: u32) -> Scale {
        let walltime_ms = Some(self.walltime_ms);
        let idle_ms = self.idle_ms;
        Scale { init: 0, min: 0, slots, idle_ms, walltime_ms, scheduler: true, ..Scale::fixed(most) }
    }
}

/// How a job fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running { ends: Us },
    Over,
}

/// A job that its managers may still ask for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) executor: ExecutorId,
    pub(super) dir: usize,
    state: State,
}

impl World {
    /// A manager wants a block: refused, or a job that waits.
    pub(super) fn submit_job(&mut self, pid: Pid, block: BlockId, executor: ExecutorId) {
        let Some((index, dir, scheduler)) = self.at_scheduler(pid) else { return };
        // Asked for, whatever becomes of the manager.
        self.endpoints[index].jobs.insert(block, Job { executor, dir, state: State::Waiting });
        let delay = self.soon(1_000_000);
        if self.rng.below(15) == 0 {
            return self.at(delay, Due::JobEnds(index, block, Some(pid)));
        }
        self.tell(pid, delay, Event::BlockWaiting { block, reason: "submitted".into() });
        let wait = delay + self.soon(scheduler.wait_ms * 1_000);
        self.at(wait, Due::JobStarts(index, block));
    }

    fn at_scheduler(&self, pid: Pid) -> Option<(usize, usize, Scheduler)> {
        let proc = self.managers.get(&pid)?;
        Some((proc.endpoint, proc.dir, self.shape.scheduler?))
    }

    fn tell(&mut self, pid: Pid, delay: Us, event: Event) {
        self.at(delay, Due::Post(pid, Box::new(Note::Manager(event))));
    }

    pub(super) fn job_starts(&mut self, index: usize, block: BlockId) {
        let Some(walltime_ms) = self.shape.scheduler.map(|scheduler| scheduler.walltime_ms) else { return };
        let (ends, fails) = (self.now + walltime_ms * 1_000, self.rng.below(15) == 0);
        let Some(job) = self.endpoints[index].jobs.get_mut(&block) else { return };
        if job.state != State::Waiting {
            return;
        }
        job.state = if fails { State::Over } else { State::Running { ends } };
        let (executor, dir) = (job.executor, job.dir);
        if !fails {
            self.start_executor(index, dir, executor, "its job began");
            self.at(walltime_ms * 1_000, Due::JobEnds(index, block, None));
        }
    }

    /// Its time is over, it is cancelled, or it was refused; whoever waits for that is told.
    pub(super) fn job_ends(&mut self, index: usize, block: BlockId, asked_by: Option<Pid>) {
        let Some(job) = self.endpoints[index].jobs.get_mut(&block) else { return };
        job.state = State::Over;
        let executor = job.executor;
        let running = self.executors.iter().find(|(_, proc)| proc.id == executor).map(|(pid, _)| *pid);
        if let Some(pid) = running {
            self.end_executor(pid, true, "its job ended");
        }
        if let Some(pid) = asked_by.filter(|pid| self.managers.contains_key(pid)) {
            self.endpoints[index].jobs.remove(&block);
            self.tell(pid, 0, Event::BlockEnded { block, why: "as asked, or refused".into() });
        }
    }

    pub(super) fn cancel_job(&mut self, pid: Pid, block: BlockId) {
        let Some((index, ..)) = self.at_scheduler(pid) else { return };
        let delay = self.soon(2_000_000);
        self.at(delay, Due::JobEnds(index, block, Some(pid)));
    }

    /// The process of a job ended, and so it did.
    pub(super) fn job_lost(&mut self, index: usize, executor: ExecutorId) {
        for job in self.endpoints[index].jobs.values_mut().filter(|job| job.executor == executor) {
            job.state = State::Over;
        }
    }

    /// Answers how the blocks of a manager's directory fare; now and then it does not.
    pub(super) fn tell_jobs(&mut self, pid: Pid) {
        let Some((index, dir, _)) = self.at_scheduler(pid) else { return };
        let delay = self.soon(500_000);
        if self.rng.below(8) == 0 {
            return self.tell(pid, delay, Event::ProviderAnswered { trouble: Some("busy".into()) });
        }
        let now = self.now;
        let mut events = Vec::new();
        self.endpoints[index].jobs.retain(|block, job| {
            let block = *block;
            if job.dir == dir {
                events.push(match job.state {
                    State::Waiting => Event::BlockWaiting { block, reason: "resources".into() },
                    State::Running { ends } => {
                        Event::BlockStarted { block, left_ms: Some(ends.saturating_sub(now) / 1_000) }
                    }
                    State::Over => Event::BlockEnded { block, why: "over".into() },
                });
            }
            job.dir != dir || job.state != State::Over
        });
        events.push(Event::ProviderAnswered { trouble: None });
        for event in events {
            self.tell(pid, delay, event);
        }
    }
}
