//! Connections of endpoints that were refused for their key, as lines of the log: one for each address in `EVERY`, which says
//! how many more there were. So nobody fills the log by knocking.

use super::{Audit, Entry};
use crate::clock::sleep_until;
use crate::rate::network;
use bursa_core::limits;
use bursa_fabric::Refusal;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

const EVERY: Duration = Duration::from_millis(limits::AUDIT_REFUSALS_MS);

/// Records what comes, until nobody is left who could say more.
pub(crate) async fn record_refusals(mut refused: mpsc::Receiver<Refusal>, audit: Arc<Audit>) {
    let mut refusals = Refusals::default();
    loop {
        tokio::select! {
            refusal = refused.recv() => match refusal {
                Some(Refusal { from, key }) => {
                    if refusals.refused(from, Instant::now()) {
                        let object = key.map(|key| key.to_string());
                        audit.record(Entry { object, ..line(from) });
                    }
                }
                None => return record(&audit, refusals.told(Instant::now() + EVERY)),
            },
            () = sleep_until(refusals.due()) => record(&audit, refusals.told(Instant::now())),
        }
    }
}

fn record(audit: &Audit, told: Vec<(Option<IpAddr>, u64)>) {
    for (from, left_out) in told {
        audit.record(Entry { left_out: Some(left_out), ..line(from) });
    }
}

fn line(from: Option<IpAddr>) -> Entry {
    Entry { from, status: 401, code: Some("unauthorized"), ..Entry::now("LINK") }
}

/// The addresses of which a line was written lately. `None`: all for which there is no room.
#[derive(Debug, Default)]
struct Refusals(HashMap<Option<IpAddr>, Lately>);

#[derive(Debug)]
struct Lately {
    until: Instant,
    left_out: u64,
}

impl Refusals {
    /// Whether a line is to be written of this one.
    fn refused(&mut self, from: Option<IpAddr>, now: Instant) -> bool {
        let network = from.map(network);
        let known = self.0.contains_key(&network);
        let place = if known || self.0.len() < limits::AUDIT_REFUSED { network } else { None };
        if let Some(lately) = self.0.get_mut(&place) {
            lately.left_out += 1;
            return false;
        }
        self.0.insert(place, Lately { until: now + EVERY, left_out: 0 });
        true
    }

    /// When `told` has something to say, or to forget.
    fn due(&self) -> Option<Instant> {
        self.0.values().map(|lately| lately.until).min()
    }

    /// Whose time is over, and how many of them were left out; the others are forgotten.
    fn told(&mut self, now: Instant) -> Vec<(Option<IpAddr>, u64)> {
        let over = self.0.extract_if(|_, lately| lately.until <= now);
        over.filter(|(_, lately)| lately.left_out > 0).map(|(from, lately)| (from, lately.left_out)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn an_address_has_a_line_now_and_then_and_a_count() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        let lines = (0..1_000).filter(|_| refusals.refused(address(1), begun)).count();
        assert_eq!((lines, refusals.due()), (1, Some(begun + EVERY)));
        assert!(refusals.refused(address(2), begun), "another has a line of its own");
        assert_eq!(refusals.told(begun + EVERY), [(address(1), 999)]);
        assert_eq!(refusals.due(), None, "who is silent is forgotten");
        assert!(refusals.refused(address(1), begun + EVERY));
    }

    #[test]
    fn addresses_without_end_are_counted_together() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        let most = u32::try_from(limits::AUDIT_REFUSED).unwrap();
        let lines = (0..10 * most).filter(|n| refusals.refused(address(*n), begun)).count();
        assert_eq!(lines, limits::AUDIT_REFUSED + 1);
        let told = refusals.told(begun + EVERY);
        assert_eq!(told, [(None, u64::from(9 * most) - 1)]);
    }
}
