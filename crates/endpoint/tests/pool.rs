//! The worker pool with the real Python zygote, and with interpreters that fail or lie.
//!
//! A pool reaps every child of its process, so the cases take turns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::exit,
    clippy::await_holding_lock,
    reason = "tests"
)]

use bursa_core::config::{Source, Values};
use bursa_core::container::{Container, ContainerKind};
use bursa_core::executor::{Event, Signal, Verdict, WorkerDone, WorkerExit};
use bursa_core::id::{ContainerId, ExecutorId, Hash, TaskId, UserId, WorkerId};
use bursa_core::limits;
use bursa_core::secrets::Secrets;
use bursa_core::wire::Attempt;
use bursa_endpoint::config::CONTAINER_KEYS;
use bursa_endpoint::worker::{Pool, PoolSetup, Shares};
use bursa_endpoint::{Config, Runtimes};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, timeout};

static TURN: Mutex<()> = Mutex::new(());

const W: WorkerId = WorkerId(1);
const USER: UserId = UserId::from_bytes([7; 16]);
const SOURCE: &str = r#"
import os, signal, subprocess, sys, time
def add(a, b):
    print("adding"); return a + b
def talk():
    print("python"); os.write(1, b"raw\n"); subprocess.run(["echo", "child"])
def crash():
    print("last words"); os.write(2, b"raw last words\n"); os.kill(os.getpid(), signal.SIGSEGV)
def leave():
    os._exit(5)
def nap(seconds):
    time.sleep(seconds)
def fork_and_die():
    if os.fork() == 0:
        time.sleep(73211)
    os._exit(6)
def size(data):
    return data
def zygote():
    return os.getppid()
def token():
    return os.environ.get("TOKEN")
def spill(how):
    token = os.environ["TOKEN"]
    half = len(token) // 2
    sys.stdout.write(token[:half]); sys.stdout.write(token[half:] + "\n")
    os.write(1, token[:half].encode()); os.write(2, token[half:].encode() + b"\n")
    subprocess.run("echo $TOKEN", shell=True)
    if how == "raise":
        os.environ["TOKEN"] = "changed"
        raise ValueError(f"bad {token}")
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
"#;

struct Bench {
    _turn: MutexGuard<'static, ()>,
    dir: tempfile::TempDir,
    pool: Pool,
    children: Signals,
    events: VecDeque<Event>,
}

impl Bench {
    fn new(python: Option<PathBuf>) -> Self {
        Self::with(python, "")
    }

    /// With a command for containers of kind custom.
    fn with(python: Option<PathBuf>, custom: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let package = bursa_endpoint::package::unpack(dir.path()).unwrap();
        let children = signal(SignalKind::child()).unwrap();
        let mut values = Values::default();
        let key = CONTAINER_KEYS.iter().find(|key| key.name == "containers.custom").unwrap();
        values.offer(key, custom, Source::Env);
        let config = Config::from_values(&values, dir.path(), "lab").unwrap();
        let runtimes = Runtimes::look(&config, ExecutorId::from_bytes([1; 16]));
        let work = dir.path().join("work");
        let shares = Shares::default();
        let pool = Pool::new(PoolSetup { python, package, work, enclosure: None, runtimes, shares }).unwrap();
        Self { _turn: turn, dir, pool, children, events: VecDeque::new() }
    }

    fn real() -> Self {
        Self::new(Some("python3".into()))
    }

    async fn next(&mut self) -> Event {
        let start = Instant::now();
        loop {
            self.pool.flush();
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "nothing happened");
            let deadline =
                self.pool.next_deadline().unwrap_or_else(|| Instant::now() + Duration::from_secs(20));
            tokio::select! {
                () = self.pool.news() => {}
                _ = self.children.recv() => self.pool.reap(),
                () = tokio::time::sleep_until(deadline) => {}
            }
            self.pool.tick();
            let mut out = Vec::new();
            self.pool.pump(&mut out, limits::ROUND_EVENTS);
            self.events.extend(out);
        }
    }

    async fn worker(&mut self, worker: WorkerId) {
        self.pool.spawn(worker, USER, None);
        match self.next().await {
            Event::WorkerReady { worker: ready, python } => {
                assert_eq!(ready, worker);
                assert!(python.starts_with("3."), "{python}");
            }
            other => panic!("{other:?}"),
        }
    }

    async fn done(&mut self) -> WorkerDone {
        loop {
            match self.next().await {
                Event::WorkerDone { done, .. } => return done,
                Event::WorkerStarted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn exited(&mut self) -> (WorkerExit, String) {
        loop {
            match self.next().await {
                Event::WorkerExited { exit, output, .. } => {
                    return (exit, String::from_utf8_lossy(&output).into());
                }
                // One that was killed while it said something is heard of that twice.
                Event::WorkerStarted { .. } | Event::WorkerDone { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn failed(&mut self) -> String {
        match self.next().await {
            Event::WorkerFailed { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, n: u8, function: &str, args: &str) {
        self.run_in(W, n, function, args);
    }

    fn run_in(&mut self, worker: WorkerId, n: u8, function: &str, args: &str) {
        self.run_with(worker, n, function, args, None);
    }

    fn run_with(&mut self, worker: WorkerId, n: u8, function: &str, args: &str, token: Option<&str>) {
        let secrets = token.map(|token| Secrets::of([("TOKEN", token.as_bytes())]));
        let (body, args) = payloads(self.dir.path(), function, args);
        let hash = Hash::of(&body);
        self.pool.load(worker, hash, body);
        self.pool.run(worker, (TaskId::from_bytes([n; 16]), Attempt(n.into())), hash, args, secrets, true);
    }

    async fn close(self) {
        let Self { pool, _turn, .. } = self;
        pool.shutdown().await;
        while nix::sys::wait::waitpid(None, None).is_ok() {}
    }
}

/// The body of a function of [`SOURCE`], and its arguments.
fn payloads(dir: &Path, function: &str, args: &str) -> (Bytes, Bytes) {
    let source = dir.join("functions.py");
    fs::write(&source, SOURCE).unwrap();
    let script = format!(
        "import sys; sys.path.insert(0, {:?}); import functions; from bursa import serialize as s; \
         print(s.dumps_code(functions.{function}).hex()); print(s.dumps_call({args}, {{}}).hex())",
        dir.display().to_string()
    );
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/src");
    let out = Command::new("python3").args(["-c", &script]).env("PYTHONPATH", package).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let hex = |line: &str| -> Bytes {
        (0..line.len()).step_by(2).map(|i| u8::from_str_radix(&line[i..i + 2], 16).unwrap()).collect()
    };
    let mut lines = text.lines();
    (hex(lines.next().unwrap()), hex(lines.next().unwrap()))
}

fn program(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("python");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_call_runs_and_its_output_comes_with_it() {
    let mut bench = Bench::real();
    bench.worker(W).await;
    bench.run(1, "add", "(20, 22)");
    let done = bench.done().await;
    assert_eq!(
        (done.task, done.attempt, done.verdict),
        (TaskId::from_bytes([1; 16]), Attempt(1), Verdict::Success)
    );
    assert_eq!(done.output, "adding\n");
    assert!(!done.payload.is_empty() && done.run_ns > 0);
    bench.run(2, "talk", "()");
    let output = String::from_utf8(bench.done().await.output.to_vec()).unwrap();
    assert_eq!(output, "python\nraw\nchild\n", "C-level output and children's output come after Python's");
    bench.run(3, "add", "(1, 'x')");
    let done = bench.done().await;
    assert_eq!((done.verdict, done.class.as_str()), (Verdict::UserError, "TypeError"), "{done:?}");
    bench.pool.retire(W);
    let (exit, _) = bench.exited().await;
    assert_eq!((exit.exit, exit.signal), (Some(0), None));
    bench.close().await;
}

#[tokio::test]
async fn a_large_payload_comes_back() {
    let mut bench = Bench::real();
    bench.worker(W).await;
    bench.run(1, "size", "(b'x' * 20_000_000,)");
    let done = bench.done().await;
    assert_eq!(done.verdict, Verdict::Success, "{}", done.message);
    assert!(done.payload.len() > 20_000_000);
    bench.close().await;
}

#[tokio::test]
async fn a_crash_is_told_with_its_signal_and_last_words() {
    let mut bench = Bench::real();
    bench.worker(W).await;
    bench.run(1, "crash", "()");
    let (exit, output) = bench.exited().await;
    assert_eq!((exit.signal, exit.oom), (Some(11), false));
    assert!(exit.maxrss_kb > 1000);
    assert!(output.starts_with("last words\n") && output.contains("raw last words"), "{output}");
    bench.worker(WorkerId(2)).await;
    bench.close().await;
}

#[tokio::test]
async fn a_call_has_its_secrets_alone_and_nobody_is_shown_them() {
    let mut bench = Bench::real();
    bench.worker(W).await;
    bench.run_with(W, 1, "token", "()", Some("s3cr3t-value"));
    bench.run(2, "token", "()");
    let (with, without) = (bench.done().await, bench.done().await);
    assert!(String::from_utf8_lossy(&with.payload).contains("s3cr3t-value"), "a result is not masked");
    assert!(!String::from_utf8_lossy(&without.payload).contains("s3cr3t"), "{without:?}");

    bench.run_with(W, 3, "spill", "('raise',)", Some("s3cr3t-value"));
    bench.run(4, "token", "()");
    let (raised, after) = (bench.done().await, bench.done().await);
    assert_eq!((raised.class.as_str(), raised.message.as_str()), ("ValueError", "bad ***"));
    assert_eq!(raised.output, "***\n***\n***\n");
    assert!(raised.traceback.ends_with("ValueError: bad ***\n"), "{}", raised.traceback);
    assert!(raised.payload.is_empty(), "an exception that holds a secret does not travel");
    assert_eq!(after.payload, without.payload, "what the call changed is put back");

    bench.run_with(W, 5, "spill", "('crash',)", Some("s3cr3t-value"));
    let (exit, output) = bench.exited().await;
    assert_eq!(exit.signal, Some(11));
    assert!(output.starts_with("***\n***\n***\n") && !output.contains("s3cr3t"), "{output}");
    bench.close().await;
}

#[tokio::test]
async fn what_was_in_the_pipe_of_a_dead_worker_is_known_not_to_have_started() {
    let mut bench = Bench::real();
    bench.worker(W).await;
    bench.run(1, "add", "(1, 1)");
    bench.run(2, "leave", "()");
    bench.run(3, "add", "(3, 3)");
    let (mut started, mut done) = (Vec::new(), Vec::new());
    let exit = loop {
        match bench.next().await {
            Event::WorkerStarted { attempt, .. } => started.push(attempt.0),
            Event::WorkerDone { done: one, .. } => done.push(one.attempt.0),
            Event::WorkerExited { exit, .. } => break exit,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(exit.exit, Some(5));
    assert_eq!(done, [1]);
    assert!(started.contains(&2) && !started.contains(&3), "{started:?}");
    bench.close().await;
}

#[tokio::test]
async fn a_signal_ends_the_whole_group_and_the_directory_goes() {
    let mut bench = Bench::real();
    bench.worker(W).await;
    let cwd = bench.dir.path().join("work/1");
    assert!(cwd.is_dir());
    bench.run(1, "fork_and_die", "()");
    assert_eq!(
        bench.exited().await.0.exit,
        Some(6),
        "a forked child that holds the socket does not hide the end"
    );
    let start = Instant::now();
    while cwd.exists() {
        assert!(start.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.worker(WorkerId(2)).await;
    bench.pool.signal(WorkerId(2), Signal::Term);
    assert_eq!(bench.exited().await.0.signal, Some(15));
    bench.close().await;
}

#[tokio::test]
async fn a_zygote_that_dies_is_replaced() {
    let mut bench = Bench::real();
    bench.worker(W).await;
    let zygote =
        fs::read_to_string(format!("/proc/{}/task/{}/children", std::process::id(), nix::unistd::gettid()));
    let zygote: i32 = zygote.unwrap().split_whitespace().next().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(zygote), nix::sys::signal::Signal::SIGKILL).unwrap();
    let (exit, _) = bench.exited().await;
    assert_eq!((exit.signal, exit.exit, exit.oom), (None, None, false), "the cause is not the worker's");
    bench.worker(WorkerId(2)).await;
    bench.close().await;
}

#[tokio::test]
async fn interpreters_that_do_not_start_are_named_in_one_sentence() {
    let mut bench = Bench::new(None);
    bench.pool.spawn(W, USER, None);
    assert!(bench.failed().await.contains("BURSA_PYTHON"));
    bench.close().await;

    let mut bench = Bench::new(Some("/no/such/python".into()));
    bench.pool.spawn(W, USER, None);
    let why = bench.failed().await;
    assert!(why.contains("/no/such/python cannot be started") && why.contains("No such file"), "{why}");
    bench.close().await;

    let dir = tempfile::tempdir().unwrap();
    let python =
        program(dir.path(), "#!/bin/sh\necho 'first line' >&2\necho 'No module named bursa' >&2\nexit 1\n");
    let mut bench = Bench::new(Some(python));
    let start = Instant::now();
    bench.pool.spawn(W, USER, None);
    bench.pool.spawn(WorkerId(2), USER, None);
    for _ in 0..2 {
        let why = bench.failed().await;
        assert!(why.contains("(exit code 1): first line\nNo module named bursa; check"), "{why}");
    }
    bench.pool.spawn(W, USER, None);
    bench.failed().await;
    assert!(start.elapsed() >= Duration::from_millis(80), "the next try backs off");
    bench.close().await;
}

/// A zygote whose workers write garbage.
const LIAR: &str = r#"#!/usr/bin/env python3
import array, json, os, signal, socket, time
control = socket.socket(fileno=int(os.environ["BURSA_ZYGOTE_FD"]))
control.send(json.dumps({"hello": {"pid": os.getpid(), "python": [3, 11]}}).encode())
while True:
    packet, ancillary, _, _ = control.recvmsg(65536, 64)
    if not packet:
        break
    number = json.loads(packet)["spawn"]
    fds = array.array("i", ancillary[0][2])
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        control.send(json.dumps({"forked": number}).encode())
        frames = bytes([7, 0, 0, 0, 16, 1, 0, 0, 0, 3, 11])
        os.write(fds[0], frames + (b"\xff" * 4096))
        time.sleep(1000)
    for fd in fds:
        os.close(fd)
    _, status, usage = os.wait4(pid, 0)
    control.send(json.dumps({"exited": number, "status": status, "maxrss_kb": usage.ru_maxrss}).encode())
"#;

#[tokio::test]
async fn a_worker_that_sends_garbage_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(Some(program(dir.path(), LIAR)));
    bench.worker(W).await;
    let (exit, output) = bench.exited().await;
    assert_eq!((exit.signal, exit.oom), (Some(9), false));
    assert!(output.contains("it sent garbage: a frame of 4294967295 bytes"), "{output}");
    bench.close().await;
}

#[tokio::test]
async fn many_workers_and_many_calls() {
    let mut bench = Bench::real();
    for id in 1..=24 {
        bench.pool.spawn(WorkerId(id), USER, None);
    }
    for _ in 1..=24 {
        assert!(matches!(bench.next().await, Event::WorkerReady { .. }));
    }
    let (body, args) = payloads(bench.dir.path(), "add", "(1, 2)");
    let hash = Hash::of(&body);
    for id in 1..=24 {
        bench.pool.load(WorkerId(id), hash, body.clone());
        for n in 0..limits::WORKER_DEPTH {
            let task = TaskId::from_bytes([u8::try_from(n).unwrap(); 16]);
            bench.pool.run(WorkerId(id), (task, Attempt(n as u64)), hash, args.clone(), None, false);
        }
    }
    for _ in 0..24 * limits::WORKER_DEPTH {
        assert_eq!(timeout(Duration::from_secs(10), bench.done()).await.unwrap().verdict, Verdict::Success);
    }
    bench.close().await;
}

fn image(number: u8) -> Option<Arc<Container>> {
    let container = ContainerId::from_bytes([number; 16]);
    Some(Arc::new(Container { container, kind: ContainerKind::Custom, location: format!("image-{number}") }))
}

impl Bench {
    /// The zygote of a new worker of this user in this container, as the worker sees it.
    async fn zygote_of(
        &mut self,
        worker: WorkerId,
        user: UserId,
        container: Option<Arc<Container>>,
    ) -> Bytes {
        self.pool.spawn(worker, user, container);
        assert!(matches!(self.next().await, Event::WorkerReady { .. }));
        self.run_in(worker, 1, "zygote", "()");
        self.done().await.payload
    }

    /// Until the last container is gone, and its directory.
    async fn no_nests(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.nests() > 0 {
            assert!(Instant::now() < end, "its directory stays");
            // The directory goes in another thread, which tells nobody.
            let _ = timeout(Duration::from_millis(20), self.children.recv()).await;
            self.pool.reap();
            self.pool.tick();
            self.pool.pump(&mut Vec::new(), limits::ROUND_EVENTS);
        }
    }

    fn nests(&self) -> usize {
        let names = fs::read_dir(self.dir.path().join("work")).unwrap();
        names
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("nest-"))
            .count()
    }
}

#[tokio::test]
async fn a_container_is_of_one_user_and_serves_the_next_worker_after_a_death() {
    let mut bench = Bench::with(None, "env IMAGE={image} {command}");
    let other = UserId::from_bytes([8; 16]);
    let mine = bench.zygote_of(W, USER, image(1)).await;
    let theirs = bench.zygote_of(WorkerId(2), other, image(1)).await;
    let second = bench.zygote_of(WorkerId(3), USER, image(1)).await;
    let elsewhere = bench.zygote_of(WorkerId(4), USER, image(2)).await;
    for zygote in [&theirs, &second, &elsewhere] {
        assert_ne!(mine, *zygote, "each worker has a container");
    }
    bench.pool.signal(W, Signal::Kill);
    bench.exited().await;
    assert_eq!(bench.zygote_of(WorkerId(5), USER, image(1)).await, mine, "the same user, the same container");
    bench.pool.signal(WorkerId(5), Signal::Kill);
    bench.exited().await;
    for zygote in [mine, theirs] {
        assert_ne!(bench.zygote_of(WorkerId(6), other, image(1)).await, zygote, "never another's");
        bench.pool.signal(WorkerId(6), Signal::Kill);
        bench.exited().await;
    }
    bench.close().await;
}

#[tokio::test]
async fn a_container_ends_with_its_retired_worker() {
    let mut bench = Bench::with(None, "env IMAGE={image} {command}");
    bench.zygote_of(W, USER, image(1)).await;
    assert_eq!(bench.nests(), 1);
    bench.pool.retire(W);
    assert_eq!(bench.exited().await.0.exit, Some(0));
    bench.no_nests().await;
    bench.close().await;
}

#[tokio::test]
async fn a_container_that_does_not_start_is_told_with_its_last_words_and_backs_off() {
    let dir = tempfile::tempdir().unwrap();
    let fails = program(dir.path(), "#!/bin/sh\necho \"no image $1\" >&2\nexit 7\n");
    let mut bench = Bench::with(None, &format!("{} {{image}} {{command}}", fails.display()));
    bench.pool.spawn(W, USER, image(1));
    let why = bench.failed().await;
    assert!(why.contains("image-1 (custom) did not start (exit code 7): no image image-1"), "{why}");
    let start = Instant::now();
    bench.pool.spawn(W, USER, image(1));
    bench.failed().await;
    assert!(start.elapsed() >= Duration::from_millis(80), "the next try backs off");
    bench.no_nests().await;
    bench.close().await;

    let mut bench = Bench::with(None, "/no/such/program {image} {command}");
    bench.pool.spawn(W, USER, image(1));
    assert!(bench.failed().await.contains("containers.custom"));
    bench.close().await;
}
