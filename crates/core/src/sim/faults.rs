//! What goes wrong, and when: a list of faults that a world works through.
//!
//! Owns the kinds of faults and their effects on processes and connections. A fault whose victim does not exist at its
//! time does nothing, so a list stays meaningful when `proptest` removes parts of it.

use super::node::Directory;
use super::{Due, Note, Pid, Us, World};
use crate::executor;
use crate::hub;
use crate::id::ConnId;
use crate::manager;
use crate::rng::Rng;

/// One fault at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Milliseconds after the start of the world.
    pub at_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// Something that goes wrong. `victim` numbers are taken modulo what exists at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The service dies and comes back.
    CrashService {
        /// After this.
        down_ms: u64,
    },
    /// A manager dies and its watchdog starts another.
    CrashManager {
        /// Which.
        victim: u8,
        /// After this.
        down_ms: u64,
    },
    /// An executor and its workers die.
    CrashExecutor {
        /// Which.
        victim: u8,
        /// Its manager sees its process die.
        seen: bool,
    },
    /// An executor is told to stop in order.
    StopExecutor {
        /// Which.
        victim: u8,
    },
    /// A worker dies by SIGKILL.
    CrashWorker {
        /// Which.
        victim: u8,
    },
    /// A manager's link to the service breaks.
    BreakHubLink {
        /// Which.
        victim: u8,
        /// Nobody notices for this long.
        silent_ms: u64,
    },
    /// An executor's link to its manager breaks.
    BreakExecutorLink {
        /// Which.
        victim: u8,
        /// Nobody notices for this long.
        silent_ms: u64,
    },
    /// Any link stops passing messages for a while and then goes on.
    Freeze {
        /// Which.
        victim: u8,
        /// For how long.
        ms: u64,
    },
    /// Any link delivers one message otherwise than it was sent, and nobody is told.
    Misdeliver {
        /// Which.
        victim: u8,
        /// How.
        slip: Slip,
    },
    /// Another manager of an endpoint is started although one lives.
    SecondManager {
        /// Which endpoint.
        victim: u8,
        /// From where.
        from: Second,
    },
    /// A manager is told to stop, and started again later.
    StopManager {
        /// Which.
        victim: u8,
        /// Time for its running calls.
        grace_ms: u64,
    },
    /// An endpoint's key is revoked, and allowed again later.
    Revoke {
        /// Which endpoint.
        victim: u8,
        /// For how long.
        ms: u64,
    },
    /// A user deletes an endpoint.
    DeleteEndpoint {
        /// Which.
        victim: u8,
    },
    /// The service is stopped (SIGSTOP) and goes on later.
    SuspendService {
        /// For how long.
        ms: u64,
    },
    /// A manager is stopped and goes on later.
    SuspendManager {
        /// Which.
        victim: u8,
        /// For how long.
        ms: u64,
    },
    /// An executor (not its workers) is stopped and goes on later.
    SuspendExecutor {
        /// Which.
        victim: u8,
        /// For how long.
        ms: u64,
    },
    /// The store writes nothing for a while.
    StoreFails {
        /// For how long.
        ms: u64,
    },
    /// The store needs this long for each group for a while.
    SlowStore {
        /// How slow.
        ms: u64,
    },
    /// The wall clock of the service's host jumps.
    WallStep {
        /// By this.
        by_ms: i64,
    },
    /// A user cancels some of the tasks.
    Cancel {
        /// Every task whose number is a multiple of this plus one.
        every: u8,
    },
    /// For a while users cancel calls at about the instant at which they end.
    CancelRaces {
        /// For how long.
        ms: u64,
    },
}

/// What a link may do to one message: nothing that ZeroMQ does on one connection (FABRIC §3), all of it seen by F3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    /// It never arrives.
    Lost,
    /// It arrives twice.
    Twice,
    /// It arrives before the one that was sent before it.
    Swapped,
}

/// Where a second manager comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// The same directory: the lease of F6 failed.
    SameDirectory,
    /// A copy of the directory, made before the present manager raised its generation.
    OldCopy,
    /// A copy of the directory as it is.
    NewCopy,
}

impl Planned {
    /// When the fault itself is over, in milliseconds after the start of the world.
    pub(super) const fn over_ms(&self) -> u64 {
        let lasts = match self.fault {
            Fault::CrashService { down_ms } | Fault::CrashManager { down_ms, .. } => down_ms,
            Fault::BreakHubLink { silent_ms, .. } | Fault::BreakExecutorLink { silent_ms, .. } => silent_ms,
            Fault::Freeze { ms, .. } | Fault::Revoke { ms, .. } => ms,
            Fault::SuspendService { ms } | Fault::StoreFails { ms } | Fault::CancelRaces { ms } => ms,
            Fault::SuspendManager { ms, .. } | Fault::SuspendExecutor { ms, .. } => ms,
            Fault::StopManager { grace_ms, .. } => grace_ms + 10_000,
            _ => 0,
        };
        self.at_ms + lasts
    }
}

impl Fault {
    /// Any fault.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        let victim = u8::try_from(rng.below(256)).unwrap_or(0);
        let seen = rng.below(2) == 0;
        let silent_ms = if rng.below(2) == 0 { 0 } else { rng.below(40_000) };
        let ms = match rng.below(3) {
            0 => rng.below(1_000),
            1 => rng.below(12_000),
            _ => rng.below(70_000),
        };
        let down_ms = if rng.below(2) == 0 { rng.below(500) } else { rng.below(20_000) };
        match rng.below(31) {
            0..=2 => Self::CrashService { down_ms },
            3..=5 => Self::CrashManager { victim, down_ms },
            6 | 7 => Self::CrashExecutor { victim, seen },
            8 | 9 => Self::CrashWorker { victim },
            10..=12 => Self::BreakHubLink { victim, silent_ms },
            13..=15 => Self::BreakExecutorLink { victim, silent_ms },
            16 => Self::Freeze { victim, ms },
            17 | 28 => Self::Misdeliver {
                victim,
                slip: match rng.below(3) {
                    0 => Slip::Lost,
                    1 => Slip::Twice,
                    _ => Slip::Swapped,
                },
            },
            18 => Self::SecondManager {
                victim,
                from: match rng.below(4) {
                    0 | 1 => Second::SameDirectory,
                    2 => Second::OldCopy,
                    _ => Second::NewCopy,
                },
            },
            19 => Self::StopManager { victim, grace_ms: ms / 4 },
            20 => match rng.below(2) {
                0 => Self::Revoke { victim, ms },
                _ => Self::DeleteEndpoint { victim },
            },
            21 => Self::SuspendService { ms },
            22 => Self::SuspendManager { victim, ms },
            23 => Self::SuspendExecutor { victim, ms },
            24 => Self::StoreFails { ms: ms / 8 },
            25 => Self::SlowStore { ms: ms / 50 },
            26 => {
                // Minutes, as a time server would; or days, as someone who sets the date.
                let most = [300_000, 10 * 86_400_000][usize::from(seen)];
                let by_ms = rng.below(2 * most) as i64 - most as i64;
                Self::WallStep { by_ms }
            }
            27 => Self::StopExecutor { victim },
            29 => Self::CancelRaces { ms },
            _ => Self::Cancel { every: 1 + victim % 6 },
        }
    }

    /// A fault after which every executor still lives and can be reached in time: I4's kind.
    #[must_use]
    pub const fn spares_executors(&self) -> bool {
        matches!(self, Self::CrashService { .. } | Self::CrashManager { .. } | Self::BreakHubLink { .. })
            || matches!(self, Self::BreakExecutorLink { silent_ms: 0, .. } | Self::Misdeliver { .. })
    }
}

fn choose<T: Copy>(items: &[T], victim: u8) -> Option<T> {
    items.get((victim as usize).checked_rem(items.len())?).copied()
}

impl World {
    /// Carries a fault out.
    pub(super) fn strike(&mut self, fault: Fault) {
        self.trace(|| format!("FAULT {fault:?}"));
        self.check.faulty |= !matches!(fault, Fault::Cancel { .. } | Fault::CancelRaces { .. });
        let ms = |ms: u64| ms * 1_000;
        match fault {
            Fault::CrashService { down_ms } => self.crash_service(ms(down_ms)),
            Fault::CrashManager { victim, down_ms } => {
                if let Some(pid) = self.any_manager(victim) {
                    self.end_manager(pid, Some(ms(down_ms)));
                }
            }
            Fault::CrashExecutor { victim, seen } => {
                if let Some(pid) = self.any_executor(victim) {
                    self.end_executor(pid, seen, "crash");
                }
            }
            Fault::StopExecutor { victim } => {
                self.check.disturb();
                if let Some(pid) = self.any_executor(victim) {
                    self.post(pid, Note::Executor(executor::Event::Stop));
                }
            }
            Fault::CrashWorker { victim } => self.crash_any_worker(victim),
            Fault::BreakHubLink { victim, silent_ms } => {
                self.break_link(victim, ms(silent_ms), |conn| conn.executor.is_none());
            }
            Fault::BreakExecutorLink { victim, silent_ms } => {
                self.check.disturb();
                self.break_link(victim, ms(silent_ms), |conn| conn.executor.is_some());
            }
            Fault::Freeze { victim, ms } => {
                self.check.disturb();
                if let Some(conn) = choose(&self.net.living(|_| true), victim) {
                    self.net.freeze(conn, self.now + ms * 1_000);
                }
            }
            Fault::Misdeliver { victim, slip } => {
                self.check.disturb();
                if let Some(conn) = choose(&self.net.living(|_| true), victim) {
                    self.net.slip_next(conn, slip);
                }
            }
            Fault::SecondManager { victim, from } => self.second_manager(victim, from),
            Fault::StopManager { victim, grace_ms } => self.stop_manager(victim, grace_ms),
            Fault::Revoke { victim, ms } => self.revoke(victim, ms * 1_000),
            Fault::DeleteEndpoint { victim } => self.delete_endpoint(victim),
            // F34: that the service or a manager slept is no reason to take an executor for lost.
            Fault::SuspendService { .. } | Fault::SuspendManager { .. } => self.suspend(fault),
            Fault::SuspendExecutor { .. } => {
                self.check.disturb();
                self.suspend(fault);
            }
            Fault::StoreFails { ms } => self.store_fails_until = self.now + ms * 1_000,
            Fault::SlowStore { ms } => {
                self.store_slow = ms * 1_000;
                self.store_slow_until = self.now + 20_000_000;
            }
            Fault::WallStep { by_ms } => self.wall_offset_ms += by_ms,
            Fault::Cancel { every } => self.cancel_some(every),
            Fault::CancelRaces { ms } => self.races_until = self.now + ms * 1_000,
        }
    }

    fn any_manager(&self, victim: u8) -> Option<Pid> {
        let pids: Vec<Pid> = self.managers.keys().copied().collect();
        choose(&pids, victim)
    }

    fn any_executor(&self, victim: u8) -> Option<Pid> {
        let pids: Vec<Pid> = self.executors.keys().copied().collect();
        choose(&pids, victim)
    }

    fn crash_any_worker(&mut self, victim: u8) {
        let busy = |working: bool| {
            self.executors
                .iter()
                .flat_map(|(pid, proc)| proc.workers.iter().map(|(id, worker)| (*pid, *id, worker)))
                .filter(|(_, _, worker)| worker.ready && (!working || worker.running().is_some()))
                .map(|(pid, id, _)| (pid, id))
                .collect::<Vec<_>>()
        };
        if let Some((pid, worker)) = choose(&busy(true), victim).or_else(|| choose(&busy(false), victim)) {
            self.end_worker(pid, worker, Some(9), None);
        }
    }

    fn break_link(&mut self, victim: u8, silence: Us, keep: impl Fn(&super::link::Conn) -> bool) {
        if let Some(conn) = choose(&self.net.living(keep), victim) {
            self.sever(conn, silence);
        }
    }

    /// Ends a connection; both ends learn of it after `silence` if they did not by themselves.
    pub(super) fn sever(&mut self, conn: ConnId, silence: Us) {
        let Some(link) = self.net.get(conn) else { return };
        let connector = link.connector;
        let late = [0, 5_000, 2_000_000][usize::try_from(self.rng.below(3)).unwrap_or(0)];
        self.net.sever(self.now, &mut self.rng, conn, silence, late);
        let delay = silence + self.rng.below(5_000);
        self.at(delay, Due::LinkLost(connector, conn));
    }

    fn suspend(&mut self, fault: Fault) {
        match fault {
            Fault::SuspendService { ms } => {
                if let Some(service) = &mut self.service {
                    service.desk.asleep_until = self.now + ms * 1_000;
                }
            }
            Fault::SuspendManager { victim, ms } => {
                if let Some(proc) = self.any_manager(victim).and_then(|pid| self.managers.get_mut(&pid)) {
                    proc.desk.asleep_until = self.now + ms * 1_000;
                }
            }
            Fault::SuspendExecutor { victim, ms } => {
                if let Some(proc) = self.any_executor(victim).and_then(|pid| self.executors.get_mut(&pid)) {
                    proc.desk.asleep_until = self.now + ms * 1_000;
                }
            }
            _ => {}
        }
    }

    fn second_manager(&mut self, victim: u8, from: Second) {
        let index = victim as usize % self.endpoints.len();
        let Some(dir) = self.endpoints[index].dirs.iter().position(|dir| dir.watchdogs > 0) else { return };
        let original = self.endpoints[index].dirs[dir].clone();
        let dir = match from {
            Second::SameDirectory => {
                self.endpoints[index].dirs[dir].watchdogs += 1;
                dir
            }
            Second::OldCopy | Second::NewCopy => {
                let back = u64::from(from == Second::OldCopy);
                let generation = original.generation.saturating_sub(back);
                self.endpoints[index].dirs.push(Directory {
                    generation,
                    address: None,
                    watchdogs: 1,
                    ..original
                });
                self.endpoints[index].dirs.len() - 1
            }
        };
        self.check.disturb();
        self.start_manager(index, dir);
    }

    fn stop_manager(&mut self, victim: u8, grace_ms: u64) {
        self.check.disturb();
        if let Some(pid) = self.any_manager(victim) {
            if let Some(proc) = self.managers.get_mut(&pid) {
                proc.stopping = true;
            }
            self.post(pid, Note::Manager(manager::Event::Stop { grace_ms }));
        }
    }

    fn revoke(&mut self, victim: u8, length: Us) {
        let index = victim as usize % self.endpoints.len();
        if self.endpoints[index].revoked {
            return;
        }
        self.check.disturb();
        self.endpoints[index].revoked = true;
        self.endpoints[index].was_revoked = true;
        let endpoint = self.endpoints[index].id;
        if let Some(service) = &self.service {
            self.post(service.pid, Note::Hub(hub::Event::Revoked { endpoint }));
        }
        self.at(length, Due::Allow(index));
    }
}
