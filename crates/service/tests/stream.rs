//! The stream, with a scripted manager behind.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bursa_core::id::{GroupId, TaskId};
use std::time::{Duration, Instant};
use support::manager::{Behave, Manager, register};
use support::socket::{Said, Socket};
use support::world::{World, world};
use support::{NOBODY, id, start};

impl World {
    fn to(&self) -> (&str, &str) {
        (&self.function, &self.endpoint.id)
    }
}

fn group(n: u64) -> GroupId {
    id(n).parse().unwrap()
}

fn task(n: u64) -> TaskId {
    id(n).parse().unwrap()
}

#[test]
fn submits_and_results_on_one_socket() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let mut socket = Socket::open(&w.service);
    assert_eq!(socket.welcome(), 0);
    socket.submit(5, group(1), w.to(), &[(task(1), b"one"), (task(2), b"two")]);
    match socket.hear() {
        Said::Accepted { id } => assert_eq!(id, 5),
        other => panic!("{other:?}"),
    }
    let (mut results, cursor) = socket.results(2);
    results.sort();
    assert_eq!(results, [(task(1), 0, b"one".to_vec()), (task(2), 0, b"two".to_vec())]);
    assert_eq!(cursor, 2);
    // The same again: accepted, and no second result.
    socket.submit(6, group(1), w.to(), &[(task(1), b"one")]);
    assert!(matches!(socket.hear(), Said::Accepted { id: 6 }));
    socket.silent();
}

#[test]
fn a_stream_follows_so_many_groups_and_no_more() {
    let w = world();
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    let groups: Vec<GroupId> = (0..=bursa_core::limits::STREAM_GROUPS as u64).map(group).collect();
    socket.subscribe(&groups, Some(0));
    match socket.hear() {
        Said::Error { error, .. } => assert_eq!(error["code"], "too-large"),
        other => panic!("{other:?}"),
    }
    // It goes on with what it has room for.
    socket.subscribe(&groups[1..], Some(0));
    socket.submit(1, groups[0], w.to(), &[(task(1), b"one")]);
    match socket.hear() {
        Said::Error { error, .. } => assert_eq!(error["code"], "too-large"),
        other => panic!("{other:?}"),
    }
    socket.submit(2, groups[1], w.to(), &[(task(1), b"one")]);
    assert!(matches!(socket.hear(), Said::Accepted { id: 2 }));
}

#[test]
fn failures_and_outputs_come_by_their_place() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Fail);
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    socket.submit(1, group(1), w.to(), &[(task(1), b"exc")]);
    loop {
        match socket.hear() {
            Said::Accepted { .. } => {}
            Said::Results { states, payloads, failures, outputs, .. } => {
                assert_eq!((states.as_slice(), payloads[0].as_slice()), (&[1][..], &b"exc"[..]));
                assert_eq!(failures[&0]["code"], "user-error");
                assert_eq!(outputs[&0].as_slice(), b"printed");
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_cursor_resumes_after_a_broken_connection() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    socket.submit(1, group(1), w.to(), &[(task(1), b"one")]);
    let (_, cursor) = socket.results(1);
    drop(socket);

    let mut second = Socket::open(&w.service);
    assert_eq!(second.welcome(), cursor);
    second.submit(1, group(1), w.to(), &[(task(2), b"two"), (task(3), b"three")]);
    second.results(2);

    let mut third = Socket::open(&w.service);
    assert_eq!(third.welcome(), 3);
    third.subscribe(&[group(1)], Some(cursor));
    let (results, end) = third.results(2);
    assert_eq!(
        (results.iter().map(|r| r.0).min(), end),
        (Some(task(2)), 3),
        "what came before is not repeated"
    );
    third.silent();
    // Everything from the beginning, on a fourth.
    let mut fourth = Socket::open(&w.service);
    fourth.welcome();
    fourth.subscribe(&[group(1)], None);
    assert_eq!(fourth.results(3).1, 3);
}

#[test]
fn only_subscribed_groups_come_and_later_ones_from_their_beginning() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let mut source = Socket::open(&w.service);
    source.welcome();
    source.submit(1, group(1), w.to(), &[(task(1), b"one")]);
    source.results(1);
    source.submit(2, group(2), w.to(), &[(task(2), b"two")]);
    source.results(1);

    let mut socket = Socket::open(&w.service);
    socket.welcome();
    socket.subscribe(&[group(2)], Some(0));
    assert_eq!(socket.results(1).0[0].0, task(2));
    socket.silent();
    socket.subscribe(&[group(1)], None);
    assert_eq!(socket.results(1).0[0].0, task(1), "and not group 2 again");
    socket.silent();
    socket.subscribe(&[group(9)], None);
    source.submit(3, group(2), w.to(), &[(task(3), b"three")]);
    assert_eq!(socket.results(1).0[0].0, task(3));
}

#[test]
fn another_users_results_are_never_seen() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let other = w.service.other_user();
    let mut theirs = Socket::open_as(&w.service, &other);
    theirs.welcome();
    theirs.subscribe(&[group(1)], Some(0));
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    socket.submit(1, group(1), w.to(), &[(task(1), b"secret")]);
    socket.results(1);
    theirs.silent();
    theirs.submit(1, group(1), w.to(), &[(task(2), b"x")]);
    match theirs.hear() {
        Said::Error { id: Some(1), error } => assert_eq!(error["code"], "conflict", "the group is another's"),
        other => panic!("{other:?}"),
    }
    theirs.submit(2, group(2), w.to(), &[(task(2), b"x")]);
    match theirs.hear() {
        Said::Error { id: Some(2), error } => assert_eq!(error["code"], "not-found"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_messages_are_answered_and_the_stream_goes_on() {
    let w = world();
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    let error = |socket: &mut Socket| match socket.hear() {
        Said::Error { id, error } => (id, error["code"].as_str().unwrap().to_owned()),
        other => panic!("{other:?}"),
    };
    socket.send(2, b"\xc1");
    assert_eq!(error(&mut socket), (None, "invalid".to_owned()));
    socket.send(1, b"text");
    assert_eq!(error(&mut socket), (None, "invalid".to_owned()));
    socket.submit(1, group(1), (NOBODY, &w.endpoint.id), &[(task(1), b"a")]);
    assert_eq!(error(&mut socket), (Some(1), "not-found".to_owned()));
    socket.submit(2, group(1), w.to(), &[]);
    assert_eq!(error(&mut socket), (Some(2), "invalid".to_owned()));
    socket.submit(3, group(1), w.to(), &[(task(1), b"a")]);
    assert!(matches!(socket.hear(), Said::Accepted { id: 3 }));
    socket.submit(4, group(1), w.to(), &[(task(1), b"b")]);
    assert_eq!(error(&mut socket), (Some(4), "conflict".to_owned()));
    assert_eq!(w.service.get("/api/v1/stream").status, 400, "no upgrade");
}

#[test]
fn many_small_and_some_large_results() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    let large = vec![3; 200_000];
    let begun = Instant::now();
    for round in 0..10_u64 {
        let args: Vec<Vec<u8>> = (0..1_000)
            .map(|n: u32| if n == 500 { large.clone() } else { n.to_be_bytes().to_vec() })
            .collect();
        let tasks: Vec<_> =
            args.iter().zip(round * 1_000..).map(|(args, n)| (task(n + 1), args.as_slice())).collect();
        socket.submit(round, group(1), w.to(), &tasks);
    }
    let (results, cursor) = socket.results(10_000);
    println!("10,000 results in {:?}", begun.elapsed());
    assert_eq!(cursor, 10_000);
    assert_eq!(results.iter().filter(|(_, _, payload)| *payload == large).count(), 10);
    let distinct: std::collections::HashSet<_> = results.iter().map(|(task, ..)| *task).collect();
    assert_eq!(distinct.len(), 10_000);
}

#[test]
fn a_slow_client_slows_nobody() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let mut slow = Socket::open(&w.service);
    slow.welcome();
    slow.subscribe(&[group(1)], Some(0));
    let mut fast = Socket::open(&w.service);
    fast.welcome();
    let args = vec![1; 60_000];
    for round in 0..40_u64 {
        let tasks: Vec<_> = (0..20).map(|n| (task(round * 20 + n + 1), args.as_slice())).collect();
        fast.submit(round, group(1), w.to(), &tasks);
        fast.results(20);
    }
    // 48 MB later the slow one reads, and misses nothing.
    assert_eq!(slow.results(800).1, 800);
}

#[test]
fn a_revoked_token_and_a_stopping_service_close_the_stream() {
    let w = world();
    let made = w.service.post("/api/v1/tokens", &serde_json::json!({"name": "x"})).json();
    let mut socket = Socket::open_as(&w.service, made["token"].as_str().unwrap());
    let mut other = Socket::open(&w.service);
    socket.welcome();
    other.welcome();
    w.service.delete(&format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()));
    assert_eq!(socket.frame().unwrap().0, 8, "a close frame");
    other.silent();
    let took = w.service.stop();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(other.frame().unwrap().0, 8);
}

#[test]
fn a_restart_keeps_results_and_tasks() {
    let w = world();
    let manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    socket.submit(1, group(1), w.to(), &[(task(1), b"one")]);
    let (_, cursor) = socket.results(1);
    manager.stop();
    w.service.until(&format!("/api/v1/endpoints/{}/status", w.endpoint.id), "/status", &"offline".into());
    socket.submit(2, group(1), w.to(), &[(task(2), &[7; 6_000]), (task(3), b"three")]);
    assert!(matches!(socket.hear(), Said::Accepted { id: 2 }));
    let World { dir, service, function, endpoint } = w;
    service.stop();

    let service = start(dir.path());
    let mut socket = Socket::open(&service);
    assert_eq!(socket.welcome(), cursor);
    socket.subscribe(&[group(1)], Some(cursor));
    socket.submit(2, group(1), (&function, &endpoint.id), &[(task(2), &[7; 6_000]), (task(3), b"three")]);
    assert!(matches!(socket.hear(), Said::Accepted { id: 2 }), "known from before");
    let _manager = Manager::start(&service, &endpoint, 2, Behave::Echo);
    let (mut results, _) = socket.results(2);
    results.sort();
    assert_eq!(results, [(task(2), 0, vec![7; 6_000]), (task(3), 0, b"three".to_vec())]);
}

#[test]
fn a_user_at_his_limit_is_told_to_come_again_on_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let config = bursa_service::Config { tasks_per_user: 2, ..support::config(dir.path()) };
    let service = support::try_start(config).unwrap();
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let mut socket = Socket::open(&service);
    socket.welcome();
    socket.submit(
        1,
        group(1),
        (&function, &endpoint.id),
        &[(task(1), b"a"), (task(2), b"b"), (task(3), b"c")],
    );
    assert!(matches!(socket.hear(), Said::Accepted { id: 1 }), "a whole submit fits while there is room");
    socket.submit(2, group(1), (&function, &endpoint.id), &[(task(4), b"d")]);
    match socket.hear() {
        Said::Error { id: Some(2), error } => {
            assert_eq!((&error["code"], &error["retry_after"]), (&"busy".into(), &1.into()));
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains("you have 3 tasks that have not ended, and the limit is 2"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
    let body =
        serde_json::json!({"tasks": [{"function_id": function, "endpoint_id": endpoint.id, "args": ""}]});
    let refused = service.post("/api/v1/tasks", &body);
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (429, "1"));
    assert_eq!(refused.error().0, "busy");
    let metrics = String::from_utf8(service.get("/metrics").body).unwrap();
    assert!(metrics.contains("bursa_submits_refused_total 2"), "{metrics}");

    let _manager = Manager::start(&service, &endpoint, 1, Behave::Echo);
    socket.results(3);
    socket.submit(3, group(1), (&function, &endpoint.id), &[(task(4), b"d")]);
    assert_eq!(socket.results(1).0[0].0, task(4));
}

#[test]
fn a_client_that_never_reads_keeps_nobody_from_ending_its_stream() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let made = w.service.post("/api/v1/tokens", &serde_json::json!({"name": "x"})).json();
    let mut revoked = Socket::open_as(&w.service, made["token"].as_str().unwrap());
    let mut stopped = Socket::open(&w.service);
    for stuck in [&mut revoked, &mut stopped] {
        stuck.welcome();
        stuck.subscribe(&[group(1)], Some(0));
    }
    let mut fast = Socket::open(&w.service);
    fast.welcome();
    let args = vec![1; 60_000];
    for round in 0..20_u64 {
        let tasks: Vec<_> = (0..50).map(|n| (task(round * 50 + n + 1), args.as_slice())).collect();
        fast.submit(round, group(1), w.to(), &tasks);
        fast.results(50);
    }
    w.service.delete(&format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()));
    let took = w.service.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    for mut stuck in [revoked, stopped] {
        let mut bytes = 0;
        while let Ok((_, data)) = stuck.frame() {
            bytes += data.len();
        }
        assert!(bytes < 50_000_000, "{bytes}: it ended before all 60 MB were sent");
    }
}

#[test]
fn an_answer_with_many_large_results_leaves_some_for_the_next() {
    let w = world();
    let _manager = Manager::start(&w.service, &w.endpoint, 1, Behave::Echo);
    let mut socket = Socket::open(&w.service);
    socket.welcome();
    let args = vec![7; 24 << 20];
    for n in 1..=4 {
        socket.submit(n, group(1), w.to(), &[(task(n), &args)]);
        socket.results(1);
    }
    let get = |ids: &[String]| {
        let body = rmp_serde::to_vec_named(&serde_json::json!({"task_ids": ids})).unwrap();
        let auth = format!("Bearer {}", w.service.token);
        let kind = "application/msgpack";
        let headers = [("Authorization", auth.as_str()), ("Content-Type", kind), ("Accept", kind)];
        let answer = w.service.request("POST", "/api/v1/tasks/get", &headers, &body);
        assert_eq!(answer.status, 200);
        answer
    };
    #[derive(serde::Deserialize)]
    struct Task {
        task_id: String,
        result: serde_bytes::ByteBuf,
    }
    #[derive(serde::Deserialize)]
    struct Tasks {
        tasks: Vec<Task>,
        #[serde(default)]
        left: Vec<String>,
    }
    let ids: Vec<String> = (1..=4).map(id).collect();
    let first: Tasks = rmp_serde::from_slice(&get(&ids).body).unwrap();
    assert_eq!(first.tasks.iter().map(|task| &task.task_id).collect::<Vec<_>>(), [&ids[0], &ids[1], &ids[2]]);
    assert!(first.tasks.iter().all(|task| task.result.len() == args.len()));
    assert_eq!(first.left, ids[3..]);
    let second: Tasks = rmp_serde::from_slice(&get(&first.left).body).unwrap();
    assert_eq!((second.tasks.len(), second.left.len()), (1, 0));
}
