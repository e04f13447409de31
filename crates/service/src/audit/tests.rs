use super::line::Entry;
use super::log::{Log, files};
use super::*;
use crate::store::UserRow;
use bursa_core::id::UserId;
use bursa_core::time::Wall;
use std::fs;

const BYTES: u64 = 1 << 30;

fn entry(object: &str) -> Entry {
    Entry {
        user: Some((ada(), Some([9; 16]))),
        from: Some([127, 0, 0, 1].into()),
        object: Some(object.to_owned()),
        status: 200,
        ..Entry::now("DELETE /api/v1/functions/{id}")
    }
}

fn ada() -> Arc<UserRow> {
    Arc::new(UserRow {
        no: 1,
        user: UserId::from_bytes([7; 16]),
        name: "ada \"the first\"\n".to_owned(),
        admin: false,
        active: true,
        service: false,
        created: Wall(0),
        groups: Vec::new(),
    })
}

/// A log of ten lines in the home `root`.
fn written(root: &Path) -> PathBuf {
    let directory = root.join("service/audit");
    let mut log = Log::open(&directory, BYTES).unwrap();
    for n in 0..5 {
        log.append(&[entry(&format!("a{n}")), entry(&format!("b{n}"))], 0).unwrap();
    }
    directory
}

fn only_file(directory: &Path) -> PathBuf {
    let files = files(directory).unwrap();
    assert_eq!(files.len(), 1);
    files[0].clone()
}

#[test]
fn a_log_holds_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let directory = written(dir.path());
    let metrics = Arc::<Metrics>::default();
    let audit = Audit::open(&directory, BYTES, Arc::clone(&metrics)).unwrap();
    for n in 0..1_000 {
        audit.record(entry(&format!("c{n}")));
    }
    audit.finish();
    let verified = verify(dir.path()).unwrap();
    assert_eq!((verified.lines, verified.first, verified.last), (1_010, 1, 1_010));
    let wanted = |object: &str| Wanted { object: Some(object.to_owned()), limit: 10, ..Wanted::default() };
    let found = search(&directory, &wanted("c77")).unwrap();
    assert_eq!((found.len(), &found[0]["n"], &found[0]["status"]), (1, &88.into(), &200.into()));
    assert!(search(&directory, &wanted("nothing")).unwrap().is_empty());
    let by = |user: &str, after| Wanted { user: Some(user.to_owned()), limit: 3, after, ..Wanted::default() };
    let id = UserId::from_bytes([7; 16]).to_string();
    assert_eq!(search(&directory, &by(&id, 1_000)).unwrap()[2]["n"], 1_003);
    assert!(search(&directory, &by("ada", 0)).unwrap().is_empty(), "a part of a name is no name");
}

#[test]
fn what_was_tampered_with_is_found() {
    type Change = fn(Vec<String>) -> Vec<String>;
    let changes: [(&str, Change); 6] = [
        ("edited", |mut lines| {
            lines[4] = lines[4].replace("DELETE", "GET   ");
            lines
        }),
        ("removed", |mut lines| {
            lines.remove(4);
            lines
        }),
        ("moved", |mut lines| {
            lines.swap(4, 5);
            lines
        }),
        ("added", |mut lines| {
            lines.insert(4, lines[3].clone());
            lines
        }),
        ("cut", |mut lines| {
            lines.truncate(7);
            lines
        }),
        ("emptied", |_| Vec::new()),
    ];
    for (what, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        let path = only_file(&written(dir.path()));
        assert_eq!(verify(dir.path()).unwrap().lines, 10);
        let lines = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        let changed: String = change(lines).iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, changed).unwrap();
        let error = verify(dir.path()).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{what}: {error}");
        // The service goes on, and does not hide it.
        let mut log = Log::open(&dir.path().join("service/audit"), BYTES).unwrap();
        log.append(&[entry("later")], 0).unwrap();
        assert!(verify(dir.path()).is_err(), "{what}, then more was written");
    }
}

#[test]
fn a_line_half_written_when_the_power_went_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let directory = written(dir.path());
    let path = only_file(&directory);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{}", &whole[..50])).unwrap();
    assert_eq!(verify(dir.path()).unwrap().last, 10);
    Log::open(&directory, BYTES).unwrap().append(&[entry("x")], 0).unwrap();
    assert_eq!(verify(dir.path()).unwrap().last, 11);
}

#[test]
fn it_begins_new_files_and_its_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("service/audit");
    let bytes = 20_000;
    let mut log = Log::open(&directory, bytes).unwrap();
    for n in 0..200 {
        log.append(&[entry(&n.to_string())], 0).unwrap();
    }
    drop(log);
    let size: u64 = files(&directory).unwrap().iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(size <= bytes && files(&directory).unwrap().len() > 1, "{size}");
    let verified = verify(dir.path()).unwrap();
    assert!(verified.first > 1 && verified.last == 200 && verified.lines == 201 - verified.first);
    Log::open(&directory, bytes).unwrap().append(&[entry("y")], 0).unwrap();
    assert_eq!(verify(dir.path()).unwrap().last, 201);
    fs::remove_file(&files(&directory).unwrap()[0]).unwrap();
    let rest = files(&directory).unwrap();
    if let [_, middle, _, ..] = rest.as_slice() {
        fs::remove_file(middle).unwrap();
        assert!(verify(dir.path()).is_err(), "a file in the middle is gone");
    }
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_what_was_lost_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("service/audit");
    let metrics = Arc::<Metrics>::default();
    let mut log = Log::open(&directory, BYTES).unwrap();
    log.fail(true);
    let shared = Arc::<Shared>::default();
    let (queue, told) = (Arc::clone(&shared), Arc::clone(&metrics));
    let writer = std::thread::spawn(move || {
        write(&mut log, &[entry("x")], 0, &queue, &told);
        log
    });
    while metrics.troubles.why().is_none() {
        std::thread::yield_now();
    }
    assert!(metrics.troubles.why().unwrap().starts_with("the audit log cannot be written"));
    shared.lock().over = true;
    shared.changed.notify_all();
    let mut log = writer.join().unwrap();
    log.fail(false);
    write(&mut log, &[entry("y")], 3, &shared, &metrics);
    assert_eq!(metrics.troubles.why(), None);
    let found =
        search(&directory, &Wanted { action: Some("lost".to_owned()), limit: 9, ..Wanted::default() });
    assert_eq!(found.unwrap()[0]["object"], "3");
    assert_eq!(verify(dir.path()).unwrap().last, 2);
}
