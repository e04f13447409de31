//! How often one may ask: a bucket for each user and kind of request, and one for each address that sends unknown tokens.

use axum::http::Method;
use bursa_core::limits;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a request asks for, as far as its cost goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Read,
    Write,
    Submit,
}

impl Kind {
    /// Of a request to the route `path`, as it is written in the table of routes.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Read,
            Method::POST if path.ends_with("/submit") || path == "/api/v1/tasks" => Self::Submit,
            Method::POST if path.ends_with("/batch_status") || path == "/api/v1/tasks/get" => Self::Read,
            _ => Self::Write,
        }
    }

    /// The key that sets its limit.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Read => "service.rate_read",
            Self::Write => "service.rate_write",
            Self::Submit => "service.rate_submit",
        }
    }
}

/// Requests in a second, again and again; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// That read, of one user.
    pub read: u32,
    /// That change something but submit no tasks, of one user.
    pub write: u32,
    /// That submit tasks, of one user.
    pub submit: u32,
    /// With an unknown token, from one address.
    pub bad_logins: u32,
}

/// Seconds until there is room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait(pub(crate) u64);

/// All buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    begun: Instant,
    limits: Limits,
    users: Buckets<(i64, Kind)>,
    strangers: Buckets<IpAddr>,
}

impl Rates {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { begun: Instant::now(), limits, users: Buckets::default(), strangers: Buckets::default() }
    }

    /// A request of the user with this number.
    pub(crate) fn ask(&self, user_no: i64, kind: Kind) -> Result<(), Wait> {
        let per_s = match kind {
            Kind::Read => self.limits.read,
            Kind::Write => self.limits.write,
            Kind::Submit => self.limits.submit,
        };
        self.users.take((user_no, kind), self.now(), per_s)
    }

    /// An unknown token from this address.
    pub(crate) fn bad_login(&self, from: IpAddr) -> Result<(), Wait> {
        self.strangers.take(network(from), self.now(), self.limits.bad_logins)
    }

    /// Whether there is room for an unknown token from this address: asked before anybody else is asked about one. Takes none.
    pub(crate) fn room_for_login(&self, from: IpAddr) -> Result<(), Wait> {
        self.strangers.look(network(from), self.now(), self.limits.bad_logins)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Whose bucket an address has: a network of IPv6 is one stranger.
pub(crate) fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

const SECOND: u64 = 1_000_000_000;

/// For each key the moment, in nanoseconds, at which its bucket is full again: all that a bucket is.
#[derive(Debug)]
struct Buckets<K>(Mutex<HashMap<K, u64>>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes one out of a bucket that gets `per_s` in a second and holds what it gets in `RATE_BURST_S`.
    fn take(&self, key: K, now: u64, per_s: u32) -> Result<(), Wait> {
        if per_s == 0 {
            return Ok(());
        }
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= limits::RATE_BUCKETS {
            buckets.retain(|_, full| *full > now);
            if buckets.len() >= limits::RATE_BUCKETS {
                buckets.clear();
            }
        }
        let full = buckets.entry(key).or_insert(now);
        *full = taken(*full, now, per_s)?;
        Ok(())
    }

    /// Whether one could be taken.
    fn look(&self, key: K, now: u64, per_s: u32) -> Result<(), Wait> {
        if per_s == 0 {
            return Ok(());
        }
        let buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken(buckets.get(&key).copied().unwrap_or(now), now, per_s).map(drop)
    }
}

/// When a bucket that is full at `full` is full again after one was taken out of it.
fn taken(full: u64, now: u64, per_s: u32) -> Result<u64, Wait> {
    let after = full.max(now) + SECOND / u64::from(per_s);
    match after.saturating_sub(now).saturating_sub(limits::RATE_BURST_S * SECOND) {
        0 => Ok(after),
        short => Err(Wait(short.div_ceil(SECOND))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let buckets = Buckets::default();
        let taken = |from: u64, to: u64| (from..to).filter(|now| buckets.take((), *now, 5).is_ok()).count();
        assert!((0..1_000).all(|now| buckets.look((), now, 5).is_ok()), "looking takes none");
        assert_eq!(taken(0, 1_000) as u64, 5 * limits::RATE_BURST_S);
        assert_eq!(buckets.take((), 1_000, 5), Err(Wait(1)));
        assert_eq!(buckets.look((), 1_000, 5), Err(Wait(1)));
        assert_eq!(taken(SECOND, SECOND + 1_000), 5, "a second gives five more");
        assert!(buckets.take((), 1 << 60, 5).is_ok() && buckets.take((), 1 << 60, 0).is_ok());
    }

    #[test]
    fn buckets_are_bounded_and_their_keys_are_apart() {
        let buckets = Buckets::default();
        for key in 0..2 * limits::RATE_BUCKETS {
            assert!(buckets.take(key, 0, 1).is_ok());
        }
        assert!(buckets.0.lock().unwrap().len() <= limits::RATE_BUCKETS);
    }

    #[test]
    fn a_network_of_ipv6_is_one_stranger() {
        let limits = Limits { read: 1, write: 1, submit: 1, bad_logins: 1 };
        let rates = Rates::new(limits);
        let mut refused = 0;
        for n in 0..100_u16 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, n, 0, 0, n).into();
            refused += u32::from(rates.bad_login(address).is_err());
        }
        assert!(refused >= 80, "{refused}");
        assert!(rates.bad_login("::ffff:10.0.0.1".parse().unwrap()).is_ok());
        assert!(rates.ask(1, Kind::Read).is_ok());
    }

    #[test]
    fn kinds() {
        for (method, path, kind) in [
            (Method::GET, "/api/v1/tasks", Kind::Read),
            (Method::POST, "/api/v1/tasks", Kind::Submit),
            (Method::POST, "/v3/endpoints/{id}/submit", Kind::Submit),
            (Method::POST, "/v2/batch_status", Kind::Read),
            (Method::POST, "/api/v1/functions", Kind::Write),
            (Method::DELETE, "/api/v1/functions/{id}", Kind::Write),
        ] {
            assert_eq!(Kind::of(&method, path), kind, "{method} {path}");
        }
    }
}
