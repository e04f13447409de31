//! The same of the routes for clients of funcX and Globus Compute, which no document describes.

use super::support::{Answer, Service, start};
use super::{ANY, OPEN, check, not_valid, user};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Method, route, the scope that it needs; what is sent; what its owner, another user and an administrator get for what is the
/// owner's. Each route below `/v2` but those of Globus Auth is below `/v1`, too.
type Route = (&'static str, &'static str, &'static str, &'static str, [u16; 3]);

const FUNCTION: &str = r#"{"function_name": "f", "function_code": "04\nx"}"#;
const SUBMIT: &str = r#"{"tasks": [["FUNCTION", "ENDPOINT", "00\nx"]]}"#;
const SUBMIT_3: &str = r#"{"tasks": {"FUNCTION": ["00\nx"]}}"#;
const WHITELIST: &str = r#"{"func": ["FUNCTION"]}"#;
const CONTAINER: &str = r#"{"location": "python:3.12", "type": "docker"}"#;
const ENDPOINT: &str = r#"{"endpoint_name": "another", "metadata": {}}"#;

const ROUTES: &[Route] = &[
    ("GET", "/v2/version", OPEN, "", [200; 3]),
    ("GET", "/v2/stats", OPEN, "", [200; 3]),
    ("GET", "/v2/authenticate", ANY, "", [200; 3]),
    ("POST", "/v2/functions", "functions:register", FUNCTION, [200; 3]),
    // Its code is in the answer.
    ("GET", "/v2/functions/{id}", "functions:read", "", [200, 404, 404]),
    ("DELETE", "/v2/functions/{id}", "functions:register", "", [200, 404, 200]),
    // Each call has an answer of its own: 207 if one of them was refused.
    ("POST", "/v2/submit", "tasks:submit", SUBMIT, [200, 207, 207]),
    ("GET", "/v2/tasks/{id}", "tasks:read", "", [200, 404, 404]),
    // Of an unknown task it says that.
    ("POST", "/v2/batch_status", "tasks:read", r#"{"task_ids": ["TASK"]}"#, [200; 3]),
    ("GET", "/v2/taskgroup/{id}", "tasks:read", "", [200, 404, 404]),
    ("GET", "/v2/task_groups/{id}", "tasks:read", "", [200, 404, 404]),
    ("GET", "/v2/endpoints", "endpoints:read", "", [200; 3]),
    ("GET", "/v2/endpoints/{id}", "endpoints:read", "", [200, 404, 200]),
    ("DELETE", "/v2/endpoints/{id}", "endpoints:manage", "", [200, 404, 200]),
    ("GET", "/v2/endpoints/{id}/status", "endpoints:read", "", [200, 404, 200]),
    ("GET", "/v2/endpoints/{id}/whitelist", "endpoints:read", "", [200, 404, 200]),
    ("POST", "/v2/endpoints/{id}/whitelist", "endpoints:manage", WHITELIST, [200, 404, 200]),
    ("DELETE", "/v2/endpoints/{id}/whitelist/{function}", "endpoints:manage", "", [200, 404, 200]),
    ("GET", "/v2/get_amqp_result_connection_url", "tasks:read", "", [200; 3]),
    ("POST", "/v2/containers", "containers:register", CONTAINER, [200; 3]),
    ("GET", "/v2/containers/{id}/{kind}", "functions:read", "", [200, 404, 200]),
    ("POST", "/v3/functions", "functions:register", FUNCTION, [200; 3]),
    ("POST", "/v3/endpoints/{id}/submit", "tasks:submit", SUBMIT_3, [200, 404, 404]),
    ("GET", "/v3/endpoints/{id}/allowed_functions", "endpoints:read", "", [200, 404, 200]),
    ("POST", "/v3/endpoints", "endpoints:manage", ENDPOINT, [200; 3]),
    // Clients choose ids: one that is taken is refused to everybody else.
    ("PUT", "/v3/endpoints/{id}", "endpoints:manage", ENDPOINT, [200, 409, 409]),
    ("DELETE", "/v3/endpoints/{id}", "endpoints:manage", "", [200, 404, 200]),
    ("POST", "/v3/endpoints/{id}/lock", "endpoints:manage", "", [200, 404, 200]),
    // The secret is in its form, of which there is none here.
    ("POST", "/v2/oauth2/token", OPEN, "", [415; 3]),
    ("POST", "/v2/oauth2/token/revoke", OPEN, "", [415; 3]),
    // Its form has a token; what no page of this service sent is refused.
    ("GET", "/v2/oauth2/authorize", OPEN, "", [400; 3]),
    ("POST", "/v2/oauth2/authorize", OPEN, "", [403; 3]),
    ("GET", "/.well-known/openid-configuration", OPEN, "", [200; 3]),
    ("GET", "/jwk.json", OPEN, "", [200; 3]),
    ("GET", "/v2/oauth2/userinfo", ANY, "", [200; 3]),
    ("GET", "/v2/api/identities", ANY, "", [422; 3]),
];

/// All of them, by their old names, too.
fn routes() -> Vec<(String, Route)> {
    let of_auth = ["/v2/oauth2/", "/v2/api/"];
    let old = ROUTES.iter().filter(|route| !of_auth.iter().any(|prefix| route.1.starts_with(prefix)));
    let old = old.filter_map(|route| Some((format!("/v1/{}", route.1.strip_prefix("/v2/")?), *route)));
    ROUTES.iter().map(|route| (route.1.to_owned(), *route)).chain(old).collect()
}

#[test]
fn every_route_of_foreign_clients_asks_for_a_valid_token_with_its_scope() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let served: BTreeSet<_> = bursa_service::compat_routes().into_iter().collect();
    let listed = routes().into_iter().map(|(path, (method, ..))| (method, path)).collect();
    assert_eq!(served, listed, "each route that is served has its line above");
    let not_valid = not_valid(&service);
    for (path, (method, _, scope, ..)) in routes() {
        // Who logs in sends his token in the form.
        if !path.starts_with("/v2/oauth2/token") {
            check(&service, &not_valid, (method, &path, scope));
        }
    }
}

/// Made anew for each request, by the owner of the service.
struct Things {
    function: String,
    endpoint: String,
    task: String,
    group: String,
    container: String,
}

impl Things {
    fn new(service: &Service) -> Self {
        let made = |path: &str, body: &str, field: &str| {
            let answer = call(service, &service.token, ("POST", path), body);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            answer.json()[field].clone()
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let code = FUNCTION.replace("04\\nx", "04\\nthe owner's code");
        let function = text(&made("/v2/functions", &code, "function_uuid"));
        let endpoint = text(&made("/v3/endpoints", ENDPOINT, "endpoint_id"));
        let container = text(&made("/v2/containers", CONTAINER, "container_id"));
        let fill = |body: &str| body.replace("FUNCTION", &function).replace("ENDPOINT", &endpoint);
        made(&format!("/v2/endpoints/{endpoint}/whitelist"), &fill(WHITELIST), "status");
        let submitted = call(service, &service.token, ("POST", "/v2/submit"), &fill(SUBMIT)).json();
        let (group, task) = (text(&submitted["task_group_id"]), text(&submitted["results"][0]["task_uuid"]));
        Self { function, endpoint, task, group, container }
    }

    fn path(&self, path: &str) -> String {
        let id = match path.split('/').nth(2).unwrap_or_default() {
            "functions" => &self.function,
            "endpoints" => &self.endpoint,
            "containers" => &self.container,
            "tasks" => &self.task,
            _ => &self.group,
        };
        path.replace("{id}", id).replace("{function}", &self.function).replace("{kind}", "docker")
    }

    fn fill(&self, body: &str) -> String {
        let body = body.replace("FUNCTION", &self.function).replace("ENDPOINT", &self.endpoint);
        body.replace("TASK", &self.task)
    }

    /// What their owner sees of them.
    fn state(&self, service: &Service) -> Vec<Value> {
        let paths = [
            format!("/v2/functions/{}", self.function),
            format!("/v2/endpoints/{}", self.endpoint),
            format!("/v2/endpoints/{}/whitelist", self.endpoint),
            format!("/v2/tasks/{}", self.task),
            format!("/v2/taskgroup/{}", self.group),
            format!("/v2/containers/{}/docker", self.container),
        ];
        paths.iter().map(|path| call(service, &service.token, ("GET", path), "").json()).collect()
    }
}

fn call(service: &Service, token: &str, (method, path): (&str, &str), body: &str) -> Answer {
    let auth = format!("Bearer {token}");
    let headers = [("Authorization", auth.as_str()), ("Content-Type", "application/json")];
    service.request(method, path, &headers, body.as_bytes())
}

#[test]
fn what_is_anothers_is_not_there_for_foreign_clients() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let made = service.post("/api/v1/users", &json!({"name": "root", "admin": true}));
    let root = made.json()["token"].as_str().unwrap().to_owned();
    let people = [service.token.clone(), user(&service, "ann"), root];
    for (path, (method, _, _, body, expected)) in routes() {
        for (who, (token, status)) in people.iter().zip(expected).enumerate() {
            let things = Things::new(&service);
            let before = things.state(&service);
            let answer = call(&service, token, (method, &things.path(&path)), &things.fill(body));
            let text = String::from_utf8_lossy(&answer.body);
            assert_eq!(answer.status, status, "{method} {path} by {who}: {text}");
            if who == 0 {
                continue;
            }
            assert!(!text.contains("the owner's code"), "{method} {path} by {who}: {text}");
            if method == "GET" && !path.contains("{id}") {
                assert!(!text.contains(&things.endpoint), "{method} {path} by {who}: {text}");
            }
            if status != 200 || method == "GET" {
                assert_eq!(things.state(&service), before, "{method} {path} by {who}");
            }
        }
    }
}
