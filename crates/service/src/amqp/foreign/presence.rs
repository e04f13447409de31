//! Which of an endpoint's processes are here: by their connections, and by what they say of themselves.

use super::Who;
use super::call::{Held, Place};
use super::driver::LinkId;
use super::manager::{Action, Manager, Order, Said};
use super::message::Report;
use bursa_core::limits;
use bursa_core::task::{Begun, Failure, FailureCode, Outcome};
use bursa_core::time::Now;
use uuid::Uuid;

impl Manager {
    pub(super) fn on_link(&mut self, now: Now, link: LinkId, who: Who, said: Said, out: &mut Vec<Action>) {
        match said {
            Said::Opened | Said::Closed => self.on_presence(now, link, who, matches!(said, Said::Opened)),
            Said::TakesCommands => {
                self.core.commands = Some(link);
                self.core.leaves = false;
            }
            Said::TakesTasks => self.on_consumer(link, who, out),
            Said::Settled(tasks, taken) => self.on_settled(&tasks, taken),
            Said::Ended(ticket, ended) => self.on_ended(now, who, (ticket, ended), out),
            Said::Report(report) => self.on_report(now, who, report, out),
        }
    }

    pub(super) fn on_presence(&mut self, now: Now, link: LinkId, who: Who, opened: bool) {
        match who.end {
            Some(end) if opened => self.ends.entry(end).or_default().opened(link),
            Some(end) => {
                if let Some(end) = self.ends.get_mut(&end) {
                    end.closed(link, now);
                }
            }
            None if opened => {
                self.core.links.insert(link);
                self.core.gone_at = None;
            }
            None => {
                self.core.links.remove(&link);
                self.core.commands = self.core.commands.filter(|commands| *commands != link);
                if let Some(end) = self.ends.get_mut(&self.own()) {
                    end.closed(link, now);
                }
                if self.core.links.is_empty() {
                    self.core.gone_at = Some(now.mono.after(limits::FOREIGN_GONE_MS));
                }
            }
        }
    }

    /// What ran before is over. One that is its own user endpoint comes back under the same name, with none of its tasks,
    /// and perhaps before its connections are known to be gone.
    pub(super) fn on_began(&mut self, now: Now, out: &mut Vec<Action>) {
        self.ends.values_mut().for_each(|end| end.hurry(now));
        let own = self.own();
        if let Some(end) = self.ends.get_mut(&own) {
            let why = "CONNECTION_FORCED - the endpoint was started again";
            out.extend(end.end(now).into_iter().map(|link| Action::Link(link, Order::Close(why.to_owned()))));
        }
    }

    /// The user endpoint that an endpoint before version 4 is itself.
    pub(super) fn own(&self) -> Uuid {
        Uuid::from_bytes(*self.hub.endpoint().as_bytes())
    }

    pub(super) fn on_consumer(&mut self, link: LinkId, who: Who, out: &mut Vec<Action>) {
        let id = who.end.unwrap_or_else(|| self.own());
        self.core.leaves &= who.end.is_some();
        let end = self.ends.entry(id).or_default();
        end.opened(link);
        if let Some(before) = end.consumes(link) {
            let why = "RESOURCE_LOCKED - another connection takes this user endpoint's tasks now";
            out.push(Action::Link(before, Order::Close(why.to_owned())));
        }
        if who.end.is_none() {
            self.gather();
        }
        // What was not acknowledged on the connection before comes again.
        let unsettled = |held: &Held| held.end == id && held.place == Place::Sent;
        let again: Vec<_> =
            self.calls.iter().filter(|(_, held)| unsettled(held)).map(|(task, _)| *task).collect();
        for task in again.into_iter().rev() {
            self.take_back(task, "it was sent several times and never acknowledged");
        }
    }

    pub(super) fn on_report(&mut self, now: Now, who: Who, report: Report, out: &mut Vec<Action>) {
        let Some(id) = who.end.or_else(|| self.ends.contains_key(&self.own()).then(|| self.own())) else {
            self.core.leaves = report.leaves;
            if report.leaves {
                self.ends.values_mut().for_each(|end| end.hurry(now));
            }
            return;
        };
        // One that is its own user endpoint says it once.
        self.core.leaves |= who.end.is_none() && report.leaves;
        let end = self.ends.entry(id).or_default();
        match report.error {
            None => end.report = report,
            Some(text) => {
                out.push(Action::Log(format!("user endpoint {id} could not start: {text}")));
                if end.could_not_start() {
                    self.fail_waiting(id, &text);
                }
            }
        }
    }

    /// Who has been gone for too long is: the endpoint acknowledges tasks before they ran, and loses them when it is killed.
    pub(super) fn leave_behind(&mut self, now: Now, out: &mut Vec<Action>) {
        self.core.gone_at = self.core.gone_at.filter(|at| *at > now.mono);
        let gone: Vec<_> = self.ends.iter().filter(|(_, end)| end.is_gone(now)).map(|(id, _)| *id).collect();
        for id in gone {
            out.push(Action::Log(format!("user endpoint {id} is gone")));
            let lost = |held: &Held| held.end == id && held.is_away();
            let tasks: Vec<_> =
                self.calls.iter().filter(|(_, held)| lost(held)).map(|(task, _)| *task).collect();
            for task in tasks {
                let text =
                    format!("user endpoint {id} ended, or lost its connections, while it had the task");
                let failure = Failure::new(FailureCode::ExecutorLost, text);
                self.finish(task, Outcome::Lost, Begun::Unknown, Some(failure));
            }
            if let Some(end) = self.ends.get_mut(&id) {
                end.lost();
            }
        }
    }
}
