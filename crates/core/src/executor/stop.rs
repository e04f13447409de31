//! Ways to end: drain (F38), stop, being alone for too long (F13), and the manager's last word.

use super::attempt::Entry;
use super::event::{Action, Signal};
use super::{Executor, Key, Place};
use crate::limits;
use crate::time::Mono;
use crate::wire::Item;

/// A process that must stop waits this long for the acknowledgements of its last results.
const LINGER_MS: u64 = 3_000;

/// The executor takes no more work and ends when nothing is held.
#[derive(Debug)]
pub(super) struct Drain {
    /// Running calls are killed then; `None`: they were.
    kill_at: Option<Mono>,
    /// The process ends then, whatever is still held.
    leave_at: Option<Mono>,
}

impl Drain {
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.kill_at.into_iter().chain(self.leave_at).min()
    }
}

impl Executor {
    /// Takes no more; hands back what has not started; running calls may finish within the grace (F38).
    pub(super) fn drain(&mut self, now: Mono, grace_ms: u64) {
        let kill_at = now.after(grace_ms);
        match &mut self.drain {
            Some(drain) => drain.kill_at = drain.kill_at.map(|at| at.min(kill_at)),
            None => self.drain = Some(Drain { kill_at: Some(kill_at), leave_at: None }),
        }
        self.capacity_news = true;
        let waits =
            |entry: &Entry| matches!(entry, Entry::Open(open) if !matches!(open.place, Place::Pipe(_)));
        let waiting: Vec<Key> = self
            .attempts
            .in_order()
            .into_iter()
            .filter(|(_, entry)| waits(entry))
            .map(|(key, _)| key)
            .collect();
        for key in waiting {
            self.hand_back(key);
        }
    }

    /// The process is told to stop, by a scheduler that takes its node, say: running calls are asked to end at once and
    /// must within the grace; no long wait for acknowledgements. Twice: at once.
    pub(super) fn stop(&mut self, now: Mono, out: &mut Vec<Action>) {
        if self.drain.as_ref().is_some_and(|drain| drain.leave_at.is_some()) {
            return self.exit(now, "told to stop twice".to_owned(), out);
        }
        self.drain(now, limits::GRACE_MS);
        if let Some(drain) = &mut self.drain {
            drain.leave_at = Some(now.after(LINGER_MS));
        }
        self.signal_busy(Signal::Term, out);
        self.tick_stop(now, out);
    }

    pub(super) fn tick_stop(&mut self, now: Mono, out: &mut Vec<Action>) {
        if let Some(drain) = &mut self.drain {
            if drain.kill_at.is_some_and(|at| now >= at) {
                drain.kill_at = None;
                self.signal_busy(Signal::Kill, out);
            }
            if self.drain.as_ref().and_then(|drain| drain.leave_at).is_some_and(|at| now >= at) {
                return self.exit(now, "told to stop".to_owned(), out);
            }
        }
        if self.uplink.alone_since.is_some_and(|since| now.since(since) >= self.config.orphan_ms) {
            let ms = self.config.orphan_ms;
            self.exit(now, format!("no manager for {ms} ms: this executor is an orphan and ends"), out);
        }
    }

    /// Running calls end: they are asked to, or their grace is over.
    fn signal_busy(&mut self, signal: Signal, out: &mut Vec<Action>) {
        for (id, worker) in &mut self.pool.workers {
            if !worker.pipe.is_empty() {
                worker.signalled = true;
                worker.deadline = None;
                worker.kill_at = None;
                out.push(Action::Signal { worker: *id, signal });
            }
        }
    }

    /// Drained, nothing held, all acknowledged (or nobody to tell when told to stop): good-bye.
    pub(super) fn leave_if_drained(&mut self, now: Mono, out: &mut Vec<Action>) {
        let Some(drain) = &self.drain else { return };
        let stopping = drain.leave_at.is_some();
        let unsent = self.uplink.session.as_ref().map_or(0, crate::wire::Session::unsent);
        if (self.attempts.len() == 0 && unsent == 0)
            || (stopping && self.attempts.open() == 0 && !self.uplink.is_up())
        {
            self.exit(now, "drained".to_owned(), out);
        }
    }

    /// Ends all workers and this process.
    pub(super) fn exit(&mut self, now: Mono, text: String, out: &mut Vec<Action>) {
        self.ended = true;
        for id in self.pool.workers.keys() {
            out.push(Action::Signal { worker: *id, signal: Signal::Kill });
        }
        if let Some(session) = &mut self.uplink.session {
            if self.drain.is_some() {
                let item = Item::Bye { reason: "drained".to_owned() };
                out.push(Action::Send { message: session.bare(now, item) });
            }
            out.push(Action::Disconnect);
        }
        out.push(Action::Exit { text });
    }
}
