//! The two clocks, read once per driver round, and the randomness that the machines are given.

use bursa_core::time::{Fine, Mono, Now, Wall};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A process's rising clock, counted from its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let fine = nanos(self.start.elapsed());
        Now { mono: Mono(fine / 1_000_000), fine: Fine(fine), wall: Wall(millis(wall)) }
    }

    /// The instant at which a timer for `at` must fire: [`Clock::now`] is at or past `at` then.
    pub(crate) fn instant(&self, at: Mono) -> Instant {
        // Far deadlines are cut to a day: a timer that fires early costs one `Tick`.
        let day = self.now().mono.after(24 * 3_600_000);
        self.start + Duration::from_millis(at.0.min(day.0))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The time of day as RFC 3339 in UTC, for people.
pub(crate) fn text() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// A seed for a machine's generator.
pub(crate) fn seed() -> std::io::Result<u64> {
    random().map(u64::from_le_bytes)
}

/// The name of this node, for people.
pub(crate) fn host() -> String {
    nix::unistd::gethostname().map_or_else(|_| "unknown".into(), |name| name.to_string_lossy().into_owned())
}

/// What this build calls itself to its peers.
pub(crate) const SOFTWARE: &str = concat!("bursa ", env!("CARGO_PKG_VERSION"));
