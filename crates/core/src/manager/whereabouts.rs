//! Where an attempt is and why, in routing's terms, for the person who waits for it: reads only.

use super::Manager;
use super::attempt::{Chosen, Entry, Key, Place};
use super::route;
use crate::id::ContainerId;
use crate::wire::Placed;

impl Manager {
    /// Where an attempt is; `None`: it is not here.
    pub(super) fn whereabouts(&self, key: &Key) -> Option<Placed> {
        let entry = self.book.get(key)?;
        Some(match &entry.place {
            Place::At(executor, _) => Placed {
                executor: Some(*executor),
                host: self.executors.get(executor).map_or_else(String::new, |exec| exec.host.clone()),
                block: self.blocks.home(executor),
                why: reason(entry.chosen, entry.kind.container).to_owned(),
            },
            Place::Waiting(_) => Placed { why: self.waits(entry), ..Placed::default() },
            Place::Done(..) => {
                Placed { why: "it has ended, and its result is on the way".into(), ..Placed::default() }
            }
        })
    }

    /// What one waits for that no executor has been given.
    fn waits(&self, entry: &Entry) -> String {
        let able = self.able();
        if able.is_empty() {
            return "no executor takes calls yet".into();
        }
        let slots: usize = able.iter().map(|id| self.seat(id, 1).slots).sum();
        let calls: usize = able.iter().map(|id| self.book.open_at(id)).sum();
        let at = format!(
            "{} with {}, which have {}",
            some(able.len(), "executor"),
            some(slots, "slot"),
            some(calls, "call")
        );
        if let Some(asks) = entry.kind.asks.as_deref() {
            let fit = able.iter().filter(|id| self.may_hold(id, asks)).count();
            return format!(
                "it asks for {asks}, which {fit} of {} have in all and none has free: {at}",
                some(able.len(), "executor")
            );
        }
        let Some(container) = entry.kind.container else { return format!("every slot is taken: {at}") };
        let ready: usize = able.iter().map(|id| self.share(id, Some(container)).workers).sum();
        format!(
            "it is better to wait for one of the {ready} workers in its container than to start another in the place of one \
             of another container: {at}"
        )
    }
}

/// Why an executor has it.
const fn reason(chosen: Chosen, container: Option<ContainerId>) -> &'static str {
    match chosen {
        Chosen::Found => "it was there already when the endpoint's manager began",
        Chosen::Fits => "what the call asks for is free there, and of such executors most slots are",
        Chosen::Lasts => {
            "the time that is left of its block holds the call's timeout, and of such executors most slots are free"
        }
        Chosen::Routed(route::Place::Warm) if container.is_some() => {
            "a worker in its container was idle there"
        }
        Chosen::Routed(route::Place::Warm) => "a worker was idle there",
        Chosen::Routed(route::Place::Unused) => "a slot without a worker was free there, for a new one",
        Chosen::Routed(route::Place::Evicting) => {
            "a slot was free there, where a new worker takes the place of an idle one of another container"
        }
        Chosen::Routed(route::Place::Queue) => {
            "every slot of every executor was taken, and the queue was shortest there"
        }
    }
}

fn some(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
