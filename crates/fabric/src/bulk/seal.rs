//! The cipher of one direction of a bulk connection: AES-256-GCM, its nonce a count, so that a piece that is missing,
//! repeated or out of place does not open.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;

/// What the cipher adds to each piece.
pub(crate) const TAG_BYTES: usize = 16;

/// A key for one direction of one bulk connection.
pub(crate) type Secret = [u8; 32];

/// The pieces of one direction, in order.
pub(crate) struct Cipher {
    key: LessSafeKey,
    count: u64,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Cipher {
    /// `None` never: every 32 bytes are a key.
    pub(crate) fn new(secret: &Secret) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, secret).ok()?;
        Some(Self { key: LessSafeKey::new(key), count: 0 })
    }

    /// 2^64 pieces are never reached.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.count.to_be_bytes());
        self.count += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `bytes` from `begin` on, where they are, and appends the tag. `None`: it is larger than the cipher allows
    /// (64 GiB).
    pub(crate) fn seal(&mut self, bytes: &mut Vec<u8>, begin: usize) -> Option<()> {
        let nonce = self.nonce();
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), bytes.get_mut(begin..)?).ok()?;
        bytes.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// The content of the next piece, decrypted where it is. `None`: its maker does not have the key, or it is not the next.
    pub(crate) fn open<'p>(&mut self, piece: &'p mut [u8]) -> Option<&'p [u8]> {
        let nonce = self.nonce();
        self.key.open_in_place(nonce, Aad::empty(), piece).ok().map(|content| &*content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(cipher: &mut Cipher, text: &[u8]) -> Vec<u8> {
        let mut piece = text.to_vec();
        cipher.seal(&mut piece, 0).unwrap();
        piece
    }

    #[test]
    fn pieces_open_once_in_order_and_unchanged() {
        let pair = || (Cipher::new(&[1; 32]).unwrap(), Cipher::new(&[1; 32]).unwrap());
        let (mut from, mut to) = pair();
        let [mut first, mut second] = [b"first".as_slice(), b""].map(|text| sealed(&mut from, text));
        assert_eq!((first.len(), second.len()), (5 + TAG_BYTES, TAG_BYTES));
        assert_eq!(to.open(&mut first.clone()), Some(b"first".as_slice()));
        assert_eq!(to.open(&mut second), Some(b"".as_slice()));
        // Again, out of order, changed, under another key.
        assert_eq!(to.open(&mut first.clone()), None);
        let (mut from, mut to) = pair();
        let _ = sealed(&mut from, b"lost");
        assert_eq!(to.open(&mut sealed(&mut from, b"next")), None);
        first[0] ^= 1;
        assert_eq!(pair().1.open(&mut first.clone()), None);
        first[0] ^= 1;
        assert_eq!(Cipher::new(&[2; 32]).unwrap().open(&mut first), None);
    }
}
