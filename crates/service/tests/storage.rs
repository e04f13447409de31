//! A store whose disk, directory or files are not as they should be: what is said, what is kept, and that it gets well.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use support::manager::{Behave, Manager, register};
use support::socket::Socket;
use support::{Service, b64, config, id, start, try_start};

/// Above `INLINE_BYTES`: a payload file.
const LARGE: usize = 70_000;

fn health(service: &Service) -> (u16, Value) {
    let answer = service.request("GET", "/api/v1/health", &[], b"");
    (answer.status, answer.json())
}

fn task(n: u64, function: &str, endpoint: &str, args: &[u8]) -> Value {
    json!({"tasks": [{"task_id": id(n), "function_id": function, "endpoint_id": endpoint, "args": b64(args)}]})
}

/// Takes the payload files away: a disk that is not mounted. Nothing can be made in its place.
fn take_away(home: &Path) {
    fs::rename(home.join("service/payloads"), home.join("away")).unwrap();
    fs::write(home.join("service/payloads"), "").unwrap();
}

fn bring_back(home: &Path) {
    fs::remove_file(home.join("service/payloads")).unwrap();
    fs::rename(home.join("away"), home.join("service/payloads")).unwrap();
}

#[test]
fn payload_files_that_cannot_be_written_show_and_get_well_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    take_away(dir.path());
    let large = service.post("/api/v1/tasks", &task(1, &function, &endpoint.id, &[1; LARGE]));
    let (code, message) = large.error();
    assert_eq!((large.status, code.as_str()), (503, "unavailable"));
    assert!(message.contains("cannot") && message.contains("payloads"), "{message}");
    // Rows are written still, and that does not hide the trouble.
    assert_eq!(service.post("/api/v1/tasks", &task(2, &function, &endpoint.id, b"small")).status, 200);
    let (status, said) = health(&service);
    assert_eq!((status, said["status"].as_str()), (503, Some("failing")));
    assert!(said["why"].as_str().unwrap().contains("payloads"), "{said}");
    bring_back(dir.path());
    assert_eq!(health(&service), (200, json!({"status": "ok"})));
    assert_eq!(service.post("/api/v1/tasks", &task(1, &function, &endpoint.id, &[1; LARGE])).status, 200);
}

#[test]
fn arguments_that_cannot_be_read_now_cost_no_task() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let args = vec![3; LARGE];
    assert_eq!(service.post("/api/v1/tasks", &task(1, &function, &endpoint.id, &args)).status, 200);
    service.stop();
    // Accepted in an earlier life: its arguments are read back when the endpoint comes.
    let service = start(dir.path());
    take_away(dir.path());
    let manager = Manager::start(&service, &endpoint, 1, Behave::Echo);
    service.until("/api/v1/health", "/status", &json!("failing"));
    assert_eq!(service.get(&format!("/api/v1/tasks/{}", id(1))).json()["state"], "waiting-for-ep");
    bring_back(dir.path());
    let ended = service.get(&format!("/api/v1/tasks/{}?wait=10", id(1))).json();
    assert_eq!(
        (ended["state"].as_str(), ended["result"].as_str()),
        (Some("success"), Some(b64(&args).as_str()))
    );
    service.until("/api/v1/health", "/status", &json!("ok"));
    manager.stop();
}

#[test]
fn a_damaged_or_foreign_database_is_one_sentence_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("service/bursa.db");
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    for n in 1..200 {
        assert_eq!(service.post("/api/v1/tasks", &task(n, &function, &endpoint.id, &[7; 2_000])).status, 200);
    }
    service.stop();
    let good = fs::read(&database).unwrap();
    let wal = database.with_extension("db-wal");
    let refused = |what: &str, words: &[&str]| {
        let left = fs::read(&database).unwrap();
        let Err(error) = try_start(config(dir.path())) else { panic!("{what}: it started") };
        let text = error.to_string();
        let shown = database.display().to_string();
        assert!(!text.contains('\n') && text.contains(&shown), "{what}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{what}: {text}");
        assert_eq!(fs::read(&database).unwrap(), left, "{what}: it was changed");
    };
    // Without its WAL, which would hide the damage: it was brought home when the service stopped.
    fs::remove_file(&wal).unwrap();
    let spoil = |from: usize, with: &[u8]| {
        fs::write(&database, &good).unwrap();
        let mut file = OpenOptions::new().write(true).open(&database).unwrap();
        file.seek(std::io::SeekFrom::Start(from as u64)).unwrap();
        file.write_all(with).unwrap();
    };
    spoil(0, &[0xa5; 4096]);
    refused("garbage in the first page", &["not a database", "bursa restore"]);
    spoil(4096, &vec![0xa5; good.len() - 4096]);
    refused("garbage everywhere else", &["damaged", "bursa restore"]);
    fs::write(&database, &good[..good.len() / 2]).unwrap();
    refused("truncated", &["damaged", "bursa restore"]);
    fs::write(&database, "").unwrap();
    fs::write(&wal, [1; 100]).unwrap();
    refused("empty with a WAL", &["WAL", "bursa restore"]);
    fs::remove_file(&wal).unwrap();
    fs::remove_file(&database).unwrap();
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    drop(other);
    let before = rusqlite::Connection::open(&database).unwrap();
    before.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(())).unwrap();
    drop(before);
    refused("another program's database", &["not Bursa's"]);
    for suffix in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(database.with_extension(suffix));
    }
    fs::write(&database, &good).unwrap();
    let service = start(dir.path());
    assert_eq!(service.get(&format!("/api/v1/tasks/{}", id(199))).json()["state"], "waiting-for-ep");
}

#[test]
fn an_ended_task_is_kept_for_its_retention_and_then_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut brief = config(dir.path());
    brief.retention_ms = 300;
    let service = try_start(brief).unwrap();
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let manager = Manager::start(&service, &endpoint, 1, Behave::Echo);
    let path = |n| format!("/api/v1/tasks/{}", id(n));
    assert_eq!(service.post("/api/v1/tasks", &task(1, &function, &endpoint.id, &[1; LARGE])).status, 200);
    assert_eq!(service.get(&format!("{}?wait=10", path(1))).json()["state"], "success");
    service.until(&path(1), "/error/code", &json!("not-found"));
    let (_, message) = service.get(&path(1)).error();
    assert!(message.contains("service.retention_days"), "{message}");
    let left = fs::read_dir(dir.path().join("service/payloads")).unwrap();
    let files = |entry: std::io::Result<fs::DirEntry>| fs::read_dir(entry.unwrap().path()).unwrap().count();
    assert_eq!(left.map(files).sum::<usize>(), 0);
    let metrics = String::from_utf8(service.get("/metrics").body).unwrap();
    assert!(
        metrics.contains("bursa_tasks_removed_total 1") && metrics.contains("payload_files_removed_total 1")
    );
    manager.stop();
    // A task that waits is nobody's past.
    assert_eq!(service.post("/api/v1/tasks", &task(2, &function, &endpoint.id, b"live")).status, 200);
    service.until("/api/v1/health", "/status", &json!("ok"));
    assert_eq!(service.get(&path(2)).status, 200);
}

#[test]
fn a_result_whose_file_is_gone_does_not_keep_others_from_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let manager = Manager::start(&service, &endpoint, 1, Behave::Echo);
    for (n, args) in [(1, &[1; LARGE][..]), (2, b"two")] {
        let mut batch = task(n, &function, &endpoint.id, args);
        batch["group_id"] = id(0).into();
        assert_eq!(service.post("/api/v1/tasks", &batch).status, 200);
        assert_eq!(service.get(&format!("/api/v1/tasks/{}?wait=10", id(n))).json()["state"], "success");
    }
    let name = blake3::hash(&[1; LARGE]).to_string();
    fs::remove_file(dir.path().join("service/payloads").join(&name[..2]).join(&name)).unwrap();
    let mut socket = Socket::open(&service);
    socket.welcome();
    socket.subscribe(&[id(0).parse().unwrap()], Some(0));
    let (results, _) = socket.results(2);
    let said: Vec<_> = results.iter().map(|(_, state, data)| (*state, data.as_slice())).collect();
    assert_eq!(said, [(1, &b""[..]), (0, b"two")]);
    manager.stop();
}
