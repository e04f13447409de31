//! What is shared with whom, and what that lets do: each kind of thing, each kind of person.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::manager::{Behave, Manager, register};
use support::world::{World, world};
use support::{Answer, Service, b64, id, start};

/// The owner is the first user; `ann` and `bob` are users, `root` is a second administrator.
struct People {
    w: World,
    ann: String,
    bob: String,
    root: String,
}

fn people() -> People {
    let w = world();
    let add = |name: &str, admin: bool| {
        let made = w.service.post("/api/v1/users", &json!({"name": name, "admin": admin}));
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["token"].as_str().unwrap().to_owned()
    };
    let (ann, bob, root) = (add("ann", false), add("bob", false), add("root", true));
    People { w, ann, bob, root }
}

impl People {
    fn service(&self) -> &Service {
        &self.w.service
    }

    fn share(&self, at: &str, how: &Value) {
        let answer = self.service().post(&format!("/api/v1/shares/{at}"), how);
        assert_eq!(answer.status, 204, "{at} {how}: {answer:?}");
    }

    fn unshare(&self, at: &str, with: &str) {
        let answer = self.service().delete(&format!("/api/v1/shares/{at}?{with}"));
        assert_eq!(answer.status, 204, "{at} {with}: {answer:?}");
    }

    fn function(&self) -> String {
        format!("functions/{}", self.w.function)
    }

    fn endpoint(&self) -> String {
        format!("endpoints/{}", self.w.endpoint.id)
    }

    fn submit_as(&self, token: &str, first: u64, count: u64) -> Answer {
        let task = |n: u64| {
            json!({"task_id": id(n), "function_id": self.w.function, "endpoint_id": self.w.endpoint.id,
                   "args": b64(&n.to_le_bytes())})
        };
        let tasks: Vec<_> = (first..first + count).map(task).collect();
        self.service().call_as(
            token,
            "POST",
            "/api/v1/tasks",
            Some(&json!({"group_id": id(first), "tasks": tasks})),
        )
    }

    fn status(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> u16 {
        self.service().call_as(token, method, &format!("/api/v1/{path}"), body).status
    }

    /// Waits until the endpoint says that it takes guests.
    fn manager(&self, generation: u64, behave: Behave) -> Manager {
        let manager = Manager::start(self.service(), &self.w.endpoint, generation, behave);
        self.service().until(&format!("/api/v1/{}/status", self.endpoint()), "/status", &json!("online"));
        manager
    }
}

/// For one person: which of these answers are 404, one after another.
fn hidden(p: &People, token: &str, requests: &[(&str, String, Option<Value>)]) -> Vec<bool> {
    let ask =
        |(method, path, body): &(&str, String, Option<Value>)| p.status(token, method, path, body.as_ref());
    requests.iter().map(|request| ask(request) == 404).collect()
}

#[test]
fn what_is_shared_is_seen_and_used_and_nothing_else_of_it() {
    let p = people();
    let container = json!({"type": "docker", "location": "python:3.12"});
    let container = p.service().post("/api/v1/containers", &container).json()["container_id"].clone();
    let container = format!("containers/{}", container.as_str().unwrap());
    let (function, endpoint) = (p.function(), p.endpoint());
    let share = |at: &str| ("POST", format!("shares/{at}"), Some(json!({"users": ["bob"]})));
    let requests = |at: &str| {
        let mut all = vec![("GET", at.to_owned(), None), ("GET", format!("shares/{at}"), None), share(at)];
        match at.split('/').next() {
            Some("functions") => all.push(("GET", format!("{at}/body"), None)),
            Some("endpoints") => {
                all.push(("GET", format!("{at}/status"), None));
                all.push(("GET", format!("{at}/allowed-functions"), None));
                all.push(("POST", format!("{at}/allowed-functions"), Some(json!({"functions": null}))));
                all.push(("POST", format!("{at}/revoke-key"), Some(json!({}))));
            }
            _ => {}
        }
        all.push(("DELETE", at.to_owned(), None));
        all
    };
    for at in [&function, &container, &endpoint] {
        // Nobody's: the same answer as for what is not there.
        assert!(hidden(&p, &p.ann, &requests(at)).iter().all(|hidden| *hidden), "{at}");
        assert_eq!(p.status(&p.root, "GET", at, None), 200, "an administrator sees that it is there");
        assert_eq!(p.status(&p.root, "GET", &format!("shares/{at}"), None), 403);
        for (how, with) in [(json!({"users": ["ann"]}), "user=ann"), (json!({"public": true}), "public=true")]
        {
            p.share(at, &how);
            assert_eq!(p.status(&p.ann, "GET", at, None), 200, "{at} {how}");
            assert_eq!(p.status(&p.bob, "GET", at, None) == 200, with == "public=true", "{at} {how}");
            assert_eq!(p.status(&p.ann, "DELETE", at, None), 404, "not hers to delete");
            assert_eq!(
                p.status(&p.ann, "POST", &format!("shares/{at}"), Some(&json!({"users": ["bob"]}))),
                403
            );
            assert_eq!(p.status(&p.ann, "GET", &format!("shares/{at}"), None), 403);
            p.unshare(at, with);
            assert!(hidden(&p, &p.ann, &requests(at)).iter().all(|hidden| *hidden), "{at}: at once");
        }
        // Who administers it shares it further, and deletes nothing.
        p.share(at, &json!({"users": ["ann"], "role": "admin"}));
        assert_eq!(p.status(&p.ann, "POST", &format!("shares/{at}"), Some(&json!({"users": ["bob"]}))), 204);
        assert_eq!(p.status(&p.bob, "GET", at, None), 200);
        let listed = p.service().call_as(&p.ann, "GET", &format!("/api/v1/shares/{at}"), None).json();
        assert_eq!(
            listed["shares"],
            json!([{"user": "ann", "role": "admin"}, {"user": "bob", "role": "user"}])
        );
        assert_eq!(p.status(&p.ann, "DELETE", at, None), 404);
    }
    assert_eq!(p.status(&p.bob, "GET", &format!("{function}/body"), None), 200);
    assert_eq!(
        p.status(&p.root, "GET", &format!("{function}/body"), None),
        404,
        "not an administrator's business"
    );
    for kind in ["functions", "endpoints"] {
        let own = p.service().call_as(&p.bob, "GET", &format!("/api/v1/{kind}"), None).json();
        assert_eq!(own[kind], json!([]));
        let shared = p.service().call_as(&p.bob, "GET", &format!("/api/v1/{kind}?shared=true"), None).json();
        assert_eq!(shared[kind].as_array().unwrap().len(), 1, "{shared}");
    }
    // An administrator removes what must go.
    for at in [&function, &container, &endpoint] {
        assert_eq!(p.status(&p.root, "DELETE", at, None), 204, "{at}");
        assert_eq!(p.status(&p.ann, "GET", at, None), 404);
    }
}

#[test]
fn a_group_shares_with_those_who_are_in_it_now() {
    let p = people();
    let made = p.service().post("/api/v1/groups", &json!({"name": "lab"}));
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(p.service().post("/api/v1/groups", &json!({"name": "lab"})).status, 409);
    let ann = json!({"user": "ann"});
    // Nobody else knows of it, and who is in it does not choose its members.
    assert_eq!(p.status(&p.ann, "GET", "groups/lab", None), 404);
    assert_eq!(p.status(&p.ann, "POST", "groups/lab/members", Some(&ann)), 404);
    assert_eq!(p.service().post("/api/v1/groups/lab/members", &ann).status, 204);
    let seen = p.service().call_as(&p.ann, "GET", "/api/v1/groups/lab", None).json();
    assert_eq!((&seen["owner"], &seen["members"]), (&json!("owner"), &Value::Null));
    assert_eq!(p.status(&p.ann, "POST", "groups/lab/members", Some(&json!({"user": "bob"}))), 403);
    assert_eq!(p.status(&p.ann, "DELETE", "groups/lab", None), 403);
    assert_eq!(p.service().get("/api/v1/groups/lab").json()["members"], json!(["ann"]));
    let claimed = json!({"name": "x", "issuer": "https://a", "claim": "staff"});
    assert_eq!(
        p.status(&p.ann, "POST", "groups", Some(&claimed)),
        403,
        "who is in an issuer's group is not hers to say"
    );

    let function = p.function();
    p.share(&function, &json!({"groups": ["lab"]}));
    assert_eq!(
        (p.status(&p.ann, "GET", &function, None), p.status(&p.bob, "GET", &function, None)),
        (200, 404)
    );
    assert_eq!(p.service().post("/api/v1/groups/lab/members", &json!({"user": "bob"})).status, 204);
    assert_eq!(p.status(&p.bob, "GET", &function, None), 200, "at once");
    assert_eq!(p.service().delete("/api/v1/groups/lab/members?user=ann").status, 204);
    assert_eq!(
        (p.status(&p.ann, "GET", &function, None), p.status(&p.bob, "GET", &function, None)),
        (404, 200)
    );
    // A group that is gone shares nothing, nor does another that takes its place.
    assert_eq!(p.service().delete("/api/v1/groups/lab").status, 204);
    assert_eq!(p.status(&p.bob, "GET", &function, None), 404);
    assert_eq!(p.service().post("/api/v1/groups", &json!({"name": "lab"})).status, 201);
    assert_eq!(p.service().post("/api/v1/groups/lab/members", &json!({"user": "bob"})).status, 204);
    assert_eq!(p.status(&p.bob, "GET", &function, None), 404);
}

#[test]
fn a_guest_submits_and_the_result_is_his_alone() {
    let p = people();
    let manager = p.manager(1, Behave::Echo);
    let refused = p.submit_as(&p.ann, 1, 1);
    assert!(refused.status == 404 && refused.error().1.contains(&p.w.function), "{refused:?}");
    p.share(&p.function(), &json!({"users": ["ann"]}));
    let refused = p.submit_as(&p.ann, 1, 1);
    assert!(refused.status == 404 && refused.error().1.contains(&p.w.endpoint.id), "{refused:?}");
    p.share(&p.endpoint(), &json!({"users": ["ann"]}));
    assert_eq!(p.submit_as(&p.ann, 1, 1).status, 200);
    let task = format!("tasks/{}?wait=10", id(1));
    let ended = p.service().call_as(&p.ann, "GET", &format!("/api/v1/{task}"), None).json();
    assert_eq!(ended["state"], "success");
    // Neither the endpoint's owner nor an administrator nor anybody who knows the id reads, cancels or follows it.
    for token in [&p.service().token, &p.bob, &p.root] {
        let ids = json!({"task_ids": [id(1)]});
        assert_eq!(p.status(token, "GET", &task, None), 404);
        assert_eq!(p.status(token, "GET", &format!("tasks/{}/explain", id(1)), None), 404);
        assert_eq!(p.status(token, "POST", "tasks/get", Some(&ids)), 404);
        assert_eq!(p.status(token, "POST", "tasks/cancel", Some(&ids)), 404);
        assert_eq!(p.status(token, "POST", "tasks/cancel", Some(&json!({"group_id": id(1)}))), 404);
        let listed =
            p.service().call_as(token, "GET", &format!("/api/v1/tasks?group_id={}", id(1)), None).json();
        assert_eq!(listed["tasks"], json!([]));
        assert_eq!(p.submit_as(token, 1, 1).status, 409, "nor adds to its group");
    }
    // Taken back, nothing new comes; what was accepted stays hers.
    p.unshare(&p.endpoint(), "user=ann");
    assert_eq!(p.submit_as(&p.ann, 2, 1).status, 404);
    assert_eq!(p.status(&p.ann, "GET", &task, None), 200);
    manager.stop();
}

#[test]
fn the_results_of_a_group_of_tasks_are_read_by_whom_its_user_names() {
    let p = people();
    let manager = p.manager(1, Behave::Echo);
    let owner = p.service().token.clone();
    assert_eq!(p.submit_as(&owner, 1, 2).status, 200);
    assert_eq!(p.submit_as(&owner, 5, 1).status, 200);
    let at = format!("task-groups/{}", id(1));
    assert_eq!(p.status(&p.ann, "POST", &format!("shares/{at}"), Some(&json!({"users": ["ann"]}))), 404);
    let admin =
        p.service().post(&format!("/api/v1/shares/{at}"), &json!({"users": ["ann"], "role": "admin"}));
    assert_eq!(admin.status, 400, "{admin:?}");
    p.share(&at, &json!({"users": ["ann"]}));
    let task = |n: u64| format!("tasks/{}?wait=10", id(n));
    let ended = p.service().call_as(&p.ann, "GET", &format!("/api/v1/{}", task(1)), None).json();
    assert_eq!((&ended["state"], &ended["result"]), (&json!("success"), &json!(b64(&1_u64.to_le_bytes()))));
    let all = p.service().call_as(
        &p.ann,
        "POST",
        "/api/v1/tasks/get",
        Some(&json!({"task_ids": [id(1), id(2)], "wait": 10})),
    );
    assert_eq!(all.json()["tasks"].as_array().unwrap().len(), 2);
    let listed =
        p.service().call_as(&p.ann, "GET", &format!("/api/v1/tasks?group_id={}", id(1)), None).json();
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 2);
    // Another group of the same user is not shared, also in one request with one that is; and reading is all.
    assert_eq!(p.status(&p.ann, "GET", &task(5), None), 404);
    assert_eq!(p.status(&p.ann, "POST", "tasks/get", Some(&json!({"task_ids": [id(1), id(5)]}))), 404);
    assert_eq!(p.status(&p.ann, "POST", "tasks/cancel", Some(&json!({"task_ids": [id(1)]}))), 404);
    assert_eq!(p.status(&p.ann, "POST", "tasks/cancel", Some(&json!({"group_id": id(1)}))), 404);
    for token in [&p.bob, &p.root] {
        assert_eq!(p.status(token, "GET", &task(1), None), 404);
    }
    p.unshare(&at, "user=ann");
    assert_eq!(p.status(&p.ann, "GET", &task(1), None), 404);
    manager.stop();
}

#[test]
fn a_share_of_one_kind_of_thing_says_nothing_of_another_with_the_same_id() {
    let p = people();
    // Ids of groups of tasks come from clients: ann's group has the id of the owner's endpoint.
    p.share(&p.function(), &json!({"users": ["ann"]}));
    let theirs = register(p.service(), "open");
    p.share(&format!("endpoints/{}", theirs.id), &json!({"users": ["ann"]}));
    let manager = Manager::start(p.service(), &theirs, 1, Behave::Hold);
    p.service().until(&format!("/api/v1/endpoints/{}/status", theirs.id), "/status", &json!("online"));
    let task = json!({"function_id": p.w.function, "endpoint_id": theirs.id, "args": "YQ=="});
    let group = json!({"group_id": p.w.endpoint.id, "tasks": [task]});
    assert_eq!(p.service().call_as(&p.ann, "POST", "/api/v1/tasks", Some(&group)).status, 200);
    let share = format!("shares/task-groups/{}", p.w.endpoint.id);
    assert_eq!(p.status(&p.ann, "POST", &share, Some(&json!({"public": true}))), 204);
    assert_eq!(p.status(&p.bob, "GET", &p.endpoint(), None), 404);
    assert_eq!(p.submit_as(&p.ann, 9, 1).status, 404);
    manager.stop();
}

#[test]
fn bounds_of_a_share_are_kept() {
    let p = people();
    let manager = p.manager(1, Behave::Hold);
    let other = p.service().function();
    p.share(&p.function(), &json!({"users": ["ann"]}));
    p.share(&p.endpoint(), &json!({"users": ["ann"], "functions": [other]}));
    let refused = p.submit_as(&p.ann, 1, 1);
    assert_eq!((refused.status, refused.error().0.as_str()), (403, "forbidden"));
    assert!(refused.error().1.contains("shared with you for 1 functions only"), "{refused:?}");

    p.share(&p.endpoint(), &json!({"users": ["ann"], "functions": [p.w.function], "at_once": 2}));
    let refused = p.submit_as(&p.ann, 1, 3);
    assert!(
        refused.status == 403 && refused.error().1.contains("shared with you for 2 at once"),
        "{refused:?}"
    );
    assert_eq!(p.submit_as(&p.ann, 1, 2).status, 200);
    let busy = p.submit_as(&p.ann, 3, 1);
    assert!(busy.status == 429 && busy.error().1.contains("you have 2 tasks"), "{busy:?}");
    // The owner's own do not count, nor is he bound.
    assert_eq!(p.submit_as(&p.service().token, 10, 5).status, 200);
    let cancelled = json!({"group_id": id(1)});
    assert_eq!(p.status(&p.ann, "POST", "tasks/cancel", Some(&cancelled)), 200);
    assert_eq!(p.submit_as(&p.ann, 3, 1).status, 200, "there is room again");
    manager.stop();

    for (bad, field) in [
        (json!({"users": ["ann"], "at_once": 0}), "at_once"),
        (json!({"users": ["ann"], "core_hours": -1.0}), "core_hours"),
        (json!({"users": ["ann"], "core_hours": 1.0, "per": "year"}), "per"),
        (json!({"users": ["ann"], "role": "admin", "at_once": 1}), "role"),
        (json!({"users": ["ann"], "role": "king"}), "role"),
        (json!({"role": "user"}), "users"),
    ] {
        let answer = p.service().post(&format!("/api/v1/shares/{}", p.endpoint()), &bad);
        assert!(answer.status == 400 && answer.error().1.contains(field), "{bad}: {answer:?}");
    }
    let bounded = json!({"users": ["ann"], "at_once": 1});
    assert_eq!(p.service().post(&format!("/api/v1/shares/{}", p.function()), &bounded).status, 400);
}

#[test]
fn core_hours_of_a_share_are_counted_and_then_used_up() {
    let p = people();
    p.share(&p.function(), &json!({"users": ["ann"]}));
    // A call takes 1.5 ms here: the third is too much.
    p.share(&p.endpoint(), &json!({"users": ["ann"], "core_hours": 3.0 / 3_600_000.0, "per": "day"}));
    let manager = p.manager(1, Behave::Echo);
    for n in [1, 2] {
        assert_eq!(p.submit_as(&p.ann, n, 1).status, 200);
        assert_eq!(p.status(&p.ann, "GET", &format!("tasks/{}?wait=10", id(n)), None), 200);
    }
    let refused = p.submit_as(&p.ann, 3, 1);
    assert_eq!((refused.status, refused.error().0.as_str()), (403, "forbidden"));
    let why = refused.error().1;
    assert!(why.contains("core-hours a day") && why.contains("submit again after 20"), "{why}");
    let listed = p.service().get(&format!("/api/v1/shares/{}", p.endpoint())).json();
    assert!(listed["shares"][0]["used_core_hours"].as_f64().unwrap() > 0.0, "{listed}");
    assert!(listed["shares"][0]["resets_at"].is_string(), "{listed}");
    assert_eq!(p.submit_as(&p.service().token, 4, 1).status, 200, "the owner is not bound");
    manager.stop();
}

#[test]
fn an_endpoint_runs_the_functions_that_it_allows() {
    let p = people();
    let other = p.service().function();
    let path = format!("/api/v1/{}/allowed-functions", p.endpoint());
    assert_eq!(p.service().get(&path).json()["functions"], Value::Null);
    assert_eq!(p.service().post(&path, &json!({"functions": [other]})).status, 204);
    assert_eq!(p.service().get(&path).json()["functions"], json!([other]));
    let refused = p.submit_as(&p.service().token, 1, 1);
    assert!(refused.status == 403 && refused.error().1.contains("runs 1 functions only"), "{refused:?}");
    assert_eq!(p.service().post(&path, &json!({"functions": []})).status, 400);
    assert_eq!(p.service().post(&path, &json!({"functions": null})).status, 204);
    assert_eq!(p.submit_as(&p.service().token, 1, 1).status, 200);
}

#[test]
fn what_is_added_to_a_list_at_the_same_time_is_all_there() {
    let w = &world();
    let path = format!("/v2/endpoints/{}/whitelist", w.endpoint.id);
    let functions: Vec<_> = (0..16).map(|_| w.service.function()).collect();
    std::thread::scope(|scope| {
        for function in &functions {
            let (path, body) = (&path, json!({"func": function}));
            scope.spawn(move || assert_eq!(w.service.post(path, &body).status, 200));
        }
    });
    let listed = w.service.get(&path).json()["result"].as_array().unwrap().len();
    assert_eq!(listed, functions.len());
    std::thread::scope(|scope| {
        for function in &functions[1..] {
            let path = format!("{path}/{function}");
            scope.spawn(move || assert_eq!(w.service.delete(&path).status, 200));
        }
    });
    assert_eq!(w.service.get(&path).json()["result"], json!([functions[0]]));
    assert_eq!(w.service.delete(&format!("{path}/{}", functions[1])).status, 404);
}

#[test]
fn an_endpoint_that_nobody_saw_in_a_sandbox_serves_its_owner_only() {
    let p = people();
    p.share(&p.function(), &json!({"users": ["ann"]}));
    p.share(&p.endpoint(), &json!({"users": ["ann"]}));
    let refused = p.submit_as(&p.ann, 1, 1);
    assert!(refused.status == 403 && refused.error().1.contains("it serves its owner only"), "{refused:?}");
    assert_eq!(p.submit_as(&p.service().token, 1, 1).status, 200);
    let manager = p.manager(1, Behave::Hold);
    assert_eq!(p.submit_as(&p.ann, 2, 1).status, 200);
    manager.stop();
}

#[test]
fn a_guest_is_welcome_after_a_restart_too() {
    let p = people();
    for at in [p.function(), p.endpoint()] {
        p.share(&at, &json!({"users": ["ann"]}));
    }
    p.manager(1, Behave::Hold).stop();
    let (task, ann) = (
        json!({"task_id": id(1), "function_id": p.w.function, "endpoint_id": p.w.endpoint.id, "args": ""}),
        p.ann,
    );
    let World { dir, service, endpoint, .. } = p.w;
    service.stop();
    let service = start(dir.path());
    let submit = json!({"group_id": id(1), "tasks": [task]});
    assert_eq!(service.call_as(&ann, "POST", "/api/v1/tasks", Some(&submit)).status, 200);
    let path = format!("/api/v1/tasks/{}", id(1));
    assert_eq!(service.call_as(&ann, "GET", &path, None).json()["state"], "waiting-for-ep");
    let manager = Manager::start(&service, &endpoint, 2, Behave::Echo);
    assert_eq!(service.call_as(&ann, "GET", &format!("{path}?wait=30"), None).json()["state"], "success");
    manager.stop();
}

#[test]
fn memoized_results_stay_with_their_user() {
    let p = people();
    for at in [p.function(), p.endpoint()] {
        p.share(&at, &json!({"users": ["ann", "bob"]}));
    }
    let call = |n: u64| {
        let task = json!({"task_id": id(n), "function_id": p.w.function, "endpoint_id": p.w.endpoint.id,
                          "args": b64(b"same"), "memoize": true});
        json!({"group_id": id(n), "tasks": [task]})
    };
    let manager = p.manager(1, Behave::Echo);
    let memo = |token: &str, n: u64| {
        assert_eq!(p.service().call_as(token, "POST", "/api/v1/tasks", Some(&call(n))).status, 200);
        p.service().call_as(token, "GET", &format!("/api/v1/tasks/{}?wait=10", id(n)), None).json()["memo"]
            .clone()
    };
    assert_eq!(memo(&p.ann, 1), "stored");
    assert_eq!(memo(&p.ann, 2), "hit");
    assert_eq!(memo(&p.bob, 3), "stored", "never another's, whatever that one made of it");
    assert_eq!(memo(&p.service().token, 4), "stored");
    manager.stop();
}
