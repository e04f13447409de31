//! Starting, stopping, restarting; the link's keys; deleted endpoints.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bursa_core::wire::{Item, RefusedReason};
use bursa_fabric::{Disconnected, KeyPair};
use bursa_service::Error;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use support::manager::{Behave, Endpoint, Manager, register};
use support::{b64, config, id, start, try_start};

#[test]
fn the_first_start_makes_an_owner_and_later_ones_keep_his_token() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let service = start(&home);
    let mode = |name: &str| std::fs::metadata(home.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        [mode(""), mode("client.toml"), mode("service"), mode("service/curve.key")],
        [0o700, 0o600, 0o700, 0o600]
    );
    let (token, key) = (service.token.clone(), service.ready.service_key.clone());
    assert!(service.stop() < Duration::from_secs(1));

    let service = start(&home);
    assert_eq!((&service.token, &service.ready.service_key), (&token, &key));
    service.stop();

    std::fs::write(home.join("client.toml"), "token = 'nonsense'").unwrap();
    let service = start(&home);
    assert_ne!(service.token, token);
    assert_eq!(service.get("/api/v1/whoami").status, 200);
    assert_eq!(service.call_as(&token, "GET", "/api/v1/whoami", None).status, 200, "the old one stays valid");
    assert_eq!(service.get("/api/v1/whoami").json()["name"], "owner");
}

#[test]
fn what_keeps_it_from_starting_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let error = |config| match try_start(config) {
        Ok(_) => panic!("it started"),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n'), "{text}");
            (error, text)
        }
    };
    let (second, text) = error(config(dir.path()));
    assert!(
        matches!(second, Error::Locked { .. }) && text.contains(&std::process::id().to_string()),
        "{text}"
    );

    let other = tempfile::tempdir().unwrap();
    let mut same_http = config(other.path());
    same_http.http = service.address().parse().unwrap();
    let (taken, text) = error(same_http);
    assert!(matches!(taken, Error::Http { .. }) && text.contains(service.address()), "{text}");
    let mut same_zmq = config(other.path());
    same_zmq.zmq = service.ready.zmq.clone();
    let (taken, text) = error(same_zmq);
    assert!(matches!(taken, Error::Link(_)) && text.contains(&service.ready.zmq), "{text}");

    let file = other.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(error(config(&file)).0, Error::Home { .. }));

    service.stop();
    let db = rusqlite::Connection::open(dir.path().join("service/bursa.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let (newer, text) = error(config(dir.path()));
    assert!(
        matches!(newer, Error::Store(_)) && text.contains("schema 99") && text.contains("backups"),
        "{text}"
    );
}

#[test]
fn accepted_tasks_come_back_and_the_epoch_rises() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let task =
        json!({"task_id": id(1), "function_id": function, "endpoint_id": endpoint.id, "args": b64(b"one")});
    let batch = json!({"group_id": id(0), "tasks": [task]});
    let first = service.post("/api/v1/tasks", &batch);
    assert_eq!(first.status, 200);
    let manager = Manager::start(&service, &endpoint, 1, Behave::Hold);
    let Item::Welcome { epoch, .. } = manager.hear(|item| matches!(item, Item::Welcome { .. })) else {
        panic!()
    };
    assert_eq!(epoch, 1);
    manager.hear(|item| matches!(item, Item::Assign(_)));
    service.stop();
    manager.stop();

    let service = start(dir.path());
    assert_eq!(service.get(&format!("/api/v1/tasks/{}", id(1))).json()["state"], "waiting-for-ep");
    assert_eq!(service.post("/api/v1/tasks", &batch).body, first.body);
    let mut other = batch.clone();
    other["tasks"][0]["args"] = b64(b"two").into();
    assert_eq!(service.post("/api/v1/tasks", &other).status, 409);
    let manager = Manager::start(&service, &endpoint, 2, Behave::Echo);
    let Item::Welcome { epoch, .. } = manager.hear(|item| matches!(item, Item::Welcome { .. })) else {
        panic!()
    };
    assert_eq!(epoch, 2);
    let ended = service.get(&format!("/api/v1/tasks/{}?wait=10", id(1))).json();
    assert_eq!(ended["result"], b64(b"one"));
}

#[test]
fn an_unknown_key_cannot_connect() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let endpoint = register(&service, "lab");
    let stranger = Endpoint { keys: KeyPair::generate().unwrap(), ..endpoint };
    let manager = Manager::start(&service, &stranger, 1, Behave::Echo);
    assert_eq!(manager.ended(), Some(Disconnected::KeyRefused));
    let metrics = String::from_utf8(service.get("/metrics").body).unwrap();
    assert!(metrics.contains("bursa_link_refused_keys_total 1"), "{metrics}");
}

#[test]
fn a_key_speaks_for_its_own_endpoint_only() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (one, two) = (register(&service, "one"), register(&service, "two"));
    let mixed = Endpoint { id: one.id.clone(), keys: two.keys };
    let manager = Manager::start(&service, &mixed, 1, Behave::Echo);
    manager.hear(|item| matches!(item, Item::Refused { is_final: true, .. }));
    assert_eq!(service.get(&format!("/api/v1/endpoints/{}", one.id)).json()["status"], "offline");
}

#[test]
fn an_endpoint_shows_its_status_and_is_deleted_with_its_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let manager = Manager::start(&service, &endpoint, 1, Behave::Hold);
    let path = format!("/api/v1/endpoints/{}", endpoint.id);
    service.until(&format!("{path}/status"), "/status", &json!("online"));
    let status = service.get(&format!("{path}/status")).json();
    assert_eq!(
        (status["host"].as_str(), status["software"].as_str(), status["python"].as_str()),
        (Some("node7"), Some("fake 1"), Some("3.11"))
    );
    assert_eq!((status["slots_total"].as_u64(), status["slots_free"].as_u64()), (Some(4), Some(3)));
    assert!(status["since"].is_string());
    let task =
        json!({"task_id": id(1), "function_id": function, "endpoint_id": endpoint.id, "args": b64(b"one")});
    assert_eq!(service.post("/api/v1/tasks", &json!({"tasks": [task]})).status, 200);
    service.until(&format!("{path}/status"), "/held", &json!(1));

    assert_eq!(service.delete(&path).status, 204);
    let ended = service.get(&format!("/api/v1/tasks/{}", id(1))).json();
    assert_eq!(
        (ended["state"].as_str(), ended["failure"]["code"].as_str()),
        (Some("failed"), Some("endpoint-deleted"))
    );
    manager.hear(|item| matches!(item, Item::Refused { reason: RefusedReason::Deleted, is_final: true, .. }));
    assert_eq!(service.get(&path).status, 404);
    assert_eq!(service.delete(&path).status, 404);
    assert_eq!(service.get("/api/v1/endpoints").json()["endpoints"], json!([]));
    let task = json!({"function_id": function, "endpoint_id": endpoint.id, "args": b64(b"one")});
    assert_eq!(service.post("/api/v1/tasks", &json!({"tasks": [task]})).status, 404);
    let again =
        json!({"name": "lab", "public_key": endpoint.keys.public.to_string(), "endpoint_id": endpoint.id});
    assert_eq!(service.post("/api/v1/endpoints", &again).status, 409);
    manager.stop();

    service.stop();
    let service = start(dir.path());
    let late = Manager::start(&service, &endpoint, 9, Behave::Echo);
    late.hear(|item| matches!(item, Item::Refused { reason: RefusedReason::Deleted, is_final: true, .. }));
}

#[test]
fn a_store_that_cannot_be_written_is_told_and_gets_well_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let manager = Manager::start(&service, &endpoint, 1, Behave::Echo);
    let task = |n| json!({"task_id": id(n), "function_id": function, "endpoint_id": endpoint.id, "args": b64(b"one")});
    let submit = |n| service.post("/api/v1/tasks", &json!({"tasks": [task(n)]}));
    assert_eq!(submit(1).status, 200);
    service.get(&format!("/api/v1/tasks/{}?wait=10", id(1)));

    let db = rusqlite::Connection::open(dir.path().join("service/bursa.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = submit(2);
    let (code, message) = answer.error();
    assert_eq!((answer.status, code.as_str()), (503, "unavailable"));
    assert!(message.contains("locked"), "{message}");
    let health = service.request("GET", "/api/v1/health", &[], b"");
    assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("failing")));
    let answer = service.post("/api/v1/functions", &json!({"name": "f", "body": "YQ=="}));
    assert_eq!(answer.status, 503);
    assert_eq!(
        service.get(&format!("/api/v1/tasks/{}", id(1))).json()["state"],
        "success",
        "reading goes on"
    );
    assert_eq!(service.get(&format!("/api/v1/tasks/{}", id(2))).status, 404);

    db.execute_batch("ROLLBACK").unwrap();
    assert_eq!(service.request("GET", "/api/v1/health", &[], b"").status, 200);
    assert_eq!(submit(2).status, 200);
    assert_eq!(service.get(&format!("/api/v1/tasks/{}?wait=10", id(2))).json()["state"], "success");
    let metrics = String::from_utf8(service.get("/metrics").body).unwrap();
    assert!(
        !metrics.contains("bursa_store_commit_failures_total 0") && metrics.contains("bursa_store_failing 0")
    );
    manager.stop();
}

#[test]
fn a_revoked_key_is_let_in_no_more_and_its_endpoint_goes_on_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let task =
        json!({"task_id": id(1), "function_id": function, "endpoint_id": endpoint.id, "args": b64(b"one")});
    service.post("/api/v1/tasks", &json!({"tasks": [task]}));
    let manager = Manager::start(&service, &endpoint, 1, Behave::Hold);
    manager.hear(|item| matches!(item, Item::Assign(_)));
    let path = format!("/api/v1/endpoints/{}/revoke-key", endpoint.id);
    let other = service.other_user();
    assert_eq!(service.call_as(&other, "POST", &path, None).status, 404);
    for _ in 0..2 {
        assert_eq!(service.post(&path, &json!({})).status, 204, "again: no news");
    }
    let told = manager.hear(|item| matches!(item, Item::Refused { .. }));
    assert!(matches!(told, Item::Refused { is_final: true, text, .. } if text.contains("revoked")));
    manager.stop();

    let register_again = |service: &support::Service, key: String| {
        let body = json!({"name": "lab", "public_key": key, "endpoint_id": endpoint.id});
        service.post("/api/v1/endpoints", &body)
    };
    let refused = register_again(&service, endpoint.keys.public.to_string());
    assert_eq!(refused.status, 409);
    assert!(refused.error().1.contains("revoked"), "{refused:?}");
    let elsewhere = json!({"name": "elsewhere", "public_key": endpoint.keys.public.to_string()});
    for answer in [
        service.post("/api/v1/endpoints", &elsewhere),
        service.call_as(&other, "POST", "/api/v1/endpoints", Some(&elsewhere)),
    ] {
        assert_eq!(answer.status, 409, "of no other endpoint either");
        assert!(answer.error().1.contains("revoked"), "{answer:?}");
    }
    service.stop();

    let service = start(dir.path());
    let old = Manager::start(&service, &endpoint, 2, Behave::Echo);
    assert!(old.ended().is_some(), "the old key is not let in");
    let keys = bursa_fabric::KeyPair::generate().unwrap();
    assert_eq!(register_again(&service, keys.public.to_string()).status, 201);
    let fresh = support::manager::Endpoint { id: endpoint.id.clone(), keys };
    let _manager = Manager::start(&service, &fresh, 3, Behave::Echo);
    assert_eq!(service.get(&format!("/api/v1/tasks/{}?wait=10", id(1))).json()["state"], "success");
}
