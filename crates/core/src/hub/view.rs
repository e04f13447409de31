//! What the hub believes, for status pages and for checking it from outside: reads only.

use super::Hub;
use super::queue::{List, WORK};
use super::task::Phase;
use crate::id::{ConnId, EndpointId, TaskId, UserId};
use crate::wire::Attempt;

/// The belief that an endpoint holds an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseView {
    /// Who holds it.
    pub endpoint: EndpointId,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// Sent or reported in the present session (F9).
    pub confirmed: bool,
}

/// An endpoint's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionView {
    /// Its connection.
    pub conn: ConnId,
    /// Attempts the endpoint may hold.
    pub credit_tasks: u32,
    /// `Welcome` was said.
    pub live: bool,
}

/// What somebody has at an endpoint that is another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guest {
    /// His tasks that have not ended.
    pub live: usize,
    /// The endpoint takes calls of others than its owner, as far as its last manager said.
    pub welcome: bool,
}

impl Hub {
    /// What a user has at an endpoint; `None`: there is none.
    #[must_use]
    pub fn guest(&self, endpoint: &EndpointId, user: &UserId) -> Option<Guest> {
        let index = *self.by_id.get(endpoint)?;
        let welcome = self.endpoints[index as usize].guests;
        Some(Guest { live: self.tasks.of_user_at(user, index), welcome })
    }

    /// Every lease.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseView> {
        let mut all = Vec::new();
        for state in &self.endpoints {
            let endpoint = state.id;
            let mut next = state.held.front();
            while let Some(slot) = next {
                next = List::<WORK>::after(&self.tasks, slot);
                let task = &self.tasks[slot];
                all.extend(task.lease.map(|lease| LeaseView {
                    endpoint,
                    task: task.id,
                    attempt: task.attempt,
                    confirmed: state.leases.is_confirmed(&lease),
                }));
            }
            all.extend(state.leases.all_strays().map(|(task, attempt, confirmed)| LeaseView {
                endpoint,
                task,
                attempt,
                confirmed,
            }));
        }
        all
    }

    /// Entries kept about tasks, and about requests and bodies that wait: none when nothing lives and nothing is held (I11).
    #[must_use]
    pub fn kept(&self) -> usize {
        let strays: usize = self.endpoints.iter().map(|state| state.leases.strays()).sum();
        let waits = self.cancels.waits() + self.bodies.waits() + self.deleting.len();
        self.tasks.len() + self.owed.len() + strays + waits
    }

    /// The one session of an endpoint (I10); `None`: it is away.
    #[must_use]
    pub fn session(&self, endpoint: &EndpointId) -> Option<SessionView> {
        let link = self.endpoints[*self.by_id.get(endpoint)? as usize].link.as_deref()?;
        Some(SessionView { conn: link.conn, credit_tasks: link.capacity.credit_tasks, live: link.live })
    }

    /// The current attempt of a live task, if it has one (I8), and whether the task's end is being written.
    #[must_use]
    pub fn current(&self, task: &TaskId) -> Option<(Attempt, bool)> {
        let task = &self.tasks[self.tasks.find(task)?];
        let has = matches!(task.phase, Phase::Sent | Phase::Charging | Phase::Ending);
        has.then_some((task.attempt, task.phase == Phase::Ending))
    }

    /// Whether an end of this attempt of a live task was judged and that is on disk; it may run again all the same (F10).
    #[must_use]
    pub fn was_judged(&self, task: &TaskId, attempt: Attempt) -> bool {
        let found = self.tasks.find(task).map(|slot| &self.tasks[slot]);
        found.is_some_and(|task| !task.is_writing() && attempt <= task.judged)
    }
}
