//! Functions, endpoints, tokens, and what every route has in common.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;
use support::manager::register;
use support::{NOBODY, Service, b64, start};

fn service() -> (tempfile::TempDir, Service) {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    (dir, service)
}

#[test]
fn version_health_whoami_and_metrics() {
    let (_dir, service) = service();
    let version = service.request("GET", "/api/v1/version", &[], b"").json();
    assert_eq!(version, json!({"version": env!("CARGO_PKG_VERSION"), "api": "v1"}));
    assert_eq!(service.request("GET", "/api/v1/health", &[], b"").json(), json!({"status": "ok"}));
    assert_eq!(service.get("/api/v1/whoami").json()["name"], "owner");
    service.function();
    let metrics = service.get("/metrics");
    let text = String::from_utf8(metrics.body).unwrap();
    for line in
        ["# TYPE bursa_tasks_accepted_total counter", "bursa_store_commit_seconds_count", "bursa_endpoints 0"]
    {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(service.request("GET", "/metrics", &[], b"").status, 401);
}

#[test]
fn unknown_routes_wrong_methods_and_bad_ids() {
    let (_dir, service) = service();
    for path in ["/", "/api/v1/nothing", "/api/v2/x"] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.error().0.as_str()), (404, "not-found"), "{path}");
    }
    let answer = service.delete("/api/v1/version");
    assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "GET,HEAD"));
    answer.error();
    let mut ids = std::collections::HashSet::new();
    for kind in ["tasks", "functions", "endpoints"] {
        let answer = service.get(&format!("/api/v1/{kind}/{NOBODY}"));
        let (code, message) = answer.error();
        assert_eq!((answer.status, code.as_str()), (404, "not-found"));
        assert!(message.contains(NOBODY), "{message}");
        let answer = service.get(&format!("/api/v1/{kind}/not-a-uuid"));
        let (code, message) = answer.error();
        assert_eq!((answer.status, code.as_str()), (400, "invalid"));
        assert!(message.contains("'id'") && message.contains("not-a-uuid"), "{message}");
        assert!(ids.insert(answer.headers["x-request-id"].clone()));
        assert_eq!(answer.json()["error"]["request_id"], answer.headers["x-request-id"].as_str());
    }
}

#[test]
fn a_function_is_registered_found_fetched_and_deleted() {
    let (_dir, service) = service();
    let id = service.function();
    let shown = service.get(&format!("/api/v1/functions/{id}")).json();
    assert_eq!(shown["name"], "double");
    assert_eq!((shown["size"].as_u64(), shown["python"].as_str()), (Some(7), Some("3.11")));
    assert!(shown["registered_at"].as_str().unwrap().ends_with('Z'));
    let body = service.get(&format!("/api/v1/functions/{id}/body"));
    assert_eq!(
        (body.body.as_slice(), body.headers["content-type"].as_str()),
        (&b"c\x03\x0bbody"[..], "application/octet-stream")
    );

    let found = |query: &str| {
        let page = service.get(&format!("/api/v1/functions{query}")).json();
        page["functions"].as_array().unwrap().len()
    };
    assert_eq!(
        [found(""), found("?search=DOUB"), found("?search=twice"), found("?search=nothing")],
        [1, 1, 1, 0]
    );

    assert_eq!(service.delete(&format!("/api/v1/functions/{id}")).status, 204);
    assert_eq!(service.get(&format!("/api/v1/functions/{id}")).status, 404);
    assert_eq!(service.get(&format!("/api/v1/functions/{id}/body")).status, 404);
    assert_eq!(service.delete(&format!("/api/v1/functions/{id}")).status, 404);
    assert_eq!(found(""), 0);
}

#[test]
fn large_bodies_are_kept_too_and_too_large_ones_are_refused_with_both_numbers() {
    let (_dir, service) = service();
    let large = vec![7; 100_000];
    let made = service.post("/api/v1/functions", &json!({"name": "f", "body": b64(&large)})).json();
    let id = made["function_id"].as_str().unwrap();
    assert_eq!(made["hash"], blake3::hash(&large).to_hex().as_str());
    assert_eq!(service.get(&format!("/api/v1/functions/{id}/body")).body, large);
    let size = 16 * 1024 * 1024 + 1;
    let answer = service.post("/api/v1/functions", &json!({"name": "f", "body": b64(&vec![0; size])}));
    let (code, message) = answer.error();
    assert_eq!((answer.status, code.as_str()), (413, "too-large"));
    assert!(message.contains(&size.to_string()) && message.contains("16777216"), "{message}");
    let answer = service.post("/api/v1/functions", &json!({"name": "n".repeat(257), "body": "YQ=="}));
    assert_eq!(answer.status, 413);
    // Refused by its declared length, unread.
    let auth = format!("Bearer {}", service.token);
    let headers = [("Authorization", auth.as_str()), ("Content-Length", "200000000")];
    let answer = service.request("GET", "/api/v1/version", &[], b"");
    assert_eq!(answer.status, 200);
    let answer = service.request("PUT", "/api/v1/functions", &headers, b"");
    assert_eq!(answer.status, 405);
}

#[test]
fn pages_go_to_the_end() {
    let (_dir, service) = service();
    let mut made: Vec<String> = (0..5).map(|_| service.function()).collect();
    made.reverse();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = service.get(&format!("/api/v1/functions?limit=2{after}")).json();
        seen.extend(
            page["functions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|f| f["function_id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("after=x", "after"),
        ("surprise=1", "surprise"),
    ] {
        let answer = service.get(&format!("/api/v1/functions?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.error().1.contains(&format!("'{field}'")), "{query}");
    }
}

#[test]
fn bad_bodies_name_the_field() {
    let (_dir, service) = service();
    for (path, body, status, field) in [
        ("functions", json!({"name": "f"}), 422, "body"),
        ("functions", json!({"name": 7, "body": "YQ=="}), 422, "name"),
        ("functions", json!({"name": "f", "body": "not base64!"}), 422, "body"),
        ("functions", json!({"name": "f", "body": "YQ==", "surprise": 1}), 400, "surprise"),
        ("functions", json!({"name": "", "body": "YQ=="}), 400, "name"),
        ("functions", json!({"name": "f", "body": ""}), 400, "body"),
        ("functions", json!(["f"]), 422, "valid"),
        ("endpoints", json!({"name": "e"}), 422, "public_key"),
        ("endpoints", json!({"name": "e", "public_key": "short"}), 400, "public_key"),
        ("endpoints", json!({"name": "e", "public_key": "k", "endpoint_id": "x"}), 400, "endpoint_id"),
        ("tokens", json!({}), 422, "name"),
        ("tokens", json!({"name": ""}), 400, "name"),
    ] {
        let answer = service.post(&format!("/api/v1/{path}"), &body);
        let (code, message) = answer.error();
        assert_eq!((answer.status, code.as_str()), (status, "invalid"), "{body}: {message}");
        assert!(message.contains(field), "{body}: {message}");
    }
    let auth = format!("Bearer {}", service.token);
    let answer = service.request("POST", "/api/v1/functions", &[("Authorization", &auth)], b"{\"name\": ");
    assert!(answer.status == 400 && answer.error().1.contains("not JSON"), "{answer:?}");
}

#[test]
fn an_endpoint_is_registered_once() {
    let (_dir, service) = service();
    let endpoint = register(&service, "lab");
    let key = endpoint.keys.public.to_string();
    let again = json!({"name": "lab", "public_key": key, "endpoint_id": endpoint.id});
    assert_eq!(service.post("/api/v1/endpoints", &again).status, 200);
    let other = bursa_fabric::KeyPair::generate().unwrap().public.to_string();
    for body in [
        json!({"name": "lab", "public_key": other, "endpoint_id": endpoint.id}),
        json!({"name": "x", "public_key": key}),
    ] {
        let answer = service.post("/api/v1/endpoints", &body);
        assert_eq!((answer.status, answer.error().0.as_str()), (409, "conflict"));
    }
    let shown = service.get(&format!("/api/v1/endpoints/{}", endpoint.id)).json();
    assert_eq!((shown["name"].as_str(), shown["status"].as_str()), (Some("lab"), Some("offline")));
    assert_eq!(service.get("/api/v1/endpoints").json()["endpoints"].as_array().unwrap().len(), 1);
    let status = service.get(&format!("/api/v1/endpoints/{}/status", endpoint.id)).json();
    assert_eq!((status["status"].as_str(), status["queued"].as_u64()), (Some("offline"), Some(0)));
    assert_eq!(service.get(&format!("/api/v1/endpoints/{NOBODY}/status")).status, 404);
    assert_eq!(service.delete(&format!("/api/v1/endpoints/{NOBODY}")).status, 404);
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let (_dir, service) = service();
    let made = service.post("/api/v1/tokens", &json!({"name": "laptop"}));
    assert_eq!(made.status, 201);
    let (id, token) = (made.json()["id"].clone(), made.json()["token"].as_str().unwrap().to_owned());
    assert_eq!(service.call_as(&token, "GET", "/api/v1/whoami", None).status, 200);
    let listed = service.get("/api/v1/tokens").json();
    let names: Vec<_> =
        listed["tokens"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["client.toml", "laptop"]);
    assert!(!listed.to_string().contains(&token));
    let path = format!("/api/v1/tokens/{}", id.as_str().unwrap());
    assert_eq!(service.delete(&path).status, 204);
    assert_eq!(service.call_as(&token, "GET", "/api/v1/whoami", None).status, 401, "at once, cached or not");
    assert_eq!(service.delete(&path).status, 404);
    assert_eq!(service.delete("/api/v1/tokens/nonsense").status, 400);
    let stored = std::fs::read(service.home.join("service/bursa.db")).unwrap();
    let wal = std::fs::read(service.home.join("service/bursa.db-wal")).unwrap();
    for file in [stored, wal] {
        assert!(!file.windows(token.len()).any(|part| part == token.as_bytes()), "only hashes are stored");
    }
}

#[test]
fn another_users_things_do_not_exist() {
    let (_dir, service) = service();
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    let other = service.other_user();
    for path in [
        format!("functions/{function}"),
        format!("functions/{function}/body"),
        format!("endpoints/{}", endpoint.id),
        format!("endpoints/{}/status", endpoint.id),
    ] {
        let theirs = service.call_as(&other, "GET", &format!("/api/v1/{path}"), None);
        let nobodys = service.call_as(
            &other,
            "GET",
            &format!("/api/v1/{path}").replace(&function, NOBODY).replace(&endpoint.id, NOBODY),
            None,
        );
        let (theirs, nobodys) = (theirs.error(), nobodys.error());
        assert_eq!(theirs.0, "not-found");
        assert_eq!(
            theirs.1.replace(&function, NOBODY).replace(&endpoint.id, NOBODY),
            nobodys.1,
            "the same answer"
        );
    }
    assert_eq!(service.call_as(&other, "DELETE", &format!("/api/v1/functions/{function}"), None).status, 404);
    assert_eq!(
        service.call_as(&other, "DELETE", &format!("/api/v1/endpoints/{}", endpoint.id), None).status,
        404
    );
    let listed = service.call_as(&other, "GET", "/api/v1/functions", None).json();
    assert_eq!(listed["functions"], json!([]));
    let task = json!({"tasks": [{"function_id": function, "endpoint_id": endpoint.id, "args": "YQ=="}]});
    let answer = service.call_as(&other, "POST", "/api/v1/tasks", Some(&task));
    assert!(answer.status == 404 && answer.error().1.contains(&function));
}
