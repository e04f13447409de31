//! Sealed payloads: the service stores and routes what it cannot read, and this node opens them for its workers.
//!
//! A client seals functions and arguments to its endpoint's key and gets results sealed to its own (docs/protocol.md §1,
//! docs/security.md). Each payload has a key of its own: HKDF-SHA256 of what both sides agree on (X25519), salted by 16
//! random bytes, for ChaCha20-Poly1305. Workers see nothing of it.

use crate::home::EndpointDir;
use bursa_core::executor::{Event, Verdict, WorkerDone};
use bursa_core::id::{EndpointId, TaskId, WorkerId};
use bursa_core::wire::Attempt;
use bursa_fabric::{KeyPair, PublicKey};
use bytes::Bytes;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// Begins a sealed payload; the public key of who sealed it, the salt and the sealed bytes follow.
const MARK: &[u8; 3] = b"x\0\0";
const KEY: usize = 32;
const SALT: usize = 16;
const HEAD: usize = MARK.len() + KEY + SALT;
/// Clients whose agreed secrets are remembered.
const CLIENTS: usize = 1_024;

/// What a payload is: none can be taken for another.
#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    /// A function's body, for this endpoint.
    Function(&'a EndpointId),
    /// The arguments of this task.
    Arguments(&'a TaskId),
    /// How this task ended.
    Result(&'a TaskId),
}

impl Kind<'_> {
    /// What the seal also vouches for.
    fn words(self) -> [u8; 17] {
        let (letter, id) = match self {
            Self::Function(endpoint) => (b'f', endpoint.as_bytes()),
            Self::Arguments(task) => (b'a', task.as_bytes()),
            Self::Result(task) => (b'r', task.as_bytes()),
        };
        let mut words = [letter; 17];
        words[1..].copy_from_slice(id);
        words
    }
}

/// How a sealed call ended, as its client reads it: all that the service does not.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(with = "serde_bytes")]
    payload: &'a [u8],
    #[serde(with = "serde_bytes")]
    output: &'a [u8],
    class: &'a str,
    message: &'a str,
    traceback: &'a str,
}

/// Opens and seals for one executor.
#[derive(Debug)]
pub(crate) struct Seals {
    /// The endpoint and its key; a node that has no copy of the key (a pod) opens nothing.
    own: Option<(EndpointId, KeyPair)>,
    agreed: HashMap<[u8; KEY], [u8; 32]>,
    /// Where each sealed call is, and whose key its result is for.
    calls: HashMap<(TaskId, Attempt), (WorkerId, [u8; KEY])>,
    /// Workers that had a sealed call: their last words are told to nobody.
    workers: BTreeSet<WorkerId>,
}

impl Seals {
    pub(crate) fn of(dir: &EndpointDir) -> Self {
        let registration = dir.registration().ok();
        Self::new(registration.and_then(|known| Some((known.endpoint_id, dir.keys().ok()?))))
    }

    fn new(own: Option<(EndpointId, KeyPair)>) -> Self {
        let (agreed, calls, workers) = Default::default();
        Self { own, agreed, calls, workers }
    }

    /// A function's body as its worker reads it. What cannot be opened stays as it is: the worker says so.
    pub(crate) fn body(&mut self, body: Bytes) -> Bytes {
        let Some(endpoint) = self.own.as_ref().map(|(endpoint, _)| *endpoint) else { return body };
        self.open(Kind::Function(&endpoint), &body).map_or(body, |(_, open)| open)
    }

    /// The arguments of a call as its worker reads them; remembers to whom its result is sealed.
    pub(crate) fn args(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt, args: Bytes) -> Bytes {
        let Some((client, open)) = self.open(Kind::Arguments(&task), &args) else { return args };
        self.calls.insert((task, attempt), (worker, client));
        self.workers.insert(worker);
        open
    }

    /// Seals what a worker tells of a sealed call.
    pub(crate) fn heard(&mut self, event: &mut Event) {
        match event {
            Event::WorkerDone { done, .. } if !self.calls.is_empty() => {
                if let Some((_, client)) = self.calls.remove(&(done.task, done.attempt)) {
                    self.close(client, done);
                }
            }
            Event::WorkerExited { worker, output, .. } if self.workers.remove(worker) => {
                self.calls.retain(|_, (at, _)| at != worker);
                *output = Bytes::new();
            }
            _ => {}
        }
    }

    fn open(&mut self, kind: Kind<'_>, payload: &Bytes) -> Option<([u8; KEY], Bytes)> {
        let rest = payload.strip_prefix(MARK)?;
        let (client, rest) = rest.split_first_chunk::<KEY>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        let key = self.key(*client, salt, kind)?;
        let mut bytes = sealed.to_vec();
        let open = key.open_in_place(nonce(), Aad::from(kind.words()), &mut bytes).ok()?.len();
        bytes.truncate(open);
        Some((*client, bytes.into()))
    }

    fn close(&mut self, client: [u8; KEY], done: &mut WorkerDone) {
        let told = Told {
            payload: &done.payload,
            output: &done.output,
            class: &done.class,
            message: &done.message,
            traceback: &done.traceback,
        };
        let plain = rmp_serde::to_vec_named(&told).unwrap_or_default();
        let task = done.task;
        let sealed = self.seal(client, Kind::Result(&task), plain);
        done.output = Bytes::new();
        (done.class, done.message, done.traceback) = Default::default();
        if done.verdict != Verdict::Success {
            done.message =
                "What went wrong is sealed; the client that submitted the task reads it.".to_owned();
        }
        match sealed {
            Some(sealed) => done.payload = sealed,
            None => {
                done.payload = Bytes::new();
                done.verdict = Verdict::UserError;
                done.message = "Its result could not be sealed; submit it again.".to_owned();
            }
        }
    }

    fn seal(&mut self, client: [u8; KEY], kind: Kind<'_>, plain: Vec<u8>) -> Option<Bytes> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).ok()?;
        let key = self.key(client, &salt, kind)?;
        let mut bytes = Vec::with_capacity(HEAD + plain.len() + CHACHA20_POLY1305.tag_len());
        bytes.extend_from_slice(MARK);
        bytes.extend_from_slice(&self.own.as_ref()?.1.public.0);
        bytes.extend_from_slice(&salt);
        let mut sealed = plain;
        key.seal_in_place_append_tag(nonce(), Aad::from(kind.words()), &mut sealed).ok()?;
        bytes.extend_from_slice(&sealed);
        Some(bytes.into())
    }

    /// The key of one payload.
    fn key(&mut self, client: [u8; KEY], salt: &[u8; SALT], kind: Kind<'_>) -> Option<LessSafeKey> {
        let (_, keys) = self.own.as_ref()?;
        if !self.agreed.contains_key(&client) {
            if self.agreed.len() >= CLIENTS {
                self.agreed.clear();
            }
            self.agreed.insert(client, keys.agree(&PublicKey(client))?);
        }
        let secret = Salt::new(HKDF_SHA256, salt).extract(self.agreed.get(&client)?);
        let info: [&[u8]; 4] = [b"bursa sealed 1", &kind.words()[..1], &client, &keys.public.0];
        let key = secret.expand(&info, &CHACHA20_POLY1305).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

/// Each key seals one payload: no nonce is used twice.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Seals, Seals) {
        let endpoint = EndpointId::from_bytes([1; 16]);
        let (client, node) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let seals = |keys| Seals::new(Some((endpoint, keys)));
        (seals(client), seals(node))
    }

    fn keys(seals: &Seals) -> &KeyPair {
        &seals.own.as_ref().unwrap().1
    }

    /// As a client seals, whose half the payload carries: both sides derive the same keys.
    fn sealed(client: &Seals, node: &Seals, kind: Kind<'_>, plain: &[u8]) -> Bytes {
        let salt = [7; SALT];
        let agreed = keys(client).agree(&keys(node).public).unwrap();
        let secret = Salt::new(HKDF_SHA256, &salt).extract(&agreed);
        let info: [&[u8]; 4] =
            [b"bursa sealed 1", &kind.words()[..1], &keys(client).public.0, &keys(node).public.0];
        let key = UnboundKey::from(secret.expand(&info, &CHACHA20_POLY1305).unwrap());
        let mut bytes = plain.to_vec();
        LessSafeKey::new(key).seal_in_place_append_tag(nonce(), Aad::from(kind.words()), &mut bytes).unwrap();
        [MARK.as_slice(), &keys(client).public.0, &salt, &bytes].concat().into()
    }

    fn done(task: TaskId, verdict: Verdict) -> WorkerDone {
        WorkerDone {
            task,
            attempt: Attempt(1),
            verdict,
            load_ns: 0,
            run_ns: 1,
            dump_ns: 0,
            payload: Bytes::from_static(b"p\0\0secret"),
            class: "ValueError".into(),
            message: "secret".into(),
            traceback: "secret".into(),
            output: Bytes::from_static(b"secret"),
        }
    }

    #[test]
    fn what_is_sealed_to_this_endpoint_is_opened_and_nothing_else() {
        let (client, mut node) = pair();
        let (task, endpoint) = (TaskId::from_bytes([2; 16]), EndpointId::from_bytes([1; 16]));
        let args = sealed(&client, &node, Kind::Arguments(&task), b"p\0\0args");
        let open =
            |node: &mut Seals, task, args: &Bytes| node.args(WorkerId(1), task, Attempt(1), args.clone());
        assert_eq!(open(&mut node, task, &args), "p\0\0args");
        // Of another task, as a function, cut, changed, for another endpoint, not sealed: left as it is.
        assert_eq!(open(&mut node, TaskId::from_bytes([3; 16]), &args), args);
        assert_eq!(node.body(args.clone()), args);
        for length in 0..args.len() {
            let cut = args.slice(..length);
            assert_eq!(open(&mut node, task, &cut), cut);
        }
        let mut changed = args.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        let changed = Bytes::from(changed);
        assert_eq!(open(&mut node, task, &changed), changed);
        assert_eq!(open(&mut pair().1, task, &args), args);
        let body = sealed(&client, &node, Kind::Function(&endpoint), b"c\x03\x0bcode");
        assert_eq!(node.body(body), "c\x03\x0bcode");
        let plain = Bytes::from_static(b"p\0\0plain");
        assert_eq!(open(&mut node, task, &plain), plain);
    }

    #[test]
    fn of_a_sealed_call_nothing_leaves_in_the_clear() {
        for verdict in [Verdict::Success, Verdict::UserError] {
            let (client, mut node) = pair();
            let task = TaskId::from_bytes([2; 16]);
            let args = sealed(&client, &node, Kind::Arguments(&task), b"p\0\0args");
            node.args(WorkerId(1), task, Attempt(1), args);
            let mut event = Event::WorkerDone { worker: WorkerId(1), done: done(task, verdict) };
            node.heard(&mut event);
            assert!(!format!("{event:?}").contains("secret"), "{event:?}");
            let Event::WorkerDone { done, .. } = &event else { unreachable!() };
            assert!(done.payload.starts_with(MARK));
        }
    }

    #[test]
    fn of_other_calls_all_is_told_as_it_is() {
        let (_, mut node) = pair();
        let task = TaskId::from_bytes([2; 16]);
        let mut event = Event::WorkerDone { worker: WorkerId(1), done: done(task, Verdict::Success) };
        let before = format!("{event:?}");
        node.heard(&mut event);
        assert_eq!(format!("{event:?}"), before);
    }
}
