//! Manager and executor as real processes, with real links and real Python, under a service played by the test.
//!
//! The processes are this test binary again, with `CASE` set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::exit,
    clippy::await_holding_lock,
    reason = "tests"
)]

use bursa_core::config::{Source, Values};
use bursa_core::id::{EndpointId, Hash, TaskId, UserId};
use bursa_core::task::Outcome;
use bursa_core::time::Mono;
use bursa_core::wire::{self, Assign, Attempt, Done, Item, Session};
use bursa_endpoint::home::{self, Registration};
use bursa_endpoint::{Config, KEYS, run_executor, run_manager, watchdog};
use bursa_fabric::{Acceptor, ConnId, Context, KeyPair, Timing};
use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CASE: &str = "BURSA_TEST_CASE";
const HOME: &str = "BURSA_TEST_HOME";
const ID: &str = "BURSA_TEST_ID";
const LIMIT: Duration = Duration::from_secs(30);

fn config(home: &Path) -> Config {
    let mut values = Values::default();
    for key in KEYS {
        if let Ok(value) = std::env::var(key.env) {
            values.offer(key, value, Source::Env);
        }
    }
    let mut config = Config::from_values(&values, home, "lab").unwrap();
    config.program = home.join("bursa");
    config
}

/// Not a test by itself: the process in which a manager or an executor runs.
#[test]
fn case_process() {
    let (Ok(case), Ok(home)) = (std::env::var(CASE), std::env::var(HOME)) else { return };
    let home = PathBuf::from(home);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let code = if case == "manager" {
        let ready = || fs::write(home.join(format!("ready.{}", std::process::id())), "").unwrap();
        match runtime.block_on(async { run_manager(config(&home), ready, watchdog::pings()).await }) {
            Ok(exit) => exit.code(),
            Err(error) => {
                eprintln!("{error}");
                error.code()
            }
        }
    } else {
        let id = std::env::var(ID).unwrap().parse().unwrap();
        let ended = runtime.block_on(run_executor(config(&home), id));
        eprintln!("{ended:?}");
        0
    };
    std::process::exit(code);
}

/// The service, as far as a manager can see.
struct World {
    dir: tempfile::TempDir,
    acceptor: Acceptor,
    clock: Instant,
    sessions: BTreeMap<ConnId, Session>,
    live: Option<ConnId>,
    body: Bytes,
    results: Vec<Done>,
    started: Vec<TaskId>,
    generation: u64,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyPair::generate().unwrap();
        let timing = Timing { threshold_ms: 5_000 };
        let mut acceptor = Acceptor::bind(&Context::new().unwrap(), "127.0.0.1:0", &keys, timing).unwrap();
        let endpoint = home::create(dir.path(), "lab").unwrap();
        let registration = Registration {
            endpoint_id: EndpointId::from_bytes([9; 16]),
            name: "lab".into(),
            zmq: acceptor.local_addr().into(),
            service_key: keys.public,
            owner: None,
        };
        endpoint.register(&registration).unwrap();
        acceptor.allow(endpoint.keys().unwrap().public, "owner");
        // `bursa --home H executor --endpoint lab --id ID`.
        let this = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\n[ \"$3 $4 $5 $6\" = 'executor --endpoint lab --id' ] || exit 9\n\
             {CASE}=executor {HOME}=\"$2\" {ID}=\"$7\" exec {} --exact case_process --nocapture\n",
            this.display()
        );
        fs::write(dir.path().join("bursa"), script).unwrap();
        fs::set_permissions(dir.path().join("bursa"), fs::Permissions::from_mode(0o755)).unwrap();
        let body = python(
            "s.dumps_code(lambda seconds: (seconds == 60 and bool(subprocess.Popen(['sleep', '73321'])), \
             time.sleep(seconds), print('slept'))[1])",
        );
        Self {
            dir,
            acceptor,
            clock: Instant::now(),
            sessions: BTreeMap::new(),
            live: None,
            body,
            results: Vec::new(),
            started: Vec::new(),
            generation: 0,
        }
    }

    fn manager(&self) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "case_process", "--nocapture"])
            .env(CASE, "manager")
            .env(HOME, self.dir.path())
            .env("BURSA_WORKERS", "2")
            .env("BURSA_ENDPOINT_STOP_GRACE_MS", "300")
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.clock.elapsed().as_millis()).unwrap())
    }

    fn executors(&self) -> Vec<i32> {
        let dir = self.dir.path().join("endpoints/lab/executors");
        let files = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
        let json = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
        json.filter_map(|path| serde_json::from_slice::<serde_json::Value>(&fs::read(path).ok()?).ok())
            .map(|value| i32::try_from(value["pid"].as_i64().unwrap()).unwrap())
            .collect()
    }

    /// Serves until `done` says so.
    async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < LIMIT, "never: {what}\n{}", self.logs());
            let now = self.now();
            if let Some(conn) = self.live {
                let session = self.sessions.get_mut(&conn).unwrap();
                let ping = session.ping(now);
                self.send(conn, ping);
            }
            let pause = tokio::time::timeout(Duration::from_millis(50), self.acceptor.recv()).await;
            if let Ok(incoming) = pause {
                self.heard(incoming.conn, &incoming.frames);
            }
        }
    }

    fn heard(&mut self, conn: ConnId, frames: &[Bytes]) {
        let message = wire::decode(frames).unwrap();
        let now = self.now();
        let sid = message.envelope.sid;
        // The last words of a connection that a failed send has ended already (F2): nobody's session.
        if !self.sessions.contains_key(&conn) && !matches!(message.items[..], [Item::Hello(_), ..]) {
            return;
        }
        let session = self.sessions.entry(conn).or_insert_with(|| Session::new(sid, now));
        for item in session.receive(now, message).unwrap() {
            self.item(conn, item);
        }
        self.flush(conn);
    }

    fn item(&mut self, conn: ConnId, item: Item) {
        match item {
            Item::Hello(hello) => {
                if let wire::Peer::Manager { generation, .. } = hello.peer {
                    assert!(generation >= self.generation);
                    self.generation = generation;
                }
                self.live = Some(conn);
                let welcome = Item::Welcome {
                    proto: hello.proto_max,
                    epoch: 1,
                    heartbeat_ms: 1_000,
                    threshold_ms: 5_000,
                    result_window: 1 << 26,
                };
                self.push(conn, welcome);
            }
            Item::WantFunction { hash } => {
                let body = Some(self.body.clone().into());
                self.push(conn, Item::Function { hash, body });
            }
            Item::Started { task, .. } => self.started.push(task),
            Item::Result(done) => {
                let ack = Item::Ack { task: done.task, attempt: done.attempt, outcome: done.outcome };
                self.results.push(*done);
                self.push(conn, ack);
            }
            _ => {}
        }
    }

    fn push(&mut self, conn: ConnId, item: Item) {
        self.sessions.get_mut(&conn).unwrap().push(item);
        self.flush(conn);
    }

    fn flush(&mut self, conn: ConnId) {
        let now = self.now();
        let mut out = Vec::new();
        self.sessions.get_mut(&conn).unwrap().flush(now, |message| out.push(message));
        for message in out {
            self.send(conn, message);
        }
    }

    fn send(&mut self, conn: ConnId, message: wire::Message) {
        if self.acceptor.send(conn, &wire::encode(message).unwrap()).is_err() && self.live == Some(conn) {
            self.live = None;
        }
    }

    fn assign(&mut self, n: u8, seconds: &str) {
        let assign = Assign {
            task: task(n),
            attempt: Attempt::new(1, n.into()),
            user: UserId::from_bytes([5; 16]),
            hash: Hash::of(&self.body),
            container: None,
            resources: None,
            args: python(&format!("s.dumps_call(({seconds},), {{}})")).into(),
            secrets: None,
            ttl_ms: 600_000,
            timeout_ms: None,
        };
        let conn = self.live.expect("no manager");
        self.push(conn, Item::Assign(Box::new(assign)));
    }

    fn result(&self, n: u8) -> Option<&Done> {
        self.results.iter().find(|done| done.task == task(n))
    }

    fn logs(&self) -> String {
        let files = fs::read_dir(self.dir.path().join("logs")).unwrap().flatten();
        files.map(|file| fs::read_to_string(file.path()).unwrap()).collect()
    }
}

fn task(n: u8) -> TaskId {
    TaskId::from_bytes([n; 16])
}

fn python(expression: &str) -> Bytes {
    let script =
        format!("import subprocess, time; from bursa import serialize as s; print(({expression}).hex())");
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/src");
    let out = Command::new("python3").args(["-c", &script]).env("PYTHONPATH", package).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let text = text.trim();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Whether the program that the third call starts is running.
fn has_sleeper() -> bool {
    Command::new("pgrep").args(["-fx", "sleep 73321"]).output().unwrap().status.success()
}

/// The test itself reaps what its dead managers leave.
fn reap() {
    while let Ok(status) = nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)) {
        if status == nix::sys::wait::WaitStatus::StillAlive {
            return;
        }
    }
}

#[tokio::test]
async fn work_survives_its_manager_and_a_dead_executor_is_replaced() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let mut world = World::new();
    let mut manager = world.manager();
    let ready = |world: &World, pid: u32| world.dir.path().join(format!("ready.{pid}")).exists();
    let pid = manager.id();
    world.until("ready", |world| ready(world, pid)).await;
    assert_eq!(world.generation, 1);
    let second = world.manager().wait().unwrap();
    assert_eq!(second.code(), Some(bursa_endpoint::exit::LOCKED), "a second manager is refused");

    world.assign(1, "0.01");
    world.until("the first result", |world| world.result(1).is_some()).await;
    let done = world.result(1).unwrap();
    assert_eq!((done.outcome, done.output.bytes()), (Outcome::Success, b"slept\n".as_ref()), "{done:?}");

    // A manager that dies while a call runs: the call goes on, and its result comes through the next manager.
    let executor = world.executors()[0];
    world.assign(2, "2");
    world.until("the second start", |world| world.started.contains(&task(2))).await;
    manager.kill().unwrap();
    manager.wait().unwrap();
    let mut manager = world.manager();
    let pid = manager.id();
    world.until("the second result", |world| world.result(2).is_some()).await;
    assert_eq!(world.result(2).unwrap().outcome, Outcome::Success);
    assert_eq!((world.executors(), world.generation), (vec![executor], 2));

    // An executor that dies while a call runs: the call is lost, another executor comes.
    world.until("ready again", |world| ready(world, pid)).await;
    world.assign(3, "60");
    world.until("the third start", |world| world.started.contains(&task(3))).await;
    world.until("the user's program", |_| has_sleeper()).await;
    kill(Pid::from_raw(executor), Signal::SIGKILL).unwrap();
    reap();
    world.until("the loss", |world| world.result(3).is_some()).await;
    assert_eq!(world.result(3).unwrap().outcome, Outcome::Lost);
    assert!(!has_sleeper(), "a user's program outlived its executor");
    world
        .until("another executor", |world| world.executors().first().is_some_and(|pid| *pid != executor))
        .await;
    world.assign(4, "0");
    world.until("the fourth result", |world| world.result(4).is_some()).await;

    // Told to stop: everything ends.
    let executor = world.executors()[0];
    kill(Pid::from_raw(i32::try_from(manager.id()).unwrap()), Signal::SIGTERM).unwrap();
    let start = Instant::now();
    world.until("the end of the manager", |_| manager.try_wait().unwrap().is_some()).await;
    assert_eq!(manager.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    reap();
    assert!(!alive(executor));
    assert!(world.executors().is_empty(), "its key and process file are gone");
}
