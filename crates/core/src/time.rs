//! Time as the machines see it: an argument of every call, never read from a clock.

use serde::{Deserialize, Serialize};

/// Milliseconds on a clock that only rises (from an arbitrary start): for timers, leases and liveness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The moment `ms` milliseconds later.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Nanoseconds on that clock: for durations; timers are [`Mono`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Fine(pub u64);

impl Fine {
    /// Nanoseconds since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since the Unix epoch: for deadlines that must survive a restart, and for people. Never on a link (F32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

/// The two clocks, read once per driver round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The rising clock.
    pub mono: Mono,
    /// The same, finer.
    pub fine: Fine,
    /// The wall clock.
    pub wall: Wall,
}
