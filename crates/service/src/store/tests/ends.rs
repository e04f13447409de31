//! Ends beside their tasks: whatever ends how and when, a start finds what lives; an older database is brought up.

use super::*;

/// A world whose database an older bursa left: of tasks 0 to 299 those of `n % 7` in 0 to 2 are live, the others have ended
/// in each way, from the last to the first; 0 was charged, the arguments of 2 are a file, and 7 asks for all there is.
pub(super) fn upgraded(version: u32) -> World {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::below(dir.path());
    let conn = schema::create_old(&paths, version);
    let (mine, file) = (row_id(1, 0), Hash::of(&FILE).0);
    old_registry(&conn, version);
    conn.execute("INSERT INTO ranges VALUES (?1, ?2, ?3)", params![GROUP.as_bytes(), mine + 1, mine + 300])
        .unwrap();
    let mut sequence = 0;
    for n in (0..300).rev() {
        let state = [0, 0, 0, 1, 2, 3, 1][n % 7];
        sequence += i64::from(state > 0);
        let seq = if state > 0 { sequence } else { 0 };
        let (id, name) = (mine + 1 + n.cast_signed() as i64, task(n as u64));
        let values = params![
            id,
            name.as_bytes(),
            state,
            seq,
            GROUP.as_bytes(),
            [3u8; 16],
            [4u8; 16],
            i64::from(n == 0)
        ];
        conn.execute(
            "INSERT INTO tasks (id, task, state, seq, grp, function, endpoint, retries, retry_on_error, timeout_ms, deadline,
             submitted, losses) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 2, 0, 1000, 1000000, 1000, ?8)",
            values,
        )
        .unwrap();
        let (data, named) = if n == 2 { (None, Some(file)) } else { (Some(b"a"), None) };
        conn.execute(
            "INSERT INTO args VALUES (?1, ?2, ?3, ?4)",
            params![id, if n == 2 { FILE.len() } else { 1 }.cast_signed(), data, named],
        )
        .unwrap();
        if state > 0 {
            conn.execute(
                "INSERT INTO results (id, task, grp, state, ended, run_ns, starts, data, total, output, memo, timings, failure)
                 VALUES (?1, ?2, ?3, ?4, ?5, 9, 1, x'72', ?6, x'6f', ?4 = 1, ?7, CASE ?4 WHEN 2 THEN ?8 END)",
                params![
                    mine + seq,
                    name.as_bytes(),
                    GROUP.as_bytes(),
                    state,
                    2_000 + seq,
                    2 * seq,
                    TIMINGS.pack().as_ref(),
                    rmp_serde::to_vec_named(&Failure::new(FailureCode::UserError, "no")).unwrap()
                ],
            )
            .unwrap();
        }
    }
    if version >= 5 {
        conn.execute(
            "UPDATE tasks SET container = ?1, timeout_ms = NULL, retry_on_error = 3, memo = ?2 WHERE task = ?3",
            params![[9u8; 16], [8u8; 32], task(7).as_bytes()],
        )
        .unwrap();
    }
    drop(conn);
    let store = SqliteStore::open(&paths, MEMO, Arc::new(Metrics::default())).unwrap();
    let user = store.owner().unwrap().unwrap();
    World { _dir: dir, paths, store, user }
}

/// Its user, function, group and container.
fn old_registry(conn: &rusqlite::Connection, version: u32) {
    conn.execute_batch(
        "INSERT INTO users (user, name, created) VALUES (unhex('01010101010101010101010101010101'), 'owner', 5);
         INSERT INTO functions (function, user_no, hash, name, description, python, size, registered)
         VALUES (unhex('03030303030303030303030303030303'), 1, x'00', 'f', '', '', 4, 6);
         INSERT INTO groups VALUES (unhex('07070707070707070707070707070707'), 1, 6)",
    )
    .unwrap();
    conn.execute("UPDATE functions SET hash = ?1", [Hash::of(b"body").0]).unwrap();
    if version >= 5 {
        conn.execute(
            "INSERT INTO containers (container, user_no, name, kind, location, description, registered)
             VALUES (?1, 1, 'py', 'docker', 'python:3.11', '', 7)",
            [[9u8; 16]],
        )
        .unwrap();
    }
}

static FILE: [u8; 70_000] = [5; 70_000];
const TIMINGS: Timings = Timings {
    load: 1,
    dump: 0,
    wait: 0,
    start: 0,
    executor: 0,
    manager: 0,
    node: 0,
    store: 3,
    queue: 0,
    endpoint: 2_000_000,
};

fn live_of_old() -> Vec<TaskId> {
    (0..300).filter(|n| n % 7 < 3).map(task).collect()
}

fn found(w: &World) -> Vec<TaskId> {
    w.store.recover().unwrap().tasks.iter().map(|found| found.spec.task).collect()
}

fn reopened(w: World) -> World {
    let World { _dir, paths, store, user } = w;
    drop(store);
    let store = SqliteStore::open(&paths, MEMO, Arc::new(Metrics::default())).unwrap();
    World { _dir, paths, store, user }
}

#[test]
fn an_older_database_is_brought_up_with_tasks_in_every_state() {
    let mut w = upgraded(5);
    assert!(w.paths.backups.join("bursa.schema-5.db").exists());
    let tasks = w.store.recover().unwrap().tasks;
    assert_eq!(tasks.iter().map(|found| found.spec.task).collect::<Vec<_>>(), live_of_old());
    assert_eq!((tasks[0].losses, tasks[1].losses), (1, 0));
    assert_eq!(tasks[1].spec, spec(1, b"a"));
    assert_eq!(tasks[2].spec, TaskSpec { args: Args::Stored(FILE.len()), ..spec(2, b"") });

    let container = Some(image());
    let asks = TaskSpec { container, timeout_ms: None, retry_on_error: 3, memoize: true, ..spec(7, b"a") };
    assert_eq!(tasks[3].spec, asks);

    let reader = Reader::open(&w.paths).unwrap();
    let no = w.user.no;
    for n in 0..300 {
        let row = reader.task(no, &task(n)).unwrap().unwrap();
        let state = match n % 7 {
            0..=2 => None,
            4 => Some(TaskState::Failed),
            5 => Some(TaskState::Cancelled),
            _ => Some(TaskState::Success),
        };
        assert_eq!(row.state, state, "{n}");
        assert_eq!(row.end.is_some(), state.is_some());
        if let Some(end) = row.end {
            assert_eq!(end.payload, Content::Here(Bytes::from_static(b"r")));
            assert_eq!((end.run_ns, end.starts, end.timings), (9, 1, TIMINGS));
            assert_eq!(end.output, b"o".as_slice());
            assert_eq!(end.memo, (state == Some(TaskState::Success)).then_some(Memoized::Stored));
            assert_eq!(end.failure.is_some(), state == Some(TaskState::Failed));
        }
        assert_eq!(reader.ended(no, &task(n)).unwrap(), Some(row.state.is_some()));
    }
    assert_eq!(reader.live_of_group(no, &GROUP, 1_000).unwrap().unwrap(), live_of_old());
    assert_eq!(reader.live_of_group(no, &GROUP, 4).unwrap().unwrap(), live_of_old()[..4]);
    assert_eq!(reader.args(&task(2)).unwrap(), Some(Content::File(Hash::of(&FILE))));
    let known = Answer::Accepted { known: vec![task(1), task(3)], hits: vec![] };
    assert_eq!(hub(&mut w.store, vec![accept(vec![spec(1, b"a"), spec(3, b"a")])]), [known]);
    let sequence = reader.newest(no).unwrap();
    let answers = hub(&mut w.store, vec![end(1, TaskState::Success, b"r"), end(3, TaskState::Failed, b"")]);
    let ended = Answer::AlreadyEnded { state: TaskState::Success };
    assert_eq!(answers, [Answer::Ended { sequence: sequence + 1 }, ended]);
}

#[test]
fn a_listing_by_state_tells_when_each_ended() {
    let w = upgraded(5);
    let reader = Reader::open(&w.paths).unwrap();
    let list = |state, page| {
        let filter = TaskFilter { state: Some(state), group: Some(GROUP), ..TaskFilter::default() };
        let rows = reader.tasks(w.user.no, &filter, page).unwrap();
        rows.iter().map(|row| (row_n(row.id) - 1, row.ended.map(|at| at.0))).collect::<Vec<_>>()
    };
    let first = Page { before: None, limit: 3 };
    assert_eq!(
        list(Some(TaskState::Failed), first),
        [(298, Some(2_002)), (291, Some(2_006)), (284, Some(2_010))]
    );
    let next = Page { before: Some(285), limit: 2 };
    assert_eq!(list(Some(TaskState::Cancelled), next), [(278, Some(2_013)), (271, Some(2_017))]);
    assert_eq!(list(None, first), [(296, None), (295, None), (294, None)]);
}

#[test]
fn a_start_finds_what_lives_wherever_the_mark_is() {
    let mut w = upgraded(5);
    let mark = |w: &World| live::settled(&w.store.conn, w.user.no).unwrap();
    w.store.sweep(FOREVER, Wall(3_000));
    assert_eq!(mark(&w), 0, "the first task lives");
    let others: Vec<u64> = (1..300).filter(|n| n % 7 < 3).collect();
    hub(&mut w.store, others.iter().map(|n| end(*n, TaskState::Success, b"r")).collect());
    let more = (1_000..4_000).map(|n| spec(n, b"a")).collect();
    hub(&mut w.store, vec![accept(more), end(0, TaskState::Success, b"r")]);
    let ends = (1_000..4_000)
        .filter(|n| ![2_500, 3_999].contains(n))
        .map(|n| end(n, TaskState::Success, b"r"))
        .collect();
    hub(&mut w.store, ends);
    w.store.sweep(FOREVER, Wall(3_000));
    // The 300 of before, and 1,500 of 3,000.
    assert_eq!(mark(&w), 1_800);
    let mut w = reopened(w);
    assert_eq!(found(&w), [task(2_500), task(3_999)]);
    hub(&mut w.store, vec![end(2_500, TaskState::Success, b"r"), accept(vec![spec(9_000, b"a")])]);
    w.store.sweep(FOREVER, Wall(3_000));
    assert_eq!(mark(&w), 3_299);
    assert_eq!(found(&w), [task(3_999), task(9_000)]);

    // Retention removes all that ended, blocks too; numbers within a block that is gone are given on.
    while w.store.sweep(KEEP, Wall(1 << 50)) {}
    assert_eq!((count(&w, "tasks"), count(&w, "charges")), (2, 0));
    assert_eq!(count(&w, "ends"), 1, "the block of the two");
    let mut w = reopened(w);
    hub(&mut w.store, vec![accept(vec![spec(9_001, b"a")]), end(9_000, TaskState::Success, b"r")]);
    assert_eq!(found(&w), [task(3_999), task(9_001)]);
}

const FOREVER: Retention = Retention { keep_ms: 1 << 40, per_user: u64::MAX >> 1 };

#[test]
fn what_one_transaction_ends_twice_ends_once_and_what_it_undoes_lives() {
    let mut w = world();
    let answers = hub(
        &mut w.store,
        vec![
            accept((0..4).map(|n| spec(n, b"a")).collect()),
            Op::Charge { task: task(1), losses: 1, maybes: 0, errors: 0 },
            end(1, TaskState::Failed, b""),
            end(1, TaskState::Success, b"r"),
            Op::Charge { task: task(1), losses: 2, maybes: 0, errors: 0 },
            Op::Charge { task: task(2), losses: 1, maybes: 0, errors: 0 },
            Op::Charge { task: task(2), losses: 2, maybes: 0, errors: 0 },
            Op::Charge { task: task(9), losses: 2, maybes: 0, errors: 0 },
        ],
    );
    let ended = Answer::AlreadyEnded { state: TaskState::Failed };
    let rest = [
        Answer::Done,
        Answer::Ended { sequence: 1 },
        ended.clone(),
        ended,
        Answer::Done,
        Answer::Done,
        Answer::Unknown,
    ];
    assert_eq!(answers[1..], rest);
    // One write spoils its transaction, and each is tried by itself.
    let injected = "CREATE TRIGGER injected BEFORE INSERT ON results WHEN NEW.data = x'62' BEGIN
                    SELECT RAISE(ABORT, 'injected'); END";
    w.store.conn.execute_batch(injected).unwrap();
    let ops = vec![end(0, TaskState::Success, b"b"), end(3, TaskState::Success, b"r")];
    assert!(matches!(hub(&mut w.store, ops)[..], [Answer::Refused { .. }, Answer::Ended { sequence: 2 }]));
    let w = reopened(w);
    let tasks = w.store.recover().unwrap().tasks;
    let live: Vec<_> = tasks.iter().map(|found| (found.spec.task, found.losses)).collect();
    assert_eq!(live, [(task(0), 0), (task(2), 2)]);
}
