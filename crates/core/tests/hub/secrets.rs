//! F43: secrets go with the attempts of those calls that they were granted to, as they are when these are sent.

use crate::rig::*;
use bursa_core::hub::Event;
use bursa_core::id::Hash;
use bursa_core::secrets::Secrets;
use bursa_core::task::{Begun, Failure, FailureCode, Outcome};
use bursa_core::wire::{Attempt, Hello, version};

fn hash() -> Hash {
    spec(1).hash
}

fn granted(rig: &mut Rig, granted: bool) {
    rig.handle(Event::Granted { user: spec(1).user, hash: hash(), granted });
}

fn read(rig: &mut Rig, found: Result<&[u8], Failure>) {
    let found = found.map(|value| Secrets::of([("TOKEN", value)])).map_err(Box::new);
    assert_eq!(std::mem::take(&mut rig.secrets_asked), [spec(1).user], "asked for once");
    rig.handle(Event::Secrets { user: spec(1).user, hash: hash(), endpoint: endpoint(1), found });
    rig.settle();
}

fn values(rig: &mut Rig, peer: &mut Mgr) -> Vec<Option<Vec<u8>>> {
    let assigns = assigns(&rig.hear(peer));
    let value = |secrets: &Secrets| secrets.values().next().unwrap().to_vec();
    assigns.iter().map(|assign| assign.secrets.as_ref().map(value)).collect()
}

#[test]
fn f43_they_are_read_once_and_go_with_each_call() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    granted(&mut rig, true);
    let mut other = spec(3);
    other.hash = Hash::of(b"other");
    rig.store.bodies.insert(other.hash, "other".into());
    rig.submit(vec![spec(1), spec(2), other]);
    rig.settle();
    assert_eq!(values(&mut rig, &mut peer), [None], "the function without any waits for nobody");
    read(&mut rig, Ok(b"s3cr3t"));
    let s3cr3t = || Some(b"s3cr3t".to_vec());
    assert_eq!(values(&mut rig, &mut peer), [s3cr3t(), s3cr3t()]);
    rig.submit(vec![spec(4)]);
    rig.settle();
    assert_eq!(values(&mut rig, &mut peer), [s3cr3t()]);
    assert!(rig.secrets_asked.is_empty() && !format!("{:?}", rig.hub).contains("s3cr3t"));
}

#[test]
fn f43_a_change_counts_for_the_next_attempt() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    granted(&mut rig, true);
    rig.submit(vec![spec(1)]);
    rig.settle();
    read(&mut rig, Ok(b"old"));
    assert_eq!(values(&mut rig, &mut peer), [Some(b"old".to_vec())]);
    // Another value, while the attempt comes back unstarted.
    granted(&mut rig, true);
    rig.say(&mut peer, vec![result(1, Attempt::new(1, 1), Outcome::Returned, Begun::No)]);
    rig.settle();
    read(&mut rig, Ok(b"new"));
    assert_eq!(values(&mut rig, &mut peer), [Some(b"new".to_vec())]);
    granted(&mut rig, false);
    rig.submit(vec![spec(2)]);
    rig.settle();
    assert_eq!(values(&mut rig, &mut peer), [None], "revoked");
}

#[test]
fn f43_where_they_may_not_go_the_call_ends() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    granted(&mut rig, true);
    rig.submit(vec![spec(1), spec(2)]);
    rig.settle();
    read(&mut rig, Err(Failure::new(FailureCode::NotAllowed, "not there")));
    rig.settle();
    assert_eq!(values(&mut rig, &mut peer), []);
    for n in [1, 2] {
        assert_eq!(rig.store.failure(n).code, FailureCode::NotAllowed);
    }
}

#[test]
fn f43_an_endpoint_that_knows_of_none_gets_no_such_call() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(Hello { proto_max: version::SECRETS - 1, ..hello(1, 1, 1) });
    granted(&mut rig, true);
    rig.submit(vec![spec(1)]);
    rig.settle();
    read(&mut rig, Ok(b"s3cr3t"));
    rig.settle();
    assert_eq!(values(&mut rig, &mut peer), []);
    assert_eq!(rig.store.failure(1).code, FailureCode::Unsatisfiable);
}
