//! What comes on a bulk connection: messages, cut out of a stream of encrypted pieces. Nothing is believed beyond the
//! limits of a link's messages.

use super::seal::{Cipher, TAG_BYTES};
use bursa_core::limits::{BULK_BYTES, BULK_MESSAGE_BYTES, BULK_PIECE_BYTES, LINK_FRAME_BYTES, LINK_FRAMES};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

/// Bytes of the number in front of each piece.
const SIZE_BYTES: usize = 4;
/// Read at once where it is not known how much comes: a few small messages.
const READ_BYTES: usize = 8 * 1024;

/// Its peer did not make this.
struct Foreign;

/// The receiving end.
#[derive(Debug)]
pub(crate) struct Inlet {
    from: OwnedReadHalf,
    opener: Cipher,
    buffer: BytesMut,
    /// Of the piece that is next.
    piece: Option<Piece>,
    /// Of the message that has begun.
    frames: Option<Frames>,
}

/// A piece whose size is known.
#[derive(Debug, Clone, Copy)]
struct Piece {
    size: usize,
    /// All of it belongs into one frame, behind so many bytes: it is opened where it stays.
    in_frame: Option<usize>,
}

impl Inlet {
    pub(super) fn new(from: OwnedReadHalf, opener: Cipher) -> Self {
        Self { from, opener, buffer: BytesMut::new(), piece: None, frames: None }
    }

    /// The next message; `None`: the connection broke, or brought what the peer did not make.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Bytes>>> {
        loop {
            match self.take() {
                Ok(None) => {}
                Ok(message) => return Poll::Ready(message),
                Err(Foreign) => return Poll::Ready(None),
            }
            match ready!(self.read(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(None),
            }
        }
    }

    /// The next message, if all of it is here.
    fn take(&mut self) -> Result<Option<Vec<Bytes>>, Foreign> {
        while let Some(piece) = self.begin()? {
            let whole = piece.size + TAG_BYTES;
            match (piece.in_frame, &mut self.frames) {
                (Some(begun), Some(frames)) => {
                    if frames.frame.len() < begun + whole {
                        break;
                    }
                    self.opener.open(&mut frames.frame[begun..]).ok_or(Foreign)?;
                    frames.frame.truncate(begun + piece.size);
                    frames.added(piece.size);
                }
                (_, frames) => {
                    if self.buffer.len() < whole {
                        break;
                    }
                    let mut content = self.opener.open(&mut self.buffer[..whole]).ok_or(Foreign)?;
                    if frames.is_none() {
                        *frames = Some(Frames::read(&mut content).ok_or(Foreign)?);
                    }
                    let lacks = frames.as_mut().map_or(content, |frames| frames.add(content));
                    if !lacks.is_empty() {
                        return Err(Foreign);
                    }
                    self.buffer.advance(whole);
                }
            }
            self.piece = None;
            if let Some(frames) = self.frames.take_if(|frames| frames.lacks == 0) {
                return Ok(Some(frames.whole));
            }
        }
        Ok(None)
    }

    /// The size of the next piece, and where it belongs.
    fn begin(&mut self) -> Result<Option<Piece>, Foreign> {
        if self.piece.is_none() {
            let Some(size) = self.buffer.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
            let size = u32::from_le_bytes(*size) as usize;
            if !(1..=BULK_PIECE_BYTES).contains(&size) {
                return Err(Foreign);
            }
            self.buffer.advance(SIZE_BYTES);
            let frames = self.frames.as_mut().filter(|frames| (BULK_BYTES..=frames.lacks).contains(&size));
            let in_frame = frames.map(|frames| {
                let begun = frames.frame.len();
                let here = self.buffer.len().min(size + TAG_BYTES);
                frames.frame.extend_from_slice(&self.buffer[..here]);
                self.buffer.advance(here);
                begun
            });
            self.piece = Some(Piece { size, in_frame });
        }
        Ok(self.piece)
    }

    /// More bytes, to where they are wanted.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        match (self.piece, &mut self.frames) {
            (Some(Piece { size, in_frame: Some(begun) }), Some(Frames { frame, .. })) => {
                let lacks = begun + size + TAG_BYTES - frame.len();
                frame.reserve(lacks);
                pin!(self.from.read_buf(&mut frame.limit(lacks))).poll(cx)
            }
            (piece, _) => {
                let whole = piece.map_or(0, |piece| piece.size + TAG_BYTES);
                self.buffer.reserve(whole.saturating_sub(self.buffer.len()).max(READ_BYTES));
                let read = pin!(self.from.read_buf(&mut self.buffer)).poll(cx);
                if read.is_pending() && self.buffer.is_empty() {
                    // An idle connection holds no memory.
                    self.buffer = BytesMut::new();
                }
                read
            }
        }
    }
}

/// Frames cut out of a stream.
#[derive(Debug)]
struct Frames {
    whole: Vec<Bytes>,
    sizes: std::vec::IntoIter<usize>,
    frame: BytesMut,
    /// Bytes that the frame lacks; 0: all frames are whole.
    lacks: usize,
}

impl Frames {
    /// Takes the head of a message off its first piece. `None`: it is none, or beyond the limits.
    fn read(content: &mut &[u8]) -> Option<Self> {
        let mut number = || {
            let (number, rest) = content.split_first_chunk()?;
            *content = rest;
            usize::try_from(u32::from_le_bytes(*number)).ok()
        };
        let count = number().filter(|count| (1..=LINK_FRAMES).contains(count))?;
        let sizes: Vec<usize> = std::iter::from_fn(number).take(count).collect();
        let fits = sizes.iter().all(|size| *size <= LINK_FRAME_BYTES);
        let good = sizes.len() == count && fits && sizes.iter().sum::<usize>() <= BULK_MESSAGE_BYTES;
        good.then(|| Self::new(sizes))
    }

    fn new(sizes: Vec<usize>) -> Self {
        let whole = Vec::with_capacity(sizes.len());
        let mut frames = Self { whole, sizes: sizes.into_iter(), frame: BytesMut::new(), lacks: 0 };
        frames.begin();
        frames
    }

    /// Makes room for the next frame that has bytes.
    fn begin(&mut self) {
        for size in self.sizes.by_ref() {
            if size > 0 {
                self.lacks = size;
                self.frame = BytesMut::with_capacity(size + if size < BULK_BYTES { 0 } else { TAG_BYTES });
                return;
            }
            self.whole.push(Bytes::new());
        }
    }

    /// Gives back what is more than lacks of all frames.
    fn add<'c>(&mut self, mut content: &'c [u8]) -> &'c [u8] {
        while let Some((part, rest)) =
            content.split_at_checked(self.lacks.min(content.len())).filter(|(part, _)| !part.is_empty())
        {
            self.frame.extend_from_slice(part);
            self.added(part.len());
            content = rest;
        }
        content
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
            assert!(frames.add(part).is_empty());
        }
        let whole = ["", "abc", "", "defgh", ""].map(|frame| Bytes::from_static(frame.as_bytes()));
        assert_eq!((frames.whole.as_slice(), frames.lacks), (whole.as_slice(), 0));
        assert_eq!(frames.add(b"more"), b"more");
    }

    #[test]
    fn a_head_beyond_the_limits_is_none() {
        let head = |numbers: &[usize]| {
            let bytes: Vec<u8> =
                numbers.iter().flat_map(|n| u32::try_from(*n).unwrap().to_le_bytes()).collect();
            Frames::read(&mut bytes.as_slice()).is_some()
        };
        assert!(head(&[1, 0]) && head(&[2, LINK_FRAME_BYTES, LINK_FRAME_BYTES]));
        assert!(!head(&[]) && !head(&[0]) && !head(&[2, 5]) && !head(&[1, LINK_FRAME_BYTES + 1]));
        assert!(!head(&[3, LINK_FRAME_BYTES, LINK_FRAME_BYTES, 1]));
        assert!(!head(&[vec![LINK_FRAMES + 1], vec![0; LINK_FRAMES + 1]].concat()));
    }
}
