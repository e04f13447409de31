//! The endpoint's directory: files, modes, lock, generation, hints.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bursa_core::id::{EndpointId, ExecutorId};
use bursa_endpoint::home::{self, Error, ManagerAddress, Registration};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn registered(home: &Path) -> home::EndpointDir {
    let dir = home::create(home, "lab").unwrap();
    let registration = Registration {
        endpoint_id: EndpointId::from_bytes([7; 16]),
        name: "lab".into(),
        zmq: "127.0.0.1:55001".into(),
        service_key: dir.keys().unwrap().public,
        owner: None,
    };
    dir.register(&registration).unwrap();
    assert_eq!(dir.registration().unwrap(), registration);
    dir
}

#[test]
fn an_endpoint_is_made_once_private_and_listed() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join("bursa");
    assert!(home::list(&home).unwrap().is_empty());
    assert!(matches!(home::load(&home, "lab"), Err(Error::Missing { .. })));
    let unfinished = home::create(&home, "lab").unwrap().keys().unwrap().public;
    assert!(home::list(&home).unwrap().is_empty(), "not registered yet");
    let dir = registered(&home);
    assert_eq!(dir.keys().unwrap().public, unfinished, "the key of the first try is used again");
    assert_eq!(home::list(&home).unwrap(), ["lab"]);
    assert!(matches!(home::create(&home, "lab"), Err(Error::Exists { .. })));
    for path in [&home, dir.path(), &dir.path().join("executors"), &home.join("logs")] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    assert_eq!(mode(&dir.path().join("curve.key")), 0o600);
    assert_eq!(mode(&dir.path().join("endpoint.json")), 0o600);
    for name in ["", "../up", ".hidden", "a b", "a/b", &"x".repeat(65)] {
        assert!(matches!(home::create(&home, name), Err(Error::Name(_))), "{name}");
    }
    dir.remove().unwrap();
    assert!(home::list(&home).unwrap().is_empty());
}

#[test]
fn the_second_start_is_refused_and_told_who_runs() {
    let home = tempfile::tempdir().unwrap();
    let dir = registered(home.path());
    assert!(dir.owner().unwrap().is_none());
    let lock = dir.lock().unwrap();
    let text = dir.lock().unwrap_err().to_string();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert!(text.contains(&format!("process {} on node {host} since 2", std::process::id())), "{text}");
    assert_eq!(dir.owner().unwrap().unwrap().pid().cast_unsigned(), std::process::id());
    drop(lock);
    assert!(dir.owner().unwrap().is_none());
    drop(dir.lock().unwrap());
}

/// The lease of a manager on another node.
fn foreign_lease(counter: u64) -> String {
    let owner = r#"{"host":"login2.elsewhere","watchdog":12,"since":"yesterday","process":{"pid":34,"start":1,"boot":"b"},"token":"t"}"#;
    format!("{owner}\n{counter:020}\n")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn another_nodes_manager_is_waited_for_and_then_taken_over() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let home = tempfile::tempdir().unwrap();
    let dir = registered(home.path());
    let lease = dir.path().join("lease");
    fs::write(&lease, foreign_lease(7)).unwrap();
    let text = dir.lock().unwrap_err().to_string();
    assert!(text.contains("already run by process 12 on node login2.elsewhere since yesterday"), "{text}");
    assert!(!dir.owner().unwrap().unwrap().is_here());
    let mut told = Vec::new();
    let start = Instant::now();
    let lock =
        block_on(dir.acquire(PATIENCE, |owner, left| told.push((owner.unwrap().pid(), left)))).unwrap();
    assert!(start.elapsed() >= PATIENCE);
    assert_eq!(told, [(34, PATIENCE)]);
    assert!(dir.owner().unwrap().unwrap().is_here());
    // Kept, it changes; it is gone with its holder.
    let before = fs::read_to_string(&lease).unwrap();
    let kept = async { tokio::time::timeout(PATIENCE, lock.keep(PATIENCE)).await };
    assert!(block_on(kept).is_err(), "nobody took it");
    assert_ne!(fs::read_to_string(&lease).unwrap(), before);
    drop(lock);
    assert!(!lease.exists());
}

#[test]
fn a_manager_that_was_taken_over_learns_it_and_leaves_the_other_alone() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let home = tempfile::tempdir().unwrap();
    let dir = registered(home.path());
    let lease = dir.path().join("lease");
    let lock = block_on(dir.acquire(PATIENCE, |_, _| panic!("nothing to wait for"))).unwrap();
    fs::write(&lease, foreign_lease(0)).unwrap();
    let text = block_on(async { tokio::time::timeout(Duration::from_secs(20), lock.keep(PATIENCE)).await });
    let text = text.unwrap().to_string();
    assert!(text.contains("was taken over by process 12 on node login2.elsewhere"), "{text}");
    drop(lock);
    assert_eq!(fs::read_to_string(&lease).unwrap(), foreign_lease(0));
}

#[test]
fn another_nodes_manager_that_lives_keeps_the_endpoint() {
    let home = tempfile::tempdir().unwrap();
    let dir = registered(home.path());
    let lease = dir.path().join("lease");
    fs::write(&lease, foreign_lease(7)).unwrap();
    let raise = |_: Option<&home::Owner>, _| fs::write(&lease, foreign_lease(8)).unwrap();
    let refused = block_on(dir.acquire(Duration::from_secs(100), raise)).unwrap_err();
    assert!(matches!(refused, Error::Locked { owner: Some(_), .. }), "{refused}");
    assert_eq!(fs::read_to_string(&lease).unwrap(), foreign_lease(8));
}

#[test]
fn generations_only_rise_and_damage_is_named() {
    let home = tempfile::tempdir().unwrap();
    let dir = registered(home.path());
    let lock = dir.lock().unwrap();
    assert_eq!(dir.raise_generation(&lock, 0).unwrap(), 1);
    assert_eq!(dir.raise_generation(&lock, 0).unwrap(), 2);
    assert_eq!(dir.raise_generation(&lock, 40).unwrap(), 41);
    assert_eq!(dir.generation().unwrap(), 41);
    fs::write(dir.path().join("generation"), "many").unwrap();
    let text = dir.raise_generation(&lock, 0).unwrap_err().to_string();
    assert!(text.contains("generation is damaged"), "{text}");
}

#[test]
fn hints_and_address_are_read_back_and_no_temporary_file_stays() {
    let home = tempfile::tempdir().unwrap();
    let dir = registered(home.path());
    assert!(dir.hints().is_empty() && dir.manager().unwrap().is_none());
    let executors = [ExecutorId::from_bytes([1; 16]), ExecutorId::from_bytes([2; 16])];
    dir.save_hints(&executors).unwrap();
    assert_eq!(dir.hints(), executors);
    let public_key = dir.keys().unwrap().public;
    let address = ManagerAddress { address: "127.0.0.1:1".into(), public_key, generation: 3 };
    dir.save_manager(&address).unwrap();
    assert_eq!(dir.manager().unwrap(), Some(address));
    let names =
        fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.contains(".new")));
}
