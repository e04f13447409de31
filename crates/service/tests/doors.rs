//! What comes through the door: whom a request is for, how often one may ask, heads and bodies that nobody should send,
//! and what every answer says to a browser.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use support::{Service, config, start, try_start};

/// Sends these bytes; all that comes back until the service hangs up.
fn raw(service: &Service, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn only_requests_for_this_service_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let service = try_start(bursa_service::Config {
        names: vec!["bursa.example.org".to_owned()],
        ..config(&dir.path().join("home"))
    })
    .unwrap();
    for (host, expected) in [
        ("localhost", "200"),
        ("127.0.0.1:5000", "200"),
        ("bursa.example.org", "200"),
        ("evil.example", "421"),
        ("bursa.example.org.evil.example", "421"),
    ] {
        let request = format!("GET /api/v1/version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&raw(&service, request.as_bytes())), expected, "{host}");
    }
    let proxied =
        "GET http://evil.example/api/v1/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&raw(&service, proxied.as_bytes())), "421");
}

#[test]
fn two_lengths_are_no_second_request() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(&dir.path().join("home"));
    let inner = "GET /api/v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for lengths in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", inner.len() + 5),
        format!("Content-Length: 5\r\nContent-Length: {}\r\n", inner.len() + 5),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n".to_owned(),
        // Lines folded, with a blank before the colon, or ended by half of an end: what others read otherwise.
        "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n".to_owned(),
        "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n".to_owned(),
        "Content-Length: 5\nTransfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let request = format!(
            "POST /api/v1/functions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{lengths}\r\n0\r\n\r\n{inner}",
            service.token
        );
        let said = raw(&service, request.as_bytes());
        assert!(!said.contains("/api/v1/smuggled"), "{lengths}: {said}");
        assert!(status(&said).starts_with('4'), "{lengths}: {said}");
    }
}

#[test]
fn heads_and_bodies_without_end_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(&dir.path().join("home"));
    let long = [b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    assert_eq!(status(&raw(&service, &long)), "431");
    let auth = format!("Authorization: Bearer {}\r\n", service.token);
    let head = |length: &str| {
        format!(
            "POST /api/v1/functions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{auth}{length}\r\n\r\n"
        )
    };
    assert_eq!(status(&raw(&service, head("Content-Length: 99999999999").as_bytes())), "413");
    // 97 chunks of a mebibyte, which say nowhere how many they are.
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    let endless = [head("Transfer-Encoding: chunked").into_bytes(), chunk.repeat(97)].concat();
    // The answer may be lost with what was not read.
    assert!(["413", "none"].contains(&status(&raw(&service, &endless))));
    // Nobody unpacks what is packed: a bomb is a body of that size that is no JSON.
    let packed = "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{8}\0";
    let answer = raw(&service, head(packed).as_bytes());
    assert_eq!(status(&answer), "400", "{answer}");
    assert_eq!(service.get("/api/v1/health").status, 200);
}

#[test]
fn deep_bodies_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(&dir.path().join("home"));
    let auth = format!("Bearer {}", service.token);
    let deep = |kind: &str, body: Vec<u8>| {
        let headers = [("Authorization", auth.as_str()), ("Content-Type", kind)];
        service.request("POST", "/api/v1/tasks", &headers, &body)
    };
    for body in [b"[".repeat(1_000_000), [b"{\"tasks\":".as_slice(), &b"[".repeat(1_000_000)].concat()] {
        assert!([400, 422].contains(&deep("application/json", body).status));
    }
    for body in
        [b"\x91".repeat(1_000_000), [b"\x81\xa5tasks".as_slice(), &b"\x91".repeat(1_000_000)].concat()]
    {
        assert!([400, 422].contains(&deep("application/msgpack", body).status));
    }
    assert_eq!(service.get("/api/v1/health").status, 200);
}

#[test]
fn what_every_answer_says_to_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(&dir.path().join("home"));
    let made = service.post("/api/v1/tokens", &json!({"name": "t"}));
    assert_eq!(made.status, 201);
    let script = "/api/v1/%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let answers = [made, service.get(script), service.get("/api/v1/version"), service.get("/metrics")];
    for answer in &answers {
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(!answer.headers["content-type"].contains("html"));
    }
    let origin = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")];
    for method in ["OPTIONS", "GET"] {
        let answer = service.request(method, "/api/v1/version", &origin, b"");
        assert!(!answer.headers.keys().any(|name| name.starts_with("access-control")), "{answer:?}");
    }
    let in_url = format!("/api/v1/whoami?token={0}&access_token={0}", service.token);
    assert_eq!(service.request("GET", &in_url, &[], b"").status, 401);
}

#[test]
fn errors_have_one_shape_and_are_counted_in_every_dialect() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(&dir.path().join("home"));
    let counted = || {
        let text = String::from_utf8(service.get("/metrics").body).unwrap();
        let line = text.lines().find(|line| line.starts_with("bursa_http_errors_total "));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let before = counted();
    let theirs = service.get("/v2/tasks/00000000-0000-4000-8000-000000000000");
    assert_eq!((theirs.status, &theirs.json()["status"]), (404, &json!("Failed")));
    let login = service.request(
        "POST",
        "/v2/oauth2/token",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        b"grant_type=x",
    );
    assert_eq!((login.status, &login.json()["error"]), (400, &json!("invalid_request")));
    // What a library refuses is told in the dialect of its route too.
    let form = service.request(
        "POST",
        "/v2/oauth2/token",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        b"%",
    );
    assert!(form.status >= 400 && form.json()["error"] == "invalid_request", "{form:?}");
    for path in ["/api/v1/tasks?limit=x", "/api/v1/tasks/..%2f..%2fetc", "/api/v1/functions/%00"] {
        service.get(path).error();
    }
    assert_eq!(counted() - before, 6);
}

#[test]
fn names_are_no_paths() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let service = start(&home);
    for name in ["../../escape", "/etc/escape", "..", "a\0escape"] {
        let body =
            json!({"name": name, "description": name, "python": "3.11", "body": support::b64(b"c\x03\x0bx")});
        assert!([201, 400].contains(&service.post("/api/v1/functions", &body).status));
        service.post("/api/v1/tokens", &json!({"name": name}));
    }
    let mut stack = vec![dir.path().to_owned()];
    while let Some(next) = stack.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            assert!(!entry.file_name().to_string_lossy().contains("escape"));
            if entry.file_type().unwrap().is_dir() {
                stack.push(entry.path());
            }
        }
    }
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir.path().join("home"));
    config.rates.write = 1;
    let service = try_start(config).unwrap();
    let other = service.other_user();
    let make = |token: &str| service.call_as(token, "POST", "/api/v1/tokens", Some(&json!({"name": "t"})));
    let refused = (0..20).map(|_| make(&service.token)).find(|answer| answer.status != 201).unwrap();
    let (code, message) = refused.error();
    assert_eq!((refused.status, code.as_str()), (429, "busy"));
    assert!(message.contains("service.rate_write"), "{message}");
    assert!(refused.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    assert_eq!(service.get("/api/v1/whoami").status, 200, "reading has a rate of its own");
    assert_eq!(make(&other).status, 201, "and so has another user");
}

#[test]
fn a_flood_of_bad_logins_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir.path().join("home"));
    config.rates.bad_logins = 10;
    let service = try_start(config).unwrap();
    let (address, fresh) = (service.address().to_owned(), service.other_user());
    let logins = std::env::var("BURSA_BAD_LOGINS").map_or(8_000, |logins| logins.parse().unwrap());
    let (per_thread, threads) = (logins / 4, 4);
    let refused: u32 = std::thread::scope(|scope| {
        let flood: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn({
                    let address = &address;
                    move || (0..per_thread).map(|n| u32::from(bad_login(address, thread, n))).sum::<u32>()
                })
            })
            .collect();
        let mut answered = 0;
        while !flood.iter().all(|thread| thread.is_finished()) {
            assert_eq!(service.get("/api/v1/whoami").status, 200);
            // A good token from the same address that nobody has seen yet.
            assert_eq!(service.call_as(&fresh, "GET", "/api/v1/whoami", None).status, 200);
            answered += 1;
        }
        assert!(answered > 10, "{answered}");
        flood.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(refused > per_thread * threads / 2, "{refused}");
}

#[test]
fn wrong_client_secrets_are_bad_logins() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir.path().join("home"));
    config.rates.bad_logins = 1;
    let service = try_start(config).unwrap();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let login = |grant: &str| service.request("POST", "/v2/oauth2/token", &form, grant.as_bytes());
    let wrong = |n: u32| match n % 2 {
        0 => login(&format!("grant_type=client_credentials&client_secret=wrong-{n}")),
        _ => login(&format!("grant_type=refresh_token&refresh_token=wrong-{n}")),
    };
    let refused = (0..100).map(wrong).find(|answer| answer.status != 401).unwrap();
    assert_eq!((refused.status, &refused.json()["error"]), (429, &json!("invalid_client")), "{refused:?}");
    assert!(refused.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    assert!(
        (0..100).any(|n| service.call_as(&format!("bad-{n}"), "GET", "/v2/authenticate", None).status == 429)
    );
    let right = format!("grant_type=client_credentials&client_secret={}", service.token);
    assert_eq!(login(&right).status, 200, "a secret that is known is not held up");
}

/// Whether the answer was that too many came.
fn bad_login(address: &str, thread: u32, n: u32) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /api/v1/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bad-{thread}-{n}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let status = status(&said).to_owned();
    assert!(["401", "429"].contains(&status.as_str()), "{said}");
    assert!(said.contains("connection: close"), "no place is kept");
    status == "429"
}
