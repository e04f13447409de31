//! Secrets: what is taken, what is shown, what goes to whom, and that no value is on the disk.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bursa_core::limits;
use bursa_core::wire::{Assign, Item};
use serde_json::{Value, json};
use std::path::Path;
use support::manager::{Behave, Manager, register};
use support::{NOBODY, Service, b64, id, start};

const VALUE: &str = "correct-horse-battery-staple";

fn set(service: &Service, token: &str, name: &str, value: &str) -> u16 {
    let body = json!({"value": value});
    service.call_as(token, "PUT", &format!("/api/v1/secrets/{name}"), Some(&body)).status
}

fn grant(service: &Service, token: &str, name: &str, function: &str, how: &Value) -> u16 {
    let path = format!("/api/v1/secrets/{name}/functions/{function}");
    service.call_as(token, "PUT", &path, Some(how)).status
}

/// Every byte below.
fn bytes(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { bytes(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

fn submit(service: &Service, token: &str, n: u64, function: &str, endpoint: &str) -> support::Answer {
    let task =
        json!({"function_id": function, "endpoint_id": endpoint, "args": b64(b"p\0\0"), "task_id": id(n)});
    service.call_as(token, "POST", "/api/v1/tasks", Some(&json!({"tasks": [task]})))
}

/// The assignment of task `n`.
fn assigned(manager: &Manager, n: u64) -> Assign {
    let is_it = |item: &Item| matches!(item, Item::Assign(assign) if assign.task.to_string() == id(n));
    match manager.hear(is_it) {
        Item::Assign(assign) => *assign,
        other => panic!("{other:?}"),
    }
}

fn value(assign: &Assign) -> Option<String> {
    let value = |secrets: &bursa_core::secrets::Secrets| secrets.values().next().map(<[u8]>::to_vec);
    assign.secrets.as_ref().and_then(value).map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn what_is_set_is_shown_without_its_value_and_to_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let own = service.token.clone();
    assert_eq!(service.get("/api/v1/secrets").json(), json!({"secrets": []}));
    assert_eq!(set(&service, &own, "TOKEN", VALUE), 204);
    let function = service.function();
    assert_eq!(grant(&service, &own, "TOKEN", &function, &json!({})), 204);
    let listed = service.get("/api/v1/secrets").json();
    assert_eq!(listed["secrets"][0]["name"], "TOKEN");
    assert_eq!(listed["secrets"][0]["functions"], json!([{"function_id": function}]));
    assert!(!listed.to_string().contains(VALUE));

    let other = service.other_user();
    assert_eq!(service.call_as(&other, "GET", "/api/v1/secrets", None).json(), json!({"secrets": []}));
    assert_eq!(service.call_as(&other, "DELETE", "/api/v1/secrets/TOKEN", None).status, 404);
    assert_eq!(set(&service, &other, "TOKEN", "his own"), 204);
    assert_eq!(grant(&service, &other, "TOKEN", &function, &json!({})), 404, "a function that is not shared");
    assert_eq!(service.delete("/api/v1/secrets/TOKEN").status, 204);
    assert_eq!(service.get("/api/v1/secrets").json(), json!({"secrets": []}));
    let theirs = service.call_as(&other, "GET", "/api/v1/secrets", None).json();
    assert_eq!(theirs["secrets"].as_array().unwrap().len(), 1);
    service.stop();
    let kept = bytes(dir.path());
    assert!(!kept.windows(VALUE.len()).any(|part| part == VALUE.as_bytes()), "a value is on the disk");
}

#[test]
fn what_is_no_secret_is_refused_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let own = service.token.clone();
    for name in ["PATH", "LD_PRELOAD", "BURSA_TOKEN", "1A", "A%20B", "A-B", &"N".repeat(65)] {
        assert_eq!(set(&service, &own, name, VALUE), 400, "{name}");
    }
    assert_eq!(set(&service, &own, "A", ""), 400);
    assert_eq!(set(&service, &own, "A", "a\0b"), 400);
    assert_eq!(set(&service, &own, "A", &"v".repeat(limits::SECRET_BYTES + 1)), 413);
    let unread = service.call_as(&own, "PUT", "/api/v1/secrets/A", Some(&json!({"values": VALUE})));
    assert_eq!(unread.status, 400);
    assert!(!String::from_utf8(unread.body).unwrap().contains(VALUE));
    let function = service.function();
    assert_eq!(grant(&service, &own, "A", &function, &json!({})), 404, "no such secret");
    assert_eq!(set(&service, &own, "A", &"v".repeat(limits::SECRET_BYTES)), 204);
    assert_eq!(grant(&service, &own, "A", NOBODY, &json!({})), 404, "no such function");
    assert_eq!(grant(&service, &own, "A", &function, &json!({"endpoints": [NOBODY]})), 404);
    assert_eq!(grant(&service, &own, "A", &function, &json!({})), 204);
    assert_eq!(set(&service, &own, "B", &"v".repeat(limits::SECRET_BYTES)), 204);
    assert_eq!(grant(&service, &own, "B", &function, &json!({})), 413, "too much for one call");
    assert_eq!(set(&service, &own, "B", "short"), 204);
    assert_eq!(grant(&service, &own, "B", &function, &json!({})), 204);
    assert_eq!(set(&service, &own, "B", &"v".repeat(limits::SECRET_BYTES)), 413);
    let revoke = |name: &str| service.delete(&format!("/api/v1/secrets/{name}/functions/{function}")).status;
    assert_eq!((revoke("B"), revoke("B"), revoke("C")), (204, 404, 404));
    for n in 2..limits::SECRETS {
        assert_eq!(set(&service, &own, &format!("N{n}"), "value"), 204);
    }
    assert_eq!(set(&service, &own, "ONE_MORE", "value"), 409);
    assert_eq!(set(&service, &own, "A", "another"), 204, "one that is there may change");
}

#[test]
fn they_go_with_their_users_calls_and_are_read_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let own = service.token.clone();
    let (endpoint, function) = (register(&service, "lab"), service.function());
    assert_eq!(
        (set(&service, &own, "TOKEN", VALUE), grant(&service, &own, "TOKEN", &function, &json!({}))),
        (204, 204)
    );
    let manager = Manager::start(&service, &endpoint, 1, Behave::Hold);
    assert_eq!(submit(&service, &own, 1, &function, &endpoint.id).status, 200);
    assert_eq!(value(&assigned(&manager, 1)).as_deref(), Some(VALUE));
    assert_eq!(set(&service, &own, "TOKEN", "another"), 204);
    assert_eq!(submit(&service, &own, 2, &function, &endpoint.id).status, 200);
    assert_eq!(value(&assigned(&manager, 2)).as_deref(), Some("another"));
    drop(manager);
    service.stop();

    let service = start(dir.path());
    let own = service.token.clone();
    let manager = Manager::start(&service, &endpoint, 2, Behave::Hold);
    assert_eq!(submit(&service, &own, 3, &function, &endpoint.id).status, 200);
    assert_eq!(value(&assigned(&manager, 3)).as_deref(), Some("another"));

    // Another user, to whom function and endpoint are shared, has none of it, and gives his own on purpose only.
    let other = service.other_user();
    for what in [format!("functions/{function}"), format!("endpoints/{}", endpoint.id)] {
        let shared =
            service.post(&format!("/api/v1/shares/{what}"), &json!({"users": ["other"], "role": "admin"}));
        assert_eq!(shared.status, 204, "{shared:?}");
    }
    assert_eq!(submit(&service, &other, 4, &function, &endpoint.id).status, 200);
    assert_eq!(value(&assigned(&manager, 4)), None);
    assert_eq!(set(&service, &other, "TOKEN", "his own"), 204);
    assert_eq!(grant(&service, &other, "TOKEN", &function, &json!({})), 204);
    let refused = submit(&service, &other, 5, &function, &endpoint.id);
    assert_eq!(refused.status, 403);
    assert!(refused.error().1.contains("somebody else's, who could read it"), "{refused:?}");
    assert_eq!(grant(&service, &other, "TOKEN", &function, &json!({"endpoints": [endpoint.id]})), 204);
    assert_eq!(submit(&service, &other, 5, &function, &endpoint.id).status, 200);
    assert_eq!(value(&assigned(&manager, 5)).as_deref(), Some("his own"));
    drop(manager);
    service.stop();

    // Without its key nothing is run without what it needs.
    std::fs::remove_file(dir.path().join("service/secrets.key")).unwrap();
    let service = start(dir.path());
    let own = service.token.clone();
    let manager = Manager::start(&service, &endpoint, 3, Behave::Hold);
    assert_eq!(submit(&service, &own, 6, &function, &endpoint.id).status, 200);
    let path = format!("/api/v1/tasks/{}?wait=20", id(6));
    let failure = service.get(&path).json()["failure"].clone();
    assert_eq!(failure["code"], "environment-failed", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains("secrets.key"), "{failure}");
    drop(manager);
}
