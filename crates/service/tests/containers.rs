//! Containers in REST: registered, shown, deleted, refused; and which one a call gets.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bursa_core::wire::Item;
use serde_json::{Value, json};
use support::manager::{Behave, Manager, register};
use support::{NOBODY, Service, b64, start};

fn made(service: &Service, location: &str) -> String {
    let answer =
        service.post("/api/v1/containers", &json!({"type": "docker", "location": location, "name": "py"}));
    assert_eq!(answer.status, 201);
    answer.json()["container_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_container_is_registered_found_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (first, second) = (made(&service, "python:3.11"), made(&service, "/images/r.sif"));
    let path = format!("/api/v1/containers/{first}");
    let shown = service.get(&path).json();
    assert_eq!(
        [&shown["type"], &shown["location"], &shown["name"], &shown["description"]],
        ["docker", "python:3.11", "py", ""]
    );
    let found = |query: &str| -> Vec<String> {
        let page = service.get(&format!("/api/v1/containers{query}")).json();
        page["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["container_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(found(""), [&*second, &*first]);
    assert_eq!(found("?search=SIF"), [second]);
    let page = service.get("/api/v1/containers?limit=1").json();
    assert_eq!(found(&format!("?after={}", page["next"].as_str().unwrap())), [first]);
    let stranger = service.other_user();
    for (method, path) in [("GET", &path), ("DELETE", &path)] {
        assert_eq!(service.call_as(&stranger, method, path, None).status, 404);
    }
    assert_eq!(
        [service.delete(&path).status, service.delete(&path).status, service.get(&path).status],
        [204, 404, 404]
    );
}

#[test]
fn what_is_wrong_with_a_container_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    for (kind, location, status, why) in [
        ("lxc", "x", 400, "'lxc' is no kind of container; use one of docker, podman, apptainer"),
        ("raw", "x", 400, "needs no container"),
        ("docker", " ", 400, "it is empty"),
        ("docker", "--privileged", 400, "begins with '-'"),
        ("docker", "a\u{0}b", 400, "control characters"),
        ("docker", "a\nb", 400, "control characters"),
        ("docker", &"x".repeat(1_025), 413, "it has 1025 bytes, the limit is 1024"),
    ] {
        let answer = service.post("/api/v1/containers", &json!({"type": kind, "location": location}));
        assert_eq!(answer.status, status, "{kind} {location:?}");
        assert!(answer.error().1.contains(why), "{}", answer.error().1);
    }
}

#[test]
fn the_call_says_where_then_its_function() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let endpoint = register(&service, "lab");
    let manager = Manager::start(&service, &endpoint, 1, Behave::Hold);
    let (one, other) = (made(&service, "one"), made(&service, "other"));
    let function = |container: &str| {
        let new = json!({"name": "f", "body": b64(b"body"), "container": container});
        service.post("/api/v1/functions", &new)
    };
    let (plain, contained) = (function("raw").json(), function(&one).json());
    let (plain, contained) = (&plain["function_id"], contained["function_id"].clone());
    let shown = service.get(&format!("/api/v1/functions/{}", contained.as_str().unwrap())).json();
    assert_eq!(shown["container"], one.as_str());
    let submit = |function: &Value, container: Value| {
        let task = json!({"function_id": function, "endpoint_id": endpoint.id, "args": b64(b"x"), "container": container});
        service.post("/api/v1/tasks", &json!({"tasks": [task]}))
    };
    for (function, asked, location) in [
        (plain, Value::Null, None),
        (plain, json!(one), Some("one")),
        (&contained, Value::Null, Some("one")),
        (&contained, json!(other), Some("other")),
        (&contained, json!("RAW"), None),
        (&contained, json!("none"), None),
    ] {
        let accepted = submit(function, asked.clone()).json();
        let id = accepted["task_ids"][0].as_str().unwrap();
        let sent = |item: &Item| matches!(item, Item::Assign(assign) if assign.task.to_string() == id);
        let Item::Assign(assign) = manager.hear(sent) else { unreachable!() };
        assert_eq!(assign.container.as_ref().map(|found| found.location.as_str()), location, "{asked}");
        let task =
            service.get(&format!("/api/v1/tasks/{}", accepted["task_ids"][0].as_str().unwrap())).json();
        let container = assign.container_id().map(|id| id.to_string());
        assert_eq!(task["container"].as_str(), container.as_deref());
    }
    let (code, why) = submit(&contained, json!("py")).error();
    assert!(code == "invalid" && why.contains("or 'raw'"), "{why}");
    assert_eq!(submit(plain, json!(NOBODY)).status, 404);
    assert_eq!(function(NOBODY).status, 404);
    service.delete(&format!("/api/v1/containers/{one}"));
    let refused = submit(&contained, Value::Null);
    let why = refused.error().1;
    assert!(
        refused.status == 404
            && why.contains("it was deleted, and function")
            && why.contains("container='raw'"),
        "{why}"
    );
    assert_eq!(submit(&contained, json!("raw")).status, 200);
}
