//! What the pool reports: frames of workers and ends of workers, as events of the executor's machine.

use super::{Pool, State};
use crate::worker::frames::FromWorker;
use crate::worker::output;
use crate::worker::poll::Token;
use crate::worker::process::{exit_of, in_words};
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
            Token::Control => self.hear_zygote(),
            Token::Stderr => {
                if let State::Running(zygote, _) = &mut self.zygote {
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

    fn said(&mut self, id: u32, frame: FromWorker) {
        let Some(process) = self.workers.get_mut(&id) else { return };
        let worker = WorkerId(id);
        if matches!(frame, FromWorker::Ready { .. }) && process.pid.is_none() {
            // It said which process it is before: calls wait until its limits hold.
            self.hear_zygote();
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
                self.failures = 0;
                Event::WorkerReady { worker, python: format!("{major}.{minor}") }
            }
            FromWorker::Started { task, attempt } => Event::WorkerStarted { worker, task, attempt },
            FromWorker::Done(mut done) => {
                done.output = output::join(done.output, &mut process.ring);
                Event::WorkerDone { worker, done }
            }
            FromWorker::Need { hash } => Event::WorkerNeeds { worker, hash },
        };
        self.ready.push_back(event);
    }

    /// All reports that the zygote has sent.
    pub(super) fn hear_zygote(&mut self) {
        loop {
            let State::Running(zygote, deadline) = &mut self.zygote else { return };
            match zygote.report(&self.poller) {
                None => {
                    if zygote.is_closed() {
                        // It is dead, or useless; its end is seen when it is reaped.
                        crate::proc::signal(zygote.pid, nix::sys::signal::Signal::SIGKILL);
                    }
                    return;
                }
                Some((Reported::Hello { hello }, _)) => {
                    zygote.is_up = true;
                    *deadline = None;
                    tracing::info!(pid = hello.pid, python = ?hello.python, "the zygote is up");
                    self.advance();
                }
                Some((Reported::Born { born }, pid)) => self.born(born, pid),
                Some((Reported::Forked { forked }, pid)) => self.forked(forked, pid),
                Some((Reported::Exited { exited, status, maxrss_kb }, _)) => {
                    self.exited(exited, exit_of(status, maxrss_kb));
                }
                Some((Reported::Ended { ended, status, maxrss_kb }, _)) => {
                    self.exited(ended, exit_of(status, maxrss_kb));
                    self.houses.remove(&ended);
                }
            }
        }
    }

    /// Whoever waited for a worker says how it ended.
    fn exited(&mut self, id: u32, exit: WorkerExit) {
        let Some(process) = self.workers.get_mut(&id) else { return };
        process.exited(exit);
        let terminated = process.terminated();
        match process.leave_house() {
            Some(house) => self.left_in(id, house, terminated),
            None => self.left_by(terminated),
        }
        self.settle(id);
        if self.forking.remove(&id) {
            self.ask();
        }
    }

    /// A worker has ended: reads its socket to the end (F19), then reports the end.
    pub(super) fn settle(&mut self, id: u32) {
        self.backlog.retain(|other| *other != id);
        self.deliver(id, usize::MAX);
        for _ in 0..LAST_READS {
            let Some(process) = self.workers.get_mut(&id) else { return };
            if !process.read(&mut self.scratch, &self.poller) {
                break;
            }
            self.deliver(id, usize::MAX);
        }
        let Some(mut process) = self.workers.remove(&id) else { return };
        process.listen(&mut self.scratch, &self.poller);
        let mut exit = process.exit.unwrap_or_default();
        let killed_by_others = exit.signal == Some(libc::SIGKILL) && !process.killed;
        if killed_by_others {
            let own = self.houses.get(&id).and_then(|(house, _)| house.group.killed_for_memory());
            exit.oom = own.is_some() || self.oom.explains(exit.maxrss_kb);
            exit.memory_limit_kb = own.or_else(|| self.oom.limit_kb());
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
        process.remove_cwd();
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
