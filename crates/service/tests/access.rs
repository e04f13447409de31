//! Who gets an answer from which route: every route of the OpenAPI document has a line here.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "access/compat.rs"]
mod compat;
mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use support::socket::Socket;
use support::{NOBODY, Service, start};

/// Open to everybody.
const OPEN: &str = "-";
/// Any token will do.
const ANY: &str = "";

/// Method, route, the scope that it needs.
const ROUTES: &[(&str, &str, &str)] = &[
    ("get", "/api/v1/version", OPEN),
    ("get", "/api/v1/health", OPEN),
    ("get", "/api/v1/openapi.json", OPEN),
    ("get", "/api/v1/login", OPEN),
    ("get", "/api/v1/login", OPEN),
    ("post", "/api/v1/tokens/exchange", OPEN),
    ("get", "/api/v1/audit", "admin"),
    ("get", "/api/v1/whoami", ANY),
    ("get", "/metrics", ANY),
    ("post", "/api/v1/functions", "functions:register"),
    ("get", "/api/v1/functions", "functions:read"),
    ("get", "/api/v1/functions/{id}", "functions:read"),
    ("delete", "/api/v1/functions/{id}", "functions:register"),
    ("get", "/api/v1/functions/{id}/body", "functions:read"),
    ("post", "/api/v1/containers", "containers:register"),
    ("get", "/api/v1/containers", "functions:read"),
    ("get", "/api/v1/containers/{id}", "functions:read"),
    ("delete", "/api/v1/containers/{id}", "containers:register"),
    ("post", "/api/v1/endpoints", "endpoints:manage"),
    ("get", "/api/v1/endpoints", "endpoints:read"),
    ("get", "/api/v1/endpoints/{id}", "endpoints:read"),
    ("delete", "/api/v1/endpoints/{id}", "endpoints:manage"),
    ("get", "/api/v1/endpoints/{id}/status", "endpoints:read"),
    ("post", "/api/v1/endpoints/{id}/revoke-key", "endpoints:manage"),
    ("post", "/api/v1/tasks", "tasks:submit"),
    ("get", "/api/v1/tasks", "tasks:read"),
    ("get", "/api/v1/tasks/{id}", "tasks:read"),
    ("get", "/api/v1/tasks/{id}/explain", "tasks:read"),
    ("post", "/api/v1/tasks/get", "tasks:read"),
    ("post", "/api/v1/tasks/cancel", "tasks:submit"),
    ("get", "/api/v1/stream", "tasks:read"),
    ("get", "/api/v1/memo", "tasks:read"),
    ("delete", "/api/v1/memo", "tasks:submit"),
    ("post", "/api/v1/tokens", "tokens:manage"),
    ("get", "/api/v1/tokens", "tokens:manage"),
    ("delete", "/api/v1/tokens/{id}", "tokens:manage"),
    ("get", "/api/v1/secrets", "secrets:manage"),
    ("put", "/api/v1/secrets/{name}", "secrets:manage"),
    ("delete", "/api/v1/secrets/{name}", "secrets:manage"),
    ("put", "/api/v1/secrets/{name}/functions/{id}", "secrets:manage"),
    ("delete", "/api/v1/secrets/{name}/functions/{id}", "secrets:manage"),
    // It has a token of its own kind in its form.
    ("post", "/api/v1/tokens/exchange", OPEN),
    ("post", "/api/v1/users", "admin"),
    ("get", "/api/v1/users", "admin"),
    ("get", "/api/v1/users/{id}", "admin"),
    ("post", "/api/v1/users/{id}/disable", "admin"),
    ("post", "/api/v1/users/{id}/enable", "admin"),
    ("post", "/api/v1/users/{id}/admin", "admin"),
    ("delete", "/api/v1/users/{id}/admin", "admin"),
    ("post", "/api/v1/users/{id}/identities", "admin"),
    ("delete", "/api/v1/users/{id}/identities", "admin"),
    ("post", "/api/v1/groups", "endpoints:manage"),
    ("get", "/api/v1/groups", "endpoints:read"),
    ("get", "/api/v1/groups/{id}", "endpoints:read"),
    ("delete", "/api/v1/groups/{id}", "endpoints:manage"),
    ("post", "/api/v1/groups/{id}/members", "endpoints:manage"),
    ("delete", "/api/v1/groups/{id}/members", "endpoints:manage"),
    ("get", "/api/v1/endpoints/{id}/allowed-functions", "endpoints:read"),
    ("post", "/api/v1/endpoints/{id}/allowed-functions", "endpoints:manage"),
    ("post", "/api/v1/shares/{kind}/{id}", ANY),
    ("get", "/api/v1/shares/{kind}/{id}", ANY),
    ("delete", "/api/v1/shares/{kind}/{id}", ANY),
];

/// What sharing needs, by the kind of thing.
const KINDS: &[(&str, &str)] = &[
    ("functions", "functions:register"),
    ("containers", "containers:register"),
    ("endpoints", "endpoints:manage"),
    ("task-groups", "tasks:submit"),
];

const SCOPES: &[&str] = &[
    "functions:register",
    "functions:read",
    "containers:register",
    "endpoints:manage",
    "endpoints:read",
    "tasks:submit",
    "tasks:read",
    "tokens:manage",
    "secrets:manage",
    "admin",
];

fn token(service: &Service, new: &Value) -> (String, String) {
    let made = service.post("/api/v1/tokens", new);
    assert_eq!(made.status, 201, "{made:?}");
    let text = |field: &str| made.json()[field].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

/// The token of a new user.
fn user(service: &Service, name: &str) -> String {
    let made = service.post("/api/v1/users", &json!({"name": name}));
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["token"].as_str().unwrap().to_owned()
}

fn with(service: &Service, scopes: &[&str]) -> String {
    token(service, &json!({"name": "x", "scopes": scopes})).1
}

/// What a request without a body worth reading gets: 401 and 403 come before anybody looks at it.
fn ask(service: &Service, token: Option<&str>, method: &str, path: &str) -> (u16, String) {
    let path = path.replace("{id}", NOBODY).replace("{function}", NOBODY).replace("{kind}", "docker");
    let auth = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = auth.iter().map(|auth| ("Authorization", auth.as_str())).collect();
    let answer = service.request(&method.to_uppercase(), &path, &headers, b"");
    (answer.status, String::from_utf8(answer.body).unwrap())
}

/// Tokens that are good for nothing.
fn not_valid(service: &Service) -> [Option<String>; 5] {
    let (id, revoked) = token(service, &json!({"name": "revoked"}));
    assert_eq!(service.call_as(&revoked, "GET", "/api/v1/whoami", None).status, 200);
    assert_eq!(service.delete(&format!("/api/v1/tokens/{id}")).status, 204);
    let (id, expired) = token(service, &json!({"name": "expired"}));
    expire(service, &id);
    let disabled = user(service, "gone");
    assert_eq!(service.call_as(&disabled, "GET", "/api/v1/whoami", None).status, 200);
    assert_eq!(service.post("/api/v1/users/gone/disable", &json!({})).status, 204);
    [None, Some("bursa_wrong".to_owned()), Some(revoked), Some(expired), Some(disabled)]
}

/// Asks a route with each of the tokens that are not valid, with all scopes but its own, and with its own only.
fn check(service: &Service, not_valid: &[Option<String>], (method, path, scope): (&str, &str, &str)) {
    for token in not_valid {
        let (status, _) = ask(service, token.as_deref(), method, path);
        assert_eq!(status == 401, scope != OPEN, "{method} {path} with {token:?}: {status}");
    }
    if [OPEN, ANY].contains(&scope) {
        return;
    }
    let others: Vec<_> = SCOPES.iter().copied().filter(|other| *other != scope).collect();
    let (status, why) = ask(service, Some(&with(service, &others)), method, path);
    assert_eq!(status, 403, "{method} {path}");
    assert!(why.contains(&format!("needs a token with the scope '{scope}'")), "{why}");
    let (status, why) = ask(service, Some(&with(service, &[scope])), method, path);
    assert!(![401, 403].contains(&status), "{method} {path}: {status} {why}");
}

#[test]
fn every_route_asks_for_a_valid_token_with_its_scope() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let document: Value = serde_json::from_str(&bursa_service::openapi_json()).unwrap();
    let documented: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
        })
        .collect();
    let listed = ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(documented, listed, "each route of the document has its line above");

    let not_valid = not_valid(&service);
    let of_kinds =
        ROUTES.iter().filter(|(_, path, _)| path.contains("{kind}")).flat_map(|(method, path, _)| {
            KINDS.iter().map(move |(kind, scope)| (*method, path.replace("{kind}", kind), *scope))
        });
    let others = ROUTES.iter().filter(|(_, path, _)| !path.contains("{kind}"));
    let others = others.map(|(method, path, scope)| (*method, (*path).to_owned(), *scope));
    for (method, path, scope) in others.chain(of_kinds) {
        check(&service, &not_valid, (method, &path, scope));
    }
}

#[test]
fn administrators_are_made_and_unmade_but_for_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let ann = user(&service, "ann");
    let narrow = json!({"name": "n", "scopes": ["tasks:read", "tokens:manage"]});
    let narrow = service.call_as(&ann, "POST", "/api/v1/tokens", Some(&narrow)).json()["token"].clone();
    let ask = |token: &str, method: &str, path: &str| service.call_as(token, method, path, None).status;
    let admin = |name: &str| format!("/api/v1/users/{name}/admin");
    assert_eq!(ask(&ann, "POST", &admin("ann")), 403);
    assert_eq!(ask(&service.token, "DELETE", &admin("owner")), 409, "he is the only one");
    assert_eq!(ask(&service.token, "POST", &admin("nobody")), 404);
    assert_eq!(ask(&service.token, "POST", &admin("ann")), 204);
    assert_eq!(ask(&ann, "GET", "/api/v1/users"), 200, "her token is for all that she may");
    assert_eq!(ask(narrow.as_str().unwrap(), "GET", "/api/v1/users"), 403, "and this one never was");
    assert_eq!(ask(&ann, "DELETE", &admin("owner")), 204);
    assert_eq!(ask(&service.token, "GET", "/api/v1/users"), 403);
    assert_eq!(ask(&ann, "DELETE", &admin("ann")), 409);
    assert_eq!(ask(&ann, "POST", "/api/v1/users/ann/disable"), 409);
    assert_eq!(ask(&ann, "POST", &admin("owner")), 204);
    assert_eq!(ask(&service.token, "DELETE", &admin("ann")), 204);
    assert_eq!(ask(&ann, "GET", "/api/v1/users"), 403);
}

#[test]
fn identities_are_linked_and_unlinked() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    user(&service, "ann");
    user(&service, "bob");
    let identity = json!({"issuer": "https://id.example/a?b", "subject": "a&b"});
    assert_eq!(service.post("/api/v1/users/ann/identities", &identity).status, 204);
    let shown = || service.get("/api/v1/users/ann").json()["identities"].clone();
    assert_eq!(shown()[0]["subject"], "a&b");
    let unlink =
        |name: &str, query: &str| service.delete(&format!("/api/v1/users/{name}/identities?{query}")).status;
    let query = "issuer=https%3A%2F%2Fid.example%2Fa%3Fb&subject=a%26b";
    assert_eq!(unlink("bob", query), 400, "it is ann's");
    assert_eq!(unlink("ann", "issuer=https%3A%2F%2Fid.example%2Fa%3Fb"), 400);
    assert_eq!(unlink("ann", query), 204);
    assert_eq!((shown(), unlink("ann", query)), (Value::Null, 400));
}

/// As if it had been made long ago.
fn expire(service: &Service, id: &str) {
    let db = rusqlite::Connection::open(service.home.join("service/bursa.db")).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    let id = uuid::Uuid::parse_str(id).unwrap().into_bytes();
    let changed = db.execute("UPDATE tokens SET expires = 1 WHERE token = ?1", [id.as_slice()]).unwrap();
    assert_eq!(changed, 1);
}

#[test]
fn a_user_who_is_no_administrator_is_told_so_whatever_his_token_has() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let ann = user(&service, "ann");
    let asked = json!({"name": "all", "scopes": ["admin"]});
    let made = service.call_as(&ann, "POST", "/api/v1/tokens", Some(&asked));
    assert_eq!(made.status, 403, "nobody makes a token that may more than his own");
    assert!(made.error().1.contains("has not admin itself"), "{made:?}");
    // Even if she had one.
    let db = rusqlite::Connection::open(service.home.join("service/bursa.db")).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db.execute("UPDATE tokens SET scopes = scopes || ' admin'", []).unwrap();
    for (method, path, scope) in ROUTES.iter().filter(|(.., scope)| *scope == "admin") {
        let path = path.replace("{id}", "ann");
        let body = json!({"name": "bob", "issuer": "https://x", "subject": "1"});
        let answer = service.call_as(&ann, &method.to_uppercase(), &path, Some(&body));
        assert!([403, 404].contains(&answer.status), "{method} {path} {scope}: {answer:?}");
    }
    // And an administrator's token without the scope is no administrator's.
    let (_, usual) = token(&service, &json!({"name": "usual"}));
    assert_eq!(service.call_as(&usual, "GET", "/api/v1/users", None).status, 403);
}

#[test]
fn tokens_say_what_they_may_until_when_and_when_they_were_used() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (id, secret) = token(&service, &json!({"name": "ci", "scopes": ["tasks:read"], "expires_in": 3600}));
    let shown = |id: &str| {
        let listed = service.get("/api/v1/tokens").json();
        listed["tokens"].as_array().unwrap().iter().find(|token| token["id"] == id).unwrap().clone()
    };
    assert_eq!(shown(&id)["scopes"], json!(["tasks:read"]));
    assert!(shown(&id)["expires_at"].is_string() && shown(&id)["used_at"].is_null(), "{}", shown(&id));
    let me = service.call_as(&secret, "GET", "/api/v1/whoami", None).json();
    assert_eq!((&me["scopes"], &me["admin"]), (&json!(["tasks:read"]), &json!(false)));
    // What is made with it may no more and lasts no longer.
    let (_, maker) =
        token(&service, &json!({"name": "m", "scopes": ["tokens:manage", "admin"], "expires_in": 60}));
    let made = service.call_as(
        &maker,
        "POST",
        "/api/v1/tokens",
        Some(&json!({"name": "child", "expires_in": 9999})),
    );
    let child = shown(made.json()["id"].as_str().unwrap());
    assert_eq!(child["scopes"], json!(["tokens:manage"]));
    let maker = service.call_as(&maker, "GET", "/api/v1/whoami", None).json();
    assert_eq!(child["expires_at"], maker["expires_at"]);
    // The use is written beside what was asked.
    service.until("/api/v1/tokens", "/tokens/1/name", &json!("ci"));
    let used = (0..1_000).any(|_| shown(&id)["used_at"].is_string());
    assert!(used, "{}", shown(&id));
    for (bad, field) in [
        (json!({"name": "x", "scopes": ["tasks:eat"]}), "tasks:read"),
        (json!({"name": "x", "scopes": []}), "scopes"),
        (json!({"name": "x", "expires_in": 0}), "expires_in"),
    ] {
        let answer = service.post("/api/v1/tokens", &bad);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.error().1.contains(field), "{answer:?}");
    }
}

#[test]
fn an_open_stream_ends_with_its_token_and_with_its_user() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (_, short) = token(&service, &json!({"name": "short", "expires_in": 1}));
    let mut expiring = Socket::open_as(&service, &short);
    let ann = user(&service, "ann");
    let mut disabled = Socket::open_as(&service, &ann);
    expiring.welcome();
    disabled.welcome();
    assert_eq!(service.post("/api/v1/users/ann/disable", &json!({})).status, 204);
    assert_eq!(disabled.frame().unwrap().0, 8, "a close");
    assert_eq!(expiring.frame().unwrap().0, 8, "a close");
    assert_eq!(service.call_as(&short, "GET", "/api/v1/whoami", None).status, 401);
    // Enabled again, her token is as good as before.
    assert_eq!(service.post("/api/v1/users/ann/enable", &json!({})).status, 204);
    assert_eq!(service.call_as(&ann, "GET", "/api/v1/whoami", None).status, 200);
    let last = service.post("/api/v1/users/owner/disable", &json!({}));
    assert_eq!((last.status, last.error().0.as_str()), (409, "conflict"));
}
