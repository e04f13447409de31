//! Payload files written ahead of the transactions that name them: side by side, on a few threads, from the moment that
//! their writes wait. So the disk works while the transaction before commits and while the next payloads come.
//!
//! Owns which payloads are under way. A payload that nobody has begun when its transaction comes is its own to write.

use bursa_core::id::Hash;
use bursa_core::limits::PAYLOAD_THREADS;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Where a payload is in memory: nothing else is there while it is held here.
type Place = (usize, usize);

fn place(data: &Bytes) -> Place {
    (data.as_ptr().addr(), data.len())
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Waits,
    UnderWay,
    /// `None`: it could not be written.
    Over(Option<Hash>),
}

#[derive(Debug, Default)]
struct Files {
    known: HashMap<Place, (Bytes, Stage)>,
    order: VecDeque<Place>,
    threads: usize,
}

/// The payloads of the writes that wait.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    files: Mutex<Files>,
    over: Condvar,
}

impl Ahead {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a payload to be written. True: call [`Self::work`] on one more thread.
    pub(super) fn add(&self, data: &Bytes) -> bool {
        let mut files = self.files();
        let at = place(data);
        if files.known.contains_key(&at) {
            return false;
        }
        files.known.insert(at, (data.clone(), Stage::Waits));
        files.order.push_back(at);
        let more = files.threads < PAYLOAD_THREADS;
        files.threads += usize::from(more);
        more
    }

    /// Writes what waits, until nothing does.
    pub(super) fn work(&self, write: impl Fn(&Bytes) -> Option<Hash>) {
        let mut files = self.files();
        while let Some(at) = files.order.pop_front() {
            let Some((data, stage @ Stage::Waits)) = files.known.get_mut(&at) else { continue };
            *stage = Stage::UnderWay;
            let data = data.clone();
            drop(files);
            let hash = write(&data);
            files = self.files();
            if let Some((_, stage)) = files.known.get_mut(&at) {
                *stage = Stage::Over(hash);
            }
            self.over.notify_all();
        }
        files.threads -= 1;
    }

    /// The name of a payload that was written ahead, once it is; `None`: its transaction has to write it.
    pub(super) fn take(&self, data: &Bytes) -> Option<Hash> {
        let mut files = self.files();
        loop {
            match files.known.get(&place(data)) {
                Some((_, Stage::UnderWay)) => {
                    files = self.over.wait(files).unwrap_or_else(PoisonError::into_inner);
                }
                Some((_, Stage::Over(hash))) => return *hash,
                Some((_, Stage::Waits)) => {
                    files.known.remove(&place(data));
                    return None;
                }
                None => return None,
            }
        }
    }

    /// The transaction that named it is over.
    pub(super) fn forget(&self, data: &Bytes) {
        self.files().known.remove(&place(data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    fn names(data: &Bytes) -> Option<Hash> {
        Some(Hash::of(data))
    }

    #[test]
    fn what_nobody_has_begun_is_its_transactions_to_write() {
        let ahead = Ahead::default();
        let data = Bytes::from(vec![1; 9]);
        assert!(ahead.add(&data));
        assert_eq!(ahead.take(&data), None);
        ahead.work(|_| panic!("it was taken back"));
    }

    #[test]
    fn a_transaction_waits_for_what_is_under_way_and_hears_of_failures() {
        let ahead = Ahead::default();
        let [good, bad] = [1, 2].map(|mark| Bytes::from(vec![mark; 9]));
        assert!(ahead.add(&good) && ahead.add(&bad));
        let (begun, begins) = sync_channel(0);
        std::thread::scope(|scope| {
            let (ahead, good) = (&ahead, &good);
            scope.spawn(move || {
                ahead.work(|data| {
                    begun.send(()).unwrap();
                    names(data).filter(|_| data == good)
                });
            });
            begins.recv().unwrap();
            assert_eq!(ahead.take(good), names(good), "it is under way");
            begins.recv().unwrap();
        });
        assert_eq!(ahead.take(&bad), None, "it was tried, and failed");
        ahead.forget(&good);
        assert_eq!(ahead.take(&good), None);
    }

    #[test]
    fn threads_are_bounded_and_come_again() {
        let ahead = Ahead::default();
        let data: Vec<Bytes> = (0..=PAYLOAD_THREADS).map(|n| Bytes::from(vec![7; 9 + n])).collect();
        let asked: Vec<bool> = data.iter().map(|data| ahead.add(data)).collect();
        assert_eq!(asked.iter().filter(|asked| **asked).count(), PAYLOAD_THREADS);
        (0..PAYLOAD_THREADS).for_each(|_| ahead.work(names));
        assert!(!ahead.add(&data[0]), "it is known");
        ahead.forget(&data[0]);
        assert!(ahead.add(&data[0]), "all are at rest");
    }
}
