//! An endpoint's processes: managers and executors, their rounds, their connects, their starts and ends.

use super::link::Way;
use super::node::{Desk, ExecutorProc, ManagerProc};
use super::{Due, Note, Pid, Shape, Us, World};
use crate::executor::{self, Executor};
use crate::id::{BlockId, ConnId, ExecutorId, ManagerId};
use crate::manager::route::Routing;
use crate::manager::{self, ExitReason, Manager};
use std::collections::BTreeMap;

impl World {
    pub(super) fn start_manager(&mut self, index: usize, dir: usize) {
        let pid = self.fresh_pid();
        let directory = &mut self.endpoints[index].dirs[dir];
        directory.generation += 1;
        directory.address = Some(pid);
        let (generation, hints) = (directory.generation, directory.hints.clone());
        let lives = |id: &ExecutorId| self.executors.values().any(|proc| proc.dir == dir && proc.id == *id);
        let processes = self.endpoints[index].blocks.iter().filter(|(_, executor)| lives(executor));
        let jobs = self.endpoints[index].jobs.iter().filter(|(_, job)| job.dir == dir);
        let jobs = jobs.map(|(block, job)| (block, &job.executor));
        let found = processes.chain(jobs).map(|(block, executor)| (*block, vec![*executor])).collect();
        let (most, slots) = (self.shape.executors, self.shape.workers);
        let config = manager::Config {
            endpoint: self.endpoints[index].id,
            manager: ManagerId::from_bytes(self.rng.uuid()),
            generation,
            host: format!("host{}", pid.0),
            software: "sim".into(),
            python: "3.12".into(),
            scale: self.shape.scheduler.map_or(manager::Scale::fixed(most), |one| one.scale(most, slots)),
            found,
            hints: hints.clone(),
            heartbeat_ms: 2_000,
            threshold_ms: 6_000,
            adopt_ms: 12_000,
            routing: Routing::Soft,
            allows: manager::Allows::default(),
            seed: self.rng.next(),
        };
        self.trace(|| format!("M{} starts: e{index}, dir {dir}, generation {generation}", pid.0));
        let manager = Manager::new(config, self.clock());
        let proc = ManagerProc {
            manager,
            desk: Desk::default(),
            endpoint: index,
            dir,
            generation,
            link: None,
            ticket: 0,
            stopping: false,
        };
        self.managers.insert(pid, proc);
        self.rouse(pid, 0);
        // A local provider knows which processes of its hints are dead; a remote one may never say.
        let dead: Vec<ExecutorId> =
            hints.into_iter().filter(|id| self.endpoints[index].gone.contains(id)).collect();
        for executor in dead {
            if self.rng.below(2) == 0 {
                self.tell_gone(pid, executor, 2_000_000);
            }
        }
    }

    /// A scheduler tells of its jobs only.
    fn tell_gone(&mut self, pid: Pid, executor: ExecutorId, within: Us) {
        if self.shape.scheduler.is_some() {
            return;
        }
        let event = manager::Event::ExecutorGone { executor, why: "its process is gone".into() };
        let delay = self.soon(within);
        self.at(delay, Due::Post(pid, Box::new(Note::Manager(event))));
    }

    /// A manager's process ends; its watchdog starts another after `restart`.
    pub(super) fn end_manager(&mut self, pid: Pid, restart: Option<Us>) {
        let Some(proc) = self.managers.remove(&pid) else { return };
        self.trace(|| format!("M{} ends, restart {restart:?}", pid.0));
        if let Some(conn) = proc.link {
            let silence = if self.rng.below(4) == 0 { 35_000_000 } else { 0 };
            self.sever(conn, silence);
        }
        self.drop_acceptor(pid);
        if let Some(delay) = restart {
            self.restarts += 1;
            self.at(delay, Due::StartManager(proc.endpoint, proc.dir));
        }
    }

    fn manager_exits(&mut self, pid: Pid, reason: ExitReason, text: &str) {
        let Some(proc) = self.managers.get(&pid) else { return };
        let (index, dir, stopping) = (proc.endpoint, proc.dir, proc.stopping);
        self.trace(|| format!("M{} exits: {reason:?}, {text}", pid.0));
        match reason {
            ExitReason::Stopped if stopping => {
                let delay = 1_000_000 + self.soon(4_000_000);
                self.end_manager(pid, Some(delay));
            }
            ExitReason::Stopped => self.check.fail("F38", "a manager stopped that nobody told to".into()),
            ExitReason::Refused => {
                self.endpoints[index].dirs[dir].watchdogs -= 1;
                self.end_manager(pid, None);
                if self.endpoints[index].was_revoked && !self.endpoints[index].revoked {
                    self.at(5_000_000, Due::Allow(index));
                }
            }
        }
    }

    /// The owner of an endpoint that was revoked got it a new key, and starts it again if it is down.
    pub(super) fn allow(&mut self, index: usize) {
        self.endpoints[index].revoked = false;
        let lives = self.managers.values().any(|proc| proc.endpoint == index);
        if self.endpoints[index].deleted || lives {
            return;
        }
        let count = self.endpoints[index].dirs.len() as u64;
        let dir = usize::try_from(self.rng.below(count)).unwrap_or(0);
        self.endpoints[index].dirs[dir].watchdogs += 1;
        self.start_manager(index, dir);
    }

    /// One round of a manager.
    pub(super) fn manager_round(&mut self, pid: Pid) {
        let now = self.clock();
        let tick_first = self.rng.below(2) == 0;
        let Some(proc) = self.managers.get_mut(&pid) else { return };
        let events = proc.desk.take_round(now, tick_first, manager::Event::Tick);
        if events.is_empty() {
            return;
        }
        self.steps += 1;
        self.check.step();
        let mut out = Vec::new();
        for event in events {
            if self.trace.is_on() {
                let line = format!("M{} < {}", pid.0, self.check.show_manager_event(&event));
                self.trace.add(self.now, || line);
            }
            proc.manager.handle(now, event, &mut out);
        }
        proc.manager.flush(now, &mut out);
        self.check.manager_says(proc, &out);
        if self.steps.is_multiple_of(self.shape.scan_every) {
            self.check.scan_manager(proc);
        }
        for action in out {
            self.perform_manager(pid, action);
        }
    }

    fn perform_manager(&mut self, pid: Pid, action: manager::Action) {
        use manager::Action;
        let Some(proc) = self.managers.get_mut(&pid) else { return };
        let (index, dir) = (proc.endpoint, proc.dir);
        match action {
            Action::Connect => self.connect(pid),
            Action::Disconnect => self.disconnect(pid),
            Action::SendHub { message } => {
                let Some(conn) = proc.link else { return };
                if !self.transmit(conn, Way::Up, message, &format!("M{}", pid.0)) {
                    self.link_lost(pid, conn);
                }
            }
            Action::SendExecutor { conn, message } => {
                if !self.transmit(conn, Way::Down, message, &format!("M{}", pid.0)) {
                    self.post(pid, Note::Manager(manager::Event::Unreachable { conn }));
                }
            }
            Action::Launch { block, executors } if self.shape.scheduler.is_some() => {
                for executor in executors {
                    self.submit_job(pid, block, executor);
                }
            }
            Action::Launch { block, executors } => {
                for executor in executors {
                    self.endpoints[index].blocks.insert(block, executor);
                    let delay = 10_000 + self.soon(600_000);
                    self.at(delay, Due::Launch { asked_by: pid, block, executor });
                }
            }
            Action::CancelBlock { block } if self.shape.scheduler.is_some() => self.cancel_job(pid, block),
            Action::CancelBlock { block } => {
                if let Some(executor) = self.endpoints[index].blocks.get(&block).copied() {
                    let delay = self.soon(50_000);
                    self.at(delay, Due::Kill(pid, executor));
                }
            }
            Action::AskProvider => self.tell_jobs(pid),
            Action::SaveHints { executors } => {
                // On disk before it is said; a crash in between is a crash after.
                self.endpoints[index].dirs[dir].hints = executors;
                let delay = self.soon(5_000);
                self.at(delay, Due::Post(pid, Box::new(Note::Manager(manager::Event::HintsSaved))));
            }
            // The lease is another manager's: this one ends, and its watchdog starts anew (F6).
            Action::RaiseGeneration { .. } if self.endpoints[index].dirs[dir].address != Some(pid) => {
                self.end_manager(pid, Some(1_000_000));
            }
            Action::RaiseGeneration { above } => {
                let directory = &mut self.endpoints[index].dirs[dir];
                directory.generation = directory.generation.max(above) + 1;
                let generation = directory.generation;
                proc.generation = generation;
                let event = manager::Event::GenerationRaised { generation };
                let delay = self.soon(5_000);
                self.at(delay, Due::Post(pid, Box::new(Note::Manager(event))));
            }
            Action::Exit { reason, text } => self.manager_exits(pid, reason, &text),
            Action::Log { text } => self.trace(|| format!("M{} log {text}", pid.0)),
            Action::Close { conn } => self.trace(|| format!("M{} closes c{}", pid.0, conn.0)),
            Action::Ready => {}
        }
    }

    pub(super) fn launch(&mut self, asked_by: Pid, block: BlockId, executor: ExecutorId) {
        let Some(proc) = self.managers.get(&asked_by) else { return };
        let (index, dir) = (proc.endpoint, proc.dir);
        if self.endpoints[index].gone.contains(&executor) {
            return;
        }
        if self.rng.below(20) == 0 {
            self.endpoints[index].gone.insert(executor);
            self.tell_gone(asked_by, executor, 2_000_000);
            return;
        }
        self.start_executor(index, dir, executor, &format!("asked by M{}", asked_by.0));
        self.post(asked_by, Note::Manager(manager::Event::BlockStarted { block, left_ms: None }));
    }

    pub(super) fn start_executor(&mut self, index: usize, dir: usize, executor: ExecutorId, why: &str) {
        let pid = self.fresh_pid();
        let idle_ms = 5_000 + self.rng.below(60_000);
        let config = executor::Config {
            executor,
            host: format!("node{}", pid.0),
            software: "sim".into(),
            workers: self.shape.workers,
            has: Shape::HAS,
            accelerated: false,
            idle_ms,
            min_warm: u32::try_from(idle_ms % 3).unwrap_or(0),
            prefetch: 512,
            orphan_start_ms: 60_000,
            orphan_ms: 150_000,
            seed: self.rng.next(),
        };
        self.trace(|| format!("X{} starts: e{index}, {why}", pid.0));
        let machine = Executor::new(config, self.clock());
        let proc = ExecutorProc {
            executor: machine,
            id: executor,
            desk: Desk::default(),
            endpoint: index,
            dir,
            link: None,
            ticket: 0,
            offered: 0,
            workers: BTreeMap::new(),
            broken_until: 0,
        };
        self.executors.insert(pid, proc);
        self.rouse(pid, 0);
    }

    pub(super) fn kill(&mut self, asked_by: Pid, executor: ExecutorId) {
        let found = self.executors.iter().find(|(_, proc)| proc.id == executor).map(|(pid, _)| *pid);
        if let Some(pid) = found {
            self.end_executor(pid, true, "killed by its manager");
        } else if let Some(proc) = self.managers.get(&asked_by) {
            self.endpoints[proc.endpoint].gone.insert(executor);
            self.tell_gone(asked_by, executor, 2_000_000);
        }
    }

    /// An executor's process ends, and its workers with it.
    pub(super) fn end_executor(&mut self, pid: Pid, seen: bool, why: &str) {
        let Some(proc) = self.executors.remove(&pid) else { return };
        self.workers -= proc.workers.len();
        self.trace(|| format!("X{} ends: {why}", pid.0));
        for worker in proc.workers.values() {
            let (begun, waiting) = worker.contents();
            self.check.died(&begun, &waiting);
        }
        let held = proc.executor.holdings();
        self.check.executor_died(proc.endpoint, held.iter().map(|holding| holding.task));
        self.endpoints[proc.endpoint].gone.insert(proc.id);
        self.job_lost(proc.endpoint, proc.id);
        if let Some(conn) = proc.link {
            let silence = if self.rng.below(4) == 0 { 35_000_000 } else { 0 };
            self.sever(conn, silence);
        }
        self.net.forget_inbound(pid);
        // A provider always learns of it; one that is far away much later than by silence.
        if let Some(manager) = self.endpoints[proc.endpoint].dirs[proc.dir].address {
            self.tell_gone(manager, proc.id, if seen { 200_000 } else { 60_000_000 });
        }
    }

    /// One round of an executor.
    pub(super) fn executor_round(&mut self, pid: Pid) {
        let now = self.clock();
        let tick_first = self.rng.below(2) == 0;
        let Some(proc) = self.executors.get_mut(&pid) else { return };
        let events = proc.desk.take_round(now, tick_first, executor::Event::Tick);
        if events.is_empty() {
            return;
        }
        self.steps += 1;
        self.check.step();
        let scans = self.steps.is_multiple_of(self.shape.scan_every);
        let acks = if scans { self.check.acks_before(&proc.executor, &events) } else { Vec::new() };
        let mut out = Vec::new();
        for event in events {
            if self.trace.is_on() {
                let line = format!("X{} < {}", pid.0, self.check.show_executor_event(&event));
                self.trace.add(self.now, || line);
            }
            proc.executor.handle(now, event, &mut out);
        }
        proc.executor.flush(now, &mut out);
        self.check.acks_after(&proc.executor, &acks, &self.store);
        self.check.executor_says(proc, &out);
        if scans {
            self.check.scan_executor(proc);
        }
        for action in out {
            self.perform_executor(pid, action);
        }
    }

    fn perform_executor(&mut self, pid: Pid, action: executor::Action) {
        use executor::Action;
        let Some(proc) = self.executors.get_mut(&pid) else { return };
        match action {
            Action::Connect => self.connect(pid),
            Action::Disconnect => self.disconnect(pid),
            Action::Send { message } => {
                let Some(conn) = proc.link else { return };
                if !self.transmit(conn, Way::Up, message, &format!("X{}", pid.0)) {
                    self.link_lost(pid, conn);
                }
            }
            Action::Exit { text } => self.end_executor(pid, false, &text),
            Action::Log { text } => self.trace(|| format!("X{} log {text}", pid.0)),
            other => self.perform_worker(pid, other),
        }
    }

    /// A connector asked for a fresh socket.
    fn connect(&mut self, pid: Pid) {
        self.disconnect(pid);
        let ticket = if let Some(proc) = self.managers.get_mut(&pid) {
            proc.ticket += 1;
            proc.ticket
        } else if let Some(proc) = self.executors.get_mut(&pid) {
            proc.ticket += 1;
            proc.ticket
        } else {
            return;
        };
        let delay = 300 + self.soon(5_000);
        self.at(delay, Due::Connected(pid, ticket));
    }

    /// A connector closed its socket.
    fn disconnect(&mut self, pid: Pid) {
        let link = if let Some(proc) = self.managers.get_mut(&pid) {
            proc.link.take()
        } else {
            self.executors.get_mut(&pid).and_then(|proc| proc.link.take())
        };
        if let Some(conn) = link {
            self.sever(conn, 0);
        }
    }

    /// A connect ends.
    pub(super) fn connected(&mut self, pid: Pid, ticket: u64) {
        if let Some(proc) = self.managers.get(&pid) {
            let index = proc.endpoint;
            if proc.ticket != ticket {
                return;
            }
            let acceptor = self.service.as_ref().filter(|service| service.desk.asleep_until <= self.now);
            let acceptor = acceptor.map(|service| service.pid).filter(|_| !self.endpoints[index].revoked);
            let link = acceptor.map(|acceptor| self.net.open(pid, acceptor, index, None));
            if let Some(proc) = self.managers.get_mut(&pid) {
                proc.link = link;
            }
            let up =
                link.map_or(manager::Event::LinkDown { why: "refused".into() }, |_| manager::Event::LinkUp);
            self.post(pid, Note::Manager(up));
        } else if let Some(proc) = self.executors.get(&pid) {
            let (index, dir, id) = (proc.endpoint, proc.dir, proc.id);
            if proc.ticket != ticket {
                return;
            }
            let address = self.endpoints[index].dirs[dir].address.filter(|address| {
                self.managers.get(address).is_some_and(|manager| manager.desk.asleep_until <= self.now)
            });
            let link = address.map(|acceptor| self.net.open(pid, acceptor, index, Some(id)));
            if let Some(proc) = self.executors.get_mut(&pid) {
                proc.link = link;
            }
            let up =
                link.map_or(executor::Event::LinkDown { why: "refused".into() }, |_| executor::Event::LinkUp);
            self.post(pid, Note::Executor(up));
        }
    }

    /// A connector's socket sees that its connection is dead.
    pub(super) fn link_lost(&mut self, pid: Pid, conn: ConnId) {
        let why = "connection lost".to_owned();
        if let Some(proc) = self.managers.get_mut(&pid) {
            if proc.link == Some(conn) {
                proc.link = None;
                self.post(pid, Note::Manager(manager::Event::LinkDown { why }));
            }
        } else if let Some(proc) = self.executors.get_mut(&pid)
            && proc.link == Some(conn)
        {
            proc.link = None;
            self.post(pid, Note::Executor(executor::Event::LinkDown { why }));
        }
    }
}
