//! What was decided about tokens, by their hash, for as long as it may count.

use super::{Known, Refusal};
use bursa_core::limits;
use bursa_core::time::Wall;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) type Decided = Result<Arc<Known>, Refusal>;

/// Decisions and their ends.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<[u8; 32], (Decided, Wall)>>);

impl Cache {
    /// What was decided, if it still counts.
    pub(super) fn get(&self, hash: &[u8; 32], now: Wall) -> Option<Decided> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match cache.get(hash) {
            Some((decided, until)) if *until > now => Some(decided.clone()),
            Some(_) => {
                cache.remove(hash);
                None
            }
            None => None,
        }
    }

    /// Keeps a decision while it counts; that nobody answered is not kept.
    pub(super) fn put(&self, hash: [u8; 32], decided: &Decided, now: Wall) {
        let after = |ms: u64| Wall(now.0.saturating_add(ms));
        let until = match decided {
            Ok(known) => known.expires,
            Err(Refusal::Down(_)) => return,
            Err(Refusal::Invalid(_) | Refusal::Unwanted(_)) => after(limits::IDENTITY_REFUSED_MS),
        };
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= limits::CACHED_TOKENS {
            cache.retain(|_, (_, until)| *until > now);
        }
        if cache.len() >= limits::CACHED_TOKENS {
            cache.clear();
        }
        cache.insert(hash, (decided.clone(), until));
    }
}
