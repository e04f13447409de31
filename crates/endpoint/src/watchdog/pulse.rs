//! Whether a child's loop turns: the watchdog writes a byte into a socket that is the child's stdin, and the child's
//! own driver loop lets it be sent back. A child that lives and answers no longer (stopped, deadlocked, in an endless
//! loop) is as good as dead.

use super::Rules;
use super::child::{Said, Voice};
use crate::alarm::Alarm;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// What a driver loop gets of its watchdog: it answers each as it comes. Without a watchdog none ever comes.
pub type Pings = mpsc::Receiver<oneshot::Sender<()>>;

/// The pings of the watchdog that started this process, if one did. Must be called in a runtime.
#[must_use]
pub fn pings() -> Pings {
    let (ask, pings) = mpsc::channel(1);
    if let Ok(stream) = watchdog() {
        tokio::spawn(answer(stream, ask));
    }
    pings
}

/// The watchdog's socket; a stdin that is none was not given by a watchdog.
fn watchdog() -> io::Result<UnixStream> {
    let stream = net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr()?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn answer(mut stream: UnixStream, ask: mpsc::Sender<oneshot::Sender<()>>) {
    let mut ping = [0];
    while stream.read_exact(&mut ping).await.is_ok() {
        let (turn, turned) = oneshot::channel();
        if ask.send(turn).await.is_err() || turned.await.is_err() || stream.write_all(&ping).await.is_err() {
            return;
        }
    }
}

/// The watchdog's end of a new socket, and the child's.
pub(super) fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, childs) = net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, childs.into()))
}

/// Asks a child again and again; tells its watchdog once when it does not answer in time.
pub(super) async fn ask(mut stream: UnixStream, rules: Rules, voice: Voice) {
    let (mut alarm, mut patience) = (Alarm::new(), rules.start);
    loop {
        let asked = Instant::now();
        if stream.write_all(b".").await.is_err() {
            return;
        }
        match answered(&mut stream, rules.heartbeat, patience).await {
            Some(true) => {}
            // It closed its end: it ends, or does not care for a watchdog.
            Some(false) => return,
            None => {
                voice.say(Said::Nothing { since: asked }).await;
                return;
            }
        }
        patience = rules.threshold;
        alarm.until(Some(Instant::now() + rules.heartbeat)).await;
    }
}

/// Whether it answered; `None`: not in time.
async fn answered(stream: &mut UnixStream, step: Duration, patience: Duration) -> Option<bool> {
    let mut byte = [0];
    let mut left = patience;
    while !left.is_zero() {
        let step = step.min(left);
        let before = Instant::now();
        // Looks at the socket before it looks at the time.
        if let Ok(read) = timeout(step, stream.read(&mut byte)).await {
            return Some(read.is_ok_and(|count| count > 0));
        }
        left = still_patient(left, patience, step, before.elapsed());
    }
    None
}

/// What is left of the patience after a step that should have taken `step`. If it took far longer the watchdog itself
/// slept, and the child gets all of its time again (F34).
fn still_patient(left: Duration, patience: Duration, step: Duration, took: Duration) -> Duration {
    if took > step + patience / 2 { patience } else { left.saturating_sub(took.max(step)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_that_slept_blames_nobody() {
        let [step, patience] = [5, 30].map(Duration::from_secs);
        let after = |left, took| {
            still_patient(Duration::from_secs(left), patience, step, Duration::from_secs(took)).as_secs()
        };
        assert_eq!(after(30, 5), 25);
        assert_eq!(after(5, 6), 0, "a little late is late");
        assert_eq!(after(5, 21), 30, "it was not looking: everybody gets a fresh threshold");
    }
}
