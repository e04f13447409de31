//! What the two ends of a link tell each other about its bulk connection, on the link itself: messages whose first frame
//! is empty, which no message of a session is.

use super::seal::Secret;
use bytes::{BufMut, Bytes, BytesMut};

/// Proves to the acceptor for which link a bulk connection is.
pub(crate) type Token = [u8; 16];
/// Tells the acceptors apart that are reached at one address after each other.
pub(crate) type Incarnation = [u8; 8];

// 1 to 3 were those of builds that moved large messages only, each announced on the link.
const OFFER: u8 = 4;
const MOVED: u8 = 5;

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
    /// Of the acceptor.
    pub(crate) incarnation: Incarnation,
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("port", &self.port).finish_non_exhaustive()
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// Acceptor: make a bulk connection like this.
    Offer(Offer),
    /// Both: all my further messages are on the bulk connection.
    Moved,
}

/// Whether these frames are a note rather than a message.
pub(crate) fn is_note(frames: &[Bytes]) -> bool {
    frames.first().is_some_and(Bytes::is_empty)
}

impl Note {
    pub(crate) fn frames(&self) -> [Bytes; 2] {
        let mut body = BytesMut::new();
        match self {
            Self::Offer(offer) => {
                body.put_u8(OFFER);
                body.put_u16_le(offer.port);
                body.put_slice(&offer.token);
                body.put_slice(&offer.up);
                body.put_slice(&offer.down);
                body.put_slice(&offer.incarnation);
            }
            Self::Moved => body.put_u8(MOVED),
        }
        [Bytes::new(), body.freeze()]
    }

    /// `None`: no note that this build knows.
    pub(crate) fn read(frames: &[Bytes]) -> Option<Self> {
        let [_, body] = frames else { return None };
        let (kind, body) = body.split_first()?;
        match *kind {
            OFFER => {
                let (port, body) = body.split_first_chunk()?;
                let (token, body) = body.split_first_chunk()?;
                let (up, body) = body.split_first_chunk()?;
                let (down, body) = body.split_first_chunk()?;
                let (incarnation, _) = body.split_first_chunk()?;
                let port = u16::from_le_bytes(*port);
                let (token, up, down, incarnation) = (*token, *up, *down, *incarnation);
                Some(Self::Offer(Offer { port, token, up, down, incarnation }))
            }
            MOVED => Some(Self::Moved),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_and_nonsense_is_none() {
        let offer = Offer { port: 55_002, token: [1; 16], up: [2; 32], down: [3; 32], incarnation: [4; 8] };
        for note in [Note::Moved, Note::Offer(offer.clone())] {
            let frames = note.frames();
            assert!(is_note(&frames));
            assert_eq!(Note::read(&frames), Some(note));
        }
        let [_, whole] = Note::Offer(offer).frames();
        let bodies = [Bytes::new(), Bytes::from_static(b"\x09"), whole.slice(..whole.len() - 1)];
        for body in bodies {
            assert_eq!(Note::read(&[Bytes::new(), body.clone()]), None, "{body:?}");
        }
        assert_eq!(Note::read(&[Bytes::new()]), None);
        assert!(!is_note(&[Bytes::from_static(b"x"), Bytes::new()]) && !is_note(&[]));
    }
}
