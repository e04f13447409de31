//! The committed OpenAPI document is the one of this build. `BURSA_REGENERATE=1` writes it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let current = bursa_service::openapi_json();
    if std::env::var_os("BURSA_REGENERATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "docs/openapi.json is not current: run the tests with BURSA_REGENERATE=1");
}

#[test]
fn the_served_document_is_the_committed_one_and_names_every_route() {
    let dir = tempfile::tempdir().unwrap();
    let service = support::start(dir.path());
    let served = service.request("GET", "/api/v1/openapi.json", &[], b"");
    assert_eq!((served.status, served.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(String::from_utf8(served.body.clone()).unwrap(), bursa_service::openapi_json());
    let document = served.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let open = [
        "/api/v1/version",
        "/api/v1/health",
        "/api/v1/openapi.json",
        "/api/v1/login",
        // Its form has the token that it looks at.
        "/api/v1/tokens/exchange",
    ];
    let mut routes = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            routes += 1;
            if !open.contains(&path.as_str()) {
                let path = path.replace("{id}", support::NOBODY).replace("{kind}", "functions");
                for headers in
                    [&[][..], &[("Authorization", "Bearer wrong")][..], &[("Authorization", "Basic x")][..]]
                {
                    let answer = service.request(&method.to_uppercase(), &path, headers, b"");
                    assert_eq!(
                        (answer.status, answer.error().0.as_str()),
                        (401, "unauthorized"),
                        "{method} {path}"
                    );
                    assert!(answer.headers["www-authenticate"].starts_with("Bearer"));
                }
            }
        }
    }
    assert_eq!(routes, 60);
}

#[test]
fn each_operation_has_a_name_of_its_own() {
    let document: serde_json::Value = serde_json::from_str(&bursa_service::openapi_json()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{method} {path}: '{name}' is another's, too");
        }
    }
    for known in ["tasks_submit", "functions_list", "groups_remove_member", "version", "metrics"] {
        assert!(names.contains(known), "{known} is not among {names:?}");
    }
}
