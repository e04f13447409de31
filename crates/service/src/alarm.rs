//! The timer of the driver's loop, which hardly ever moves.

use std::pin::Pin;
use tokio::time::{Instant, Sleep, sleep_until};

/// Ends a wait when something is due. A timer that is set earlier than all others costs the runtime two system calls
/// and a turn, and what lingers makes and unmakes such a deadline with each call. So it is moved to earlier times only: what
/// it was set for before ends a wait too soon, once, and costs one round with nothing to do.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Set for now. Within a runtime.
    pub(crate) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Waits until `due` at most; without it, for ever. Cancel-safe.
    pub(crate) async fn wait(&mut self, due: Option<Instant>) {
        let Some(due) = due else { return std::future::pending().await };
        if self.0.is_elapsed() || due < self.0.deadline() {
            self.0.as_mut().reset(due);
        }
        self.0.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn it_ends_a_wait_in_time_or_too_early_once() {
        let after = |ms| Some(Instant::now() + Duration::from_millis(ms));
        let late = after(3_600_000);
        let mut alarm = Alarm::new();
        alarm.wait(late).await;
        let soon = after(5);
        alarm.wait(soon).await;
        assert!(Some(Instant::now()) >= soon);
        let given_up = tokio::time::timeout(Duration::ZERO, alarm.wait(after(5))).await;
        assert!(given_up.is_err());
        alarm.wait(late).await;
        for due in [late, None] {
            assert!(
                tokio::time::timeout(Duration::from_millis(20), alarm.wait(due)).await.is_err(),
                "{due:?}"
            );
        }
        alarm.wait(after(5)).await;
    }
}
