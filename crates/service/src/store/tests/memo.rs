//! Memoized results: who gets them, what they share, when they go.

use super::*;

const LAB: EndpointId = EndpointId::from_bytes([4; 16]);
static LARGE: [u8; 70_000] = [6; 70_000];

/// A world whose endpoint is known, and was seen with this Python.
fn lab() -> World {
    let mut w = world();
    endpoint(&mut w, LAB);
    w
}

fn endpoint(w: &mut World, endpoint: EndpointId) {
    let change = Change::AddEndpoint {
        endpoint,
        user_no: w.user.no,
        name: "lab".into(),
        description: String::new(),
        public_key: endpoint.to_string(),
        now: Wall(1),
    };
    registry(&mut w.store, change);
    seen(w, endpoint, 1, "3.12");
}

fn seen(w: &mut World, endpoint: EndpointId, generation: u64, python: &str) {
    hub(&mut w.store, vec![Op::Generation { endpoint, generation, python: python.into(), guests: false }]);
}

fn memo(n: u64, args: &'static [u8]) -> TaskSpec {
    TaskSpec { memoize: true, ..spec(n, args) }
}

/// Accepts the task and ends it so.
fn run(w: &mut World, spec: TaskSpec, state: TaskState, payload: &[u8]) {
    let Op::End { task, user, ending } = end(0, state, payload) else { panic!() };
    let end = Op::End { task: spec.task, user, ending: Ending { ended: spec.submitted, ..ending } };
    assert_eq!(task, super::task(0));
    hub(&mut w.store, vec![accept(vec![spec]), end]);
}

/// The tasks of this submit that end at once.
fn hits(w: &mut World, tasks: Vec<TaskSpec>) -> Vec<TaskId> {
    match hub(&mut w.store, vec![accept(tasks)]).pop() {
        Some(Answer::Accepted { hits, .. }) => hits,
        other => panic!("{other:?}"),
    }
}

fn reader(w: &World) -> Reader {
    Reader::open(&w.paths).unwrap()
}

fn record(w: &World, n: u64) -> (Option<TaskState>, EndRow) {
    let row = reader(w).task(w.user.no, &task(n)).unwrap().unwrap();
    (row.state, row.end.unwrap())
}

fn sums(w: &World) -> MemoSums {
    reader(w).memo_sums(w.user.no).unwrap()
}

#[test]
fn an_equal_call_ends_as_it_is_accepted_with_the_earlier_result_and_a_number_of_its_own() {
    let mut w = lab();
    run(&mut w, memo(1, b"a"), TaskState::Success, b"one");
    assert_eq!(record(&w, 1).1.memo, Some(Memoized::Stored));
    let answers = hub(
        &mut w.store,
        vec![
            accept(vec![memo(2, b"a"), spec(3, b"a"), memo(4, b"b"), memo(5, b"a")]),
            end(3, TaskState::Success, b"three"),
        ],
    );
    let accepted = Answer::Accepted { known: vec![], hits: vec![task(2), task(5)] };
    assert_eq!(answers, [accepted, Answer::Ended { sequence: 4 }]);

    let (state, end) = record(&w, 5);
    assert_eq!((state, end.memo), (Some(TaskState::Success), Some(Memoized::Hit)));
    assert_eq!(end.payload, Content::Here(Bytes::from_static(b"one")));
    assert_eq!((end.starts, end.run_ns, end.output.len(), end.ended), (0, 0, 0, Wall(1_000)));
    assert_eq!(record(&w, 3).1.memo, None);
    let slice = reader(&w).results(w.user.no, 0, ALL, |_, _| true).unwrap();
    let read: Vec<_> = slice.rows.iter().map(|row| (row.task, row.memo)).collect();
    let (stored, hit) = (Some(Memoized::Stored), Some(Memoized::Hit));
    assert_eq!(read, [(task(1), stored), (task(2), hit), (task(5), hit), (task(3), None)]);
    assert_eq!(reader(&w).live_of_group(w.user.no, &GROUP, 10).unwrap().unwrap(), [task(4)]);
    assert_eq!(sums(&w), MemoSums { entries: 1, bytes: 256 + 3, hits: 2 });

    // A start finds what is live, with its part in memoization, and numbers go on.
    drop(w.store);
    w.store = SqliteStore::open(&w.paths, MEMO, Arc::new(Metrics::default())).unwrap();
    let tasks = w.store.recover().unwrap().tasks;
    assert_eq!(tasks.into_iter().map(|task| task.spec).collect::<Vec<_>>(), [memo(4, b"b")]);
    assert_eq!(hits(&mut w, vec![memo(6, b"a")]), [task(6)]);
    assert_eq!(
        hub(&mut w.store, vec![super::end(4, TaskState::Success, b"")]),
        [Answer::Ended { sequence: 6 }]
    );
}

#[test]
fn only_an_equal_call_of_the_same_user_is_equal() {
    let mut w = lab();
    let far = EndpointId::from_bytes([5; 16]);
    endpoint(&mut w, far);
    w.store.create_user([2; 16], "other", Wall(5)).unwrap();
    run(&mut w, memo(1, b"a"), TaskState::Success, b"one");
    let other =
        TaskSpec { user: UserId::from_bytes([2; 16]), group: GroupId::from_bytes([8; 16]), ..memo(2, b"a") };
    assert!(hits(&mut w, vec![other]).is_empty(), "another user");
    for unlike in [
        memo(3, b"b"),
        TaskSpec { hash: Hash::of(b"other body"), ..memo(4, b"a") },
        TaskSpec { endpoint: far, ..memo(5, b"a") },
        TaskSpec { container: Some(image()), ..memo(6, b"a") },
        spec(7, b"a"),
    ] {
        assert!(hits(&mut w, vec![unlike.clone()]).is_empty(), "{unlike:?}");
    }
    // The body counts, not the id of the function; options do not count.
    let same = TaskSpec {
        function: FunctionId::from_bytes([99; 16]),
        retries: 0,
        timeout_ms: None,
        ..memo(8, b"a")
    };
    assert_eq!(hits(&mut w, vec![same]), [task(8)]);
}

#[test]
fn only_successes_are_kept() {
    let mut w = lab();
    for (n, state) in [(1, TaskState::Failed), (2, TaskState::Cancelled)] {
        run(&mut w, memo(n, b"a"), state, b"no");
        assert_eq!(record(&w, n).1.memo, None);
    }
    run(&mut w, spec(3, b"a"), TaskState::Success, b"not asked for");
    assert!(hits(&mut w, vec![memo(4, b"a")]).is_empty());
    assert_eq!(sums(&w), MemoSums::default());
}

#[test]
fn equal_calls_in_flight_all_run_and_the_last_result_stays() {
    let mut w = lab();
    assert!(hits(&mut w, vec![memo(1, b"a"), memo(2, b"a")]).is_empty());
    hub(&mut w.store, vec![end(1, TaskState::Success, b"one"), end(2, TaskState::Success, b"other")]);
    assert_eq!(hits(&mut w, vec![memo(3, b"a")]), [task(3)]);
    assert_eq!(record(&w, 3).1.payload, Content::Here(Bytes::from_static(b"other")));
    assert_eq!(sums(&w), MemoSums { entries: 1, bytes: 256 + 5, hits: 1 });
}

#[test]
fn a_result_of_another_python_is_none() {
    let mut w = lab();
    run(&mut w, memo(1, b"a"), TaskState::Success, b"one");
    seen(&mut w, LAB, 2, "3.13");
    seen(&mut w, LAB, 1, "3.12");
    assert!(hits(&mut w, vec![memo(2, b"a")]).is_empty(), "an old generation's word does not count");
    hub(&mut w.store, vec![end(2, TaskState::Success, b"two")]);
    assert_eq!(hits(&mut w, vec![memo(3, b"a")]), [task(3)]);
    assert_eq!(record(&w, 3).1.payload, Content::Here(Bytes::from_static(b"two")));
    assert_eq!(sums(&w).entries, 1, "it took the place of the other");
    // Also among writes of one transaction.
    let python = "3.14".to_owned();
    let ops = vec![
        accept(vec![memo(4, b"a")]),
        Op::Generation { endpoint: LAB, generation: 3, python, guests: false },
        accept(vec![memo(5, b"a")]),
    ];
    let answers = hub(&mut w.store, ops);
    assert_eq!(answers[0], Answer::Accepted { known: vec![], hits: vec![task(4)] });
    assert_eq!(answers[2], Answer::Accepted { known: vec![], hits: vec![] });
}

#[test]
fn the_same_submit_is_known_and_another_wish_is_a_conflict() {
    let mut w = lab();
    run(&mut w, memo(1, b"a"), TaskState::Success, b"one");
    assert_eq!(hits(&mut w, vec![memo(2, b"a")]), [task(2)]);
    let again = hub(&mut w.store, vec![accept(vec![memo(2, b"a"), memo(3, b"a")])]);
    assert_eq!(again, [Answer::Accepted { known: vec![task(2)], hits: vec![task(3)] }]);
    let other = hub(&mut w.store, vec![accept(vec![memo(4, b"a"), spec(2, b"a")])]);
    assert_eq!(other, [Answer::Conflict { task: task(2) }]);
    assert_eq!(sums(&w).hits, 2, "nothing of what was rolled back");
    let next = hub(&mut w.store, vec![accept(vec![spec(5, b"")]), end(5, TaskState::Success, b"")]);
    assert_eq!(next[1], Answer::Ended { sequence: 4 });
}

#[test]
fn what_is_too_old_or_too_much_goes_what_was_not_used_for_longest_first() {
    let mut w = lab();
    let at = |spec: TaskSpec, ms| TaskSpec { submitted: Wall(ms), deadline: Wall(ms + 999_000), ..spec };
    let hour = limits_ms();
    w.store.memo = MemoLimits { keep_ms: 10 * hour, per_user: 3 * 300 };
    static ARGS: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
    for (n, args) in (0..).zip(ARGS) {
        run(&mut w, at(memo(n, args), 1_000 + n), TaskState::Success, &[7; 44]);
    }
    // A hit soon after is not written down, one after an hour is.
    assert_eq!(hits(&mut w, vec![at(memo(10, b"b"), 2_000)]), [task(10)]);
    assert_eq!(hits(&mut w, vec![at(memo(11, b"a"), 2_000 + hour)]), [task(11)]);
    let keep = Retention { keep_ms: 1 << 40, per_user: u64::MAX >> 1 };
    w.store.sweep(keep, Wall(2_000 + hour));
    assert_eq!(sums(&w), MemoSums { entries: 3, bytes: 900, hits: 2 });
    assert!(hits(&mut w, vec![at(memo(12, b"b"), 3_000 + hour)]).is_empty(), "the one that was not used");
    let left = vec![at(memo(13, b"a"), 3_000 + hour), at(memo(14, b"c"), 3_000 + hour)];
    assert_eq!(hits(&mut w, left).len(), 2);

    // Too old is too old, also before the sweep comes, and however much it is used.
    let late = 1_001 + 10 * hour;
    assert!(hits(&mut w, vec![at(memo(15, b"a"), late)]).is_empty());
    w.store.sweep(keep, Wall(20 * hour));
    assert_eq!(sums(&w), MemoSums { entries: 0, bytes: 0, hits: 4 });
}

fn limits_ms() -> u64 {
    bursa_core::limits::MEMO_USED_MS.cast_unsigned()
}

#[test]
fn what_would_fill_the_memo_is_not_kept() {
    let mut w = lab();
    w.store.memo.per_user = 1_000;
    run(&mut w, memo(1, b"a"), TaskState::Success, &[7; 745]);
    assert_eq!((record(&w, 1).1.memo, sums(&w).entries), (None, 0), "larger than all of it");
    static ARGS: [&[u8]; 5] = [b"0", b"1", b"2", b"3", b"4"];
    for (n, args) in (2..).zip(ARGS) {
        run(&mut w, memo(n, args), TaskState::Success, &[7; 544]);
    }
    assert_eq!(sums(&w).entries, 3, "beyond twice the bound the sweep comes first");
    w.store.sweep(KEEP, Wall(1_000));
    assert_eq!(sums(&w).entries, 1);
}

#[test]
fn a_large_result_is_one_file_for_all_who_have_it() {
    let mut w = lab();
    run(&mut w, memo(1, b"a"), TaskState::Success, &LARGE);
    let hash = Hash::of(&LARGE);
    let named = |w: &World| copy::snapshot(&w.paths, &w.paths.database.with_extension("copy")).unwrap();
    // The task that made it goes; the memo still has it, and so has a backup.
    w.store.sweep(Retention { keep_ms: 1, ..KEEP }, Wall(5_000));
    assert_eq!((count(&w, "tasks"), files(&w)), (0, 1));
    assert_eq!(named(&w), [hash]);
    assert_eq!(hits(&mut w, vec![memo(2, b"a")]), [task(2)]);
    assert_eq!(record(&w, 2).1.payload, Content::File(hash));
    // The memo forgets it; the task that had it still has it. Then that one goes, too.
    clear(&mut w, MemoFilter::default());
    w.store.sweep(Retention { keep_ms: 1 << 40, ..KEEP }, Wall(5_000));
    assert_eq!(files(&w), 1);
    w.store.sweep(Retention { keep_ms: 1, ..KEEP }, Wall(5_000));
    assert_eq!(files(&w), 0);
}

#[test]
fn a_forgotten_results_file_goes_in_the_next_sweep_and_one_that_is_lost_is_no_hit() {
    let mut w = lab();
    run(&mut w, memo(1, b"a"), TaskState::Success, &LARGE);
    w.store.sweep(Retention { keep_ms: 1, ..KEEP }, Wall(5_000));
    clear(&mut w, MemoFilter::default());
    assert_eq!(files(&w), 1);
    w.store.sweep(KEEP, Wall(5_000));
    assert_eq!(files(&w), 0);

    run(&mut w, memo(2, b"a"), TaskState::Success, &LARGE);
    let name = Hash::of(&LARGE).to_string();
    std::fs::remove_file(w.paths.payloads.join(&name[..2]).join(name)).unwrap();
    assert!(hits(&mut w, vec![memo(3, b"a")]).is_empty(), "the call runs again");
    hub(&mut w.store, vec![end(3, TaskState::Success, &LARGE)]);
    assert_eq!(hits(&mut w, vec![memo(4, b"a")]), [task(4)]);
}

/// Clears as the API does; how many went.
fn clear(w: &mut World, filter: MemoFilter) -> usize {
    let ids = reader(w).memo_ids(w.user.no, &filter, -1, 100).unwrap();
    match registry(&mut w.store, Change::ClearMemo { ids }) {
        Changed::Removed(count) => count,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clearing_takes_what_it_names_and_keeps_the_sums_right() {
    let mut w = lab();
    let far = EndpointId::from_bytes([5; 16]);
    endpoint(&mut w, far);
    run(&mut w, memo(1, b"a"), TaskState::Success, b"1");
    run(&mut w, memo(2, b"b"), TaskState::Success, b"2");
    run(&mut w, TaskSpec { endpoint: far, ..memo(3, b"a") }, TaskState::Success, b"3");
    assert_eq!(clear(&mut w, MemoFilter { function: Some(Hash::of(b"none")), endpoint: None }), 0);
    assert_eq!(clear(&mut w, MemoFilter { function: Some(Hash::of(b"body")), endpoint: Some(far) }), 1);
    assert!(hits(&mut w, vec![TaskSpec { endpoint: far, ..memo(4, b"a") }]).is_empty());
    assert_eq!(hits(&mut w, vec![memo(5, b"a"), memo(6, b"b")]).len(), 2);
    assert_eq!(sums(&w), MemoSums { entries: 2, bytes: 2 * 257, hits: 2 });
    let ids = reader(&w).memo_ids(w.user.no, &MemoFilter::default(), -1, 1).unwrap();
    assert_eq!(reader(&w).memo_ids(w.user.no, &MemoFilter::default(), ids[0], 9).unwrap().len(), 1, "pages");
    assert_eq!(clear(&mut w, MemoFilter::default()), 2);
    assert_eq!(sums(&w), MemoSums { entries: 0, bytes: 0, hits: 2 });
}

#[test]
fn a_call_whose_function_or_endpoint_was_deleted_leaves_nothing() {
    let mut w = lab();
    hub(&mut w.store, vec![accept(vec![memo(1, b"a")])]);
    let delete = Change::DeleteFunction { function: FunctionId::from_bytes([3; 16]), user_no: w.user.no };
    registry(&mut w.store, delete);
    assert!(!reader(&w).has_body(w.user.no, &Hash::of(b"body")).unwrap());
    hub(&mut w.store, vec![end(1, TaskState::Success, b"one")]);
    assert_eq!((record(&w, 1).1.memo, sums(&w).entries), (None, 0));

    let mut w = lab();
    hub(&mut w.store, vec![accept(vec![memo(1, b"a")]), Op::DeleteEndpoint { endpoint: LAB }]);
    hub(&mut w.store, vec![end(1, TaskState::Success, b"one")]);
    assert_eq!((record(&w, 1).1.memo, sums(&w).entries), (None, 0));
}

#[test]
fn one_submit_takes_so_many_bytes_of_results_into_rows_and_no_more() {
    let mut w = lab();
    static ROW: [u8; bursa_core::limits::INLINE_BYTES] = [7; bursa_core::limits::INLINE_BYTES];
    run(&mut w, memo(0, b"a"), TaskState::Success, &ROW);
    let most = bursa_core::limits::MEMO_HIT_BYTES / ROW.len() + 1;
    let tasks = (1..=most as u64 + 3).map(|n| memo(n, b"a")).collect();
    assert_eq!(hits(&mut w, tasks).len(), most);
}
