//! A real service on free ports in a thread, and raw clients of it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation, reason = "tests")]

pub mod manager;
pub mod socket;
pub mod world;

use bursa_service::rate::Limits;
use bursa_service::{Config, Ready};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

/// A running service.
pub struct Service {
    pub ready: Ready,
    pub home: PathBuf,
    pub token: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), bursa_service::Error>>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error's code and message.
    pub fn error(&self) -> (String, String) {
        let error = &self.json()["error"];
        for field in ["code", "status", "message", "what", "why", "next", "request_id"] {
            assert!(error.get(field).is_some(), "no {field} in {error}");
        }
        assert_eq!(error["status"], self.status);
        (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    }
}

pub fn config(home: &Path) -> Config {
    Config {
        home: home.to_owned(),
        http: "127.0.0.1:0".parse().unwrap(),
        names: Vec::new(),
        tls: bursa_service::tls::Source::Off,
        zmq: "127.0.0.1:0".to_owned(),
        public_zmq: None,
        amqp: "127.0.0.1:0".parse().unwrap(),
        amqp_anywhere: true,
        bulk: Some(0),
        heartbeat_ms: 1_000,
        threshold_ms: 3_000,
        retention_ms: 14 * 24 * 3_600_000,
        results_per_user: 10 << 30,
        memo_ttl_ms: 30 * 24 * 3_600_000,
        memo_per_user: 1 << 30,
        tasks_per_user: 2_000_000,
        audit_bytes: 1 << 30,
        rates: Limits { read: 0, write: 0, submit: 0, bad_logins: 0 },
        fail_when_offline_ms: None,
        identity: Vec::new(),
        exchange: Vec::new(),
    }
}

/// Runs a service in a thread; its error if it does not start.
pub fn try_start(config: Config) -> Result<Service, bursa_service::Error> {
    let (say_ready, is_ready) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let home = config.home.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result = runtime.block_on(async {
            let stopped = async {
                let _ = stopped.await;
            };
            let (_, pings) = tokio::sync::mpsc::channel(1);
            bursa_service::run(config, |ready| say_ready.send(ready).unwrap(), stopped, pings).await
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        result
    });
    match is_ready.recv_timeout(Duration::from_secs(20)) {
        Ok(ready) => {
            let client = std::fs::read_to_string(home.join("client.toml")).unwrap();
            let client: toml::Table = client.parse().unwrap();
            assert_eq!(client["url"].as_str().unwrap(), ready.url);
            let token = client["token"].as_str().unwrap().to_owned();
            Ok(Service { ready, home, token, stop: Some(stop), thread: Some(thread) })
        }
        Err(_) => Err(thread.join().unwrap().expect_err("it ended without an error before it was ready")),
    }
}

pub fn start(home: &Path) -> Service {
    try_start(config(home)).unwrap()
}

impl Service {
    /// Stops it; how long it took.
    pub fn stop(mut self) -> Duration {
        self.end()
    }

    fn end(&mut self) -> Duration {
        let begun = Instant::now();
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
        begun.elapsed()
    }

    pub fn address(&self) -> &str {
        self.ready.url.strip_prefix("http://").unwrap()
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A body that is refused unread: the answer is there all the same.
        let _ = stream.write_all(body);
        let mut raw = Vec::new();
        let read = stream.read_to_end(&mut raw);
        assert!(read.is_ok() || !raw.is_empty(), "{read:?}");
        parse(&raw)
    }

    pub fn call_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let auth = format!("Bearer {token}");
        let headers = [("Authorization", auth.as_str()), ("Content-Type", "application/json")];
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        self.request(method, path, &headers, &body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call_as(&self.token, "GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call_as(&self.token, "POST", path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call_as(&self.token, "DELETE", path, None)
    }

    /// Registers a function; its id.
    pub fn function(&self) -> String {
        let body = json!({"name": "double", "description": "twice as much", "python": "3.11", "body": b64(b"c\x03\x0bbody")});
        let made = self.post("/api/v1/functions", &body);
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["function_id"].as_str().unwrap().to_owned()
    }

    /// A second user, straight into the database; his token.
    pub fn other_user(&self) -> String {
        let db = rusqlite::Connection::open(self.home.join("service/bursa.db")).unwrap();
        db.busy_timeout(Duration::from_secs(5)).unwrap();
        db.execute(
            "INSERT INTO users (user, name, created) VALUES (?1, 'other', 0)",
            [[9_u8; 16].as_slice()],
        )
        .unwrap();
        let hash = blake3::hash(b"the other's token");
        db.execute(
            "INSERT INTO tokens (token, hash, user_no, name, created) VALUES (?1, ?2, 2, 'x', 0)",
            rusqlite::params![[9_u8; 16].as_slice(), hash.as_bytes().as_slice()],
        )
        .unwrap();
        "the other's token".to_owned()
    }

    /// Waits until `path` shows `value` at the JSON pointer `pointer`.
    pub fn until(&self, path: &str, pointer: &str, value: &Value) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let shown = self.get(path).json();
            if shown.pointer(pointer) == Some(value) {
                return;
            }
            assert!(Instant::now() < end, "{shown}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.thread.is_some() && !std::thread::panicking() {
            self.end();
        }
    }
}

fn parse(raw: &[u8]) -> Answer {
    let end =
        raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no head in {raw:?}"));
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: raw[end + 4..].to_vec() }
}

pub fn b64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The id with this number.
pub fn id(n: u64) -> String {
    uuid::Uuid::from_u64_pair(0x0192_0000_0000_7000, 0x8000_0000_0000_0000 | n).to_string()
}
