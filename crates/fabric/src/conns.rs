//! Which libzmq routing id is which connection. Owns the numbering; sends and receives nothing.

use crate::bulk::{Bulk, Standing};
use crate::curve::PublicKey;
use bursa_core::id::ConnId;
use std::collections::HashMap;
use std::sync::Arc;

/// One connection that has spoken.
#[derive(Debug)]
pub(crate) struct Conn {
    id: ConnId,
    pub(crate) key: PublicKey,
    pub(crate) user: Arc<str>,
    heard: u64,
    pub(crate) bulk: Bulk,
    /// Its bulk connection was offered.
    pub(crate) offered: Option<Standing>,
}

/// The connections of one acceptor. An entry goes when a send finds the connection gone, when it is forgotten, or,
/// beyond the bound, when it has been silent for longer than most.
#[derive(Debug)]
pub(crate) struct Conns {
    by_route: HashMap<Arc<[u8]>, Conn>,
    by_id: HashMap<ConnId, Arc<[u8]>>,
    next: u64,
    clock: u64,
    bound: usize,
    /// Entries dropped because of the bound.
    pub(crate) evicted: u64,
}

impl Conns {
    pub(crate) fn new(bound: usize) -> Self {
        let (by_route, by_id) = (HashMap::new(), HashMap::new());
        Self { by_route, by_id, next: 0, clock: 0, bound: bound.max(1), evicted: 0 }
    }

    /// The connection of a message with this routing id from this key. Another key or user under a known routing
    /// id is another connection: libzmq gives a live one's id to nobody (`HANDOVER` 0), so the old one is gone.
    pub(crate) fn heard(&mut self, route: &[u8], key: PublicKey, user: &Arc<str>) -> ConnId {
        self.clock += 1;
        if let Some(conn) = self.by_route.get_mut(route) {
            if conn.key == key && conn.user == *user {
                conn.heard = self.clock;
                return conn.id;
            }
            let old = conn.id;
            self.forget(old);
        }
        if self.by_route.len() >= self.bound {
            self.evict();
        }
        let id = ConnId(self.next);
        self.next += 1;
        let route: Arc<[u8]> = route.into();
        self.by_id.insert(id, Arc::clone(&route));
        self.by_route.insert(
            route,
            Conn { id, key, user: Arc::clone(user), heard: self.clock, bulk: Bulk::default(), offered: None },
        );
        id
    }

    pub(crate) fn route(&self, id: ConnId) -> Option<&Arc<[u8]>> {
        self.by_id.get(&id)
    }

    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.by_id.get(&id).and_then(|route| self.by_route.get_mut(route))
    }

    /// One that has spoken beside its link.
    pub(crate) fn spoke(&mut self, id: ConnId) -> Option<&Conn> {
        self.clock += 1;
        let clock = self.clock;
        self.get(id).map(|conn| {
            conn.heard = clock;
            &*conn
        })
    }

    pub(crate) fn forget(&mut self, id: ConnId) {
        if let Some(conn) = self.by_id.remove(&id).and_then(|route| self.by_route.remove(&route)) {
            conn.bulk.part();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_route.len()
    }

    /// Drops the sixteenth that was silent for longest: one sweep pays for many new connections.
    fn evict(&mut self) {
        let mut ages: Vec<(u64, ConnId)> = self.by_route.values().map(|conn| (conn.heard, conn.id)).collect();
        let count = (self.bound / 16).max(1);
        ages.sort_unstable();
        for (_, id) in ages.into_iter().take(count) {
            self.forget(id);
            self.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PublicKey = PublicKey([1; 32]);
    const B: PublicKey = PublicKey([2; 32]);

    #[test]
    fn numbers_are_never_used_twice() {
        let (mut conns, user) = (Conns::new(10), Arc::from("u"));
        let first = conns.heard(b"x", A, &user);
        assert_eq!(conns.heard(b"x", A, &user), first);
        conns.forget(first);
        assert_eq!(conns.route(first), None);
        assert_ne!(conns.heard(b"x", A, &user), first);
        assert_eq!(conns.len(), 1);
    }

    #[test]
    fn another_key_or_user_is_another_connection() {
        let mut conns = Conns::new(10);
        let first = conns.heard(b"x", A, &Arc::from("u"));
        let second = conns.heard(b"x", B, &Arc::from("u"));
        let third = conns.heard(b"x", B, &Arc::from("v"));
        assert!(first != second && second != third && conns.len() == 1);
        assert!(
            conns.route(first).is_none() && conns.route(second).is_none() && conns.route(third).is_some()
        );
    }

    #[test]
    fn beyond_the_bound_the_silent_go_first() {
        let (mut conns, user) = (Conns::new(32), Arc::from("u"));
        let busy = conns.heard(b"busy", A, &user);
        for n in 0..1_000_u32 {
            conns.heard(&n.to_be_bytes(), A, &user);
            assert_eq!(conns.heard(b"busy", A, &user), busy);
            assert!(conns.len() <= 32 && conns.by_id.len() == conns.len());
        }
        assert_eq!(conns.evicted + conns.len() as u64, 1_001);
    }
}
