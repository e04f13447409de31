//! A bulk connection that is up: whole messages as a stream of encrypted pieces. Both ends know every size from the
//! notes on the link, so nothing of the stream itself is believed. Does not own order with the link's other messages.

use super::seal::{Cipher, TAG_BYTES};
use bursa_core::id::ConnId;
use bursa_core::limits::{BULK_PIECE_BYTES, HIGH_WATER};
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Messages that may wait in it: as many as libzmq would hold, below the window of any session.
pub(crate) const WAITING: usize = HIGH_WATER.unsigned_abs() as usize;

/// What happened to a bulk connection.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The peer proved that it is the link's.
    Up(Pipe),
    /// It could not be made.
    Failed(String),
    /// The message that was wanted.
    Message(Vec<Bytes>),
    /// It ended, and with it what was on its way.
    Lost,
}

/// Where the news of bulk connections go.
pub(crate) type Arrivals = mpsc::Sender<(ConnId, Arrival)>;

/// The two directions. Dropping it closes the connection and drops what was not sent yet.
#[derive(Debug)]
pub(crate) struct Pipe {
    out: mpsc::Sender<Vec<Bytes>>,
    want: mpsc::Sender<Vec<u32>>,
    _halves: JoinSet<()>,
}

impl Pipe {
    /// Carries messages on `stream`, whose peer is proven. Within a runtime.
    pub(crate) fn new(
        stream: TcpStream,
        (sealer, opener): (Cipher, Cipher),
        conn: ConnId,
        arrivals: &Arrivals,
    ) -> Self {
        let (from, to) = stream.into_split();
        let (out, waiting) = mpsc::channel(WAITING);
        let (want, wanted) = mpsc::channel(1);
        let mut halves = JoinSet::new();
        let lost = arrivals.clone();
        halves.spawn(async move {
            if write(to, sealer, waiting).await.is_none() {
                let _ = lost.send((conn, Arrival::Lost)).await;
            }
        });
        let arrivals = arrivals.clone();
        halves.spawn(async move {
            let mut reader = Reader { from, opener, wanted };
            while let Some(message) = reader.next().await {
                if arrivals.send((conn, Arrival::Message(message))).await.is_err() {
                    return;
                }
            }
            let _ = arrivals.send((conn, Arrival::Lost)).await;
        });
        Self { out, want, _halves: halves }
    }

    /// A place for one message.
    pub(crate) fn reserve(&self) -> Result<mpsc::Permit<'_, Vec<Bytes>>, mpsc::error::TrySendError<()>> {
        self.out.try_reserve()
    }

    /// Reads the next message, of frames of these sizes. Wanted one at a time; false: one too many.
    pub(crate) fn want(&self, sizes: Vec<u32>) -> bool {
        self.want.try_send(sizes).is_ok()
    }
}

/// Sends what comes, until nothing more can; `None`: the connection broke.
async fn write(
    mut to: OwnedWriteHalf,
    mut sealer: Cipher,
    mut waiting: mpsc::Receiver<Vec<Bytes>>,
) -> Option<()> {
    while let Some(message) = waiting.recv().await {
        let total: usize = message.iter().map(Bytes::len).sum();
        let mut piece = Vec::with_capacity(total.min(BULK_PIECE_BYTES) + TAG_BYTES);
        for mut frame in message {
            while !frame.is_empty() {
                let part = frame.split_to(frame.len().min(BULK_PIECE_BYTES - piece.len()));
                piece.extend_from_slice(&part);
                if piece.len() == BULK_PIECE_BYTES {
                    send(&mut to, &mut sealer, &mut piece).await?;
                }
            }
        }
        if !piece.is_empty() {
            send(&mut to, &mut sealer, &mut piece).await?;
        }
        // Heartbeats and small calls get their turn.
        tokio::task::yield_now().await;
    }
    Some(())
}

async fn send(to: &mut OwnedWriteHalf, sealer: &mut Cipher, piece: &mut Vec<u8>) -> Option<()> {
    sealer.seal(piece)?;
    to.write_all(piece).await.ok()?;
    piece.clear();
    Some(())
}

struct Reader {
    from: OwnedReadHalf,
    opener: Cipher,
    wanted: mpsc::Receiver<Vec<u32>>,
}

impl Reader {
    /// The next message that is wanted; `None`: the connection broke, or brought what the peer did not make.
    async fn next(&mut self) -> Option<Vec<Bytes>> {
        let sizes = self.sizes().await?;
        let mut rest: usize = sizes.iter().map(|size| *size as usize).sum();
        let mut frames = Frames::new(sizes);
        let mut piece = BytesMut::new();
        while rest > 0 {
            let size = rest.min(BULK_PIECE_BYTES);
            if size <= frames.lacks {
                // All of it belongs into one frame: it is decrypted where it stays.
                let begun = frames.frame.len();
                self.read(&mut frames.frame, size + TAG_BYTES).await?;
                self.opener.open(&mut frames.frame[begun..])?;
                frames.frame.truncate(begun + size);
                frames.added(size);
            } else {
                piece.clear();
                self.read(&mut piece, size + TAG_BYTES).await?;
                frames.add(self.opener.open(&mut piece)?);
            }
            rest -= size;
        }
        Some(frames.whole)
    }

    /// Appends the next `count` bytes to `buffer`.
    async fn read(&mut self, buffer: &mut BytesMut, count: usize) -> Option<()> {
        buffer.reserve(count);
        let mut room = buffer.limit(count);
        while room.has_remaining_mut() {
            if self.from.read_buf(&mut room).await.ok()? == 0 {
                return None;
            }
        }
        Some(())
    }

    /// The sizes of the next message. Its bytes may come first, and wait in the socket; an end is seen at once.
    async fn sizes(&mut self) -> Option<Vec<u32>> {
        let mut ahead = false;
        loop {
            let mut first = [0];
            tokio::select! {
                biased;
                sizes = self.wanted.recv() => return sizes,
                count = self.from.peek(&mut first), if !ahead => ahead = count.ok()? > 0,
            }
            if !ahead {
                return None;
            }
        }
    }
}

/// Frames cut out of a stream.
struct Frames {
    whole: Vec<Bytes>,
    sizes: std::vec::IntoIter<u32>,
    frame: BytesMut,
    lacks: usize,
}

impl Frames {
    fn new(sizes: Vec<u32>) -> Self {
        let whole = Vec::with_capacity(sizes.len());
        let mut frames = Self { whole, sizes: sizes.into_iter(), frame: BytesMut::new(), lacks: 0 };
        frames.begin();
        frames
    }

    /// Makes room for the next frame that has bytes.
    fn begin(&mut self) {
        for size in self.sizes.by_ref() {
            if size > 0 {
                self.lacks = size as usize;
                self.frame = BytesMut::with_capacity(self.lacks + TAG_BYTES);
                return;
            }
            self.whole.push(Bytes::new());
        }
    }

    /// `content` is never more than what lacks of all frames.
    fn add(&mut self, mut content: &[u8]) {
        while let Some((part, rest)) =
            content.split_at_checked(self.lacks.min(content.len())).filter(|(part, _)| !part.is_empty())
        {
            self.frame.extend_from_slice(part);
            self.added(part.len());
            content = rest;
        }
    }

    /// `count` bytes were appended to the frame.
    fn added(&mut self, count: usize) {
        self.lacks -= count;
        if self.lacks == 0 {
            self.whole.push(std::mem::take(&mut self.frame).freeze());
            self.begin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_were() {
        let mut frames = Frames::new(vec![0, 3, 0, 5, 0]);
        for part in [b"ab".as_slice(), b"cdef", b"", b"gh"] {
            frames.add(part);
        }
        let whole = ["", "abc", "", "defgh", ""].map(|frame| Bytes::from_static(frame.as_bytes()));
        assert_eq!(frames.whole, whole);
    }
}
