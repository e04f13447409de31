//! Every kind of failure: where it was, which execution it was, and one sentence that ends with what to do next.

use crate::rig::*;
use crate::words::image;
use bursa_core::hub::Event;
use bursa_core::limits;
use bursa_core::task::{Begun, Failure, FailureCode, Outcome, TaskSpec};
use bursa_core::wire::{Blob, Hello, Item, version};

/// A task that allows no loss.
fn fragile(n: u32) -> TaskSpec {
    TaskSpec { retries: 0, ..spec(n) }
}

/// The attempt of task 1 ends so, as often as it takes to end the task.
fn reported(outcome: Outcome, begun: Begun, code: Option<FailureCode>) -> Failure {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let mut sent = rig.run(&mut peer, vec![fragile(1)]);
    while let Some(assign) = sent.first() {
        let mut done = done(1, assign.attempt, outcome, begun);
        done.failure = code.map(|code| Box::new(Failure::new(code, "")));
        if begun == Begun::Yes {
            rig.say(&mut peer, vec![started(1, assign.attempt)]);
        }
        rig.say(&mut peer, vec![Item::Result(Box::new(done))]);
        rig.settle();
        sent = assigns(&rig.hear(&mut peer));
    }
    rig.store.failure(1)
}

#[test]
fn an_endpoint_that_knows_no_containers_gets_no_call_for_one() {
    let mut rig = Rig::new();
    let words = Hello { proto_max: version::CONTAINERS - 1, ..hello(1, 1, 1) };
    let mut peer = rig.connect(words);
    let contained = TaskSpec { container: Some(image()), ..spec(1) };
    let sent = rig.run(&mut peer, vec![contained, spec(2)]);
    assert_eq!(sent.iter().map(|assign| assign.task).collect::<Vec<_>>(), [task(2)]);
    let failure = rig.store.failure(1);
    assert_eq!(failure.code, FailureCode::EnvironmentFailed);
    assert!(failure.message.contains("knows no containers; update it"), "{}", failure.message);
}

#[test]
fn a_call_travels_with_its_container() {
    let mut rig = Rig::new();
    let mut peer = rig.connect(hello(1, 1, 1));
    let sent = rig.run(&mut peer, vec![TaskSpec { container: Some(image()), ..spec(1) }]);
    assert_eq!(sent[0].container, Some(image()));
}

/// The hub's own failure of a task that waits.
fn decided(decide: impl FnOnce(&mut Rig)) -> Failure {
    let mut rig = Rig::new();
    rig.submit(vec![fragile(1)]);
    rig.settle();
    decide(&mut rig);
    rig.settle();
    rig.store.failure(1)
}

/// How the hub comes to a failure of this kind, and after how many executions; `None`: it never makes one up, the words
/// come from the worker that has them, or the submit is refused.
fn failure_of(code: FailureCode) -> Option<(Failure, u32)> {
    use Begun::{No, Yes};
    Some(match code {
        FailureCode::UserError => (reported(Outcome::Error, Yes, None), 1),
        FailureCode::WorkerDied => (reported(Outcome::Died, Yes, None), 1),
        FailureCode::WalltimeExceeded => (reported(Outcome::Lost, Yes, Some(code)), 4),
        FailureCode::Timeout => (reported(Outcome::Timeout, Yes, Some(code)), 1),
        FailureCode::DeadlineExceeded => (reported(Outcome::Expired, No, Some(code)), 0),
        FailureCode::ExecutorLost => (reported(Outcome::Lost, Yes, None), 1),
        FailureCode::EnvironmentFailed => (reported(Outcome::Environment, No, None), 0),
        FailureCode::ResultTooLarge => {
            let mut rig = Rig::new();
            let mut peer = rig.connect(hello(1, 1, 1));
            let attempt = rig.run(&mut peer, vec![fragile(1)])[0].attempt;
            let mut done = done(1, attempt, Outcome::Success, Yes);
            done.payload = Blob::Here(vec![0; limits::RESULT_BYTES + 1].into());
            rig.say(&mut peer, vec![Item::Result(Box::new(done))]);
            rig.settle();
            (rig.store.failure(1), 1)
        }
        FailureCode::EndpointDeleted => {
            let delete = |rig: &mut Rig| {
                let request = rig.request();
                rig.handle(Event::DeleteEndpoint { request, endpoint: endpoint(1) });
            };
            (decided(delete), 0)
        }
        FailureCode::LoadFailed => {
            let mut rig = Rig::new();
            rig.store.bodies.clear();
            let mut peer = rig.connect(hello(1, 1, 1));
            rig.run(&mut peer, vec![fragile(1)]);
            (rig.store.failure(1), 0)
        }
        FailureCode::Cancelled => (decided(|rig| rig.cancel(vec![task(1)])), 0),
        FailureCode::EndpointOffline => {
            let mut rig = crate::offline::impatient(Rig::new().store);
            rig.submit(vec![fragile(1)]);
            rig.pass(crate::offline::PATIENCE);
            (rig.store.failure(1), 0)
        }
        FailureCode::Unsatisfiable
        | FailureCode::NotAllowed
        | FailureCode::DeserializeMismatch
        | FailureCode::PayloadTooLarge => {
            return None;
        }
    })
}

#[test]
fn every_failure_says_where_which_execution_and_what_to_do_next() {
    for code in FailureCode::ALL {
        let Some((failure, executions)) = failure_of(code) else { continue };
        let text = &failure.message;
        assert_eq!((failure.code, failure.attempt), (code, Some(executions)), "{text}");
        let stayed = [
            FailureCode::EndpointDeleted,
            FailureCode::EndpointOffline,
            FailureCode::LoadFailed,
            FailureCode::Cancelled,
        ];
        let host = (!stayed.contains(&code)).then_some("host1");
        assert_eq!(failure.host.as_deref(), host, "{code:?}: {text}");
        let (what, next) = text.split_once("; ").unwrap_or_else(|| panic!("{code:?} has no advice: {text}"));
        assert!(what.len() > 20 && next.split(' ').count() >= 4, "{code:?}: {text}");
        assert!(!text.contains('\n') && !text.ends_with('.'), "{code:?}: one sentence: {text}");
    }
}
