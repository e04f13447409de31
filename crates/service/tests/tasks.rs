//! Tasks over REST, with a scripted manager behind.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::manager::{Behave, Manager, register};
use support::world::{World, world};
use support::{NOBODY, b64, id};

impl World {
    fn task(&self, n: u64, args: &[u8]) -> Value {
        json!({"task_id": id(n), "function_id": self.function, "endpoint_id": self.endpoint.id, "args": b64(args)})
    }

    fn submit(&self, tasks: &[Value]) -> support::Answer {
        self.service.post("/api/v1/tasks", &json!({"group_id": id(0), "tasks": tasks}))
    }

    fn manager(&self, behave: Behave) -> Manager {
        Manager::start(&self.service, &self.endpoint, 1, behave)
    }
}

#[test]
fn a_call_ends_and_is_waited_for() {
    let w = world();
    let _manager = w.manager(Behave::Echo);
    let mut task = w.task(1, b"pinput");
    task.as_object_mut().unwrap().remove("task_id");
    let made = w.service.post("/api/v1/tasks", &json!({"tasks": [task]})).json();
    let task_id = made["task_ids"][0].as_str().unwrap();
    let ended = w.service.get(&format!("/api/v1/tasks/{task_id}?wait=10")).json();
    assert_eq!(ended["state"], "success");
    assert_eq!(ended["result"], b64(b"pinput"));
    assert_eq!(ended["group_id"], made["group_id"]);
    assert_eq!((ended["run_seconds"].as_f64(), ended["starts"].as_u64()), (Some(0.0015), Some(1)));
    assert!(ended["ended_at"].as_str() >= ended["submitted_at"].as_str());
    for absent in ["failure", "exception", "output"] {
        assert!(ended.get(absent).is_none(), "{ended}");
    }
}

#[test]
fn an_endpoint_that_stays_away_fails_its_tasks_where_that_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let config = bursa_service::Config { fail_when_offline_ms: Some(200), ..support::config(dir.path()) };
    let service = support::try_start(config).unwrap();
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let w = World { dir, service, function, endpoint };
    assert_eq!(w.submit(&[w.task(1, b"p")]).status, 200);
    let ended = w.service.get(&format!("/api/v1/tasks/{}?wait=10", id(1))).json();
    assert_eq!((&ended["state"], &ended["failure"]["code"]), (&json!("failed"), &json!("endpoint-offline")));
    let explained = w.service.get(&format!("/api/v1/tasks/{}/explain", id(1))).json();
    assert!(explained["message"].as_str().unwrap().contains("start the endpoint"), "{explained}");
}

#[test]
fn a_failed_call_tells_why() {
    let w = world();
    let manager = w.manager(Behave::Fail);
    w.submit(&[w.task(1, b"exc")]);
    let ended = w.service.get(&format!("/api/v1/tasks/{}?wait=10", id(1))).json();
    assert_eq!(ended["state"], "failed");
    assert_eq!(ended["failure"]["code"], "user-error");
    assert_eq!(ended["failure"]["class"], "builtins.ValueError");
    assert_eq!(
        (ended["exception"].as_str(), ended["output"].as_str()),
        (Some(b64(b"exc").as_str()), Some(b64(b"printed").as_str()))
    );
    assert!(ended.get("result").is_none());
    manager.hear(|item| matches!(item, bursa_core::wire::Item::Ack { .. }));
}

#[test]
fn submitting_again_is_no_news_and_other_bytes_conflict() {
    let w = world();
    let _manager = w.manager(Behave::Echo);
    let tasks = [w.task(1, b"a"), w.task(2, b"b")];
    let first = w.submit(&tasks);
    assert_eq!(first.status, 200);
    assert_eq!(first.json(), json!({"group_id": id(0), "task_ids": [id(1), id(2)]}));
    assert_eq!(w.submit(&tasks).body, first.body);
    w.service.get(&format!("/api/v1/tasks/{}?wait=10", id(1)));
    assert_eq!(w.submit(&tasks).body, first.body, "also when it has ended");
    let answer = w.submit(&[w.task(3, b"c"), w.task(1, b"other")]);
    let (code, message) = answer.error();
    assert_eq!((answer.status, code.as_str()), (409, "conflict"));
    assert!(message.contains(&id(1)));
    assert_eq!(w.service.get(&format!("/api/v1/tasks/{}", id(3))).status, 404, "all or none");
    let other = w.service.other_user();
    let theirs = json!({"group_id": id(0), "tasks": tasks});
    let answer = w.service.call_as(&other, "POST", "/api/v1/tasks", Some(&theirs));
    assert!(answer.status == 409 && answer.error().1.contains(&id(0)), "the group is another's");
    assert_eq!(w.service.call_as(&other, "GET", &format!("/api/v1/tasks/{}", id(1)), None).status, 404);
}

#[test]
fn bad_tasks_are_refused_by_field() {
    let w = world();
    for (change, status, named) in [
        (json!({"function_id": NOBODY}), 404, NOBODY),
        (json!({"endpoint_id": NOBODY}), 404, NOBODY),
        (json!({"function_id": "nonsense"}), 400, "tasks[0].function_id"),
        (json!({"function_id": null}), 422, "tasks[0].function_id"),
        (json!({"args": 7}), 422, "tasks[0].args"),
        (json!({"args": "not base64!"}), 422, "tasks[0].args"),
        (json!({"retries": -1}), 422, "tasks[0].retries"),
        (json!({"retries": 1001}), 400, "retries"),
        (json!({"timeout": 0}), 400, "timeout"),
        (json!({"deadline": 1e9}), 400, "deadline"),
        (json!({"surprise": 1}), 400, "tasks[0].surprise"),
    ] {
        let mut task = w.task(1, b"a");
        task.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = w.submit(&[task]);
        let message = answer.error().1;
        assert_eq!(answer.status, status, "{change}: {message}");
        assert!(message.contains(named), "{change}: {message}");
    }
    assert_eq!(w.submit(&[]).status, 400);
    let answer = w.submit(&[w.task(1, b"a"), w.task(1, b"a")]);
    assert!(answer.status == 400 && answer.error().1.contains(&id(1)));
    let answer = w.submit(&vec![w.task(1, b"a"); 10_001]);
    let message = answer.error().1;
    assert!(answer.status == 413 && message.contains("10001") && message.contains("10000"), "{message}");
}

#[test]
fn payloads_over_the_limits_are_refused_with_both_numbers() {
    let w = world();
    let size = 64 * 1024 * 1024 + 3;
    let answer = w.submit(&[w.task(1, &vec![0; size])]);
    let message = answer.error().1;
    assert_eq!(answer.status, 413);
    assert!(message.contains(&size.to_string()) && message.contains("67108864"), "{message}");
    let answer = w.submit(&[w.task(1, &vec![0; 80 * 1024 * 1024])]);
    let message = answer.error().1;
    assert_eq!(answer.status, 413);
    assert!(message.contains("100663296"), "the request itself is over the limit: {message}");
}

#[test]
fn large_payloads_go_all_the_way() {
    let w = world();
    let _manager = w.manager(Behave::Echo);
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(
        w.submit(&[w.task(1, &large), w.task(2, &large[..70_000]), w.task(3, &large[..5_000])]).status,
        200
    );
    for (n, len) in [(1, large.len()), (2, 70_000), (3, 5_000)] {
        let ended = w.service.get(&format!("/api/v1/tasks/{}?wait=20", id(n))).json();
        assert_eq!(ended["result"].as_str().unwrap(), b64(&large[..len]), "task {n}");
    }
}

#[test]
fn msgpack_in_and_out() {
    let w = world();
    let _manager = w.manager(Behave::Echo);
    let auth = format!("Bearer {}", w.service.token);
    let headers = [
        ("Authorization", auth.as_str()),
        ("Content-Type", "application/msgpack"),
        ("Accept", "application/msgpack"),
    ];
    #[derive(serde::Serialize)]
    struct Task<'a> {
        task_id: String,
        function_id: &'a str,
        endpoint_id: &'a str,
        args: &'a serde_bytes::Bytes,
    }
    let task = Task {
        task_id: id(1),
        function_id: &w.function,
        endpoint_id: &w.endpoint.id,
        args: serde_bytes::Bytes::new(b"raw"),
    };
    let body = rmp_serde::to_vec_named(&std::collections::BTreeMap::from([("tasks", vec![task])])).unwrap();
    let answer = w.service.request("POST", "/api/v1/tasks", &headers, &body);
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/msgpack"));
    #[derive(serde::Deserialize)]
    struct Ended {
        task_id: String,
        result: serde_bytes::ByteBuf,
    }
    let ended = w.service.request("GET", &format!("/api/v1/tasks/{}?wait=10", id(1)), &headers, b"");
    let ended: Ended = rmp_serde::from_slice(&ended.body).unwrap();
    assert_eq!((ended.task_id, ended.result.as_slice()), (id(1), &b"raw"[..]));
    let refused = w.service.request("POST", "/api/v1/tasks", &headers, b"\x81\xa5tasks\x07");
    let error: Value = rmp_serde::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, error["error"]["code"].as_str()), (422, Some("invalid")));
    assert!(error["error"]["message"].as_str().unwrap().contains("'tasks'"), "{error}");
}

#[test]
fn waiting_ends_in_time_and_many_are_waited_for_together() {
    let w = world();
    w.submit(&[w.task(1, b"a"), w.task(2, b"b")]);
    let begun = Instant::now();
    let task = w.service.get(&format!("/api/v1/tasks/{}?wait=0.3", id(1))).json();
    assert_eq!(task["state"], "waiting-for-ep");
    assert!((300..2_000).contains(&begun.elapsed().as_millis()));
    for wait in ["51", "-1", "soon"] {
        let answer = w.service.get(&format!("/api/v1/tasks/{}?wait={wait}", id(1)));
        assert!(answer.status == 400 && answer.error().1.contains("'wait'"), "{wait}");
    }
    let waiting = std::thread::scope(|scope| {
        let service = &w.service;
        let body = json!({"task_ids": [id(2), id(1)], "wait": 20});
        let waits = scope.spawn(move || service.post("/api/v1/tasks/get", &body));
        std::thread::sleep(Duration::from_millis(100));
        let manager = w.manager(Behave::Echo);
        let answer = waits.join().unwrap();
        manager.stop();
        answer
    });
    let tasks = waiting.json();
    assert_eq!(
        (tasks["tasks"][0]["task_id"].as_str(), tasks["tasks"][1]["state"].as_str()),
        (Some(id(2).as_str()), Some("success"))
    );
    let answer = w.service.post("/api/v1/tasks/get", &json!({"task_ids": [id(1), NOBODY], "wait": 5}));
    assert!(answer.status == 404 && answer.error().1.contains(NOBODY));
    let answer = w.service.post("/api/v1/tasks/get", &json!({"task_ids": vec![id(1); 1001]}));
    assert!(answer.status == 413 && answer.error().1.contains("1001"));
}

#[test]
fn listing_filters_and_pages() {
    let w = world();
    let manager = w.manager(Behave::Echo);
    w.submit(&[w.task(1, b"a")]);
    w.service.get(&format!("/api/v1/tasks/{}?wait=10", id(1)));
    manager.stop();
    w.service.until(&format!("/api/v1/endpoints/{}/status", w.endpoint.id), "/status", &json!("offline"));
    w.submit(&[w.task(2, b"b"), w.task(3, b"c")]);
    let list = |query: &str| {
        let page = w.service.get(&format!("/api/v1/tasks?{query}")).json();
        let tasks = page["tasks"].as_array().unwrap_or_else(|| panic!("{page}"));
        tasks.iter().map(|task| task["task_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(""), [id(3), id(2), id(1)]);
    assert_eq!(list("state=success"), [id(1)]);
    assert_eq!(list("state=waiting-for-ep"), [id(3), id(2)]);
    assert_eq!(list("state=running"), [] as [String; 0]);
    assert_eq!(list(&format!("group_id={}", id(0))), [id(3), id(2), id(1)]);
    assert_eq!(list(&format!("endpoint_id={NOBODY}")), [] as [String; 0]);
    assert_eq!(list(&format!("function_id={}&state=success", w.function)), [id(1)]);
    let page = w.service.get("/api/v1/tasks?limit=2").json();
    let next = page["next"].as_str().unwrap();
    assert_eq!(list(&format!("limit=2&after={next}")), [id(1)]);
    assert!(page["tasks"][0].get("result").is_none());
    for (query, field) in [("state=gone", "state"), ("group_id=x", "group_id"), ("x=1", "x")] {
        let answer = w.service.get(&format!("/api/v1/tasks?{query}"));
        assert!(answer.status == 400 && answer.error().1.contains(&format!("'{field}'")), "{query}");
    }
}

#[test]
fn cancelling_ends_what_is_live() {
    let w = world();
    let manager = w.manager(Behave::Hold);
    w.submit(&[w.task(1, b"a"), w.task(2, b"b"), w.task(3, b"c")]);
    manager.hear(|item| matches!(item, bursa_core::wire::Item::Assign(_)));
    let cancelled = w.service.post("/api/v1/tasks/cancel", &json!({"task_ids": [id(1)]})).json();
    assert_eq!(cancelled, json!({"tasks": [{"task_id": id(1), "state": "cancelled"}]}));
    manager.hear(|item| matches!(item, bursa_core::wire::Item::Cancel { .. }));
    let ended = w.service.get(&format!("/api/v1/tasks/{}", id(1))).json();
    assert_eq!(
        (ended["state"].as_str(), ended["failure"]["code"].as_str()),
        (Some("cancelled"), Some("cancelled"))
    );
    let again = w.service.post("/api/v1/tasks/cancel", &json!({"task_ids": [id(1)]})).json();
    assert_eq!(again["tasks"][0]["state"], "cancelled");
    let group = w.service.post("/api/v1/tasks/cancel", &json!({"group_id": id(0)})).json();
    assert_eq!(group["tasks"].as_array().unwrap().len(), 2);
    for body in [json!({}), json!({"task_ids": [], "group_id": id(0)})] {
        assert_eq!(w.service.post("/api/v1/tasks/cancel", &body).status, 400);
    }
    assert_eq!(w.service.post("/api/v1/tasks/cancel", &json!({"task_ids": [NOBODY]})).status, 404);
    assert_eq!(w.service.post("/api/v1/tasks/cancel", &json!({"group_id": NOBODY})).status, 404);
}
