//! A user endpoint: the process at an endpoint's site that runs the tasks of one user with one set of options.

use super::call::Abroad;
use super::driver::LinkId;
use super::message::Report;
use super::pace::Pace;
use super::{Foreign, Who};
use bursa_core::id::{EndpointId, TaskId, UserId};
use bursa_core::limits;
use bursa_core::time::{Mono, Now};
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use uuid::Uuid;

/// Tasks given to one that has not said yet how many workers it has.
const AHEAD_LEAST: u32 = 8;
/// Time for one that was told to start, until it is told again: it may have an environment to make first.
const START_MS: u64 = 120_000;
/// Starts in a row of which nothing came, after which people are told.
const STARTS_TOLD: u32 = 3;
/// No identity provider is known here, and mappings of identities want one.
const PROVIDER: &str = "00000000-0000-0000-0000-000000000000";

/// For whom one is started, and how.
#[derive(Debug)]
pub(super) struct Start {
    user: UserId,
    username: String,
    options: Value,
    runtime: Value,
}

impl Start {
    pub(super) fn of(user: UserId, abroad: &Abroad) -> Self {
        let map = |value: &Value| if value.is_object() { value.clone() } else { json!({}) };
        Self {
            user,
            username: abroad.username.clone(),
            options: map(&abroad.user_endpoint_config),
            runtime: map(&abroad.user_runtime),
        }
    }

    /// The id that tasks of the same user, options and runtime always get.
    pub(super) fn id(&self, foreign: &Foreign, endpoint: &EndpointId) -> Option<Uuid> {
        let parts = [self.user.to_string(), self.options.to_string(), self.runtime.to_string()];
        foreign.end_id(endpoint, &parts.each_ref().map(String::as_str))
    }
}

/// One user endpoint.
#[derive(Debug, Default)]
pub(super) struct End {
    /// `None`: it came by itself, as endpoints before version 4 do.
    start: Option<Start>,
    /// Processes of it that were lost: the next has another name, since the files of the lost one keep its own.
    life: u32,
    links: BTreeSet<LinkId>,
    /// The connection that takes tasks.
    pub(super) consumer: Option<LinkId>,
    pub(super) waiting: VecDeque<TaskId>,
    /// Tasks that it has.
    pub(super) away: u32,
    pub(super) report: Report,
    pub(super) pace: Pace,
    /// It took tasks since it was lost last.
    alive: bool,
    /// When it counts as lost, if no connection of it comes.
    gone_at: Option<Mono>,
    asked_at: Option<Mono>,
    asked: u32,
    /// It said that it could not start, once in a row.
    failed: bool,
}

impl End {
    pub(super) fn new(start: Start) -> Self {
        Self { start: Some(start), ..Self::default() }
    }

    pub(super) fn opened(&mut self, link: LinkId) {
        self.links.insert(link);
        self.gone_at = None;
    }

    pub(super) fn closed(&mut self, link: LinkId, now: Now) {
        self.links.remove(&link);
        self.consumer = self.consumer.filter(|consumer| *consumer != link);
        if self.links.is_empty() && self.alive {
            let patience = if self.report.leaves { 0 } else { limits::FOREIGN_GONE_MS };
            self.gone_at = Some(now.mono.after(patience));
        }
    }

    /// It takes tasks, on this connection; returns the one that did before.
    pub(super) fn consumes(&mut self, link: LinkId) -> Option<LinkId> {
        self.alive = true;
        self.report.leaves = false;
        (self.asked_at, self.asked, self.failed) = (None, 0, false);
        self.consumer.replace(link).filter(|before| *before != link)
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &LinkId> {
        self.links.iter()
    }

    pub(super) fn is_connected(&self) -> bool {
        !self.links.is_empty()
    }

    /// It is connected, or may come back.
    pub(super) fn is_here(&self) -> bool {
        self.is_connected() || self.gone_at.is_some()
    }

    /// It came by itself and takes tasks.
    pub(super) fn takes_all(&self) -> bool {
        self.start.is_none() && self.is_here()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.away == 0 && !self.is_here()
    }

    /// Nobody waits for one that is not connected when its endpoint goes.
    pub(super) fn hurry(&mut self, now: Now) {
        self.gone_at = self.gone_at.map(|_| now.mono);
    }

    /// Its process is over, whatever its connections say, which are returned.
    pub(super) fn end(&mut self, now: Now) -> BTreeSet<LinkId> {
        self.gone_at = Some(now.mono);
        self.consumer = None;
        std::mem::take(&mut self.links)
    }

    pub(super) fn is_gone(&self, now: Now) -> bool {
        self.gone_at.is_some_and(|at| at <= now.mono)
    }

    /// Its process is over.
    pub(super) fn lost(&mut self) {
        if !self.report.leaves {
            self.life += 1;
        }
        (self.alive, self.gone_at, self.asked_at) = (false, None, None);
        (self.report, self.pace) = (Report::default(), Pace::default());
    }

    /// It could not start; true: that happened twice in a row. The first time it is tried under another name, since a
    /// process that was killed leaves files which forbid its own.
    pub(super) fn could_not_start(&mut self) -> bool {
        self.asked_at = None;
        self.life += 1;
        std::mem::replace(&mut self.failed, true)
    }

    /// Room for another task.
    pub(super) fn has_room(&self, now: Now) -> bool {
        let workers = self.report.most.saturating_mul(2).max(AHEAD_LEAST);
        let ahead = workers.saturating_add(self.pace.each_second(now)).min(limits::FOREIGN_AHEAD);
        self.consumer.is_some() && !self.report.leaves && self.away < ahead
    }

    /// It is to be started: tasks wait for it, and nothing of it is here.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let asked = self.asked_at.is_some_and(|at| now.mono < at.after(START_MS));
        self.start.is_some() && !self.waiting.is_empty() && !self.is_here() && !asked
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let again = self.asked_at.filter(|_| !self.waiting.is_empty()).map(|at| at.after(START_MS));
        [self.gone_at, again].into_iter().flatten().min()
    }

    pub(super) fn degraded(&self, id: &Uuid) -> Option<String> {
        (self.asked > STARTS_TOLD).then(|| {
            format!(
                "user endpoint {id} was told to start {} times and never came: look at endpoint.log of the endpoint",
                self.asked
            )
        })
    }

    /// The command to its core endpoint that starts it; one that runs gets its credentials anew.
    pub(super) fn command(
        &mut self,
        foreign: &Foreign,
        who: &Who,
        address: &str,
        now: Now,
    ) -> Option<Vec<u8>> {
        let queues = foreign.queues(who, address)?;
        let (start, id) = (self.start.as_ref()?, who.end?);
        if !self.is_connected() {
            self.asked_at = Some(now.mono);
            self.asked += 1;
        }
        let identity = start.user.to_string();
        let creds = ["endpoint_id", "task_queue_info", "result_queue_info", "heartbeat_queue_info"]
            .map(|key| (key.to_owned(), queues[key].clone()));
        let command = json!({
            "command": "cmd_start_endpoint",
            "args": [],
            "kwargs": {
                "name": format!("uep.{}.{}", id.as_simple(), self.life),
                "amqp_creds": serde_json::Map::from_iter(creds),
                "user_opts": start.options,
                "user_runtime": start.runtime,
            },
            "globus_effective_identity": identity,
            "globus_username": start.username,
            "globus_identity_set": [{
                "id": identity,
                "sub": identity,
                "status": "used",
                "username": start.username,
                "name": start.username,
                "email": start.username,
                "identity_provider": PROVIDER,
            }],
        });
        Some(command.to_string().into_bytes())
    }
}
