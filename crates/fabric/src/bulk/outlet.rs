//! What leaves on a bulk connection: whole messages as a stream of encrypted pieces.

use super::seal::Cipher;
use crate::error::SendError;
use bursa_core::limits::{
    BULK_BYTES, BULK_MESSAGE_BYTES, BULK_PIECE_BYTES, HIGH_WATER, LINK_FRAME_BYTES, LINK_FRAMES,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Messages that may wait in it: as many as libzmq would hold, beyond the window of any session.
const WAITING: usize = HIGH_WATER.unsigned_abs() as usize;

/// The sending end. Dropping it drops what was not sent yet.
#[derive(Debug)]
pub(super) struct Outlet {
    way: Arc<Way>,
    rest: JoinSet<()>,
}

#[derive(Debug)]
struct Way {
    to: OwnedWriteHalf,
    queue: Mutex<Queue>,
    /// Something was left over.
    more: Notify,
}

/// What was not sent yet.
#[derive(Debug)]
struct Queue {
    sealer: Cipher,
    /// Frames of messages; the head of each is the first.
    messages: VecDeque<VecDeque<Bytes>>,
    sealed: Vec<u8>,
    /// Bytes of `sealed` that were sent.
    sent: usize,
    is_broken: bool,
}

impl Outlet {
    pub(super) fn new(to: OwnedWriteHalf, sealer: Cipher) -> Self {
        let queue =
            Queue { sealer, messages: VecDeque::new(), sealed: Vec::new(), sent: 0, is_broken: false };
        let way = Arc::new(Way { to, queue: Mutex::new(queue), more: Notify::new() });
        let mut rest = JoinSet::new();
        let leftovers = Arc::clone(&way);
        rest.spawn(async move {
            loop {
                leftovers.more.notified().await;
                leftovers.flush().await;
            }
        });
        Self { way, rest }
    }

    /// Sends a message at once, as far as the system takes it, and the rest later.
    pub(super) fn send(&self, frames: &[Bytes]) -> Result<(), SendError> {
        let total: usize = frames.iter().map(Bytes::len).sum();
        let fits = frames.iter().all(|frame| frame.len() <= LINK_FRAME_BYTES) && total <= BULK_MESSAGE_BYTES;
        if !fits || !(1..=LINK_FRAMES).contains(&frames.len()) {
            return Err(SendError::TooLarge);
        }
        let mut queue = self.way.queue();
        if queue.messages.len() >= WAITING {
            return Err(SendError::Full);
        }
        let message = std::iter::once(head(frames)).chain(frames.iter().cloned());
        queue.messages.push_back(message.collect());
        if !queue.advance(&self.way.to) {
            self.way.more.notify_one();
        }
        if queue.is_broken { Err(SendError::Unreachable) } else { Ok(()) }
    }

    /// Sends what is left, and tells the peer that there is no more.
    pub(super) async fn end(mut self) {
        self.rest.shutdown().await;
        self.way.flush().await;
        // Whoever closed it first needs no word.
        let _ = socket2::SockRef::from(self.way.to.as_ref()).shutdown(std::net::Shutdown::Write);
    }
}

impl Way {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn flush(&self) {
        while !self.queue().advance(&self.to) {
            if self.to.writable().await.is_err() {
                return;
            }
            // Others get their turn.
            tokio::task::yield_now().await;
        }
    }
}

/// How many frames follow, and how large each is.
fn head(frames: &[Bytes]) -> Bytes {
    let mut head = BytesMut::with_capacity(2 + 4 * frames.len());
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    head.put_u32_le(number(frames.len()));
    frames.iter().for_each(|frame| head.put_u32_le(number(frame.len())));
    head.freeze()
}

impl Queue {
    /// Sends what the system takes now. True: nothing is left, or nothing can be sent any more.
    fn advance(&mut self, to: &OwnedWriteHalf) -> bool {
        while !self.is_broken {
            while self.sealed.len() < BULK_PIECE_BYTES && self.seal() {}
            if self.sealed.is_empty() {
                break;
            }
            match to.try_write(&self.sealed[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => self.is_broken = true,
            }
            if self.sent == self.sealed.len() {
                self.sent = 0;
                self.sealed.clear();
                // An idle connection holds no memory that a large message needed.
                self.sealed.shrink_to(BULK_BYTES);
            }
        }
        true
    }

    /// Seals the next piece; false: there is none. A large frame begins a piece, so that its reader can open it in place.
    fn seal(&mut self) -> bool {
        let Some(message) = self.messages.front_mut() else { return false };
        let begun = self.sealed.len();
        self.sealed.put_u32_le(0);
        let content = self.sealed.len();
        while let Some(frame) = message.front_mut() {
            let room = BULK_PIECE_BYTES - (self.sealed.len() - content);
            if room == 0 || (room < BULK_PIECE_BYTES && frame.len() >= BULK_BYTES) {
                break;
            }
            let part = frame.split_to(frame.len().min(room));
            self.sealed.extend_from_slice(&part);
            if frame.is_empty() {
                message.pop_front();
            }
        }
        if message.is_empty() {
            self.messages.pop_front();
        }
        let size = u32::try_from(self.sealed.len() - content).unwrap_or(u32::MAX);
        self.sealed[begun..content].copy_from_slice(&size.to_le_bytes());
        self.is_broken = self.sealer.seal(&mut self.sealed, content).is_none();
        !self.is_broken
    }
}
