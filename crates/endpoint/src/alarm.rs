//! The next deadline of a process, as a timer of the system.
//!
//! The runtime's own timers do for what is near. For one that is further off it wakes up once or twice before, only to
//! sort it in anew, and moves it at each change: at rest those were half of all wake-ups.

use crate::proc::{OwnsFd, watch};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::future::pending;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl OwnsFd for Timer {}

/// A timer is not put off by less than this, nor if it rings within it: under load deadlines are put off all the time, and
/// to move one takes a system call.
const NEAR: Duration = Duration::from_millis(100);

/// A timer for a deadline that moves.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// `None`: the system gives none, and the runtime's do.
    timer: Option<AsyncFd<Timer>>,
    at: Option<Instant>,
}

impl Alarm {
    /// Within a runtime.
    pub(crate) fn new() -> Self {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok();
        Self { timer: timer.and_then(|timer| watch(Timer(timer)).ok()), at: None }
    }

    /// Waits until then; for ever without a deadline. Cancel-safe.
    pub(crate) async fn until(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return pending().await };
        loop {
            let now = Instant::now();
            if deadline <= now {
                return;
            }
            let Some(timer) = self.timer.as_ref().filter(|timer| set(timer, &mut self.at, deadline, now))
            else {
                return tokio::time::sleep_until(deadline).await;
            };
            if let Ok(mut rang) = timer.readable().await {
                rang.clear_ready();
            }
            // Nothing to read: it was set anew after it rang.
            let _ = timer.get_ref().0.wait();
            self.at = None;
        }
    }
}

/// Sees to it that the timer rings by then, or not long before; false if the system does not want to.
fn set(timer: &AsyncFd<Timer>, at: &mut Option<Instant>, deadline: Instant, now: Instant) -> bool {
    if at.is_some_and(|at| at <= deadline && (at <= now + NEAR || deadline <= at + NEAR)) {
        return true;
    }
    let once = Expiration::OneShot(TimeSpec::from_duration(deadline - now));
    let rings = timer.get_ref().0.set(once, TimerSetTimeFlags::empty()).is_ok();
    *at = rings.then_some(deadline);
    rings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_rings_for_the_deadline_that_it_is_asked_for() {
        let (mut alarm, start) = (Alarm::new(), Instant::now());
        let ms = |ms| Some(start + Duration::from_millis(ms));
        // Moved ahead, put off, and left alone when it rang: each wait ends at its own deadline.
        for (given_up, deadline) in
            [(ms(3_600_000), ms(10)), (ms(15), ms(30)), (None, ms(30)), (ms(31), ms(40))]
        {
            tokio::select! {
                biased;
                () = alarm.until(given_up) => {}
                () = tokio::task::yield_now() => {}
            }
            alarm.until(deadline).await;
            assert!(Some(Instant::now()) >= deadline);
        }
    }
}
