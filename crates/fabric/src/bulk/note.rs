//! What the two ends of a link tell each other about its bulk connection, on the link itself: messages whose first frame
//! is empty, which no message of a session is.

use super::seal::Secret;
use bursa_core::limits::{BULK_MESSAGE_BYTES, LINK_FRAME_BYTES, LINK_FRAMES};
use bytes::{BufMut, Bytes, BytesMut};

/// Proves to the acceptor for which link a bulk connection is.
pub(crate) type Token = [u8; 16];

const ASK: u8 = 1;
const OFFER: u8 = 2;
const FOLLOWS: u8 = 3;

/// How to make a bulk connection. CURVE keeps it between the two ends that proved their keys.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Of the acceptor's host.
    pub(crate) port: u16,
    pub(crate) token: Token,
    /// Connector to acceptor.
    pub(crate) up: Secret,
    /// Acceptor to connector.
    pub(crate) down: Secret,
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("port", &self.port).finish_non_exhaustive()
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// Connector: I have large messages.
    Ask,
    /// Acceptor: make a bulk connection like this.
    Offer(Offer),
    /// Both: the next message is on the bulk connection, frames of these sizes.
    Follows(Vec<u32>),
}

/// Whether these frames are a note rather than a message.
pub(crate) fn is_note(frames: &[Bytes]) -> bool {
    frames.first().is_some_and(Bytes::is_empty)
}

impl Note {
    pub(crate) fn frames(&self) -> [Bytes; 2] {
        let mut body = BytesMut::new();
        match self {
            Self::Ask => body.put_u8(ASK),
            Self::Offer(offer) => {
                body.put_u8(OFFER);
                body.put_u16_le(offer.port);
                body.put_slice(&offer.token);
                body.put_slice(&offer.up);
                body.put_slice(&offer.down);
            }
            Self::Follows(sizes) => {
                body.put_u8(FOLLOWS);
                sizes.iter().for_each(|size| body.put_u32_le(*size));
            }
        }
        [Bytes::new(), body.freeze()]
    }

    /// `None`: no note that this build knows, or one beyond the limits.
    pub(crate) fn read(frames: &[Bytes]) -> Option<Self> {
        let [_, body] = frames else { return None };
        let (kind, body) = body.split_first()?;
        match *kind {
            ASK => Some(Self::Ask),
            OFFER => {
                let (port, body) = body.split_first_chunk()?;
                let (token, body) = body.split_first_chunk()?;
                let (up, body) = body.split_first_chunk()?;
                let (down, _) = body.split_first_chunk()?;
                let port = u16::from_le_bytes(*port);
                Some(Self::Offer(Offer { port, token: *token, up: *up, down: *down }))
            }
            FOLLOWS => sizes(body).map(Self::Follows),
            _ => None,
        }
    }
}

fn sizes(body: &[u8]) -> Option<Vec<u32>> {
    let (sizes, rest) = body.as_chunks::<4>();
    let sizes: Vec<u32> = sizes.iter().map(|size| u32::from_le_bytes(*size)).collect();
    let total: usize = sizes.iter().map(|size| *size as usize).sum();
    let fits = sizes.iter().all(|size| *size as usize <= LINK_FRAME_BYTES);
    let good =
        rest.is_empty() && (1..=LINK_FRAMES).contains(&sizes.len()) && fits && total <= BULK_MESSAGE_BYTES;
    good.then_some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_and_nonsense_is_none() {
        let offer = Offer { port: 55_002, token: [1; 16], up: [2; 32], down: [3; 32] };
        for note in [Note::Ask, Note::Offer(offer.clone()), Note::Follows(vec![0, 48, 1 << 20])] {
            let frames = note.frames();
            assert!(is_note(&frames));
            assert_eq!(Note::read(&frames), Some(note));
        }
        let [_, whole] = Note::Offer(offer).frames();
        let large = u32::try_from(LINK_FRAME_BYTES).unwrap();
        let bodies = [
            Bytes::new(),
            Bytes::from_static(b"\x09"),
            whole.slice(..whole.len() - 1),
            Bytes::from_static(b"\x03"),
            Bytes::from_static(b"\x03\x01\x00\x00"),
            Note::Follows(vec![large + 1]).frames()[1].clone(),
            Note::Follows(vec![large, large, 1]).frames()[1].clone(),
            Note::Follows(vec![0; LINK_FRAMES + 1]).frames()[1].clone(),
        ];
        for body in bodies {
            assert_eq!(Note::read(&[Bytes::new(), body.clone()]), None, "{body:?}");
        }
        assert_eq!(Note::read(&[Bytes::new()]), None);
        assert!(!is_note(&[Bytes::from_static(b"x"), Bytes::new()]) && !is_note(&[]));
    }
}
