//! The acceptor's side of bulk connections: offers them, and lets in who proves an offer.

use super::note::{Incarnation, Offer, Token};
use super::seal::{Cipher, Secret, TAG_BYTES};
use super::{Pipe, prepare};
use crate::error::Error;
use bursa_core::id::ConnId;
use bursa_core::limits::{BULK_NEWCOMERS, CONNECT_MS};
use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// News that wait for the acceptor's loop; beyond them connections wait.
const NEWS: usize = 64;
/// After an accept that failed, for want of descriptors most likely: the next would fail at once.
const REST: Duration = Duration::from_millis(100);

/// What happened to the bulk connection of a link.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The peer proved that it is the link's.
    Up(Box<Pipe>),
    /// A message.
    Message(Vec<Bytes>),
    /// It ended, and with it what was on its way.
    Lost,
}

/// Where the news of bulk connections go.
pub(crate) type Arrivals = mpsc::Sender<(ConnId, Arrival)>;

/// What is on offer, by token: for which link, and its two keys.
#[derive(Default)]
struct Offers {
    open: Mutex<HashMap<Token, (ConnId, Secret, Secret)>>,
    refused: AtomicU64,
}

impl Offers {
    fn open(&self) -> MutexGuard<'_, HashMap<Token, (ConnId, Secret, Secret)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An offer that was made; without it nobody comes in on it any more.
pub(crate) struct Standing {
    token: Token,
    offers: Arc<Offers>,
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Standing")
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.offers.open().remove(&self.token);
    }
}

/// The second port of an acceptor.
pub(crate) struct Door {
    port: u16,
    incarnation: Incarnation,
    offers: Arc<Offers>,
    pub(crate) arrivals: mpsc::Receiver<(ConnId, Arrival)>,
    pub(crate) news: Arrivals,
    random: SystemRandom,
    _task: JoinSet<()>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Door {
    /// Listens on `addr`. Within a runtime.
    pub(crate) fn open(addr: &str) -> Result<Self, Error> {
        let (random, mut incarnation) = (SystemRandom::new(), Incarnation::default());
        let bound = std::net::TcpListener::bind(addr).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            random
                .fill(&mut incarnation)
                .map_err(|_| io::Error::other("the system gives no random bytes"))?;
            Ok((port, TcpListener::from_std(listener)?))
        });
        let (port, listener) = bound.map_err(|source| Error::Bulk { addr: addr.to_owned(), source })?;
        let offers = Arc::new(Offers::default());
        let (news, arrivals) = mpsc::channel(NEWS);
        let mut task = JoinSet::new();
        task.spawn(serve(listener, Arc::clone(&offers), news.clone()));
        Ok(Self { port, incarnation, offers, arrivals, news, random, _task: task })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Connections that proved no offer.
    pub(crate) fn refused(&self) -> u64 {
        self.offers.refused.load(Ordering::Relaxed)
    }

    /// An offer for one link; `None` when the system gives no random bytes.
    pub(crate) fn offer(&self, conn: ConnId) -> Option<(Offer, Standing)> {
        let (port, incarnation) = (self.port, self.incarnation);
        let mut offer = Offer { port, token: [0; 16], up: [0; 32], down: [0; 32], incarnation };
        for bytes in [offer.token.as_mut_slice(), &mut offer.up, &mut offer.down] {
            self.random.fill(bytes).ok()?;
        }
        self.offers.open().insert(offer.token, (conn, offer.up, offer.down));
        let standing = Standing { token: offer.token, offers: Arc::clone(&self.offers) };
        Some((offer, standing))
    }
}

async fn serve(listener: TcpListener, offers: Arc<Offers>, arrivals: Arrivals) {
    let places = Arc::new(Semaphore::new(BULK_NEWCOMERS));
    let mut newcomers = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        tokio::select! {
            (place, accepted) = next => match accepted {
                Ok((stream, _)) => {
                    let (offers, arrivals) = (Arc::clone(&offers), arrivals.clone());
                    newcomers.spawn(async move {
                        let _place = place;
                        let met = meet(stream, &offers, &arrivals);
                        if !matches!(tokio::time::timeout(Duration::from_millis(CONNECT_MS), met).await, Ok(Ok(()))) {
                            offers.refused.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a bulk connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
            },
            Some(_) = newcomers.join_next(), if !newcomers.is_empty() => {}
        }
    }
}

/// Token and an empty piece from the connector, an empty piece back. Nothing is allocated before they are proven.
async fn meet(mut stream: TcpStream, offers: &Offers, arrivals: &Arrivals) -> io::Result<()> {
    let (mut token, mut proof) = ([0; 16], [0; TAG_BYTES]);
    stream.read_exact(&mut token).await?;
    stream.read_exact(&mut proof).await?;
    let stranger = || io::Error::from(io::ErrorKind::PermissionDenied);
    let (conn, up, down) = offers.open().remove(&token).ok_or_else(stranger)?;
    let (mut sealer, mut opener) = Cipher::new(&down).zip(Cipher::new(&up)).ok_or_else(stranger)?;
    opener.open(&mut proof).ok_or_else(stranger)?;
    let mut answer = Vec::new();
    sealer.seal(&mut answer, 0).ok_or_else(stranger)?;
    prepare(&stream)?;
    stream.write_all(&answer).await?;
    let pipe = Pipe::new(stream, sealer, opener);
    // An acceptor that is gone needs no news.
    let _ = arrivals.send((conn, Arrival::Up(Box::new(pipe)))).await;
    Ok(())
}
