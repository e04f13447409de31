//! The adoption window (F8), and the hints it starts from: which executors may hold attempts.
//!
//! Owns who is still missing and what the file of hints says. What executors bring with them is the book's business.

use super::Action;
use crate::id::ExecutorId;
use crate::time::Mono;
use std::collections::BTreeSet;

/// The window of a manager that just started.
#[derive(Debug)]
pub(super) struct Adoption {
    missing: BTreeSet<ExecutorId>,
    ends: Mono,
    open: bool,
    accounted: bool,
    /// Those that did not come back, until the hub knows that not all did: were they struck from the hints before, the
    /// next manager would take what they run for never started.
    given_up: BTreeSet<ExecutorId>,
}

impl Adoption {
    pub(super) fn new(hints: &[ExecutorId], ends: Mono) -> Self {
        Self {
            missing: hints.iter().copied().collect(),
            ends,
            open: true,
            accounted: true,
            given_up: BTreeSet::new(),
        }
    }

    /// New work and new blocks need not wait for these.
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// Every executor of the hints came back: what none of them lists never started.
    pub(super) const fn accounted(&self) -> bool {
        self.accounted
    }

    /// Executors that may still come back.
    pub(super) const fn missing(&self) -> &BTreeSet<ExecutorId> {
        &self.missing
    }

    /// Executors that are not waited for and must stay in the hints.
    pub(super) const fn given_up(&self) -> &BTreeSet<ExecutorId> {
        &self.given_up
    }

    /// The hub knows how the window ended. True if that changes the hints.
    pub(super) fn known(&mut self) -> bool {
        !std::mem::take(&mut self.given_up).is_empty()
    }

    pub(super) fn registered(&mut self, executor: &ExecutorId) {
        self.missing.remove(executor);
    }

    pub(super) fn gone(&mut self, executor: &ExecutorId) {
        if self.missing.remove(executor) {
            self.accounted = false;
            self.given_up.insert(*executor);
        }
    }

    /// Closes the window when nobody is missing or its time is over. When it closed now: who did not come.
    pub(super) fn step(&mut self, now: Mono) -> Option<BTreeSet<ExecutorId>> {
        if !self.open || (!self.missing.is_empty() && now < self.ends) {
            return None;
        }
        self.open = false;
        self.accounted &= self.missing.is_empty();
        self.given_up.extend(&self.missing);
        Some(std::mem::take(&mut self.missing))
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.open.then_some(self.ends)
    }

    /// This process slept: the missing get at least this long (F34).
    pub(super) fn extend(&mut self, until: Mono) {
        self.ends = self.ends.max(until);
    }
}

/// The file of hints, as far as it is known to be written.
#[derive(Debug)]
pub(super) struct Hints {
    saved: BTreeSet<ExecutorId>,
    saving: Option<BTreeSet<ExecutorId>>,
    changed: bool,
}

impl Hints {
    pub(super) fn new(hints: &[ExecutorId]) -> Self {
        Self { saved: hints.iter().copied().collect(), saving: None, changed: false }
    }

    /// Whether an executor may be given work: its name is on disk.
    pub(super) fn has(&self, executor: &ExecutorId) -> bool {
        self.saved.contains(executor)
    }

    /// The set of executors may have changed.
    pub(super) const fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether [`save`](Self::save) should be asked.
    pub(super) const fn wants_saving(&self) -> bool {
        self.changed && self.saving.is_none()
    }

    /// Writes the list if it is another than the written one; one write at a time.
    pub(super) fn save(&mut self, all: BTreeSet<ExecutorId>, out: &mut Vec<Action>) {
        self.changed = false;
        if all != self.saved {
            out.push(Action::SaveHints { executors: all.iter().copied().collect() });
            // Until it is known which of the two lists is on disk, only names on both may be relied on.
            self.saved.retain(|executor| all.contains(executor));
            self.saving = Some(all);
        }
    }

    /// The list is on disk.
    pub(super) fn written(&mut self) {
        if let Some(saving) = self.saving.take() {
            self.saved = saving;
        }
    }
}
