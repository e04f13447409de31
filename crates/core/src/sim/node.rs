//! Processes: an inbox, a machine, and the round of a driver around it.
//!
//! A process wakes shortly after something arrived or when its machine's deadline has come, hands everything that
//! waits to its machine, flushes it, and performs the actions: what the real drivers do, without IO.

use super::link::Way;
use super::worker::Worker;
use super::{Due, Note, Pid, Us, World};
use crate::executor::{self, Executor};
use crate::hub::{self, Hub};
use crate::id::{ConnId, ExecutorId, WorkerId};
use crate::limits;
use crate::manager::{self, Manager};
use crate::time::{Fine, Mono, Now};
use std::collections::{BTreeMap, VecDeque};

/// What every process has.
#[derive(Debug)]
pub(super) struct Desk<E> {
    inbox: VecDeque<E>,
    /// When its machine asked for a `Tick`, after its last round.
    deadline: Option<Mono>,
    /// When it wakes next, if that is arranged.
    pub(super) wake_at: Option<Us>,
    /// Stopped (SIGSTOP, laptop lid) until then.
    pub(super) asleep_until: Us,
    /// It never had a `Tick`: machines act first with it.
    fresh: bool,
}

impl<E> Default for Desk<E> {
    fn default() -> Self {
        Self { inbox: VecDeque::new(), deadline: None, wake_at: None, asleep_until: 0, fresh: true }
    }
}

impl<E> Desk<E> {
    pub(super) fn post(&mut self, event: E) {
        self.inbox.push_back(event);
    }

    /// Everything that a driver would take in one round, a `tick` among it if one is due.
    pub(super) fn take_round(&mut self, now: Now, tick_first: bool, tick: E) -> Vec<E> {
        let due = self.deadline.is_some_and(|at| at <= now.mono);
        let count = self.inbox.len().min(limits::ROUND_EVENTS);
        let mut events: Vec<E> = self.inbox.drain(..count).collect();
        if std::mem::take(&mut self.fresh) || (due && tick_first) {
            events.insert(0, tick);
        } else if due {
            events.push(tick);
        }
        events
    }

    /// Its round is over, and its machine wants a `Tick` at `deadline`; also says whether nothing waits.
    fn rest(&mut self, deadline: Option<Mono>) -> (Option<Mono>, bool) {
        self.deadline = deadline;
        (deadline, self.inbox.is_empty())
    }
}

/// The service: a hub and the store's client.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) pid: Pid,
    pub(super) hub: Hub,
    pub(super) desk: Desk<hub::Event>,
}

/// A manager's process.
#[derive(Debug)]
pub(super) struct ManagerProc {
    pub(super) manager: Manager,
    pub(super) desk: Desk<manager::Event>,
    pub(super) endpoint: usize,
    /// Which directory of the endpoint it was started from.
    pub(super) dir: usize,
    pub(super) generation: u64,
    /// Its socket to the service.
    pub(super) link: Option<ConnId>,
    /// Number of its newest connect.
    pub(super) ticket: u64,
    /// Told to stop in order.
    pub(super) stopping: bool,
}

/// An executor's process with its workers.
#[derive(Debug)]
pub(super) struct ExecutorProc {
    pub(super) executor: Executor,
    pub(super) id: ExecutorId,
    pub(super) desk: Desk<executor::Event>,
    pub(super) endpoint: usize,
    pub(super) dir: usize,
    pub(super) link: Option<ConnId>,
    pub(super) ticket: u64,
    /// Most credit it ever offered (I7).
    pub(super) offered: u32,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    /// No worker can be started here until then.
    pub(super) broken_until: Us,
}

/// An endpoint's directory on disk: what its watchdog starts a manager from.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    pub(super) generation: u64,
    pub(super) hints: Vec<ExecutorId>,
    /// The manager that wrote the connection file last.
    pub(super) address: Option<Pid>,
    /// Watchdogs that start a manager here whenever theirs dies: one, unless the lease of F6 failed.
    pub(super) watchdogs: u32,
}

/// Both clocks at a moment of the world.
pub(super) fn clock(now: Us, wall_offset_ms: i64) -> Now {
    const EPOCH_MS: u64 = 1_700_000_000_000;
    let mono = now / 1_000;
    let wall = (EPOCH_MS + mono).saturating_add_signed(wall_offset_ms);
    Now { mono: Mono(mono), fine: Fine(now * 1_000), wall: crate::time::Wall(wall) }
}

impl World {
    /// Gives a process an event; it wakes soon. Events for the dead are lost.
    pub(super) fn post(&mut self, pid: Pid, note: Note) {
        match note {
            Note::Hub(event) => match &mut self.service {
                Some(service) if service.pid == pid => service.desk.post(event),
                _ => return,
            },
            Note::Manager(event) => match self.managers.get_mut(&pid) {
                Some(proc) => proc.desk.post(event),
                None => return,
            },
            Note::Executor(event) => match self.executors.get_mut(&pid) {
                Some(proc) => proc.desk.post(event),
                None => return,
            },
        }
        let delay = 10 + self.soon(200) + self.shape.round_us;
        self.rouse(pid, delay);
    }

    /// When a process wakes, and until when it sleeps.
    fn desk_times(&mut self, pid: Pid) -> Option<(&mut Option<Us>, Us)> {
        if let Some(service) = self.service.as_mut().filter(|service| service.pid == pid) {
            return Some((&mut service.desk.wake_at, service.desk.asleep_until));
        }
        if let Some(proc) = self.managers.get_mut(&pid) {
            return Some((&mut proc.desk.wake_at, proc.desk.asleep_until));
        }
        self.executors.get_mut(&pid).map(|proc| (&mut proc.desk.wake_at, proc.desk.asleep_until))
    }

    /// Arranges that a process does a round after `delay` at the latest.
    pub(super) fn rouse(&mut self, pid: Pid, delay: Us) {
        let at = self.now + delay;
        let Some((wake_at, _)) = self.desk_times(pid) else { return };
        if wake_at.is_none_or(|before| at < before) {
            *wake_at = Some(at);
            self.at(delay, Due::Wake(pid));
        }
    }

    /// A process may do a round.
    pub(super) fn wake(&mut self, pid: Pid) {
        let now = self.now;
        let Some((wake_at, asleep_until)) = self.desk_times(pid) else { return };
        if *wake_at != Some(now) {
            return;
        }
        *wake_at = None;
        if asleep_until > now {
            return self.rouse(pid, asleep_until - now);
        }
        if self.service.as_ref().is_some_and(|service| service.pid == pid) {
            self.service_round();
        } else if self.managers.contains_key(&pid) {
            self.manager_round(pid);
        } else {
            self.executor_round(pid);
        }
        self.arrange_tick(pid);
    }

    fn arrange_tick(&mut self, pid: Pid) {
        let service = self.service.as_mut().filter(|service| service.pid == pid);
        let (deadline, idle) = if let Some(service) = service {
            service.desk.rest(service.hub.next_deadline())
        } else if let Some(proc) = self.managers.get_mut(&pid) {
            proc.desk.rest(proc.manager.next_deadline())
        } else if let Some(proc) = self.executors.get_mut(&pid) {
            proc.desk.rest(proc.executor.next_deadline())
        } else {
            return;
        };
        if let Some(Mono(at)) = deadline {
            let delay = (at * 1_000).saturating_sub(self.now).max(50);
            self.rouse(pid, delay);
        }
        if !idle {
            self.rouse(pid, 10);
        }
    }

    /// A message may arrive: what its reader gets is what a real socket would give it.
    pub(super) fn arrive(&mut self, id: ConnId, way: Way) {
        let Some(conn) = self.net.get(id) else { return };
        let (connector, acceptor) = (conn.connector, conn.acceptor);
        let (index, executor) = (conn.endpoint, conn.executor);
        let message = match self.net.arrive(self.now, id, way) {
            Ok(message) => message,
            Err(Some(at)) => return self.at(at - self.now, Due::Arrive(id, way)),
            Err(None) => return,
        };
        match (way, executor) {
            (Way::Up, None) if self.endpoints[index].revoked => {}
            (Way::Up, None) => {
                let endpoint = self.endpoints[index].id;
                self.post(acceptor, Note::Hub(hub::Event::Message { conn: id, endpoint, message }));
            }
            (Way::Up, Some(executor)) => {
                let event = manager::Event::FromExecutor { conn: id, executor, message };
                self.post(acceptor, Note::Manager(event));
            }
            (Way::Down, None) => {
                if self.managers.get(&connector).is_some_and(|proc| proc.link == Some(id)) {
                    self.post(connector, Note::Manager(manager::Event::FromHub { message }));
                }
            }
            (Way::Down, Some(_)) => {
                if self.executors.get(&connector).is_some_and(|proc| proc.link == Some(id)) {
                    self.post(connector, Note::Executor(executor::Event::FromManager { message }));
                }
            }
        }
    }
}
