//! Tests of the whole store on a real database, and its speed.

use super::*;
use crate::metrics::Metrics;
use bursa_core::container::{Container, ContainerKind};
use bursa_core::hub::{Answer, Op, RequestId, Token};
use bursa_core::id::{ContainerId, EndpointId, FunctionId, GroupId, Hash, TaskId, UserId};
use bursa_core::task::{Args, Ending, Failure, FailureCode, TaskSpec, TaskState};
use bursa_core::time::Wall;
use bursa_core::timings::Timings;
use bytes::Bytes;
use rusqlite::params;
use std::sync::Arc;

mod containers;
mod costs;
mod ends;
mod memo;
mod resources;
mod users;

struct World {
    _dir: tempfile::TempDir,
    paths: Paths,
    store: SqliteStore,
    user: UserRow,
}

const GROUP: GroupId = GroupId::from_bytes([7; 16]);
const MEMO: MemoLimits = MemoLimits { keep_ms: 60_000, per_user: 1 << 30 };
const ALL: SliceLimits = SliceLimits { rows: 100, bytes: 1 << 20, scanned: 1000 };

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::below(dir.path());
    let mut store = SqliteStore::open(&paths, MEMO, Arc::new(Metrics::default())).unwrap();
    let user = store.create_user([1; 16], "owner", Wall(5)).unwrap();
    let change = Change::AddFunction {
        function: FunctionId::from_bytes([3; 16]),
        user_no: user.no,
        name: "f".into(),
        description: String::new(),
        python: String::new(),
        hash: Hash::of(b"body"),
        body: Bytes::from_static(b"body"),
        container: None,
        now: Wall(6),
    };
    registry(&mut store, change);
    World { _dir: dir, paths, store, user }
}

fn registry(store: &mut SqliteStore, change: Change) -> Changed {
    match store.apply(vec![Write::Registry(RequestId(1), change)]).pop() {
        Some(Done::Registry(_, Ok(changed))) => changed,
        other => panic!("{other:?}"),
    }
}

fn hub(store: &mut SqliteStore, ops: Vec<Op>) -> Vec<Answer> {
    let writes = ops.into_iter().map(|op| Write::Hub(Token(1), op)).collect();
    let answers = store.apply(writes).into_iter().map(|done| match done {
        Done::Hub(_, Ok(answer)) => answer,
        other => panic!("{other:?}"),
    });
    answers.collect()
}

fn spec(n: u64, args: &'static [u8]) -> TaskSpec {
    TaskSpec {
        task: task(n),
        user: UserId::from_bytes([1; 16]),
        group: GROUP,
        function: FunctionId::from_bytes([3; 16]),
        hash: Hash::of(b"body"),
        endpoint: EndpointId::from_bytes([4; 16]),
        container: None,
        resources: None,
        args: Args::Here(Bytes::from_static(args)),
        retries: 2,
        retry_on_error: 0,
        timeout_ms: Some(1000),
        deadline: Wall(1_000_000),
        submitted: Wall(1_000),
        memoize: false,
    }
}

fn image() -> Arc<Container> {
    let (container, kind) = (ContainerId::from_bytes([9; 16]), ContainerKind::Docker);
    Arc::new(Container { container, kind, location: "python:3.11".into() })
}

fn task(n: u64) -> TaskId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    TaskId::from_bytes(bytes)
}

fn accept(tasks: Vec<TaskSpec>) -> Op {
    Op::Accept { user: tasks[0].user, group: tasks[0].group, tasks }
}

fn end(n: u64, state: TaskState, payload: &[u8]) -> Op {
    let failure = (state == TaskState::Failed).then(|| Box::new(Failure::new(FailureCode::UserError, "no")));
    let (payload, output) = (Bytes::copy_from_slice(payload), Bytes::from_static(b"hi"));
    let ending = Ending {
        state,
        payload,
        failure,
        output,
        run_ns: 9,
        timings: Timings { store: 3, endpoint: 2_000_000, ..Timings::default() },
        starts: 1,
        ended: Wall(2_000),
    };
    Op::End { task: task(n), user: UserId::from_bytes([1; 16]), ending }
}

/// An end by somebody who does not know whose the task is.
fn asked(n: u64) -> Op {
    match end(n, TaskState::Cancelled, b"") {
        Op::End { task, ending, .. } => Op::End { task, user: UserId::from_bytes([0; 16]), ending },
        other => other,
    }
}

#[test]
fn a_submit_is_all_or_nothing_and_the_same_again_is_known() {
    let mut w = world();
    let known = |known| vec![Answer::Accepted { known, hits: vec![] }];
    assert_eq!(hub(&mut w.store, vec![accept(vec![spec(1, b"a"), spec(2, b"b")])]), known(vec![]));
    let later = TaskSpec { submitted: Wall(2_000), deadline: Wall(1_001_000), ..spec(1, b"a") };
    assert_eq!(hub(&mut w.store, vec![accept(vec![later, spec(3, b"c")])]), known(vec![task(1)]));
    // Other bytes, another deadline, another group: nothing of the submit is accepted.
    let others = [
        spec(1, b"x"),
        TaskSpec { deadline: Wall(2_000_000), ..spec(1, b"a") },
        TaskSpec { retries: 3, ..spec(1, b"a") },
    ];
    for other in others {
        let answers = hub(&mut w.store, vec![accept(vec![spec(4, b"d"), other])]);
        assert_eq!(answers, [Answer::Conflict { task: task(1) }]);
    }
    let reader = Reader::open(&w.paths).unwrap();
    assert!(reader.task(w.user.no, &task(4)).unwrap().is_none());
    assert_eq!(reader.live_of_group(w.user.no, &GROUP, 10).unwrap().unwrap(), [task(1), task(2), task(3)]);
}

#[test]
fn a_group_and_a_task_belong_to_who_made_them() {
    let mut w = world();
    w.store.create_user([2; 16], "other", Wall(5)).unwrap();
    hub(&mut w.store, vec![accept(vec![spec(1, b"a")])]);
    let other = UserId::from_bytes([2; 16]);
    let theirs = TaskSpec { user: other, ..spec(2, b"b") };
    assert_eq!(hub(&mut w.store, vec![accept(vec![theirs])]), [Answer::Conflict { task: task(2) }]);
    let theirs = TaskSpec { user: other, group: GroupId::from_bytes([8; 16]), ..spec(1, b"a") };
    assert_eq!(hub(&mut w.store, vec![accept(vec![theirs])]), [Answer::Conflict { task: task(1) }]);
    let reader = Reader::open(&w.paths).unwrap();
    assert!(reader.task(2, &task(1)).unwrap().is_none());
    assert_eq!(reader.live_of_group(2, &GROUP, 10).unwrap(), None);
}

#[test]
fn the_first_end_wins_and_numbers_are_the_users() {
    let mut w = world();
    let answers = hub(
        &mut w.store,
        vec![
            accept(vec![spec(1, b"a"), spec(2, b"b"), spec(3, b"c")]),
            end(2, TaskState::Success, b"two"),
            end(1, TaskState::Failed, b"one"),
            end(2, TaskState::Cancelled, b""),
            end(9, TaskState::Success, b""),
            Op::Charge { task: task(3), losses: 1, maybes: 2, errors: 3 },
            Op::Charge { task: task(1), losses: 1, maybes: 2, errors: 3 },
        ],
    );
    assert_eq!(
        answers[1..],
        [
            Answer::Ended { sequence: 1 },
            Answer::Ended { sequence: 2 },
            Answer::AlreadyEnded { state: TaskState::Success },
            Answer::Unknown,
            Answer::Done,
            Answer::AlreadyEnded { state: TaskState::Failed },
        ]
    );
    let reader = Reader::open(&w.paths).unwrap();
    let slice = reader.results(w.user.no, 0, ALL, |group, _| *group == GROUP).unwrap();
    let tasks: Vec<_> = slice.rows.iter().map(|row| (row.task, row.state)).collect();
    assert_eq!(tasks, [(task(2), TaskState::Success), (task(1), TaskState::Failed)]);
    assert_eq!((slice.cursor, slice.more), (2, false));
    assert_eq!(slice.rows[1].failure.as_ref().unwrap().code, FailureCode::UserError);
    let slice = reader.results(w.user.no, 1, ALL, |_, _| false).unwrap();
    assert_eq!((slice.rows.len(), slice.cursor), (0, 2), "skipped results move the cursor");
    assert_eq!(reader.newest(w.user.no).unwrap(), 2);
    assert_eq!(hub(&mut w.store, vec![asked(3)]), [Answer::Ended { sequence: 3 }], "his, whoever asked");
}

#[test]
fn large_payloads_are_files_and_come_back() {
    let mut w = world();
    static LARGE: [u8; 70_000] = [5; 70_000];
    hub(&mut w.store, vec![accept(vec![spec(1, &LARGE)]), end(1, TaskState::Success, &LARGE)]);
    let reader = Reader::open(&w.paths).unwrap();
    let args = reader.args(&task(1)).unwrap().unwrap();
    assert_eq!(args, Content::File(Hash::of(&LARGE)));
    let end = reader.task(w.user.no, &task(1)).unwrap().unwrap().end.unwrap();
    assert_eq!(reader.load(end.payload).unwrap().as_ref(), LARGE);
    assert_eq!(
        hub(&mut w.store, vec![accept(vec![spec(1, &LARGE)])]),
        [Answer::Accepted { known: vec![task(1)], hits: vec![] }]
    );
}

#[test]
fn a_new_life_finds_the_live_tasks_and_a_higher_epoch() {
    let mut w = world();
    static LARGE: [u8; 5_000] = [5; 5_000];
    let endpoint = EndpointId::from_bytes([4; 16]);
    let change = Change::AddEndpoint {
        endpoint,
        user_no: w.user.no,
        name: "lab".into(),
        description: String::new(),
        public_key: "k".into(),
        now: Wall(1),
    };
    registry(&mut w.store, change);
    let first = w.store.recover().unwrap().epoch;
    hub(
        &mut w.store,
        vec![
            accept(vec![spec(1, b"a"), spec(2, &LARGE), spec(3, b"c")]),
            end(1, TaskState::Success, b"one"),
            Op::Charge { task: task(3), losses: 1, maybes: 2, errors: 3 },
            Op::Generation { endpoint, generation: 6, python: "3.12".into(), guests: true },
            Op::Generation { endpoint, generation: 5, python: "3.12".into(), guests: false },
            Op::DeleteEndpoint { endpoint },
        ],
    );
    drop(w.store);
    let mut store = SqliteStore::open(&w.paths, MEMO, Arc::new(Metrics::default())).unwrap();
    let found = store.recover().unwrap();
    assert_eq!(found.epoch, first + 1);
    let known = &found.endpoints[0];
    assert_eq!((known.generation, known.deleted, known.guests), (6, true, true), "as the newest said");
    let [two, three] = &found.tasks[..] else { panic!("{:?}", found.tasks) };
    assert_eq!(two.spec, TaskSpec { args: Args::Stored(LARGE.len()), ..spec(2, b"") });
    assert_eq!(three.spec, spec(3, b"c"));
    assert_eq!((three.losses, three.maybes, three.errors), (1, 2, 3));
    // Numbers go on where they were.
    assert_eq!(hub(&mut store, vec![end(3, TaskState::Success, b"")]), [Answer::Ended { sequence: 2 }]);
}

#[test]
fn a_failed_transaction_leaves_nothing_and_the_next_one_works() {
    let mut w = world();
    w.store.conn.execute_batch("PRAGMA max_page_count = 1").unwrap();
    static FULL: [u8; 60_000] = [1; 60_000];
    let batch = (0..200).map(|n| Write::Hub(Token(n), accept(vec![spec(n, &FULL)]))).collect();
    let done = w.store.apply(batch);
    assert!(done.iter().all(|done| matches!(done, Done::Hub(_, Err(_)))), "{:?}", done[0]);
    w.store.conn.execute_batch("PRAGMA max_page_count = 1000000").unwrap();
    assert_eq!(
        hub(&mut w.store, vec![accept(vec![spec(0, &FULL)])]),
        [Answer::Accepted { known: vec![], hits: vec![] }]
    );
    let reader = Reader::open(&w.paths).unwrap();
    assert!(reader.task(w.user.no, &task(1)).unwrap().is_none());
}

#[test]
fn a_write_that_can_never_succeed_holds_no_other_up() {
    let mut w = world();
    hub(&mut w.store, vec![accept((1..=4).map(|n| spec(n, b"a")).collect())]);
    let injected = "CREATE TRIGGER injected BEFORE INSERT ON results WHEN NEW.data = x'62' BEGIN
                    SELECT RAISE(ABORT, 'injected'); END";
    w.store.conn.execute_batch(injected).unwrap();
    let ops = vec![
        end(1, TaskState::Success, b"a"),
        end(2, TaskState::Success, b"b"),
        end(3, TaskState::Success, b"c"),
        accept(vec![spec(5, b"e")]),
    ];
    let answers = hub(&mut w.store, ops);
    let [Answer::Ended { sequence: 1 }, Answer::Refused { why }, Answer::Ended { sequence: 2 }, last] =
        &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert!(why.contains("injected"), "{why}");
    assert_eq!(*last, Answer::Accepted { known: vec![], hits: vec![] });
    let reader = Reader::open(&w.paths).unwrap();
    assert_eq!(reader.live_of_group(w.user.no, &GROUP, 10).unwrap().unwrap(), [task(2), task(4), task(5)]);
    assert_eq!(hub(&mut w.store, vec![end(2, TaskState::Failed, b"")]), [Answer::Ended { sequence: 3 }]);
}

#[test]
fn a_payload_file_that_cannot_be_written_holds_up_its_own_write_only() {
    let mut w = world();
    static LARGE: [u8; 70_000] = [5; 70_000];
    let blocked = w.paths.payloads.join(&Hash::of(&LARGE).to_string()[..2]);
    std::fs::write(&blocked, "a file where a directory should be").unwrap();
    let ops = [accept(vec![spec(1, b"a")]), accept(vec![spec(2, &LARGE)]), accept(vec![spec(3, b"c")])];
    let writes = |ops: &[Op]| ops.iter().map(|op| Write::Hub(Token(1), op.clone())).collect();
    let done = w.store.apply(writes(&ops));
    assert!(
        matches!(&done[..], [Done::Hub(_, Ok(_)), Done::Hub(_, Err(_)), Done::Hub(_, Ok(_))]),
        "later it may succeed: {done:?}"
    );
    std::fs::remove_file(&blocked).unwrap();
    assert_eq!(hub(&mut w.store, vec![ops[1].clone()]), [Answer::Accepted { known: vec![], hits: vec![] }]);
}

const KEEP: Retention = Retention { keep_ms: 1_000, per_user: u64::MAX >> 1 };

fn ended_at(n: u64, payload: &[u8], ended: u64) -> Op {
    match end(n, TaskState::Success, payload) {
        Op::End { task, user, ending } => {
            Op::End { task, user, ending: Ending { ended: Wall(ended), ..ending } }
        }
        other => other,
    }
}

fn count(w: &World, table: &str) -> i64 {
    w.store.conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn files(w: &World) -> usize {
    (0..=255).map(|directory| w.store.payloads.list(directory).unwrap().len()).sum()
}

#[test]
fn what_ended_goes_whole_when_its_time_is_over_and_numbers_go_on() {
    let mut w = world();
    static LARGE: [u8; 70_000] = [5; 70_000];
    static OTHER: [u8; 70_000] = [6; 70_000];
    hub(&mut w.store, vec![accept(vec![spec(1, &LARGE), spec(2, b"b"), spec(3, &LARGE), spec(4, b"d")])]);
    hub(&mut w.store, vec![ended_at(1, &OTHER, 2_000), ended_at(2, b"two", 3_000)]);
    assert_eq!((files(&w), count(&w, "results")), (2, 2));
    let stray = w.paths.payloads.join(&Hash::of(b"x").to_string()[..2]).join(Hash::of(b"x").to_string());
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, "x").unwrap();

    assert!(!w.store.sweep(KEEP, Wall(3_000)), "the first is not over its time yet");
    assert_eq!(count(&w, "results"), 2);
    w.store.sweep(KEEP, Wall(3_001));
    let reader = Reader::open(&w.paths).unwrap();
    assert!(reader.task(w.user.no, &task(1)).unwrap().is_none());
    assert!(reader.task(w.user.no, &task(2)).unwrap().unwrap().end.is_some());
    assert!(reader.args(&task(3)).unwrap().is_some(), "live tasks are never touched");
    assert_eq!(
        (count(&w, "tasks"), count(&w, "ends"), count(&w, "results"), count(&w, "ranges")),
        (3, 1, 1, 1)
    );
    assert!(reader.find_file(&Hash::of(&LARGE)).unwrap().is_some(), "another task has the same arguments");
    assert!(reader.find_file(&Hash::of(&OTHER)).unwrap().is_none());

    hub(&mut w.store, vec![ended_at(3, b"three", 3_000), ended_at(4, b"four", 3_000)]);
    w.store.sweep(KEEP, Wall(9_000));
    for table in ["tasks", "ends", "results", "ranges", "groups"] {
        assert_eq!(count(&w, table), 0, "{table}");
    }
    assert_eq!(reader.newest(w.user.no).unwrap(), 4, "a stream's cursor stays right");
    for _ in 0..=255 {
        w.store.sweep(KEEP, Wall(9_000));
    }
    assert_eq!(files(&w), 0, "what nothing names is found, {stray:?} too");

    // Numbers are not given again, in this life or the next.
    let first = hub(&mut w.store, vec![accept(vec![spec(5, b"e")]), end(5, TaskState::Success, b"five")]);
    assert_eq!(first[1], Answer::Ended { sequence: 5 });
    w.store.sweep(KEEP, Wall(9_000));
    drop(w.store);
    let mut store = SqliteStore::open(&w.paths, MEMO, Arc::new(Metrics::default())).unwrap();
    let next = hub(&mut store, vec![accept(vec![spec(1, b"again")]), end(1, TaskState::Success, b"one")]);
    assert_eq!(next, [Answer::Accepted { known: vec![], hits: vec![] }, Answer::Ended { sequence: 6 }]);
    let slice = reader.results(w.user.no, 4, ALL, |_, _| true).unwrap();
    assert_eq!((slice.rows.len(), slice.cursor), (1, 6));
}

#[test]
fn who_has_too_much_loses_his_oldest_and_nobody_elses() {
    let mut w = world();
    w.store.create_user([2; 16], "other", Wall(5)).unwrap();
    let other = UserId::from_bytes([2; 16]);
    let theirs = TaskSpec { user: other, group: GroupId::from_bytes([8; 16]), ..spec(9, b"z") };
    hub(&mut w.store, vec![accept((1..=5).map(|n| spec(n, b"")).collect()), accept(vec![theirs])]);
    hub(&mut w.store, (1..=5).map(|n| ended_at(n, &[1; 998], 2_000)).collect());
    hub(&mut w.store, vec![ended_at(9, &[1; 5_000], 1_000)]);
    // Each of the five has 1,000 bytes with its output.
    let retention = Retention { keep_ms: 1 << 40, per_user: 2_000 };
    w.store.sweep(retention, Wall(2_000));
    let reader = Reader::open(&w.paths).unwrap();
    let left: Vec<_> = (1..=5).filter(|n| reader.task(w.user.no, &task(*n)).unwrap().is_some()).collect();
    assert_eq!(left, [4, 5]);
    assert!(reader.task(2, &task(9)).unwrap().is_some(), "the newest is kept, whatever its size");
}

#[test]
fn a_step_is_bounded_and_a_deleted_functions_body_goes_when_no_live_task_needs_it() {
    let mut w = world();
    hub(&mut w.store, vec![accept((0..600).map(|n| spec(n, b"a")).collect())]);
    hub(&mut w.store, (1..600).map(|n| ended_at(n, b"r", 2_000)).collect());
    let delete = Change::DeleteFunction { function: FunctionId::from_bytes([3; 16]), user_no: w.user.no };
    registry(&mut w.store, delete);
    let far = Wall(1 << 50);
    assert!(w.store.sweep(KEEP, far) && w.store.sweep(KEEP, far), "more is to be done");
    assert_eq!(count(&w, "results"), 599 - 2 * 256);
    assert!(!w.store.sweep(KEEP, far));
    assert_eq!(
        (count(&w, "tasks"), count(&w, "bodies"), count(&w, "functions")),
        (1, 1, 1),
        "task 0 is live"
    );
    hub(&mut w.store, vec![ended_at(0, b"r", 2_000)]);
    w.store.sweep(KEEP, far);
    assert_eq!((count(&w, "tasks"), count(&w, "bodies"), count(&w, "functions")), (0, 0, 0));
}

/// `cargo test -p bursa-service --release -- --ignored --nocapture start_up`: a start with 1,000,000 live tasks among as many
/// that have ended; with LIVE=0 all 2,000,000 have.
#[test]
#[ignore = "a measurement"]
fn start_up() {
    const TASKS: u64 = 1_000_000;
    let live = u64::from(std::env::var("LIVE").as_deref() != Ok("0"));
    let mut w = world();
    let endpoint = Change::AddEndpoint {
        endpoint: EndpointId::from_bytes([4; 16]),
        user_no: w.user.no,
        name: "lab".into(),
        description: String::new(),
        public_key: bursa_fabric::KeyPair::generate().unwrap().public.to_string(),
        now: Wall(1),
    };
    registry(&mut w.store, endpoint);
    let far = Wall(1 << 50);
    let spec = |n| TaskSpec { deadline: far, ..spec(n, b"thirty bytes of arguments ....") };
    for first in (0..2 * TASKS).step_by(10_000) {
        hub(&mut w.store, vec![accept((first..first + 10_000).map(spec).collect())]);
        let ended = (first..first + 10_000).filter(|n| n % 2 >= live);
        hub(&mut w.store, ended.map(|n| end(n, TaskState::Success, b"ten bytes.")).collect());
    }
    let size = std::fs::metadata(&w.paths.database).unwrap().len() >> 20;
    let World { _dir: dir, paths, store, .. } = w;
    drop(store);
    let begun = std::time::Instant::now();
    let conn = rusqlite::Connection::open(&paths.database).unwrap();
    let check: String = conn.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
    println!("{size} MiB; quick_check, which a start does not do: {check} in {:.1?}", begun.elapsed());
    drop(conn);
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::create_dir(home.join("service")).unwrap();
    for name in ["bursa.db", "bursa.db-wal", "bursa.db-shm", "payloads"] {
        let _ = std::fs::rename(dir.path().join(name), home.join("service").join(name));
    }
    let mut config = crate::Config::from_values(&Default::default(), &home).unwrap();
    (config.http, config.zmq) = ("127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".to_owned());
    let (begun, cpu_begun) = (std::time::Instant::now(), cpu());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (served, answered) = tokio::sync::oneshot::channel();
    let (_, pings) = tokio::sync::mpsc::channel(1);
    let ready = move |ready: crate::Ready| {
        println!("ready after {:.2?}, CPU {:.2} s", begun.elapsed(), cpu() - cpu_begun);
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let mut stream =
                std::net::TcpStream::connect(ready.url.strip_prefix("http://").unwrap()).unwrap();
            stream.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            println!("first answer after {:.2?}", begun.elapsed());
            served.send(()).unwrap();
        });
    };
    runtime.block_on(crate::run(config, ready, async { answered.await.unwrap() }, pings)).unwrap();
}

/// CPU time of this thread in seconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// A file that grows costs each commit another write.
#[test]
fn the_wal_begins_anew_though_small_commits_never_pause() {
    let mut w = world();
    // Another salt each time that it begins at its beginning.
    let salt = || std::fs::read(w.paths.wal()).unwrap()[16..24].to_vec();
    let (before, begun) = (salt(), std::time::Instant::now());
    let mut n = 0;
    while salt() == before {
        assert!(begun.elapsed().as_secs() < 60, "not within {n} commits");
        n += 1;
        hub(&mut w.store, vec![accept(vec![spec(n, &[7; 60_000])])]);
    }
}

/// `cargo test -p bursa-service --release -- --ignored --nocapture speed`: CPU and elapsed time per accept + end.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let mut w = world();
    let mut next = 0;
    for batch in [1, 16, 256, 1_024, 4_096] {
        let rounds = (100_000 / batch).min(2_000);
        let (begun, cpu_begun) = (std::time::Instant::now(), cpu());
        for _ in 0..rounds {
            let first = next;
            next += batch;
            hub(
                &mut w.store,
                vec![accept((first..next).map(|n| spec(n, b"thirty bytes of arguments ....")).collect())],
            );
            let ends = (first..next).map(|n| end(n, TaskState::Success, b"ten bytes.")).collect();
            hub(&mut w.store, ends);
        }
        let (elapsed, used) = (begun.elapsed(), cpu() - cpu_begun);
        let us = |seconds: f64| seconds * 1e6 / (rounds * batch) as f64;
        println!("batch {batch}: {:.2} µs, CPU {:.2} µs per task", us(elapsed.as_secs_f64()), us(used));
    }
    let reader = Reader::open(&w.paths).unwrap();
    let begun = std::time::Instant::now();
    let (mut cursor, mut count) = (0, 0);
    loop {
        let limits = SliceLimits { rows: 2_048, bytes: 1 << 20, scanned: 16_384 };
        let slice = reader.results(w.user.no, cursor, limits, |_, _| true).unwrap();
        count += slice.rows.len();
        cursor = slice.cursor;
        if !slice.more {
            break;
        }
    }
    println!("read: {:.2} µs per result", begun.elapsed().as_secs_f64() * 1e6 / count as f64);
    let wal = std::fs::metadata(w.paths.database.with_extension("db-wal")).unwrap().len();
    println!("wal: {} MiB", wal >> 20);
}

#[test]
fn a_service_has_so_many_endpoints_and_no_more() {
    let mut w = world();
    let add = |n: u8| Change::AddEndpoint {
        endpoint: EndpointId::from_bytes([n; 16]),
        user_no: 1,
        name: "lab".into(),
        description: String::new(),
        public_key: format!("k{n}"),
        now: Wall(1),
    };
    assert!(matches!(registry(&mut w.store, add(1)), Changed::Endpoint(Added::New { .. })));
    let most = bursa_core::limits::ENDPOINTS.cast_signed();
    w.store.conn.execute("UPDATE endpoints SET no = ?1", [most - 1]).unwrap();
    assert!(matches!(registry(&mut w.store, add(2)), Changed::Endpoint(Added::New { .. })));
    assert_eq!(registry(&mut w.store, add(3)), Changed::Endpoint(Added::Full));
    assert_eq!(registry(&mut w.store, add(2)), Changed::Endpoint(Added::Same));
}
