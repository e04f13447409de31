//! Backup and restore: online, whole or refused, and numbers that are never given twice.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bursa_core::wire::Item;
use bursa_service::{Error, backup, restore};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use support::manager::{Behave, Endpoint, Manager, register};
use support::{Service, b64, id, start};

static LARGE: [u8; 70_000] = [3; 70_000];

fn submit(service: &Service, n: u64, function: &str, endpoint: &Endpoint, args: &[u8]) -> u16 {
    let task =
        json!({"task_id": id(n), "function_id": function, "endpoint_id": endpoint.id, "args": b64(args)});
    service.post("/api/v1/tasks", &json!({"tasks": [task]})).status
}

fn ended(service: &Service, n: u64) -> Value {
    service.get(&format!("/api/v1/tasks/{}?wait=10", id(n))).json()
}

fn epoch(manager: &Manager) -> u64 {
    match manager.hear(|item| matches!(item, Item::Welcome { .. })) {
        Item::Welcome { epoch, .. } => epoch,
        _ => unreachable!(),
    }
}

fn refused(home: &Path, file: &Path, force: bool) -> String {
    let text = restore(home, file, force).unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn what_was_accepted_before_a_backup_ends_after_its_restore() {
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = (dir.path().join("home"), dir.path().join("saved"));
    let service = start(&home);
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let manager = Manager::start(&service, &endpoint, 1, Behave::Echo);
    assert_eq!(submit(&service, 1, &function, &endpoint, b"one"), 200);
    assert_eq!(submit(&service, 2, &function, &endpoint, &LARGE), 200);
    assert_eq!(
        (ended(&service, 1)["result"].clone(), ended(&service, 2)["result"].clone()),
        (b64(b"one").into(), b64(&LARGE).into())
    );
    manager.stop();
    assert_eq!(submit(&service, 3, &function, &endpoint, &[4; 70_000]), 200);

    let saved = backup(&home, &file).unwrap();
    assert_eq!((saved.payload_files, fs::metadata(&file).unwrap().len()), (2, saved.bytes));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    assert!(matches!(restore(&home, &file, true), Err(Error::Locked { .. })), "it runs");

    // Life goes on: what follows is not in the backup.
    let manager = Manager::start(&service, &endpoint, 2, Behave::Echo);
    let before = epoch(&manager);
    assert_eq!(ended(&service, 3)["state"], "success");
    assert_eq!(submit(&service, 4, &function, &endpoint, b"four"), 200);
    assert_eq!(ended(&service, 4)["state"], "success");
    manager.stop();
    let key = service.ready.service_key.clone();
    service.stop();

    let text = refused(&home, &file, false);
    assert!(text.contains("--force"), "{text}");
    let restored = restore(&home, &file, true).unwrap();
    assert_eq!(restored.payload_files, 2);
    assert!(restored.aside.unwrap().join("bursa.db").exists(), "what was there is kept");
    assert!(u64::from(restored.epoch) > before, "F14");
    let service = start(&home);
    assert_eq!(service.ready.service_key, key);
    assert_eq!(ended(&service, 2)["result"], b64(&LARGE));
    assert_eq!(service.get(&format!("/api/v1/tasks/{}", id(3))).json()["state"], "waiting-for-ep");
    assert_eq!(service.get(&format!("/api/v1/tasks/{}", id(4))).status, 404);
    let manager = Manager::start(&service, &endpoint, 3, Behave::Echo);
    assert_eq!(epoch(&manager), u64::from(restored.epoch) + 1);
    assert_eq!(ended(&service, 3)["result"], b64(&[4; 70_000]));
    // A stream that had seen four results before the restore has not seen this one.
    let db = rusqlite::Connection::open(home.join("service/bursa.db")).unwrap();
    let newest: i64 =
        db.query_row("SELECT max(id) & ((1 << 40) - 1) FROM results", [], |row| row.get(0)).unwrap();
    assert!(newest > 1 << 32, "{newest}");
    manager.stop();

    // The same backup again, and into an empty home: numbers go on.
    service.stop();
    let again = restore(&home, &file, true).unwrap();
    assert!(again.epoch > restored.epoch);
    let elsewhere = restore(&dir.path().join("other"), &file, false).unwrap();
    assert_eq!((elsewhere.aside, elsewhere.payload_files), (None, 2));
    let service = start(&dir.path().join("other"));
    assert_eq!(ended(&service, 1)["result"], b64(b"one"));
}

#[test]
fn a_backup_takes_the_place_of_an_older_one_and_of_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = (dir.path().join("home"), dir.path().join("saved"));
    let _service = start(&home);
    let there = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (thesis, link) = (there("thesis.tex", "years of work"), dir.path().join("link"));
    std::os::unix::fs::symlink(&thesis, &link).unwrap();
    let own = home.join("service/bursa.db");
    let before = fs::metadata(&own).unwrap().len();
    for (target, why) in [
        (&own, "among the service's own files"),
        (&home.join("service/saved.tar"), "among the service's own files"),
        (&home.join("../home/service/saved.tar"), "among the service's own files"),
        (&thesis, "no backup of Bursa"),
        (&link, "no regular file"),
        (&dir.path().to_owned(), "no regular file"),
        (&"/dev/full".into(), "no regular file"),
        (&dir.path().join("nowhere/saved.tar"), "cannot write the backup into"),
    ] {
        let text = backup(&home, target).unwrap_err().to_string();
        assert!(text.contains(why), "{}: {text}", target.display());
    }
    assert_eq!(fs::read(&thesis).unwrap(), b"years of work");
    assert!(fs::metadata(&own).unwrap().len() >= before && !home.join("service/saved.tar").exists());
    backup(&home, &file).unwrap();
    backup(&home, &file).unwrap();
    backup(&home, &there("empty", "")).unwrap();
}

#[test]
fn a_file_that_is_no_whole_backup_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = (dir.path().join("home"), dir.path().join("saved"));
    let text = backup(&home, &file).unwrap_err().to_string();
    assert!(text.starts_with("there is nothing to back up"), "{text}");
    let service = start(&home);
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    assert_eq!(submit(&service, 1, &function, &endpoint, &LARGE), 200);
    backup(&home, &file).unwrap();
    service.stop();
    let whole = fs::read(&file).unwrap();
    let database = fs::read(home.join("service/bursa.db")).unwrap();
    let mut spoiled = whole.clone();
    spoiled[1_000] ^= 1;
    let last = whole.len() - 8_192;
    let mut garbage = whole.clone();
    garbage[last - 40_000..last].fill(0xa5);
    let mut changed = whole.clone();
    changed[last - 30_000] ^= 1;
    for (what, bytes) in [
        ("one other bit in the database", &changed[..]),
        ("cut in the first file", &whole[..5_000]),
        ("cut behind the payloads", &whole[..70_656]),
        ("cut in the database", &whole[..whole.len() - 20_000]),
        ("another payload", &spoiled),
        ("a damaged database", &garbage),
        ("something else", b"hello".repeat(1_000).as_slice()),
        ("nothing", b""),
    ] {
        fs::write(&file, bytes).unwrap();
        let text = refused(&home, &file, true);
        assert!(text.contains("backup"), "{what}: {text}");
        assert_eq!(fs::read(home.join("service/bursa.db")).unwrap(), database, "{what}");
    }
    let service = start(&home);
    assert_eq!(service.get(&format!("/api/v1/tasks/{}", id(1))).json()["state"], "waiting-for-ep");
    service.stop();
    // A restore that was interrupted in the middle of its swap.
    fs::create_dir(home.join("service/restoring")).unwrap();
    let text = support::try_start(support::config(&home)).err().unwrap().to_string();
    assert!(text.contains("a restore did not finish"), "{text}");
    fs::write(&file, &whole).unwrap();
    restore(&home, &file, true).unwrap();
    start(&home);
}
