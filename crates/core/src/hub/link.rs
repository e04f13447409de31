//! Sessions: which messages count (F2, F3), what each item does, heartbeats and silence (F34), and how a session ends
//! (F1).
//!
//! The end of a session changes no task and no lease; its opening is in `hello`.

use super::endpoint::Link;
use super::event::{Action, Counter};
use super::hello::{Refusal, refusal};
use super::{Cx, Hub};
use crate::id::{ConnId, EndpointId, TaskId};
use crate::limits;
use crate::time::{Mono, Wall};
use crate::wire::{Attempt, Capacity, Item, Message, RefusedReason, ResetReason, Session};

impl Hub {
    pub(super) fn on_message(&mut self, conn: ConnId, id: EndpointId, message: Message, cx: &mut Cx<'_>) {
        let Some(&endpoint) = self.by_id.get(&id) else {
            return self.on_message_of_nobody(conn, id, &message, cx);
        };
        let state = &self.endpoints[endpoint as usize];
        let sid = message.envelope.sid;
        if state.link.as_deref().is_some_and(|link| link.conn == conn && link.session.sid() == sid) {
            return self.on_session_message(endpoint, message, cx);
        }
        if message.envelope.seq == 0 && matches!(message.items.first(), Some(Item::Hello(_))) {
            return self.on_first_hello(endpoint, conn, message, cx);
        }
        // F2: what is not of the current session is counted, dropped and answered with `Reset`, at a limited rate.
        self.count(Counter::DroppedMessages, 1);
        let last_words =
            message.items.iter().any(|item| matches!(item, Item::Reset { .. } | Item::Bye { .. }));
        if !last_words && self.endpoints[endpoint as usize].may_answer_stray(cx.now.mono) {
            let message = Session::stray_reset(sid, ResetReason::UnknownSession);
            cx.out.push(Action::Send { conn, message });
        }
    }

    fn on_message_of_nobody(&mut self, conn: ConnId, id: EndpointId, message: &Message, cx: &mut Cx<'_>) {
        self.count(Counter::DroppedMessages, 1);
        if matches!(message.items.first(), Some(Item::Hello(_))) {
            let text = format!("endpoint {id} is not registered at this service; register it again");
            let refused =
                refusal(Refusal { reason: RefusedReason::Revoked, is_final: true, text }, None, 0, false);
            Self::send_alone(conn, message.envelope.sid, refused, cx);
            cx.out.push(Action::Close { conn });
        }
    }

    /// Says one thing on a connection that has no session here.
    pub(super) fn send_alone(conn: ConnId, sid: u64, item: Item, cx: &mut Cx<'_>) {
        let mut session = Session::new(sid, cx.now.mono);
        session.push(item);
        session.flush(cx.now.mono, |message| cx.out.push(Action::Send { conn, message }));
    }

    pub(super) fn on_session_message(&mut self, endpoint: u32, message: Message, cx: &mut Cx<'_>) {
        let Some(link) = self.endpoints[endpoint as usize].link.as_deref_mut() else { return };
        let (conn, sid) = (link.conn, link.session.sid());
        let items = match link.session.receive(cx.now.mono, message) {
            Ok(items) => items,
            Err(fault) => return self.reset(endpoint, fault.reason(), cx),
        };
        self.touch(endpoint);
        for item in items {
            if let Err(reason) = self.on_item(endpoint, item, cx) {
                return self.reset(endpoint, reason, cx);
            }
            let link = self.endpoints[endpoint as usize].link.as_deref();
            if link.is_none_or(|link| link.conn != conn || link.session.sid() != sid) {
                return;
            }
        }
        let unsent =
            self.endpoints[endpoint as usize].link.as_deref().map_or(0, |link| link.session.unsent());
        if unsent > limits::OUTBOX_ITEMS {
            self.reset(endpoint, ResetReason::Stalled, cx);
        }
    }

    fn on_item(&mut self, endpoint: u32, item: Item, cx: &mut Cx<'_>) -> Result<(), ResetReason> {
        let live = self.endpoints[endpoint as usize].live_link().is_some();
        match item {
            Item::Ping => {}
            Item::Hello(hello) if !live => self.on_hello_page(endpoint, *hello, cx)?,
            Item::Reset { reason } => {
                self.end_link(endpoint, &format!("the manager ended the session: {reason:?}"), cx);
            }
            Item::Bye { reason } => {
                self.end_link(endpoint, &format!("the manager said good-bye: {reason}"), cx);
            }
            // F7: nothing but `Hello` before `Welcome`.
            _ if !live => return Err(ResetReason::Protocol),
            Item::Held(held) => self.on_held(endpoint, &held, cx)?,
            Item::Capacity(capacity) => self.on_capacity(endpoint, capacity),
            Item::Started { task, attempt, .. } => self.on_started(endpoint, task, attempt, cx.now.wall),
            Item::Result(done) => self.on_result(endpoint, *done, cx),
            Item::WantFunction { hash } => self.on_want_function(endpoint, hash)?,
            Item::Located { task, attempt, place } => self.on_located(endpoint, (task, attempt), place, cx),
            Item::Hello(_)
            | Item::Locate { .. }
            | Item::Welcome { .. }
            | Item::Refused { .. }
            | Item::Assign(_)
            | Item::Ack { .. }
            | Item::Cancel { .. }
            | Item::Function { .. }
            | Item::Part { .. }
            | Item::Drain { .. } => return Err(ResetReason::Protocol),
        }
        Ok(())
    }

    fn on_capacity(&mut self, endpoint: u32, capacity: Capacity) {
        if let Some(link) = self.endpoints[endpoint as usize].live_link() {
            link.capacity = capacity.within_limits();
        }
    }

    fn on_started(&mut self, endpoint: u32, id: TaskId, attempt: Attempt, now: Wall) {
        let Some(slot) = self.find(endpoint, &id) else {
            if let Some(lease) = self.endpoints[endpoint as usize].leases.stray_mut(id, attempt) {
                lease.begun = true;
            }
            return;
        };
        let task = &mut self.tasks[slot];
        let lease = match &mut task.lease {
            Some(lease) if task.attempt == attempt => Some(lease),
            _ => self.endpoints[endpoint as usize].leases.stray_mut(id, attempt),
        };
        if let Some(lease) = lease.filter(|lease| !lease.begun) {
            lease.begun = true;
            lease.begun_at = Some(now);
            task.starts = task.starts.saturating_add(1);
        }
    }

    /// The live task with this id, if it is one of this endpoint (F2).
    pub(super) fn find(&self, endpoint: u32, task: &TaskId) -> Option<super::slab::Slot> {
        self.tasks.find(task).filter(|&slot| {
            let task = &self.tasks[slot];
            task.endpoint == endpoint && task.phase != super::task::Phase::Accepting
        })
    }

    /// Ends the session from this side.
    pub(super) fn reset(&mut self, endpoint: u32, reason: ResetReason, cx: &mut Cx<'_>) {
        self.count(Counter::DroppedMessages, 1);
        self.end_link_saying(endpoint, Item::Reset { reason }, &format!("session reset: {reason:?}"), cx);
    }

    pub(super) fn end_link_saying(&mut self, endpoint: u32, item: Item, why: &str, cx: &mut Cx<'_>) {
        if let Some(link) = self.endpoints[endpoint as usize].link.as_deref_mut() {
            let conn = link.conn;
            if item.is_bare() {
                let message = link.session.bare(cx.now.mono, item);
                cx.out.push(Action::Send { conn, message });
            } else {
                link.session.push(item);
                link.session.flush(cx.now.mono, |message| cx.out.push(Action::Send { conn, message }));
            }
        }
        self.end_link(endpoint, why, cx);
    }

    /// Forgets the session and nothing else (F1).
    pub(super) fn end_link(&mut self, endpoint: u32, why: &str, cx: &mut Cx<'_>) {
        let state = &mut self.endpoints[endpoint as usize];
        let Some(link) = state.link.take() else { return };
        let id = state.id;
        if link.live {
            state.changed_at(cx.now.wall);
            self.offline.left(endpoint, cx.now.mono);
        }
        self.timers.remove(&(link.timer, endpoint));
        self.conns.remove(&link.conn);
        cx.out.push(Action::Close { conn: link.conn });
        cx.out.push(Action::Log { endpoint: id, text: format!("offline: {why}") });
    }

    pub(super) fn on_unreachable(&mut self, conn: ConnId, cx: &mut Cx<'_>) {
        if let Some(&endpoint) = self.conns.get(&conn) {
            self.end_link(endpoint, "its connection is gone", cx);
        }
    }

    pub(super) fn on_revoked(&mut self, id: EndpointId, cx: &mut Cx<'_>) {
        let Some(&endpoint) = self.by_id.get(&id) else { return };
        let text = "the key of this endpoint was revoked; `bursa endpoint revoke NAME` in its home gives it a new one".to_owned();
        let refusal = Refusal { reason: RefusedReason::Revoked, is_final: true, text };
        self.refuse_link(endpoint, refusal, cx);
    }

    /// After a sleep of this process each peer gets a fresh threshold (F34).
    pub(super) fn forgive(&mut self, now: Mono) {
        let gap = now.since(self.last);
        self.last = self.last.max(now);
        if gap > self.config.threshold_ms / 2 {
            self.forgive_all(now);
        }
    }

    /// Each peer gets a fresh threshold: it was this process that did not listen (F34).
    pub(super) fn forgive_all(&mut self, now: Mono) {
        for link in self.endpoints.iter_mut().filter_map(|endpoint| endpoint.link.as_deref_mut()) {
            link.session.forgive(now);
        }
    }

    fn due(&self, link: &Link) -> Mono {
        link.session.flush_due(self.config.heartbeat_ms).min(link.session.silent_at(self.config.threshold_ms))
    }

    /// Sets or moves the session's timer. It may fire early, never late: its reasons only move away, but for what begins
    /// to linger.
    pub(super) fn set_timer(&mut self, endpoint: u32) {
        let Some(link) = self.endpoints[endpoint as usize].link.as_deref() else { return };
        let (old, due) = (link.timer, self.due(link));
        self.timers.remove(&(old, endpoint));
        self.timers.insert((due, endpoint));
        if let Some(link) = self.endpoints[endpoint as usize].link.as_deref_mut() {
            link.timer = due;
        }
    }

    pub(super) fn run_link_timers(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        while let Some(&(at, endpoint)) = self.timers.first() {
            if at > now {
                return;
            }
            self.timers.remove(&(at, endpoint));
            let (heartbeat_ms, threshold_ms) = (self.config.heartbeat_ms, self.config.threshold_ms);
            let Some(link) = self.endpoints[endpoint as usize].link.as_deref_mut() else { continue };
            if link.session.silent_at(threshold_ms) <= now {
                let why = format!("nothing was heard of it for {} s", threshold_ms / 1_000);
                self.end_link_saying(endpoint, Item::Reset { reason: ResetReason::Stalled }, &why, cx);
                continue;
            }
            let conn = link.conn;
            link.session.flush(now, |message| cx.out.push(Action::Send { conn, message }));
            if link.session.ping_due(heartbeat_ms) <= now {
                let message = link.session.ping(now);
                cx.out.push(Action::Send { conn, message });
            }
            self.set_timer(endpoint);
        }
    }
}
