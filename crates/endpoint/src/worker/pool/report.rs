//! What the pool reports: frames of workers and ends of workers, as events of the executor's machine.

use super::Pool;
use super::nest::{HOST, State};
use crate::worker::frames::FromWorker;
use crate::worker::poll::Token;
use crate::worker::process::{Process, exit_of, in_words};
use crate::worker::zygote::Reported;
use bursa_core::executor::{Event, WorkerExit};
use bursa_core::id::WorkerId;
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::EpollFlags;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::time::Duration;

/// A worker that closed its socket has this long to end by itself, so that its own exit is seen.
const CLOSED: Duration = Duration::from_secs(1);

/// Reads of an ended worker's socket: far more than the system buffers for it. A process that left the worker's group
/// may hold the other end and write for ever.
const LAST_READS: usize = 64;

impl Pool {
    /// Moves what is there now into `out`, until it holds `most` events. What is left is found by the next call.
    pub fn pump(&mut self, out: &mut Vec<Event>, most: usize) {
        for _ in 0..self.backlog.len() {
            if self.ready.len() + out.len() >= most {
                break;
            }
            if let Some(id) = self.backlog.pop_front() {
                self.deliver(id, most - out.len());
            }
        }
        if self.ready.len() + out.len() < most {
            for (token, flags) in self.poller.look() {
                self.heard(token, flags, most.saturating_sub(out.len()));
            }
        }
        let count = self.ready.len().min(most.saturating_sub(out.len()));
        out.extend(self.ready.drain(..count));
    }

    fn heard(&mut self, token: Token, flags: EpollFlags, most: usize) {
        match token {
            Token::Control(nest) => self.hear_zygote(nest),
            Token::Stderr(nest) => {
                if let Some(zygote) = self.nests.get_mut(&nest).and_then(|nest| nest.state.zygote()) {
                    zygote.listen(&self.poller);
                }
            }
            Token::Pipe(id) => {
                if let Some(process) = self.workers.get_mut(&id) {
                    process.listen(&mut self.scratch, &self.poller);
                }
            }
            Token::Socket(id) => {
                if flags.contains(EpollFlags::EPOLLOUT) {
                    self.write(id);
                }
                self.hear_worker(id, most);
            }
        }
    }

    fn hear_worker(&mut self, id: u32, most: usize) {
        // One with a backlog waits its turn: its socket is its own brake.
        if self.backlog.contains(&id) {
            return;
        }
        let Some(process) = self.workers.get_mut(&id) else { return };
        process.read(&mut self.scratch, &self.poller);
        let closed = process.is_closed;
        self.deliver(id, most);
        if closed && self.workers.get(&id).is_some_and(|process| process.exit.is_none()) {
            self.set_deadline(id, CLOSED);
        }
    }

    /// The whole frames that were read of a worker.
    fn deliver(&mut self, id: u32, most: usize) {
        let mut pipe_read = false;
        while let Some(process) = self.workers.get_mut(&id) {
            if self.ready.len() >= most {
                return self.backlog.push_back(id);
            }
            match process.frame() {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    if matches!(frame, FromWorker::Done(_)) && !pipe_read {
                        process.listen(&mut self.scratch, &self.poller);
                        pipe_read = true;
                    }
                    self.said(id, frame);
                }
                Err(garbage) => {
                    tracing::warn!(worker = id, "a worker sent garbage and is ended: {garbage}");
                    process.distrust(format!("it sent garbage: {garbage}"), &self.poller);
                    return;
                }
            }
        }
    }

    /// The results that a worker has not sent yet, which wait behind a call that lasts, or in which it died. Whoever hears
    /// them ignores those that come again.
    pub(super) fn deliver_unsent(&mut self, id: u32) {
        let believed = |process: &&Process| process.is_ready && process.fault.is_none();
        let Some(process) = self.workers.get(&id).filter(believed) else { return };
        let unsent: Vec<FromWorker> = process.unsent().collect();
        // What it sent before them comes before them.
        self.deliver_all(id);
        for frame in unsent.into_iter().filter(|frame| matches!(frame, FromWorker::Done(_))) {
            self.said(id, frame);
        }
    }

    /// What it has sent so far.
    fn deliver_all(&mut self, id: u32) {
        self.backlog.retain(|other| *other != id);
        self.deliver(id, usize::MAX);
        for _ in 0..LAST_READS {
            let Some(process) = self.workers.get_mut(&id) else { return };
            if !process.read(&mut self.scratch, &self.poller) {
                return;
            }
            self.deliver(id, usize::MAX);
        }
    }

    fn said(&mut self, id: u32, frame: FromWorker) {
        let Some(process) = self.workers.get_mut(&id) else { return };
        let worker = WorkerId(id);
        if matches!(frame, FromWorker::Ready { .. }) && process.pid.is_none() {
            // It said which process it is before: calls wait until its limits hold.
            let nest = process.nest;
            self.hear_zygote(nest);
        }
        let Some(process) = self.workers.get_mut(&id) else { return };
        if process.is_ready == matches!(frame, FromWorker::Ready { .. }) {
            return process.distrust("it sent frames in an order that makes no sense".into(), &self.poller);
        }
        let event = match frame {
            FromWorker::Ready { python: (major, minor), .. } => {
                process.is_ready = true;
                process.deadline = None;
                process.ring.take();
                let nest = process.nest;
                self.nest_works(nest);
                Event::WorkerReady { worker, python: format!("{major}.{minor}") }
            }
            FromWorker::Started { task, attempt } => Event::WorkerStarted { worker, task, attempt },
            FromWorker::Done(mut done) => {
                done.output = process.output(done.output);
                Event::WorkerDone { worker, done }
            }
            FromWorker::Skipped { number } => Event::WorkerSkipped { worker, number },
            FromWorker::Need { hash } => Event::WorkerNeeds { worker, hash },
        };
        self.ready.push_back(event);
    }

    /// All reports that a zygote has sent.
    pub(super) fn hear_zygote(&mut self, nest: u32) {
        loop {
            let Some(home) = self.nests.get_mut(&nest) else { return };
            let (State::Running(zygote, _) | State::Leaving(zygote, _)) = &mut home.state else { return };
            let Some((reported, pid)) = zygote.report(&self.poller) else {
                if zygote.is_closed() {
                    // It is dead, or useless; its end is seen when it is reaped.
                    home.closed();
                }
                return;
            };
            match reported {
                Reported::Hello { hello } => {
                    tracing::info!(pid, python = ?hello.python, "a zygote is up");
                    zygote.up(pid);
                    if let State::Running(_, deadline) = &mut home.state {
                        *deadline = None;
                    }
                    self.advance(nest);
                }
                Reported::Born { born } if self.is_in(born, nest) => self.born(born, pid),
                Reported::Forked { forked } => self.forked(nest, forked, pid),
                Reported::Exited { exited, status, maxrss_kb } if self.is_in(exited, nest) => {
                    self.exited(exited, exit_of(status, maxrss_kb));
                }
                Reported::Ended { ended, status, maxrss_kb } => {
                    if self.is_in(ended, nest) {
                        self.exited(ended, exit_of(status, maxrss_kb));
                    }
                    if self.houses.get(&ended).is_some_and(|(house, _)| house.nest == nest) {
                        self.houses.remove(&ended);
                    }
                }
                Reported::Born { .. } | Reported::Exited { .. } => {}
            }
        }
    }

    /// A zygote tells of its own workers only.
    fn is_in(&self, worker: u32, nest: u32) -> bool {
        self.workers.get(&worker).is_some_and(|process| process.nest == nest)
    }

    /// Whoever waited for a worker says how it ended.
    fn exited(&mut self, id: u32, exit: WorkerExit) {
        let Some(process) = self.workers.get_mut(&id) else { return };
        process.exited(exit);
        let (nest, terminated) = (process.nest, process.terminated());
        match process.leave_house() {
            Some(house) => self.left_in(id, house, terminated),
            None => self.left_by(terminated),
        }
        self.settle(id);
        if self.nests.get_mut(&nest).is_some_and(|nest| nest.forking.remove(&id)) {
            self.ask(nest);
        }
    }

    /// A worker has ended: reads its socket to the end (F19), then reports the end.
    pub(super) fn settle(&mut self, id: u32) {
        self.deliver_all(id);
        self.deliver_unsent(id);
        let Some(mut process) = self.workers.remove(&id) else { return };
        process.listen(&mut self.scratch, &self.poller);
        let mut exit = process.exit.unwrap_or_default();
        let killed_by_others = exit.signal == Some(libc::SIGKILL) && !process.killed;
        if killed_by_others {
            let own = self.houses.get(&id).and_then(|(house, _)| house.group.killed_for_memory());
            let limit = self.setup.runtimes.memory_limit_kb().filter(|_| process.nest != HOST);
            let near = limit.is_some_and(|limit| exit.maxrss_kb >= limit / 10 * 9);
            exit.oom = own.is_some() || near || self.oom.explains(exit.maxrss_kb);
            exit.memory_limit_kb = own.or(limit).or_else(|| self.oom.limit_kb());
        }
        let worker = WorkerId(id);
        let event = if process.is_ready {
            Event::WorkerExited { worker, exit, begun: process.begun(), output: process.last_output() }
        } else {
            let last = process.ring.last_lines().map_or_else(String::new, |line| format!(": {line}"));
            let fault = process.fault.as_deref().unwrap_or("it ended");
            let why = format!("a worker was never ready, {fault} ({}){last}", in_words(exit));
            Event::WorkerFailed { worker, why }
        };
        self.ready.push_back(event);
        process.forget(&self.poller);
        let (nest, is_retired) = (process.nest, process.is_retired);
        process.remove_cwd();
        self.left_nest(nest, is_retired);
    }

    /// Reaps children that have ended: call it when SIGCHLD came.
    pub fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => self.reaped(pid.as_raw(), code << 8),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.reaped(pid.as_raw(), signal as i32),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}
