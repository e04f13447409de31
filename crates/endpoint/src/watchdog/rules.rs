//! What a watchdog is configured with: the keys of the section `watchdog`, and their values with types.

use bursa_core::config::{ConfigError, Key, Values};
use std::time::Duration;

macro_rules! key {
    ($const:ident, $name:literal, $env:literal, $default:literal, $about:literal) => {
        const $const: Key =
            Key { name: concat!("watchdog.", $name), env: $env, default: $default, about: $about };
    };
}

key!(
    HEARTBEAT,
    "heartbeat_ms",
    "BURSA_WATCHDOG_HEARTBEAT_MS",
    "5000",
    "the watchdog asks service and manager this often whether their loop turns"
);
key!(
    THRESHOLD,
    "threshold_ms",
    "BURSA_WATCHDOG_THRESHOLD_MS",
    "30000",
    "a service or manager that does not answer its watchdog for this long is killed and started again"
);
key!(
    START,
    "start_ms",
    "BURSA_WATCHDOG_START_MS",
    "600000",
    "a service or manager must answer for the first time within this; a large database may be migrated meanwhile"
);
key!(
    DEATHS,
    "deaths",
    "BURSA_WATCHDOG_DEATHS",
    "5",
    "a service or manager that dies this often within watchdog.within_ms is given up, and everything ends"
);
key!(WITHIN, "within_ms", "BURSA_WATCHDOG_WITHIN_MS", "60000", "deaths longer ago than this are forgotten");

/// Every key of the section `watchdog`.
pub const KEYS: &[Key] = &[HEARTBEAT, THRESHOLD, START, DEATHS, WITHIN];

/// The values, with types.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Children are asked this often.
    pub heartbeat: Duration,
    /// A child that does not answer for so long is killed.
    pub threshold: Duration,
    /// The first answer may take this long.
    pub start: Duration,
    /// So many deaths are one too many…
    pub deaths: usize,
    /// …if they are no further apart than this.
    pub within: Duration,
}

impl Rules {
    /// What was configured.
    ///
    /// # Errors
    /// [`ConfigError`] for the first value that is not what its key must be.
    pub fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let heartbeat = values.whole(&HEARTBEAT, 1..=u64::MAX)?;
        let threshold = values.whole(&THRESHOLD, 1..=u64::MAX)?;
        if threshold < 2 * heartbeat {
            let why = format!("it must be at least twice {} ({heartbeat})", HEARTBEAT.name);
            return Err(values.wrong(&THRESHOLD, why));
        }
        Ok(Self {
            heartbeat: Duration::from_millis(heartbeat),
            threshold: Duration::from_millis(threshold),
            start: Duration::from_millis(values.whole(&START, 1..=u64::MAX)?),
            deaths: usize::try_from(values.whole(&DEATHS, 1..=u64::MAX)?).unwrap_or(usize::MAX),
            within: Duration::from_millis(values.whole(&WITHIN, 1..=u64::MAX)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursa_core::config::Source;

    #[test]
    fn the_defaults_are_valid_and_a_threshold_is_two_heartbeats() {
        assert_eq!(Rules::from_values(&Values::default()).unwrap().threshold, Duration::from_secs(30));
        for (key, value) in [(&THRESHOLD, "9999"), (&DEATHS, "0"), (&START, "soon")] {
            let mut values = Values::default();
            values.offer(key, value, Source::Env);
            let error = Rules::from_values(&values).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} = '{value}' (from environment)", key.name)), "{error}");
        }
    }
}
