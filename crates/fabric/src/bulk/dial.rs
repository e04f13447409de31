//! The connector's side of a bulk connection: asks for it, and makes it when it is offered.

use super::note::Offer;
use super::pipe::{Arrival, Arrivals, Pipe};
use super::prepare;
use super::seal::{Cipher, TAG_BYTES};
use bursa_core::id::ConnId;
use bursa_core::limits::{BULK_PAUSE_MS, CONNECT_MS};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A connector has one link.
const ONE: ConnId = ConnId(0);
/// The bulk connection's last news and the next message.
const NEWS: usize = 2;

/// When this process may try again, and whether it has told why it has to.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<(Option<Instant>, bool)>);

impl Pause {
    /// Whether a try may begin now; then none may for a while.
    fn over(&self) -> bool {
        let mut pause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let over = pause.0.is_none_or(|until| until <= now);
        if over {
            pause.0 = Some(now + Duration::from_millis(BULK_PAUSE_MS));
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
    asked: bool,
    offer: Option<Offer>,
    news: Arrivals,
    pub(crate) arrivals: mpsc::Receiver<(ConnId, Arrival)>,
    task: JoinSet<()>,
}

impl Dialer {
    /// For the link to `addr` (`host:port`).
    pub(crate) fn new(addr: &str, pause: Arc<Pause>) -> Self {
        let plain = addr.strip_prefix("tcp://").unwrap_or(addr);
        let host = plain.rsplit_once(':').map_or(plain, |(host, _)| host).to_owned();
        let (news, arrivals) = mpsc::channel(NEWS);
        Self { host, pause, asked: false, offer: None, news, arrivals, task: JoinSet::new() }
    }

    /// There are large messages and no bulk connection. True: ask the peer for one.
    pub(crate) fn wish(&mut self) -> bool {
        self.dial();
        !std::mem::replace(&mut self.asked, true) && self.offer.is_none()
    }

    pub(crate) fn offered(&mut self, offer: Offer) {
        self.offer = Some(offer);
        self.dial();
    }

    /// It could not be made: all goes over the link, which somebody should know.
    pub(crate) fn failed(&mut self, why: &str) {
        self.task = JoinSet::new();
        if let Some(offer) = self.offer.as_ref().filter(|_| self.pause.is_news()) {
            tracing::warn!(
                "large payloads go the slow way, since {}:{} cannot be reached ({why}): open that port too",
                self.host,
                offer.port
            );
        }
    }

    /// Makes it, if it is offered and not just tried.
    pub(crate) fn dial(&mut self) {
        let Some(offer) = self.offer.clone().filter(|_| self.task.is_empty()) else { return };
        if !self.pause.over() {
            return;
        }
        let (addr, news) = (format!("{}:{}", self.host, offer.port), self.news.clone());
        self.task.spawn(async move {
            let made = tokio::time::timeout(Duration::from_millis(CONNECT_MS), make(&addr, &offer, &news));
            let arrival = match made.await {
                Ok(Ok(pipe)) => Arrival::Up(pipe),
                Ok(Err(error)) => Arrival::Failed(error.to_string()),
                Err(_) => Arrival::Failed("no answer".into()),
            };
            // A connector that is gone needs no news.
            let _ = news.send((ONE, arrival)).await;
        });
    }
}

async fn make(addr: &str, offer: &Offer, news: &Arrivals) -> io::Result<Pipe> {
    let stranger = || io::Error::other("who answers there does not know the link");
    let mut stream = TcpStream::connect(addr).await?;
    prepare(&stream)?;
    let (mut sealer, mut opener) =
        Cipher::new(&offer.up).zip(Cipher::new(&offer.down)).ok_or_else(stranger)?;
    let mut proof = Vec::new();
    sealer.seal(&mut proof).ok_or_else(stranger)?;
    stream.write_all(&[offer.token.as_slice(), &proof].concat()).await?;
    let mut answer = [0; TAG_BYTES];
    stream.read_exact(&mut answer).await?;
    opener.open(&mut answer).ok_or_else(stranger)?;
    Ok(Pipe::new(stream, (sealer, opener), ONE, news))
}
