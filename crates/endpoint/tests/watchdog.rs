//! The watchdog. It reaps and kills everything below its process, so each case runs in a process of its own: this
//! test binary again, with `CASE` set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::exit,
    clippy::await_holding_lock,
    reason = "tests"
)]

use bursa_endpoint::watchdog::{Child, Error, Report, Role, watch};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::rc::Rc;
use std::time::{Duration, Instant};

const CASE: &str = "BURSA_TEST_CASE";
const DIR: &str = "BURSA_TEST_DIR";

fn shell(script: impl Into<String>) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script.into());
    command
}

fn child(role: Role, script: impl Fn() -> String + 'static) -> Child {
    Child { role, command: Box::new(move || shell(script())), needs_ready_line: true }
}

/// Appends a line to the case's diary.
fn note(dir: &Path, line: &str) {
    let old = fs::read_to_string(dir.join("diary")).unwrap_or_default();
    fs::write(dir.join("diary"), format!("{old}{line}\n")).unwrap();
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
        "gives_up" => vec![child(Role::Manager, || "exit 3".into())],
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
    let ended = runtime.block_on(watch(children_of(&case, &dir), |report| {
        match report {
            Report::Started { role, pid } => note(&dir, &format!("started {role} {pid}")),
            Report::Ready { role, line } => note(&dir, &format!("ready {role} {line}")),
            Report::AllReady => note(&dir, "all ready"),
            Report::Died { role, how, again_in } => note(&dir, &format!("died {role} {how} {again_in:?}")),
        }
        Ok(())
    }));
    note(&dir, &format!("ended {ended:?}"));
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
    assert!(case.diary().contains("ended Ok(Stopped)"));
}

#[test]
fn a_child_that_keeps_dying_is_given_up() {
    let mut case = Case::start("gives_up");
    assert_eq!(case.end().code(), Some(7));
    let diary = case.diary();
    assert_eq!(diary.matches("started").count(), 5, "{diary}");
    assert!(diary.contains("GaveUp") && diary.contains("exit code 3"), "{diary}");
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
