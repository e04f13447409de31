//! The audit log of a running service: who did what to which object, what was refused, and nothing else.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bursa_fabric::Disconnected;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use support::manager::{Behave, Manager, register};
use support::{NOBODY, b64, config, start, try_start};

#[test]
fn it_says_who_did_what_to_which_object() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let service = start(&home);
    let function = service.function();
    let made = service.post("/api/v1/tokens", &json!({"name": "a name"})).json();
    let (token, secret) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert_eq!(service.get("/api/v1/whoami").status, 200);
    assert_eq!(service.delete(&format!("/api/v1/functions/{function}")).status, 204);
    assert_eq!(service.get(&format!("/api/v1/tasks/{NOBODY}")).status, 404);
    let call = json!({"function_id": function, "endpoint_id": NOBODY, "args": b64(b"p\0\0the arguments")});
    let submit = service.post("/api/v1/tasks", &json!({"group_id": NOBODY, "tasks": [call]}));
    assert_eq!(submit.status, 404);
    assert_eq!(service.call_as("a bad token", "GET", "/api/v1/whoami", None).status, 401);
    assert_eq!(service.request("GET", "/api/v1/whoami", &[], b"").status, 401);
    let other = service.other_user();
    assert_eq!(service.call_as(&other, "GET", "/api/v1/audit", None).status, 403);

    service.until("/api/v1/audit?action=audit", "/entries/0/status", &json!(403));
    let entries = service.get("/api/v1/audit").json();
    let entries: Vec<&Value> = entries["entries"].as_array().unwrap().iter().collect();
    let seen = |line: &Value| {
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        (text("name"), text("action"), text("object"), line["status"].as_u64().unwrap(), text("code"))
    };
    let line = |name: &str, action: &str, object: &str, status, code: &str| {
        (name.to_owned(), action.to_owned(), object.to_owned(), status, code.to_owned())
    };
    assert_eq!(
        entries.iter().map(|line| seen(line)).collect::<Vec<_>>(),
        [
            line("owner", "POST /api/v1/functions", &function, 201, "-"),
            line("owner", "POST /api/v1/tokens", token, 201, "-"),
            line("owner", "DELETE /api/v1/functions/{id}", &function, 204, "-"),
            line("owner", "GET /api/v1/tasks/{id}", NOBODY, 404, "not-found"),
            line("owner", "POST /api/v1/tasks", "-", 404, "not-found"),
            line("-", "GET /api/v1/whoami", "-", 401, "unauthorized"),
            line("other", "GET /api/v1/audit", "-", 403, "forbidden"),
        ]
    );
    assert!(entries.iter().all(|line| line["from"] == "127.0.0.1" && line["request"].is_string()));
    let own = service.get("/api/v1/tokens").json()["tokens"][0]["id"].clone();
    assert_eq!(entries[0]["token"], own, "by its id");
    let found = service.get(&format!("/api/v1/audit?user=owner&object={function}&limit=1")).json();
    assert_eq!((&found["entries"][0]["n"], &found["next"]), (&json!(1), &json!("1")));
    let found = service.get(&format!("/api/v1/audit?object={function}&limit=1&after=1")).json();
    assert_eq!(found["entries"][0]["n"], 3);
    assert_eq!(service.get("/api/v1/audit?since=yesterday").status, 400);
    let later = service.get("/api/v1/audit?since=2999-01-01T00:00:00Z").json();
    assert_eq!(later["entries"], json!([]));

    let secrets = [service.token.clone(), secret.to_owned(), other, "a bad token".to_owned()];
    service.stop();
    let verified = bursa_service::audit::verify(&home).unwrap();
    assert_eq!((verified.first, verified.lines), (1, 7), "reads that are not understood are no refusals");
    let text = std::fs::read_to_string(home.join("service/audit/00000000000000000001.jsonl")).unwrap();
    let words = ["double", "a name", "the arguments"].map(str::to_owned);
    for secret in secrets.iter().chain(&words) {
        assert!(!text.contains(secret.as_str()), "{secret} in {text}");
    }

    let service = start(&home);
    service.function();
    service.stop();
    assert_eq!(bursa_service::audit::verify(&home).unwrap().last, 8, "the next life goes on with it");
}

#[test]
fn a_flood_of_refusals_does_not_fill_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let mut config = config(&home);
    (config.rates.bad_logins, config.rates.write) = (1, 1);
    let service = try_start(config).unwrap();
    for n in 0..100 {
        let refused = service.call_as(&format!("bad {n}"), "GET", "/api/v1/whoami", None).status;
        assert!([401, 429].contains(&refused));
        service.post("/api/v1/tokens", &json!({"name": "t"}));
    }
    service.stop();
    let lines = bursa_service::audit::verify(&home).unwrap().lines;
    assert!((20..100).contains(&lines), "{lines}");
}

#[test]
fn refused_logins_of_amqp_are_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(&dir.path().join("home"));
    let url = service.get("/v2/get_amqp_result_connection_url").json()["connection_url"].clone();
    let address = url.as_str().unwrap().rsplit_once('@').unwrap().1.trim_end_matches('/').to_owned();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let answer = b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x08\0ada\0bad\x05en_US";
    let size = u32::try_from(answer.len()).unwrap().to_be_bytes();
    let frame = [b"AMQP\0\0\x09\x01\x01\0\0".as_slice(), &size, answer, b"\xce"].concat();
    stream.write_all(&frame).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("ACCESS_REFUSED"));
    service.until("/api/v1/audit?action=LOGIN", "/entries/0/status", &json!(403));
}

#[test]
fn refused_keys_of_endpoints_are_in_it_once_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let service = start(&home);
    let endpoint = register(&service, "lab");
    let revoke = format!("/api/v1/endpoints/{}/revoke-key", endpoint.id);
    assert_eq!(service.post(&revoke, &json!({})).status, 204);
    for _ in 0..4 {
        let ended = Manager::start(&service, &endpoint, 1, Behave::Hold).ended();
        assert_eq!(ended, Some(Disconnected::KeyRefused));
    }
    let key = json!(endpoint.keys.public.to_string());
    service.until("/api/v1/audit?action=LINK", "/entries/0/object", &key);
    service.stop();
    let text = std::fs::read_to_string(home.join("service/audit/00000000000000000001.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.filter(|line| line["action"] == "LINK").collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!((&lines[0]["from"], &lines[0]["status"]), (&json!("127.0.0.1"), &json!(401)));
    assert_eq!((&lines[1]["left_out"], &lines[1]["object"]), (&json!(3), &Value::Null));
}
