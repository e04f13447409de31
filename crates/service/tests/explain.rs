//! Why a task waits, or how it ended, over REST.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bursa_core::wire::Item;
use serde_json::{Value, json};
use support::manager::{Behave, Manager, register};
use support::{NOBODY, Service, b64, id, start};

fn submit(service: &Service, endpoint: &str, count: u64) {
    let function = service.function();
    let task =
        |n| json!({"task_id": id(n), "function_id": function, "endpoint_id": endpoint, "args": b64(b"x")});
    let made = service.post("/api/v1/tasks", &json!({"tasks": (1..=count).map(task).collect::<Vec<_>>()}));
    assert_eq!(made.status, 200, "{made:?}");
}

fn explain(service: &Service, n: u64) -> Value {
    let answer = service.get(&format!("/api/v1/tasks/{}/explain", id(n)));
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.json();
    let message = said["message"].as_str().unwrap();
    assert!(message.len() > 10 && !message.contains('\n'), "{said}");
    assert!(!said["next"].as_str().unwrap().is_empty());
    said
}

#[test]
fn it_says_why_a_task_waits_and_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let endpoint = register(&service, "lab");
    submit(&service, &endpoint.id, 1);
    let said = explain(&service, 1);
    assert_eq!((&said["reason"], &said["state"]), (&"endpoint-offline".into(), &"waiting-for-ep".into()));
    assert!(said["message"].as_str().unwrap().contains("lab, which has not connected"), "{said}");
    assert!(said["next"].as_str().unwrap().contains("bursa endpoint start lab"), "{said}");
    assert_eq!(
        said["charges"],
        json!({"losses": 0, "retries": 2, "unknown_starts": 0, "errors": 0, "retry_on_error": 0})
    );

    let manager = Manager::start(&service, &endpoint, 1, Behave::Hold);
    manager.hear(|item| matches!(item, Item::Assign(_)));
    let said = explain(&service, 1);
    assert_eq!((&said["reason"], &said["endpoint"]["host"]), (&"no-worker".into(), &"node7".into()));
    assert_eq!(said["place"], json!({"why": "it likes it there"}));
    assert!(
        said["message"].as_str().unwrap().ends_with(" No executor has it yet: it likes it there."),
        "{said}"
    );
    manager.stop();
    service.until(&format!("/api/v1/endpoints/{}/status", endpoint.id), "/status", &"offline".into());
    let said = explain(&service, 1);
    assert!(said["since"].is_string(), "{said}");
    assert!(said["message"].as_str().unwrap().contains("how far it got is not known"), "{said}");

    let manager = Manager::start(&service, &endpoint, 2, Behave::Fail);
    manager.hear(|item| matches!(item, Item::Ack { .. }));
    let said = explain(&service, 1);
    assert_eq!((&said["state"], &said["reason"]), (&"failed".into(), &"failed".into()));
    assert_eq!((&said["failure"]["code"], &said["last_lines"]), (&"user-error".into(), &"printed".into()));
    assert!(said.get("charges").is_none() && said.get("endpoint").is_none());
    manager.stop();

    let manager = Manager::start(&service, &endpoint, 3, Behave::Echo);
    let function = service.function();
    let task =
        json!({"task_id": id(9), "function_id": function, "endpoint_id": endpoint.id, "args": b64(b"x")});
    service.post("/api/v1/tasks", &json!({"tasks": [task]}));
    manager.hear(|item| matches!(item, Item::Ack { .. }));
    let said = explain(&service, 9);
    assert!(said["message"].as_str().unwrap().contains("at endpoint lab, after running for"), "{said}");
    assert!(said["message"].as_str().unwrap().contains("A worker that was there already ran it."), "{said}");
    let timings = said["timings"].as_object().unwrap();
    let seconds = |name: &str| timings[name].as_f64().unwrap();
    let parts = timings.keys().filter(|name| !["total", "worker_start"].contains(&name.as_str()));
    let sum: f64 = parts.map(|name| seconds(name)).sum();
    // The manager of this test claims 3 ms at its executor and 2 ms in it, and its call 1.5 ms.
    assert_eq!((seconds("node_network"), seconds("run"), seconds("pipe")), (0.001, 0.0015, 0.0005));
    assert!(sum > 0.003 && seconds("store") > 0.0, "{said}");
    let whole = service.get(&format!("/api/v1/tasks/{}", id(9))).json();
    assert_eq!(whole["timings"], said["timings"]);

    let other = service.other_user();
    for (token, n) in [(&other, id(1)), (&service.token, NOBODY.to_owned())] {
        assert_eq!(service.call_as(token, "GET", &format!("/api/v1/tasks/{n}/explain"), None).status, 404);
    }
}

#[test]
fn it_counts_who_is_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let endpoint = register(&service, "lab");
    let manager = Manager::start(&service, &endpoint, 1, Behave::Hold);
    submit(&service, &endpoint.id, 10_000);
    let function = service.function();
    let task =
        |n| json!({"task_id": id(n), "function_id": function, "endpoint_id": endpoint.id, "args": b64(b"x")});
    service.post("/api/v1/tasks", &json!({"tasks": [task(10_001), task(10_002)]}));
    manager.hear(|item| matches!(item, Item::Assign(_)));
    let said = explain(&service, 10_002);
    assert_eq!((&said["reason"], said["ahead"].as_u64()), (&"endpoint-busy".into(), Some(1)), "{said}");
    assert!(said["message"].as_str().unwrap().contains("1 task is ahead of it"), "{said}");
}
