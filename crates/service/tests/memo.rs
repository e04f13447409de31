//! Memoization over REST and stream, with a scripted manager behind.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::manager::{Behave, Manager, register};
use support::socket::{Said, Socket};
use support::world::{World, world};
use support::{Answer, b64, config, id, start, try_start};

impl World {
    fn call(&self, n: u64, args: &[u8]) -> Value {
        json!({"task_id": id(n), "function_id": self.function, "endpoint_id": self.endpoint.id, "args": b64(args),
               "memoize": true})
    }

    fn submit(&self, tasks: &[Value]) -> Answer {
        self.service.post("/api/v1/tasks", &json!({"group_id": id(0), "tasks": tasks}))
    }

    /// Runs one call on the endpoint, whose manager then goes.
    fn run(&self, n: u64, args: &[u8], generation: u64) -> Value {
        let manager = Manager::start(&self.service, &self.endpoint, generation, Behave::Echo);
        assert_eq!(self.submit(&[self.call(n, args)]).status, 200);
        let ended = self.ended(n);
        manager.stop();
        let status = format!("/api/v1/endpoints/{}/status", self.endpoint.id);
        self.service.until(&status, "/status", &json!("offline"));
        ended
    }

    fn ended(&self, n: u64) -> Value {
        self.service.get(&format!("/api/v1/tasks/{}?wait=10", id(n))).json()
    }

    fn state(&self, n: u64) -> Value {
        self.service.get(&format!("/api/v1/tasks/{}", id(n))).json()["state"].clone()
    }

    fn counter(&self, name: &str) -> String {
        let text = String::from_utf8(self.service.get("/metrics").body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("bursa_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }
}

#[test]
fn a_hit_is_answered_without_the_endpoint_also_after_a_restart() {
    let mut w = world();
    let first = w.run(1, b"pinput", 1);
    assert_eq!((&first["state"], &first["memo"]), (&json!("success"), &json!("stored")));

    assert_eq!(w.submit(&[w.call(2, b"pinput"), w.call(3, b"pother")]).status, 200);
    let hit = w.ended(2);
    assert_eq!((&hit["state"], &hit["memo"]), (&json!("success"), &json!("hit")));
    assert_eq!((&hit["result"], &hit["starts"]), (&first["result"], &json!(0)));
    let told = w.service.get(&format!("/api/v1/tasks/{}/explain", id(2))).json()["message"].clone();
    assert!(told.as_str().unwrap().contains("memoized result of an equal call"), "{told}");
    assert!(hit.get("run_seconds").is_none() && hit["ended_at"].is_string(), "{hit}");
    assert_eq!(w.state(3), "waiting-for-ep");
    let counted =
        ["attempts_dispatched_total", "memo_hits_total", "tasks_succeeded_total"].map(|n| w.counter(n));
    assert_eq!(counted, ["1", "1", "2"]);
    let sums = json!({"entries": 1, "bytes": 256 + 6, "hits": 1});
    assert_eq!(w.service.get("/api/v1/memo").json(), sums);

    w.service.stop();
    w.service = start(w.dir.path());
    assert_eq!(w.submit(&[w.call(4, b"pinput")]).status, 200);
    assert_eq!(w.ended(4)["memo"], "hit");
    assert_eq!(w.counter("attempts_dispatched_total"), "0");
}

#[test]
fn the_stream_says_what_is_stored_and_what_is_a_hit() {
    let w = world();
    w.run(1, b"pinput", 1);
    let mut plain = w.call(2, b"pinput");
    plain.as_object_mut().unwrap().remove("memoize");
    assert_eq!(w.submit(&[plain, w.call(3, b"pinput")]).status, 200);
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    socket.subscribe(&[id(0).parse().unwrap()], Some(0));
    match socket.hear() {
        Said::Results { states, memo, payloads, .. } => {
            assert_eq!((states.as_slice(), memo.unwrap().as_slice()), (&[0, 0][..], &[1, 2][..]));
            assert_eq!(payloads[1].as_slice(), b"pinput");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_may_not_call_is_told_so_whatever_is_memoized() {
    let w = world();
    w.run(1, b"pinput", 1);
    let other = w.service.other_user();
    let tasks = json!({"tasks": [w.call(2, b"pinput")]});
    let answer = w.service.call_as(&other, "POST", "/api/v1/tasks", Some(&tasks));
    assert_eq!((answer.status, answer.error().0.as_str()), (404, "not-found"));
    assert_eq!(
        w.service.call_as(&other, "GET", "/api/v1/memo", None).json(),
        json!({"entries": 0, "bytes": 0, "hits": 0})
    );
    let cleared = w.service.call_as(&other, "DELETE", "/api/v1/memo", None).json();
    assert_eq!(cleared, json!({"removed": 0}), "another's are not his to clear");
    let path = format!("/api/v1/memo?endpoint_id={}", w.endpoint.id);
    assert_eq!(w.service.call_as(&other, "DELETE", &path, None).status, 404);

    assert_eq!(w.submit(&[w.call(3, b"pinput")]).status, 200);
    assert_eq!(w.service.delete(&format!("/api/v1/functions/{}", w.function)).status, 204);
    assert_eq!(w.submit(&[w.call(4, b"pinput")]).error().0, "not-found");
}

#[test]
fn what_is_cleared_runs_again() {
    let mut w = world();
    w.run(1, b"pinput", 1);
    let far = register(&w.service, "far");
    let clear = |query: String| w.service.delete(&format!("/api/v1/memo{query}"));
    assert_eq!(clear(format!("?endpoint_id={}", far.id)).json(), json!({"removed": 0}));
    assert_eq!(clear(format!("?function_id={}", support::NOBODY)).error().0, "not-found");
    assert_eq!(clear("?function_id=f".to_owned()).status, 400);
    for empty in ["?function_id=", "?endpoint_id=", "?endpoint_id=&function_id="] {
        assert_eq!(clear(empty.to_owned()).error().0, "invalid", "{empty}: not all of them");
    }
    assert_eq!(clear("?group_id=1".to_owned()).error().0, "invalid");
    let both = format!("?function_id={}&endpoint_id={}", w.function, w.endpoint.id);
    assert_eq!(clear(both).json(), json!({"removed": 1}));
    assert_eq!(w.submit(&[w.call(2, b"pinput")]).status, 200);
    assert_eq!(w.state(2), "waiting-for-ep");

    // Another function of the same body has the same results; they go with the last of them.
    let twin = w.service.function();
    let twin = std::mem::replace(&mut w.function, twin);
    assert_eq!(w.run(3, b"pinput", 2)["memo"], "stored");
    assert_eq!(w.service.delete(&format!("/api/v1/functions/{twin}")).status, 204);
    assert_eq!(w.submit(&[w.call(4, b"pinput")]).status, 200);
    assert_eq!(w.ended(4)["memo"], "hit");
    assert_eq!(w.service.delete(&format!("/api/v1/functions/{}", w.function)).status, 204);
    assert_eq!(w.service.get("/api/v1/memo").json()["entries"], 0);
    w.function = w.service.function();
    assert_eq!(w.submit(&[w.call(5, b"pinput")]).status, 200);
    assert_eq!(w.state(5), "waiting-for-ep");
}

#[test]
fn a_deleted_endpoints_results_are_forgotten() {
    let w = world();
    w.run(1, b"pinput", 1);
    assert_eq!(w.service.delete(&format!("/api/v1/endpoints/{}", w.endpoint.id)).status, 204);
    assert_eq!(w.service.get("/api/v1/memo").json()["entries"], 0);
    assert_eq!(w.submit(&[w.call(2, b"pinput")]).error().0, "not-found");
}

#[test]
fn a_user_with_too_many_tasks_is_told_to_come_again_since_nobody_knows_yet_what_will_be_a_hit() {
    let dir = tempfile::tempdir().unwrap();
    let few = bursa_service::Config { tasks_per_user: 1, ..config(dir.path()) };
    let service = try_start(few).unwrap();
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let w = World { dir, service, function, endpoint };
    w.run(1, b"pinput", 1);
    assert_eq!(w.submit(&[w.call(2, b"pother")]).status, 200);
    assert_eq!(w.submit(&[w.call(3, b"pinput")]).error().0, "busy");
    assert_eq!(w.service.post("/api/v1/tasks/cancel", &json!({"task_ids": [id(2)]})).status, 200);
    assert_eq!(w.submit(&[w.call(3, b"pinput")]).status, 200);
    assert_eq!(w.ended(3)["memo"], "hit");
}

#[test]
fn a_wish_that_is_none_is_refused_by_its_name() {
    let w = world();
    let mut task = w.call(1, b"p");
    task["memoize"] = json!("yes");
    let answer = w.submit(&[task]);
    assert_eq!(answer.status, 422);
    assert!(answer.error().1.contains("'tasks[0].memoize'"), "{answer:?}");
}
