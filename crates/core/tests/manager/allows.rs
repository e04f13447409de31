//! What the endpoint's own configuration allows, whatever its service says.

use crate::rig::*;
use bursa_core::id::{Hash, UserId};
use bursa_core::manager::{Allows, Config};
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::wire::Item;

fn up(allows: Allows) -> Rig {
    let mut rig = Rig::up(Config { allows, ..config() });
    rig.hello(x(1), 1, vec![], capacity(8, 2));
    rig.clear();
    rig
}

/// The sentence with which the call was refused, if it was.
fn refused(rig: &mut Rig) -> Option<String> {
    rig.hub_says(vec![assign(1, 9)]);
    let (said, given) = (rig.said(), assigned(&rig.heard(x(1))));
    if results(&said).is_empty() {
        assert_eq!(given, [(1, 9)]);
        return None;
    }
    assert_eq!((results(&said), given), (vec![(1, 9, Outcome::Error, Begun::No)], vec![]));
    said.into_iter().find_map(|item| match item {
        Item::Result(done) => done.failure.map(|failure| {
            assert_eq!(failure.code, FailureCode::NotAllowed);
            failure.message
        }),
        _ => None,
    })
}

#[test]
fn only_the_functions_run_that_the_configuration_names() {
    let functions = |body: &[u8]| Allows { functions: [Hash::of(body)].into(), guests: true, owner: None };
    assert_eq!(refused(&mut up(functions(BODY))), None);
    let mut rig = up(functions(b"another"));
    let why = refused(&mut rig).unwrap();
    assert!(why.contains("endpoint.allowed_functions") && why.contains(&Hash::of(BODY).to_string()), "{why}");
    // Assigned again it is the same end, and its acknowledgement the last that is known of it.
    rig.hub_says(vec![ack(1, 9, Outcome::Error)]);
    assert!(results(&rig.said()).is_empty());
}

#[test]
fn without_a_sandbox_it_runs_what_its_owner_submits() {
    let owned =
        |guests, owner| Allows { guests, owner: Some(UserId::from_bytes([owner; 16])), ..Allows::default() };
    // The user of the rig's calls is 3.
    assert_eq!(refused(&mut up(owned(false, 3))), None);
    assert_eq!(refused(&mut up(owned(true, 4))), None);
    let why = refused(&mut up(owned(false, 4))).unwrap();
    assert!(why.contains("sandbox.runtime = \"bwrap\""), "{why}");
    assert_eq!(refused(&mut up(Allows::default())), None, "whose it is, an older registration does not say");
}
