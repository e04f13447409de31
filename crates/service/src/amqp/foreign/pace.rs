//! How many tasks a user endpoint ends: it may have ahead what it runs in about a second.
//!
//! It publishes results twice a second. With no more ahead than twice its workers it would idle in between, and with all that
//! waits it would lose, when it is killed, what others could have run.

use bursa_core::time::Now;

/// Tasks that ended in one second, and in the one before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    second: u64,
    ended: u32,
    before: u32,
}

impl Pace {
    /// One ended.
    pub(super) fn count(&mut self, now: Now) {
        *self = self.at(now);
        self.ended += 1;
    }

    /// So many end in a second.
    pub(super) fn each_second(self, now: Now) -> u32 {
        let Self { ended, before, .. } = self.at(now);
        ended.max(before)
    }

    fn at(self, now: Now) -> Self {
        let second = now.mono.0 / 1_000;
        match second.saturating_sub(self.second) {
            0 => self,
            1 => Self { second, ended: 0, before: self.ended },
            _ => Self { second, ended: 0, before: 0 },
        }
    }
}
