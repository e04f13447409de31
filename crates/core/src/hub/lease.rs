//! Leases: which attempts the hub believes an endpoint to hold (F9, F10, F25, F26).
//!
//! The lease of a task's current attempt sits in the task's record; every other one (of an attempt that is not current,
//! of a task that ended or is not known) sits here as a stray. The numbers that credit is compared with are those of the
//! set of confirmed leases: only this file changes them, together with the set.

use crate::id::TaskId;
use crate::limits;
use crate::time::Wall;
use crate::wire::Attempt;
use std::collections::BTreeMap;

/// One lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// The session in which it was sent or reported last: confirmed if that is the present one.
    session: u32,
    /// The manager's life in which it was sent or reported last.
    life: u32,
    /// Bytes of arguments that it occupies.
    bytes: u32,
    /// A worker is known to have begun it.
    pub(super) begun: bool,
    /// When the present session said so; `None` if it was known before, or not at all.
    pub(super) begun_at: Option<Wall>,
}

/// An endpoint's strays, and how many leases of it are confirmed.
#[derive(Debug, Default)]
pub(super) struct Leases {
    session: u32,
    life: u32,
    confirmed: usize,
    bytes: u64,
    strays: BTreeMap<(TaskId, Attempt), Lease>,
}

impl Leases {
    /// Confirmed leases (F25).
    pub(super) const fn confirmed(&self) -> usize {
        self.confirmed
    }

    /// Bytes of arguments of confirmed leases (F25).
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Leases of attempts that are not current.
    pub(super) fn strays(&self) -> usize {
        self.strays.len()
    }

    /// A `Hello` was accepted: no lease is confirmed until it is reported (F9).
    pub(super) fn begin_session(&mut self, other_manager: bool) {
        self.session += 1;
        if other_manager {
            self.life += 1;
        }
        self.confirmed = 0;
        self.bytes = 0;
        // An endpoint that never completes must not pile them up; those that it lists again come back.
        if self.strays.len() > limits::STRAYS {
            self.strays.clear();
        }
    }

    /// A lease that is confirmed now: sent, or reported for the first time.
    pub(super) fn grant(&mut self, bytes: usize, begun: bool) -> Lease {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.confirmed += 1;
        self.bytes += u64::from(bytes);
        Lease { session: self.session, life: self.life, bytes, begun, begun_at: None }
    }

    /// The lease was reported in the present session.
    pub(super) fn confirm(&mut self, lease: &mut Lease) {
        if lease.session != self.session {
            lease.session = self.session;
            self.confirmed += 1;
            self.bytes += u64::from(lease.bytes);
        }
        lease.life = self.life;
    }

    pub(super) const fn is_confirmed(&self, lease: &Lease) -> bool {
        lease.session == self.session
    }

    /// Whether the present manager process itself was given, or reported, this lease: what it then no longer lists it
    /// never started (FABRIC §6).
    pub(super) const fn is_of_this_life(&self, lease: &Lease) -> bool {
        lease.life == self.life
    }

    /// The lease is over: its `Result` came, or it is not held (F26).
    pub(super) fn close(&mut self, lease: Lease) {
        if self.is_confirmed(&lease) {
            self.confirmed -= 1;
            self.bytes -= u64::from(lease.bytes);
        }
    }

    /// Keeps a lease of an attempt that is not (or no longer) current.
    pub(super) fn stray(&mut self, task: TaskId, attempt: Attempt, lease: Lease) {
        self.strays.insert((task, attempt), lease);
    }

    pub(super) fn stray_mut(&mut self, task: TaskId, attempt: Attempt) -> Option<&mut Lease> {
        self.strays.get_mut(&(task, attempt))
    }

    /// Confirms a stray; false if there is none.
    pub(super) fn confirm_stray(&mut self, task: TaskId, attempt: Attempt, begun: bool) -> bool {
        let Some(mut lease) = self.strays.remove(&(task, attempt)) else { return false };
        lease.begun |= begun;
        self.confirm(&mut lease);
        self.strays.insert((task, attempt), lease);
        true
    }

    pub(super) fn take_stray(&mut self, task: TaskId, attempt: Attempt) -> Option<Lease> {
        self.strays.remove(&(task, attempt))
    }

    /// The confirmed strays of a task.
    pub(super) fn strays_of(&self, task: TaskId) -> impl Iterator<Item = Attempt> {
        self.strays
            .range((task, Attempt(0))..=(task, Attempt(u64::MAX)))
            .filter(|(_, lease)| self.is_confirmed(lease))
            .map(|((_, attempt), _)| *attempt)
    }

    /// Every stray, and whether it is confirmed.
    pub(super) fn all_strays(&self) -> impl Iterator<Item = (TaskId, Attempt, bool)> {
        self.strays.iter().map(|((task, attempt), lease)| (*task, *attempt, self.is_confirmed(lease)))
    }

    /// Closes the strays that the present session did not report (F9); none of them costs anything.
    pub(super) fn close_unreported(&mut self) {
        let session = self.session;
        self.strays.retain(|_, lease| lease.session == session);
    }

    /// Forgets everything: the endpoint is deleted.
    pub(super) fn clear(&mut self) {
        self.strays.clear();
        self.begin_session(true);
    }
}
