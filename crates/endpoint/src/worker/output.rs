//! What a worker wrote: the tail of its Python-level output in a memfd, and of its pipe on fd 1 and 2; which call it
//! began last; and frames that it did not send yet. The executor writes which calls it shall not begin.

use super::masks::Masks;
use bursa_core::limits;
use bytes::{Bytes, BytesMut};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of the ring in the memfd: part of the protocol.
const RING: usize = 65_536;
/// Lines of its output that tell why something did not start: the end of a traceback.
const LAST_LINES: usize = 5;
/// Bytes of `written`, `begun`, `withheld` and `unsent` before it.
const HEAD: usize = 32;
/// Bytes for frames behind it.
const SPACE: usize = 65_536;
/// Where `begun` is.
const BEGUN: u64 = 8;
/// Where `withheld` is.
const WITHHELD: u64 = 16;
/// Where `unsent` is.
const UNSENT: u64 = 24;

/// The memfd, as the executor sees it: written by the worker, read when the worker has died.
#[derive(Debug)]
pub struct Tail(File);

impl Tail {
    /// An empty one.
    ///
    /// # Errors
    /// When the system gives no memory or descriptor.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create(c"bursa-output", MFdFlags::MFD_CLOEXEC)?);
        file.set_len((HEAD + RING + SPACE) as u64)?;
        Ok(Self(file))
    }

    /// The file, to be handed to the worker.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.0
    }

    /// The number of the last call that the worker began; 0 if it cut its memfd.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.live_word(BEGUN)
    }

    /// The whole frames that wait in it; none if the worker sent them meanwhile: until it does it only adds to them.
    #[must_use]
    pub fn unsent(&self) -> BytesMut {
        let word = self.live_word(UNSENT);
        let (sendings, size) =
            (word >> 32, usize::try_from(word & u64::from(u32::MAX)).unwrap_or(usize::MAX));
        let mut frames = BytesMut::zeroed(if size <= SPACE { size } else { 0 });
        let whole = self.0.read_exact_at(&mut frames, (HEAD + RING) as u64).is_ok();
        if whole && self.live_word(UNSENT) >> 32 == sendings { frames } else { BytesMut::new() }
    }

    /// The system may copy byte by byte, and the worker lives: what is read twice was never half old and half new.
    fn live_word(&self, at: u64) -> u64 {
        let mut word = self.word(at);
        loop {
            let again = self.word(at);
            if again == word {
                return word;
            }
            word = again;
        }
    }

    fn word(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, at).map_or(0, |()| u64::from_le_bytes(word))
    }

    /// The worker begins none of its first `calls` calls any more. One that cut its memfd ends with a fault of its own.
    pub fn withhold(&self, calls: u64) {
        // Byte by byte, the highest first: so what the worker reads meanwhile is never less than it was.
        for (at, byte) in calls.to_be_bytes().into_iter().enumerate() {
            let _ = self.0.write_all_at(&[byte], WITHHELD + 7 - at as u64);
        }
    }

    /// The last bytes of the output, in order. A worker that cut or filled its memfd with nonsense gets nonsense.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        let mut body = vec![0; HEAD + RING];
        if self.0.read_exact_at(&mut body, 0).is_err() {
            return Vec::new();
        }
        let ring = body.split_off(HEAD);
        let written = body.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
        match usize::try_from(written) {
            Ok(written) if written <= RING => ring[..written].to_vec(),
            _ => {
                let split = usize::try_from(written % RING as u64).unwrap_or(0);
                [&ring[split..], &ring[..split]].concat()
            }
        }
    }
}

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub struct Ring {
    bytes: VecDeque<u8>,
}

impl Ring {
    /// Adds what was read; the oldest bytes go.
    pub fn add(&mut self, data: &[u8]) {
        let data = &data[data.len().saturating_sub(limits::OUTPUT_BYTES)..];
        let over = (self.bytes.len() + data.len()).saturating_sub(limits::OUTPUT_BYTES);
        self.bytes.drain(..over);
        self.bytes.extend(data);
    }

    /// True for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All of it; the ring is empty afterwards.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes).into()
    }

    /// The last lines with something in them, for the reason of a failed start.
    #[must_use]
    pub fn last_lines(&self) -> Option<String> {
        let from = self.bytes.len().saturating_sub(limits::TROUBLE_BYTES / 2);
        let bytes: Vec<u8> = self.bytes.range(from..).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        (!last.is_empty()).then(|| last.join("\n"))
    }
}

/// Python's output and then the pipe's without what is masked, cut to what a record keeps.
#[must_use]
pub fn join(python: Bytes, pipe: &mut Ring, masks: &Masks) -> Bytes {
    let python = masks.mask(python);
    if pipe.is_empty() {
        return python;
    }
    let mut all = python.to_vec();
    all.extend(masks.mask(pipe.take().into()));
    let cut = all.len().saturating_sub(limits::OUTPUT_BYTES);
    Bytes::copy_from_slice(&all[cut..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(written: usize) -> (Tail, Vec<u8>) {
        let output: Vec<u8> = (0..written).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let tail = Tail::new().unwrap();
        for (i, byte) in output.iter().enumerate() {
            tail.file().write_all_at(&[*byte], (HEAD + i % RING) as u64).unwrap();
        }
        tail.file().write_all_at(&(written as u64).to_le_bytes(), 0).unwrap();
        (tail, output)
    }

    #[test]
    fn the_memfd_gives_the_end_of_the_output() {
        for written in [0, 1, RING - 1, RING, RING + 1, 2 * RING + 77] {
            let (tail, output) = tail_of(written);
            assert_eq!(tail.read(), &output[written.saturating_sub(RING)..], "{written}");
        }
    }

    #[test]
    fn the_memfd_gives_what_was_not_sent() {
        let (tail, _) = tail_of(RING);
        assert_eq!(tail.unsent(), "");
        tail.file().write_all_at(b"frames", (HEAD + RING) as u64).unwrap();
        let sendings = 7 << 32;
        for (size, found) in [
            (3, "fra"),
            (6, "frames"),
            (sendings, ""),
            (sendings + 3, "fra"),
            (SPACE as u64 + 1, ""),
            (u64::MAX, ""),
        ] {
            tail.file().write_all_at(&size.to_le_bytes(), UNSENT).unwrap();
            assert_eq!(tail.unsent(), found, "{size}");
        }
    }

    #[test]
    fn a_cut_memfd_is_no_harm() {
        let (tail, _) = tail_of(10);
        tail.file().set_len(3).unwrap();
        tail.withhold(7);
        tail.file().set_len(3).unwrap();
        assert_eq!((tail.read(), tail.begun(), tail.unsent().len()), (Vec::<u8>::new(), 0, 0));
    }

    #[test]
    fn a_ring_keeps_the_end_and_joins_behind_pythons() {
        let mut ring = Ring::default();
        ring.add(&vec![b'x'; limits::OUTPUT_BYTES]);
        ring.add(b"\nlast line\n\n");
        assert_eq!(ring.last_lines().unwrap().rsplit('\n').next(), Some("last line"));
        let masks = Masks::default();
        let all = join(Bytes::from_static(b"python"), &mut ring, &masks);
        assert_eq!(all.len(), limits::OUTPUT_BYTES);
        assert!(all.ends_with(b"last line\n\n") && ring.is_empty());
        assert_eq!(join(Bytes::from_static(b"python"), &mut ring, &masks), "python");
    }
}
