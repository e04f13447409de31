//! The same of the routes for clients of funcX and Globus Compute, which no document describes.

use super::support::{Answer, Service, start};
use super::{ANY, OPEN, check, not_valid, user};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

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

/// A connection of an official endpoint's.
struct Amqp(TcpStream);

impl Amqp {
    /// Logs in with the credentials in this url; the method that answers, `TUNE` if they are good.
    fn login(url: &str) -> (Self, u16) {
        let (credentials, address) = url.strip_prefix("amqp://").unwrap().rsplit_once('@').unwrap();
        let (user, password) = credentials.split_once(':').unwrap();
        let stream = TcpStream::connect(address.trim_end_matches('/')).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut amqp = Self(stream);
        amqp.0.write_all(b"AMQP\0\0\x09\x01").unwrap();
        assert_eq!(amqp.hear(), 10, "start");
        let secret = format!("\0{user}\0{password}");
        let size = u32::try_from(secret.len()).unwrap().to_be_bytes();
        amqp.say(11, &[b"\0\0\0\0\x05PLAIN".as_slice(), &size, secret.as_bytes(), b"\x05en_US"].concat());
        let answer = amqp.hear();
        (amqp, answer)
    }

    /// A method of the class `connection`.
    fn say(&mut self, method: u16, arguments: &[u8]) {
        let payload = [&[0, 10], method.to_be_bytes().as_slice(), arguments].concat();
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.0.write_all(&[b"\x01\0\0".as_slice(), &size, &payload, b"\xce"].concat()).unwrap();
    }

    /// The method of that class that comes next.
    fn hear(&mut self) -> u16 {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).unwrap();
            let mut rest = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
            self.0.read_exact(&mut rest).unwrap();
            if head[0] == 1 {
                return u16::from_be_bytes([rest[2], rest[3]]);
            }
        }
    }
}

const TUNE: u16 = 30;
const OPEN_OK: u16 = 41;
const CLOSE: u16 = 50;

#[test]
fn credentials_of_an_official_endpoint_end_while_its_owner_is_disabled() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let ann = user(&service, "ann");
    let made = call(&service, &ann, ("POST", "/v3/endpoints"), ENDPOINT).json();
    let url = made["task_queue_info"]["connection_url"].as_str().unwrap();
    let (mut open, answer) = Amqp::login(url);
    assert_eq!(answer, TUNE);
    open.say(31, b"\0\0\0\x02\0\0\0\0");
    open.say(40, b"\x01/\0\0");
    assert_eq!(open.hear(), OPEN_OK);
    assert_eq!(service.post("/api/v1/users/ann/disable", &json!({})).status, 204);
    assert_eq!(open.hear(), CLOSE, "what is open is closed");
    assert_eq!(Amqp::login(url).1, CLOSE);
    assert_eq!(service.post("/api/v1/users/ann/enable", &json!({})).status, 204);
    assert_eq!(Amqp::login(url).1, TUNE);
}
