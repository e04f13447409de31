//! The invariants of FABRIC §10 on whole states: credit, sessions, bounds, and what must be gone when all is quiet.

use super::check::Check;
use super::node::{ExecutorProc, ManagerProc};
use super::{Endpoint, Store, World};
use crate::hub::Hub;
use crate::wire::Stage;
use std::fmt;

impl Check {
    /// I7 and I8 at the hub.
    pub(super) fn scan_hub(&mut self, hub: &Hub, endpoints: &[Endpoint], _store: &Store) {
        let leases = hub.leases();
        for endpoint in endpoints {
            let Some(session) = hub.session(&endpoint.id).filter(|session| session.live) else { continue };
            let conn = session.conn;
            for lease in leases.iter().filter(|lease| lease.endpoint == endpoint.id && lease.confirmed) {
                let key = (lease.task, lease.attempt);
                let known = self.heard.get(&conn).is_some_and(|heard| heard.known.contains(&key));
                let name = self.short(&lease.task);
                self.expect("I8", known, || {
                    format!("the lease {name} {:?} is confirmed, but not in c{}", lease.attempt, conn.0)
                });
            }
        }
    }

    /// I7 at a manager: what it holds open was once offered; after faults adopted attempts may come on top (F29).
    pub(super) fn scan_manager(&mut self, proc: &ManagerProc) {
        let open = proc.manager.holdings().iter().filter(|h| h.stage != Stage::Finished).count();
        let offered = self.offered.get(&proc.endpoint).copied().unwrap_or(0);
        let limit = usize::try_from(offered).unwrap_or(usize::MAX) * if self.faulty { 2 } else { 1 };
        self.expect("I7", open <= limit, || {
            format!("a manager holds {open} open attempts, {limit} were offered")
        });
    }

    /// I7 at an executor.
    pub(super) fn scan_executor(&mut self, proc: &ExecutorProc) {
        let open = proc.executor.holdings().iter().filter(|h| h.stage != Stage::Finished).count();
        let limit = usize::try_from(proc.offered).unwrap_or(usize::MAX);
        self.expect("I7", open <= limit, || {
            format!("an executor holds {open} open attempts, it offered {limit}")
        });
    }
}

impl World {
    /// Nothing is asked for, nothing lives, nothing is held, one manager per endpoint that may have one (I11).
    pub(super) fn is_quiet(&self) -> bool {
        self.now > self.last_fault
            && self.restarts == 0
            && self.client.is_settled()
            && self.store.live() == 0
            && !self.store.busy()
            && self.hub_is_empty()
            && self.managers.values().all(|proc| proc.manager.holdings().is_empty())
            && self.executors.values().all(|proc| proc.executor.holdings().is_empty())
            && self.stray_managers().is_none()
            && self.stray_executors().is_none()
    }

    /// A machine that still knows a task's id although it holds nothing: memory that is never given back (I11).
    pub(super) fn leak(&self) -> Option<String> {
        let manager = self.managers.iter().find(|(_, proc)| names_a_task(&proc.manager));
        let executor = self.executors.iter().find(|(_, proc)| names_a_task(&proc.executor));
        manager
            .map(|(pid, _)| format!("M{} remembers a task", pid.0))
            .or_else(|| executor.map(|(pid, _)| format!("X{} remembers a task", pid.0)))
    }

    fn stray_managers(&self) -> Option<String> {
        self.endpoints.iter().enumerate().find_map(|(index, endpoint)| {
            let count = self.managers.values().filter(|proc| proc.endpoint == index).count();
            let wanted = usize::from(!endpoint.deleted);
            (count != wanted).then(|| format!("e{index} has {count} managers, {wanted} wanted"))
        })
    }

    /// Executors of an endpoint that is gone, or that no manager can reach.
    fn stray_executors(&self) -> Option<String> {
        let strays = self.executors.iter().find(|(_, proc)| {
            let endpoint = &self.endpoints[proc.endpoint];
            endpoint.deleted || endpoint.dirs[proc.dir].watchdogs == 0
        });
        strays.map(|(pid, proc)| format!("X{} of e{} lives without a manager", pid.0, proc.endpoint))
    }

    /// What keeps the world from being quiet, for people.
    pub(super) fn unrest(&self) -> String {
        let mut lines = vec!["not quiet:".to_owned()];
        let live = self.store.records().filter(|(_, record)| record.ending.is_none()).map(|(task, _)| {
            let state = self.service.as_ref().and_then(|service| service.hub.state(task));
            format!("{} lives ({state:?})", self.check.short(task))
        });
        lines.extend(live.take(8));
        if !self.client.is_settled() {
            lines.push("a request waits".into());
        }
        if let Some(service) = &self.service {
            lines.push(format!("the hub keeps {} entries", service.hub.kept()));
            let leases = service.hub.leases();
            lines.extend(leases.iter().take(8).map(|l| {
                format!("lease {} {:?}, confirmed {}", self.check.short(&l.task), l.attempt, l.confirmed)
            }));
        }
        for (pid, proc) in &self.managers {
            let held = proc.manager.holdings();
            lines.extend(held.iter().take(8).map(|h| {
                format!("M{} holds {} {:?} {:?}", pid.0, self.check.short(&h.task), h.attempt, h.stage)
            }));
        }
        for (pid, proc) in &self.executors {
            let held = proc.executor.holdings();
            lines.extend(held.iter().take(8).map(|h| {
                format!("X{} holds {} {:?} {:?}", pid.0, self.check.short(&h.task), h.attempt, h.stage)
            }));
        }
        lines.extend(self.stray_managers());
        lines.extend(self.stray_executors());
        lines.join("\n  ")
    }
}

/// Looks for a task's id in everything a machine has, without keeping the text.
fn names_a_task(machine: &impl fmt::Debug) -> bool {
    struct Sink(bool);
    impl fmt::Write for Sink {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 |= text.contains("TaskId");
            Ok(())
        }
    }
    let mut sink = Sink(false);
    fmt::write(&mut sink, format_args!("{machine:?}")).is_ok() && sink.0
}
