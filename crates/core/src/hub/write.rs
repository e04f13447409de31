//! Writes under way: what each token stands for, and writes that failed and are repeated (F22).
//!
//! A failed acceptance is answered and forgotten; everything else is written again until it is on disk.

use super::event::{Op, RequestId, Token};
use super::retry::Charges;
use super::slab::Slot;
use super::task::Task;
use crate::id::{TaskId, UserId};
use crate::task::{Ending, Outcome};
use crate::wire::Attempt;
use std::collections::VecDeque;

/// What an acknowledgement will name.
pub(super) type Owed = (Attempt, Outcome);

/// A write under way.
#[derive(Debug)]
pub(super) enum Write {
    /// Tasks are being accepted.
    Accept {
        request: RequestId,
        user: UserId,
        /// How many tasks it names.
        tasks: usize,
        /// Records made for it.
        created: Vec<Slot>,
        /// Records of tasks that another acceptance was writing already: used if that one fails and this does not.
        aside: Vec<Task>,
    },
    /// A terminal record.
    End { slot: Slot, task: TaskId, user: UserId, ending: Ending, owed: Option<Owed> },
    /// What a task has been charged.
    Charge { slot: Slot, task: TaskId, charges: Charges, owed: Option<Owed> },
    /// A cancel of a task that is not live here: the store knows how it ended.
    Ask { task: TaskId, ending: Ending },
    /// The highest generation seen.
    Generation { endpoint: u32, generation: u64, python: String, guests: bool },
    /// The mark of a deleted endpoint.
    Delete { endpoint: u32 },
}

/// All writes under way, by token.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// The last number given: the first is 1, so that 0 is no write's.
    last: u64,
    /// Token of the first entry of `open`.
    first: u64,
    /// Answers come nearly in order, so this is a short ring with few holes.
    open: VecDeque<Option<Write>>,
}

impl Writes {
    /// The number of a new write.
    pub(super) fn add(&mut self, write: Write) -> Token {
        self.last += 1;
        if self.open.is_empty() {
            self.first = self.last;
        }
        self.open.push_back(Some(write));
        Token(self.last)
    }

    /// The number that the next write will have.
    pub(super) const fn next_token(&self) -> Token {
        Token(self.last + 1)
    }

    /// What the write under way will acknowledge.
    pub(super) fn owed(&self, token: Token) -> Option<Owed> {
        let index = usize::try_from(token.0.checked_sub(self.first)?).ok()?;
        self.open.get(index)?.as_ref()?.owed()
    }

    /// The write that was answered; `None` for an answer that was given before.
    pub(super) fn take(&mut self, token: Token) -> Option<Write> {
        let index = usize::try_from(token.0.checked_sub(self.first)?).ok()?;
        let write = self.open.get_mut(index)?.take();
        while let Some(None) = self.open.front() {
            self.open.pop_front();
            self.first += 1;
        }
        write
    }
}

impl Write {
    /// What the write's answer will acknowledge.
    pub(super) const fn owed(&self) -> Option<Owed> {
        match self {
            Self::End { owed, .. } | Self::Charge { owed, .. } => *owed,
            _ => None,
        }
    }

    /// The operation that writes it (again); `None` for acceptances, which are not repeated.
    pub(super) fn op(&self, endpoint: impl Fn(u32) -> crate::id::EndpointId) -> Option<Op> {
        Some(match self {
            Self::Accept { .. } => return None,
            Self::End { task, user, ending, .. } => {
                Op::End { task: *task, user: *user, ending: ending.clone() }
            }
            Self::Ask { task, ending } => Op::End { task: *task, user: NOBODY, ending: ending.clone() },
            Self::Charge { task, charges, .. } => Op::Charge {
                task: *task,
                losses: charges.losses,
                maybes: charges.maybes,
                errors: charges.errors,
            },
            Self::Generation { endpoint: index, generation, python, guests } => Op::Generation {
                endpoint: endpoint(*index),
                generation: *generation,
                python: python.clone(),
                guests: *guests,
            },
            Self::Delete { endpoint: index } => Op::DeleteEndpoint { endpoint: endpoint(*index) },
        })
    }
}

/// Named as the owner when a task is asked for that is not live: the store finds it ended, or not at all.
const NOBODY: UserId = UserId::from_bytes([0; 16]);
