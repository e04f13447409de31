//! The two clocks, read once per driver round; new ids and secrets.

use bursa_core::time::{Fine, Mono, Now, Wall};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The process's rising clock, counted from its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let fine = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { mono: Mono(fine / 1_000_000), fine: Fine(fine), wall: wall() }
    }

    /// The instant of `at`; far ones are cut to a day, an early `Tick` costs nothing.
    pub(crate) fn instant(&self, at: Mono) -> Instant {
        let day = millis(self.start.elapsed()) + 24 * 3_600_000;
        self.start + Duration::from_millis(at.0.min(day))
    }
}

/// The wall clock.
pub(crate) fn wall() -> Wall {
    Wall(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// The instant at which the wall clock will show `at`, as far as it goes on as it does; far ones are cut to a day.
pub(crate) fn instant_of(at: Wall) -> Instant {
    Instant::now() + Duration::from_millis(at.0.saturating_sub(wall().0).min(24 * 3_600_000))
}

/// Waits for ever where nothing is due.
pub(crate) async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn text(wall: Wall) -> String {
    let time = jiff::Timestamp::from_millisecond(wall.0.cast_signed()).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

/// Random bytes from the system.
pub(crate) fn random(bytes: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(bytes).map_err(|error| std::io::Error::other(error.to_string()))
}

/// `count` new ids: UUIDs of version 7, so that rows made together lie together.
pub(crate) fn new_ids(count: usize) -> std::io::Result<Vec<[u8; 16]>> {
    let mut ids = vec![[0_u8; 16]; count];
    random(ids.as_flattened_mut())?;
    let time = wall().0.to_be_bytes();
    for id in &mut ids {
        id[..6].copy_from_slice(&time[2..]);
        id[6] = (id[6] & 0x0f) | 0x70;
        id[8] = (id[8] & 0x3f) | 0x80;
    }
    Ok(ids)
}

/// One new id.
pub(crate) fn new_id() -> std::io::Result<[u8; 16]> {
    Ok(new_ids(1)?.pop().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_times_have_milliseconds() {
        let id = uuid::Uuid::from_bytes(new_id().unwrap());
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(text(Wall(1_700_000_000_120)), "2023-11-14T22:13:20.120Z");
    }
}
