//! Many small byte strings on shelves of one allocation each.
//!
//! A copy of its own for each costs an allocation; a slice of what they came in would keep all of that alive for the
//! sake of one (SPIKE §8). So neighbours share a shelf, and the last of them keeps no more than that alive.

use bytes::{Bytes, BytesMut};

/// Bytes of one shelf: about a hundred of the usual small payloads.
const SHELF: usize = 4 * 1_024;
/// Larger ones get a copy of their own: they would waste the rest of a shelf.
const LARGE: usize = SHELF / 8;

/// Where copies are put. Dropped when the batch is over.
#[derive(Debug)]
pub(crate) struct Shelf {
    shelf: BytesMut,
    size: usize,
}

impl Shelf {
    /// For copies of no more than `all` bytes together.
    pub(crate) fn new(all: usize) -> Self {
        Self { shelf: BytesMut::new(), size: all.min(SHELF) }
    }

    /// A copy of `bytes`.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        if bytes.len() > LARGE {
            return Bytes::copy_from_slice(bytes);
        }
        if self.shelf.capacity() < bytes.len() {
            self.shelf = BytesMut::with_capacity(self.size);
        }
        self.shelf.extend_from_slice(bytes);
        self.shelf.split().freeze()
    }
}
