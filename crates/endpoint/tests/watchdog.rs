//! The watchdog. It reaps and kills everything below its process, so each case runs in a process of its own: this
//! test binary again, with `CASE` set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::exit,
    clippy::await_holding_lock,
    reason = "tests"
)]

use bursa_core::config::Values;
use bursa_endpoint::watchdog::{Child, Error, Report, Role, Rules, WhenReady, watch};
use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CASE: &str = "BURSA_TEST_CASE";
const DIR: &str = "BURSA_TEST_DIR";

const READY: &str = "echo '{\"ready\":true}'";
/// What a loop that turns does with a ping.
const ANSWER: &str = "dd bs=1 count=1 <&0 >&0 2>/dev/null";

/// The rules of a case: tight where it is about them.
fn rules(case: &str) -> Rules {
    let ms = Duration::from_millis;
    let usual = Rules::from_values(&Values::default()).unwrap();
    match case {
        "never_answers" => Rules { start: ms(300), ..usual },
        "stops_answering" => Rules { heartbeat: ms(50), threshold: ms(300), ..usual },
        "answers" => Rules { heartbeat: ms(20), threshold: ms(1_500), start: ms(1_500), ..usual },
        "forgets" => Rules { within: ms(1), ..usual },
        _ => usual,
    }
}

fn shell(script: impl Into<String>) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script.into());
    command
}

fn child(role: Role, script: impl Fn() -> String + 'static) -> Child {
    let (command, log) = (Box::new(move || shell(script())), "/logs/its.log".into());
    Child { role, command, log, stops_within: Duration::from_millis(3_500), when_ready: None }
}

/// Appends a line to the case's diary.
fn note(dir: &Path, line: &str) {
    let mut diary = OpenOptions::new().create(true).append(true).open(dir.join("diary")).unwrap();
    diary.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn children_of(case: &str, dir: &Path) -> Vec<Child> {
    let shown = dir.display().to_string();
    match case {
        "restarts" => {
            let seen = Rc::new(RefCell::new(0));
            vec![child(Role::Manager, move || {
                *seen.borrow_mut() += 1;
                format!("echo '{{\"ready\":true,\"start\":{}}}'; exec sleep 100", seen.borrow())
            })]
        }
        "gives_up" => vec![child(Role::Manager, || "echo no sockets left >&2; exit 3".into())],
        // Ready at its eighth start.
        "forgets" => vec![child(Role::Manager, move || {
            format!(
                "echo x >>{shown}/starts; [ $(wc -l <{shown}/starts) -gt 7 ] || exit 3; {READY}; exec sleep 100"
            )
        })],
        "never_answers" => vec![child(Role::Manager, || format!("{READY}; exec sleep 100"))],
        "stops_answering" => {
            vec![child(Role::Manager, || format!("{READY}; {ANSWER}; kill -STOP $$; exec sleep 100"))]
        }
        "answers" => vec![child(Role::Manager, || format!("{READY}; exec cat 2>&1 <&0 >&0"))],
        "waits_for_an_answer" => {
            let when_ready: WhenReady = Arc::new(move |_| {
                note(&PathBuf::from(&shown), "asked");
                std::thread::sleep(Duration::from_secs(100));
                Ok(())
            });
            let service = child(Role::Service, || format!("{READY}; exec sleep 100"));
            vec![Child { when_ready: Some(when_ready), ..service }]
        }
        // The first process dies while it is asked; the second answers, the third is asked nothing.
        "asks_again" => {
            let when_ready: WhenReady = Arc::new(move |line| {
                let pid = line["pid"].as_i64().unwrap();
                note(&PathBuf::from(&shown), &format!("asked {pid}"));
                if fs::read_to_string(format!("{shown}/diary")).unwrap().matches("asked").count() > 1 {
                    return Ok(());
                }
                let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
                Err("no answer".into())
            });
            let service = child(Role::Service, || "echo '{\"pid\":'$$'}'; exec sleep 100".into());
            vec![Child { when_ready: Some(when_ready), ..service }]
        }
        "is_refused" => {
            let when_ready: WhenReady = Arc::new(|_| Err("the token is wrong".into()));
            let service = child(Role::Service, || format!("{READY}; exec sleep 100"));
            vec![Child { when_ready: Some(when_ready), ..service }]
        }
        "refused" => vec![child(Role::Manager, || "exit 78".into())],
        // Nobody here listens to SIGTERM, and one grandchild has left its session.
        "stops" => vec![
            child(Role::Service, move || {
                format!(
                    "trap 'echo service >>{shown}/order; exit 0' TERM; echo '{{\"url\":\"u\"}}'; sleep 100 & wait"
                )
            }),
            child(Role::Manager, || {
                "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 73101 & sleep 73102; wait' & echo '{\"ready\":true}'; \
                 while :; do sleep 100; done"
                    .into()
            }),
        ],
        "order" => {
            let script = |name: &'static str, dir: String| {
                move || {
                    format!(
                        "trap 'echo {name} >>{dir}/order; exit 0' TERM; echo '{{\"{name}\":true}}'; sleep 100 & wait"
                    )
                }
            };
            vec![
                child(Role::Service, script("service", shown.clone())),
                child(Role::Manager, script("manager", shown)),
            ]
        }
        other => panic!("{other}"),
    }
}

/// Not a test by itself: the process in which a case runs.
#[test]
fn case_process() {
    let (Ok(case), Ok(dir)) = (std::env::var(CASE), std::env::var(DIR)) else { return };
    let dir = PathBuf::from(dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(watch(children_of(&case, &dir), rules(&case), |report| {
        match report {
            Report::Started { role, pid } => note(&dir, &format!("started {role} {pid}")),
            Report::Ready { role, line } => note(&dir, &format!("ready {role} {line}")),
            Report::AllReady => note(&dir, "all ready"),
            Report::Silent { role, how } => note(&dir, &format!("silent {role} {how}")),
            Report::Died { role, how, again_in } => note(&dir, &format!("died {role} {how} {again_in:?}")),
        }
        Ok(())
    }));
    match &ended {
        Ok(ended) => note(&dir, &format!("ended {ended:?}")),
        Err(error) => note(&dir, &format!("failed: {error}")),
    }
    runtime.shutdown_background();
    let code = match ended {
        Ok(_) => 0,
        Err(error @ Error::Refused { .. }) => error.code(),
        Err(_) => 7,
    };
    std::process::exit(code);
}

struct Case {
    dir: tempfile::TempDir,
    process: std::process::Child,
}

impl Case {
    fn start(case: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "case_process", "--nocapture", "--test-threads=1"])
            .env(CASE, case)
            .env(DIR, dir.path())
            .spawn()
            .unwrap();
        Self { dir, process }
    }

    fn diary(&self) -> String {
        fs::read_to_string(self.dir.path().join("diary")).unwrap_or_default()
    }

    fn wait_for(&self, text: &str) -> String {
        let start = Instant::now();
        while !self.diary().contains(text) {
            assert!(start.elapsed() < Duration::from_secs(20), "no '{text}' in:\n{}", self.diary());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.diary()
    }

    fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Case {
    /// A case that failed leaves nothing: its children end with it.
    fn drop(&mut self) {
        // One that has ended is no error.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Pids of live processes that mention `text` in their command line.
fn running(text: &str) -> Vec<String> {
    let out = Command::new("pgrep").args(["-f", text]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_child_that_dies_is_started_again() {
    let mut case = Case::start("restarts");
    let diary = case.wait_for("all ready");
    let pid: i32 = diary.lines().next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let diary = case.wait_for("\"start\":2");
    assert!(diary.contains("died manager ended by SIGKILL Some(100ms)"), "{diary}");
    case.terminate();
    assert!(case.end().success());
    assert!(case.diary().contains("ended Stopped"));
}

#[test]
fn a_child_that_keeps_dying_is_given_up() {
    let mut case = Case::start("gives_up");
    assert_eq!(case.end().code(), Some(7));
    let diary = case.diary();
    assert_eq!(diary.matches("started").count(), 5, "{diary}");
    for part in ["died 5 times within 60 s", "exit code 3", "no sockets left", "/logs/its.log"] {
        assert!(diary.contains(part), "no '{part}' in {diary}");
    }
}

#[test]
fn deaths_of_long_ago_do_not_count() {
    let mut case = Case::start("forgets");
    let diary = case.wait_for("all ready");
    assert_eq!(diary.matches("exit code 3 Some(100ms)").count(), 7, "{diary}");
    case.terminate();
    assert!(case.end().success());
}

#[test]
fn a_child_that_never_answers_is_killed_and_started_again() {
    let mut case = Case::start("never_answers");
    let diary = case.wait_for("Some(200ms)");
    assert!(diary.contains("silent manager it did not answer for 0"), "{diary}");
    assert!(diary.contains("state S (sleeping)"), "{diary}");
    assert!(diary.contains("died manager it did not answer for 0"), "{diary}");
    // It counts like any other death.
    assert_eq!(case.end().code(), Some(7));
    assert_eq!(case.diary().matches("silent").count(), 5);
}

#[test]
fn a_child_that_stops_answering_is_killed_though_it_is_stopped() {
    let mut case = Case::start("stops_answering");
    let diary = case.wait_for("died");
    assert!(diary.contains("all ready") && diary.contains("state T (stopped)"), "{diary}");
    case.terminate();
    assert!(case.end().success());
}

#[test]
fn a_child_that_answers_is_left_alone_also_when_the_watchdog_slept() {
    let mut case = Case::start("answers");
    let diary = case.wait_for("all ready");
    let child = nix::unistd::Pid::from_raw(
        diary.lines().next().unwrap().rsplit(' ').next().unwrap().parse().unwrap(),
    );
    let watchdog = nix::unistd::Pid::from_raw(i32::try_from(case.process.id()).unwrap());
    let quiet = |time| {
        let start = Instant::now();
        while start.elapsed() < time {
            assert!(!case.diary().contains("silent"), "{}", case.diary());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    quiet(Duration::from_secs(2));
    // Both sleep for longer than the threshold, the child with a question before it; the watchdog wakes up first.
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGSTOP).unwrap();
    quiet(Duration::from_millis(300));
    nix::sys::signal::kill(watchdog, nix::sys::signal::Signal::SIGSTOP).unwrap();
    quiet(Duration::from_secs(3));
    nix::sys::signal::kill(watchdog, nix::sys::signal::Signal::SIGCONT).unwrap();
    quiet(Duration::from_millis(300));
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGCONT).unwrap();
    quiet(Duration::from_secs(2));
    case.terminate();
    assert!(case.end().success());
}

#[test]
fn a_job_that_waits_for_an_answer_holds_no_signal_up() {
    let mut case = Case::start("waits_for_an_answer");
    case.wait_for("asked");
    assert!(!case.diary().contains("all ready"));
    let start = Instant::now();
    case.terminate();
    assert!(case.end().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_job_is_done_again_when_the_child_died_under_it_and_only_then() {
    let mut case = Case::start("asks_again");
    let diary = case.wait_for("all ready");
    assert_eq!(diary.matches("asked").count(), 2, "{diary}");
    case.terminate();
    assert!(case.end().success());
    let mut case = Case::start("is_refused");
    assert_eq!(case.end().code(), Some(7));
    assert!(case.diary().contains("failed: the token is wrong"), "{}", case.diary());
}

#[test]
fn a_child_that_refuses_is_not_started_again() {
    let mut case = Case::start("refused");
    assert_eq!(case.end().code(), Some(78));
    assert_eq!(case.diary().matches("started").count(), 1);
}

#[test]
fn managers_end_before_the_service() {
    let mut case = Case::start("order");
    let diary = case.wait_for("all ready");
    let service = diary.find("ready service").unwrap();
    assert!(service < diary.find("started manager").unwrap(), "in order, each when the one before is ready");
    case.terminate();
    assert!(case.end().success());
    assert_eq!(fs::read_to_string(case.dir.path().join("order")).unwrap(), "manager\nservice\n");
}

#[test]
fn children_of_a_watchdog_that_is_killed_end_in_their_own_way() {
    let mut case = Case::start("order");
    case.wait_for("all ready");
    case.process.kill().unwrap();
    case.end();
    let start = Instant::now();
    let order = case.dir.path().join("order");
    while fs::read_to_string(&order).map_or(0, |text| text.lines().count()) < 2 {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_is_left_five_seconds_after_the_signal() {
    let mut case = Case::start("stops");
    case.wait_for("all ready");
    let start = Instant::now();
    while running("sleep 7310[12]").len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
    let start = Instant::now();
    case.terminate();
    assert!(case.end().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(running("sleep 7310[12]").is_empty(), "{:?}", running("sleep 7310[12]"));
    assert_eq!(fs::read_to_string(case.dir.path().join("order")).unwrap(), "service\n");
}
