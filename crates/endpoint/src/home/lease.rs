//! Who runs an endpoint, also where `flock` does not reach: a home on a file system that several nodes share (F6).
//!
//! The lease is a file that names its holder and carries a counter that the holder raises. A node that cannot see the
//! holder's process watches the counter, and takes the lease once that stood still for long enough *on its own clock*:
//! clocks of two nodes are never compared. Taking is by rename, so a holder that was wrongly taken for dead finds
//! another name in the file at its next raise, and ends.

use super::{Error, write};
use crate::proc::Identity;
use crate::{clock, control};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A holder shows this many signs of life in the time after which others take its lease.
const SIGNS: u32 = 6;

/// Who holds an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its node.
    pub host: String,
    /// The watchdog above it, if there is one.
    pub watchdog: Option<i32>,
    /// Since when, for people.
    since: String,
    pub(crate) process: Identity,
    /// Tells apart what has the same process, after a restore of a copied home.
    token: String,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> io::Result<Self> {
        let pid = std::process::id().cast_signed();
        let process =
            Identity::of(pid).ok_or_else(|| io::Error::other("/proc does not show this process"))?;
        let watchdog = control::watchdog_of(pid).map(|watchdog| watchdog.pid);
        let token = format!("{:016x}", clock::seed()?);
        Ok(Self { host: clock::host(), watchdog, since: clock::text(), process, token })
    }

    /// Its process.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.process.pid
    }

    /// On this node, as far as names tell.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.host == clock::host()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.watchdog.unwrap_or(self.process.pid);
        write!(f, "process {pid} on node {} since {}", self.host, self.since)
    }
}

/// What the file says: its holder in a line, the counter in another. Both keep their length when the counter rises.
fn text(owner: &Owner, counter: u64) -> io::Result<String> {
    Ok(format!("{}\n{counter:020}\n", serde_json::to_string(owner)?))
}

fn owner_in(text: &[u8]) -> Option<Owner> {
    serde_json::from_slice(text.split(|byte| *byte == b'\n').next()?).ok()
}

/// Whose a lease is that is not ours yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody's: it may be taken.
    Free,
    /// It is held.
    Held(Option<Owner>),
    /// Its holder is on another node and has shown no sign of life yet; it has so much time left.
    Silent(Option<Owner>, Duration),
}

/// One start's look at a lease, from its first sight of it.
#[derive(Debug)]
pub(super) struct Watch {
    host: String,
    patience: Duration,
    seen: Option<(Vec<u8>, Instant)>,
}

impl Watch {
    /// For a start on `host`; a lease is stale after `patience`.
    pub(super) const fn new(host: String, patience: Duration) -> Self {
        Self { host, patience, seen: None }
    }

    /// The file says `text` now; `None`: there is none.
    pub(super) fn judge(
        &mut self,
        text: Option<Vec<u8>>,
        lives: impl FnOnce(&Identity) -> bool,
        now: Instant,
    ) -> Verdict {
        let Some(text) = text else { return Verdict::Free };
        let owner = owner_in(&text);
        if let Some(here) = owner.as_ref().filter(|owner| owner.host == self.host) {
            // One of before this node's last start is dead too.
            return if lives(&here.process) { Verdict::Held(owner) } else { Verdict::Free };
        }
        match &self.seen {
            None => {
                self.seen = Some((text, now));
                Verdict::Silent(owner, self.patience)
            }
            Some((before, _)) if *before != text => Verdict::Held(owner),
            Some((_, since)) => match self.patience.saturating_sub(now.duration_since(*since)) {
                Duration::ZERO => Verdict::Free,
                left => Verdict::Silent(owner, left),
            },
        }
    }
}

/// A lease that this process holds. It must be kept: see [`Lease::keep`].
#[derive(Debug, Clone)]
pub(super) struct Lease {
    path: PathBuf,
    name: String,
    owner: Owner,
    counter: u64,
}

impl Lease {
    /// Makes the lease of endpoint `name` at `path` this process's: the caller has found it free.
    pub(super) fn take(path: &Path, name: &str, owner: Owner) -> Result<Self, Error> {
        let text = text(&owner, 0).map_err(Error::io("write", path))?;
        write::file(path, text.as_bytes(), 0o600)?;
        let lease = Self { path: path.to_owned(), name: name.to_owned(), owner, counter: 0 };
        // Of two that took it at once, the second to rename has it.
        match write::read(path)?.as_deref().and_then(owner_in) {
            Some(owner) if owner == lease.owner => Ok(lease),
            owner => Err(Error::Locked { name: lease.name, owner: owner.map(Box::new) }),
        }
    }

    /// Raises the counter again and again, as long as somebody waits for this; ends with the reason why this process may
    /// not go on. On a thread of its own: a file server that does not answer must not keep the others from their work,
    /// and nobody has to be woken for it.
    pub(super) async fn keep(self, patience: Duration) -> Error {
        let (path, (ask, asked), (tell, told)) = (self.path.clone(), mpsc::channel(), oneshot::channel());
        let keeper = move || {
            // Nobody may wait any more.
            let _ = self.keep_until(&asked, patience / SIGNS).map(|why| tell.send(why));
        };
        let why = match thread::Builder::new().name("lease".into()).spawn(keeper) {
            Ok(_) => told.await.map_err(io::Error::other),
            Err(error) => Err(error),
        };
        drop::<mpsc::Sender<()>>(ask);
        why.unwrap_or_else(Error::io("renew", &path))
    }

    /// `None`: it is not asked for any more.
    fn keep_until(mut self, asked: &mpsc::Receiver<()>, pause: Duration) -> Option<Error> {
        while asked.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            match self.raise() {
                Ok(()) => {}
                Err(error @ Error::TakenOver { .. }) => return Some(error),
                Err(error) => tracing::warn!("the lease could not be renewed: {error}"),
            }
        }
        None
    }

    fn raise(&mut self) -> Result<(), Error> {
        let failed = Error::io("renew", &self.path);
        let next = text(&self.owner, self.counter + 1).map_err(Error::io("renew", &self.path))?;
        let mut now = Vec::new();
        let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            // Whoever takes a lease leaves its own: this one was only removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return write::file(&self.path, next.as_bytes(), 0o600);
            }
            file => file.map_err(Error::io("renew", &self.path))?,
        };
        (&file).read_to_end(&mut now).map_err(Error::io("renew", &self.path))?;
        let owner = owner_in(&now);
        if owner.as_ref() != Some(&self.owner) {
            return Err(Error::TakenOver { name: self.name.clone(), owner: owner.map(Box::new) });
        }
        // In place: into a file that was replaced since it was opened, this goes unseen.
        file.write_all_at(next.as_bytes(), 0).map_err(failed)?;
        self.counter += 1;
        Ok(())
    }

    /// Leaves the lease to the next, unless it is another's already.
    pub(super) fn give_back(&self) {
        let ours = |text: Vec<u8>| owner_in(&text).as_ref() == Some(&self.owner);
        if write::read(&self.path).ok().flatten().is_some_and(ours) {
            // One that stays is found without a process.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(30);

    fn owner(host: &str) -> Owner {
        let process = Identity { pid: 7, start: 1, boot: "b".into() };
        let (host, since, token) = (host.into(), "then".into(), "t".into());
        Owner { host, watchdog: Some(6), since, process, token }
    }

    /// The lease of `host`, its counter at `counter`; looked at from node `a`.
    fn says(host: &str, counter: u64) -> Option<Vec<u8>> {
        text(&owner(host), counter).ok().map(String::into_bytes)
    }

    #[test]
    fn on_the_same_node_the_process_decides() {
        let now = Instant::now();
        let judge = |text, lives| Watch::new("a".into(), STALE).judge(text, |_| lives, now);
        assert_eq!(judge(None, true), Verdict::Free);
        assert_eq!(judge(says("a", 5), true), Verdict::Held(Some(owner("a"))));
        assert_eq!(judge(says("a", 5), false), Verdict::Free);
    }

    #[test]
    fn another_node_is_watched_on_our_own_clock() {
        let start = Instant::now();
        // Each look: seconds since the first, what the file says, what that means.
        let silent = |left| Verdict::Silent(Some(owner("b")), Duration::from_secs(left));
        let held = || Verdict::Held(Some(owner("b")));
        let damaged = |left| Verdict::Silent(None, Duration::from_secs(left));
        let cases = [
            vec![
                (0, says("b", 5), silent(30)),
                (29, says("b", 5), silent(1)),
                (30, says("b", 5), Verdict::Free),
            ],
            vec![(0, says("b", 5), silent(30)), (4, says("b", 6), held())],
            vec![(0, says("b", 5), silent(30)), (29, says("b", 6), held())],
            // It ended in order.
            vec![(0, says("b", 5), silent(30)), (1, None, Verdict::Free)],
            // A third was faster.
            vec![(0, says("c", 5), Verdict::Silent(Some(owner("c")), STALE)), (30, says("b", 0), held())],
            vec![(0, Some(vec![]), damaged(30)), (30, Some(vec![]), Verdict::Free)],
        ];
        for case in cases {
            let mut watch = Watch::new("a".into(), STALE);
            for (at, text, expected) in case {
                let now = start + Duration::from_secs(at);
                let shown = format!("{text:?} after {at} s");
                assert_eq!(
                    watch.judge(text, |_| panic!("another node's processes"), now),
                    expected,
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn a_holder_raises_its_own_lease_and_sees_another_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lease");
        let mut lease = Lease::take(&path, "lab", owner("a")).unwrap();
        let mut texts = vec![write::read(&path).unwrap()];
        for _ in 0..3 {
            lease.raise().unwrap();
            texts.push(write::read(&path).unwrap());
        }
        texts.dedup();
        assert_eq!(texts.len(), 4, "each raise is seen");
        std::fs::remove_file(&path).unwrap();
        lease.raise().unwrap();
        assert_eq!(write::read(&path).unwrap(), says("a", 4));
        let other = Lease::take(&path, "lab", owner("b")).unwrap();
        let text = lease.raise().unwrap_err().to_string();
        assert!(text.contains("taken over by process 6 on node b since then"), "{text}");
        lease.give_back();
        assert_eq!(write::read(&path).unwrap(), says("b", 0), "the other's is left alone");
        other.give_back();
        assert_eq!(write::read(&path).unwrap(), None);
    }
}
