//! The connector's side of a bulk connection: makes it when it is offered.

use super::note::{Incarnation, Offer};
use super::seal::{Cipher, TAG_BYTES};
use super::{Pipe, prepare};
use bursa_core::limits::{BULK_PAUSE_MS, CONNECT_MS};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// Until when this process may not try again, and whether it has told why a try failed.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<(Option<(Incarnation, Instant)>, bool)>);

impl Pause {
    /// Whether a try may begin now; then none may for a while, but one to an acceptor that began meanwhile.
    fn over(&self, of: Incarnation) -> bool {
        let mut pause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let over = pause.0.is_none_or(|(tried, until)| tried != of || until <= now);
        if over {
            pause.0 = Some((of, now + Duration::from_millis(BULK_PAUSE_MS)));
        }
        over
    }

    fn is_news(&self) -> bool {
        let mut pause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut pause.1, true)
    }
}

/// What a connector needs to make its bulk connection.
#[derive(Debug)]
pub(crate) struct Dialer {
    host: String,
    pause: Arc<Pause>,
    offer: Option<Offer>,
    task: JoinSet<io::Result<Pipe>>,
}

impl Dialer {
    /// For the link to `addr` (`host:port`).
    pub(crate) fn new(addr: &str, pause: Arc<Pause>) -> Self {
        let plain = addr.strip_prefix("tcp://").unwrap_or(addr);
        let host = plain.rsplit_once(':').map_or(plain, |(host, _)| host).to_owned();
        Self { host, pause, offer: None, task: JoinSet::new() }
    }

    pub(crate) fn offered(&mut self, offer: Offer) {
        self.offer = Some(offer);
        self.dial();
    }

    /// Makes it, if it is offered and not just tried.
    pub(crate) fn dial(&mut self) {
        let Some(offer) = self.offer.as_ref().filter(|_| self.task.is_empty()) else { return };
        if !self.pause.over(offer.incarnation) {
            return;
        }
        let (addr, offer) = (format!("{}:{}", self.host, offer.port), offer.clone());
        self.task.spawn(async move {
            let made = tokio::time::timeout(Duration::from_millis(CONNECT_MS), make(&addr, &offer));
            made.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
    }

    /// It was made, or a try has failed. Cancel-safe.
    pub(crate) async fn made(&mut self) -> Option<Pipe> {
        match self.task.join_next().await {
            Some(made) => self.tried(made),
            None => std::future::pending().await,
        }
    }

    /// It, if it was just made.
    pub(crate) fn try_made(&mut self) -> Option<Pipe> {
        self.task.try_join_next().and_then(|made| self.tried(made))
    }

    /// Where it could not be made all goes over the link, which somebody should know.
    fn tried(&self, made: Result<io::Result<Pipe>, JoinError>) -> Option<Pipe> {
        let made = made.unwrap_or_else(|error| Err(io::Error::other(error)));
        made.inspect_err(|why| {
            if let Some(offer) = self.offer.as_ref().filter(|_| self.pause.is_news()) {
                tracing::warn!(
                    "messages go the slow way, since {}:{} cannot be reached ({why}): open that port too",
                    self.host,
                    offer.port
                );
            }
        })
        .ok()
    }
}

async fn make(addr: &str, offer: &Offer) -> io::Result<Pipe> {
    let stranger = || io::Error::other("who answers there does not know the link");
    let mut stream = TcpStream::connect(addr).await?;
    prepare(&stream)?;
    let (mut sealer, mut opener) =
        Cipher::new(&offer.up).zip(Cipher::new(&offer.down)).ok_or_else(stranger)?;
    let mut greeting = offer.token.to_vec();
    sealer.seal(&mut greeting, offer.token.len()).ok_or_else(stranger)?;
    stream.write_all(&greeting).await?;
    let mut answer = [0; TAG_BYTES];
    stream.read_exact(&mut answer).await?;
    opener.open(&mut answer).ok_or_else(stranger)?;
    Ok(Pipe::new(stream, sealer, opener))
}
