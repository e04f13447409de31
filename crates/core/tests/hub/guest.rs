//! What is known of a user at another's endpoint.

use crate::rig::*;
use bursa_core::hub::Guest;
use bursa_core::id::UserId;

#[test]
fn his_tasks_are_counted_from_the_submit_to_the_end_and_the_manager_says_whether_he_is_welcome() {
    let mut rig = Rig::new();
    let at = |rig: &Rig| rig.hub.guest(&endpoint(1), &user());
    assert_eq!(at(&rig), Some(Guest { live: 0, welcome: false }), "nobody said so");
    assert_eq!(rig.hub.guest(&endpoint(99), &user()), None);

    rig.submit(vec![spec(1), spec(2)]);
    assert_eq!(at(&rig).unwrap().live, 2, "while it is being written");
    rig.settle();
    let stranger = UserId::from_bytes([77; 16]);
    assert_eq!(rig.hub.guest(&endpoint(1), &stranger).unwrap().live, 0);

    let mut peer = rig.connect(bursa_core::wire::Hello { guests: true, ..hello(1, 1, 1) });
    assert!(at(&rig).unwrap().welcome);
    let sent = rig.run(&mut peer, vec![spec(3)]);
    assert_eq!(at(&rig).unwrap().live, 3);
    let attempt = sent.iter().find(|assign| assign.task == task(3)).unwrap().attempt;
    rig.say(&mut peer, vec![success(3, attempt)]);
    rig.settle();
    assert_eq!(at(&rig).unwrap().live, 2);
    // Another manager of it has no sandbox.
    rig.open(hello(2, 2, 1));
    assert!(!at(&rig).unwrap().welcome);
}
