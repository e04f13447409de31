//! Logins of programs that know Globus Auth: what the page asks and gives, and to whom.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Answer, Service, config, start, try_start};

/// A verifier and the challenge that it answers (RFC 7636, appendix B).
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const COMPUTE: &str = "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all";
const SHOWN: &str = "http://localhost:5000/v2/web/auth-code";
const ORIGIN: (&str, &str) = ("Origin", "http://localhost");

fn encoded(pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    query.finish()
}

/// The address that a program prints, with some of its parts replaced or, where they are empty, left out.
fn address(other: &[(&str, &str)]) -> String {
    let scope = format!("openid {COMPUTE}");
    let usual = [
        ("client_id", "a-program"),
        ("redirect_uri", SHOWN),
        ("scope", &scope),
        ("state", "_default"),
        ("response_type", "code"),
        ("access_type", "offline"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let replaced = |name: &str| other.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    let all = usual.map(|(name, value)| (name, replaced(name).unwrap_or(value)));
    let all: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    format!("/v2/oauth2/authorize?{}", encoded(&all))
}

fn post(service: &Service, path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    service.request("POST", path, &[&kind, headers].concat(), encoded(form).as_bytes())
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// What the page shows to who logs in with `token`.
fn code(service: &Service, address: &str, token: &str) -> String {
    let answer = post(service, address, &[ORIGIN], &[("token", token)]);
    assert_eq!(answer.status, 200, "{}", text(&answer));
    let page = text(&answer);
    let (_, rest) = page.split_once("<code id=\"code\">").unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

/// The program's exchange of a code, with some of its parts replaced.
fn exchange(service: &Service, code: &str, other: &[(&str, &str)]) -> Answer {
    let usual = [
        ("grant_type", "authorization_code"),
        ("client_id", "a-program"),
        ("redirect_uri", SHOWN),
        ("code_verifier", VERIFIER),
        ("code", code),
    ];
    let replaced = |name: &str| other.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    let form = usual.map(|(name, value)| (name, replaced(name).unwrap_or(value)));
    post(service, "/v2/oauth2/token", &[], &form)
}

fn logged_in(service: &Service, token: &str) -> Value {
    let answer = exchange(service, &code(service, &address(&[]), token), &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A token of the owner with these scopes.
fn with(service: &Service, new: &Value) -> (String, String) {
    let made = service.post("/api/v1/tokens", new).json();
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

fn status(service: &Service, token: &str, path: &str) -> u16 {
    service.call_as(token, "GET", path, None).status
}

#[test]
fn a_program_gets_a_token_of_its_own_that_may_little_and_that_it_can_end() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let given = logged_in(&service, &service.token);
    assert_eq!((&given["resource_server"], &given["scope"]), (&json!("funcx_service"), &json!(COMPUTE)));
    assert_eq!(given["other_tokens"][0]["resource_server"], "auth.globus.org");
    assert_eq!(given["other_tokens"][0]["scope"], "openid");
    let token = given["access_token"].as_str().unwrap();
    assert!(token.starts_with("bursa_") && token != service.token);
    assert_eq!(given["refresh_token"], token);

    let me = service.call_as(token, "GET", "/api/v1/whoami", None).json();
    assert_eq!((&me["name"], &me["admin"]), (&json!("owner"), &json!(false)));
    for (path, expected) in
        [("/v2/endpoints", 200), ("/api/v1/tokens", 403), ("/api/v1/users", 403), ("/api/v1/audit", 403)]
    {
        assert_eq!(status(&service, token, path), expected, "{path}");
    }
    let listed = service.get("/api/v1/tokens").json();
    let shown = listed["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "login: a-program");
    let shown = shown.unwrap_or_else(|| panic!("{listed}"));
    assert!(shown["expires_at"].is_string() && !shown["scopes"].to_string().contains("tokens:manage"));

    let renewed = post(
        &service,
        "/v2/oauth2/token",
        &[],
        &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "a-program")],
    );
    assert_eq!(renewed.json()["access_token"], token);
    for revoked in [token, &service.token] {
        let answer = post(&service, "/v2/oauth2/token/revoke", &[], &[("token", revoked)]);
        assert_eq!((answer.status, answer.json()), (200, json!({"active": false})));
    }
    assert_eq!(status(&service, token, "/v2/endpoints"), 401, "a login ends itself");
    assert_eq!(status(&service, &service.token, "/v2/endpoints"), 200, "and nothing else");
    for action in ["POST /v2/oauth2/authorize", "POST /v2/oauth2/token", "POST /v2/oauth2/token/revoke"] {
        // It is written beside what was asked.
        let end = Instant::now() + Duration::from_secs(20);
        let log = || service.get("/api/v1/audit").json().to_string();
        while !log().contains(&format!("\"{action}\"")) {
            assert!(Instant::now() < end, "{action} in {}", log());
        }
    }
}

#[test]
fn its_id_token_is_signed_by_the_key_that_the_service_shows() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let given = logged_in(&service, &service.token);
    let about = service.request("GET", "/.well-known/openid-configuration", &[], b"").json();
    assert_eq!(about["issuer"], "http://localhost");
    assert_eq!(about["id_token_signing_alg_values_supported"], json!(["RS256"]));
    let path = about["jwks_uri"].as_str().unwrap().strip_prefix("http://localhost").unwrap();
    let key = service.request("GET", path, &[], b"").json()["keys"][0].clone();

    let id_token = given["id_token"].as_str().unwrap();
    let (signed, signature) = id_token.rsplit_once('.').unwrap();
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let public = ["n", "e"].map(|part| bytes(key[part].as_str().unwrap()));
    let public = RsaPublicKeyComponents { n: &public[0], e: &public[1] };
    public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &bytes(signature)).unwrap();
    let claims: Value = serde_json::from_slice(&bytes(signed.split_once('.').unwrap().1)).unwrap();
    let me = service.get("/api/v1/whoami").json();
    assert_eq!(claims["sub"], me["user_id"]);
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!("a-program"), &json!("http://localhost")));
}

#[test]
fn a_code_is_good_once_and_only_for_the_program_that_asked() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let refused = |code: &str, other: &[(&str, &str)]| {
        let answer = exchange(&service, code, other);
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (400, Some("invalid_grant")),
            "{other:?}"
        );
    };
    for other in [
        [("code_verifier", "another-verifier-of-enough-characters-0123456")],
        [("client_id", "another")],
        [("redirect_uri", "http://localhost:1/")],
        [("code", "invented")],
    ] {
        let code = code(&service, &address(&[]), &service.token);
        refused(&code, &other);
        if other[0].0 != "code" {
            refused(&code, &[]);
        }
    }
    let used = code(&service, &address(&[]), &service.token);
    assert_eq!(exchange(&service, &used, &[]).status, 200);
    refused(&used, &[]);
    // Nor when the token is gone by which it was granted.
    let (id, secret) = with(&service, &json!({"name": "short"}));
    let late = code(&service, &address(&[]), &secret);
    assert_eq!(service.delete(&format!("/api/v1/tokens/{id}")).status, 204);
    refused(&late, &[]);
}

#[test]
fn who_logs_in_gives_no_more_than_he_has() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (_, reader) =
        with(&service, &json!({"name": "r", "scopes": ["tasks:read", "tokens:manage"], "expires_in": 3_000}));
    let given = logged_in(&service, &reader);
    assert!(given["expires_in"].as_u64().unwrap() <= 3_000, "{given}");
    let token = given["access_token"].as_str().unwrap();
    let me = service.call_as(token, "GET", "/api/v1/whoami", None).json();
    assert_eq!(me["scopes"], json!(["tasks:read"]));
    let (_, none) = with(&service, &json!({"name": "n", "scopes": ["tasks:read", "tasks:submit"]}));
    let answer = post(&service, &address(&[]), &[ORIGIN], &[("token", &none)]);
    assert_eq!(answer.status, 403);
    assert!(text(&answer).contains("tokens:manage"), "{}", text(&answer));
    // Without renewals it is short, and has no token for them.
    let code = code(&service, &address(&[("access_type", "online")]), &service.token);
    let given = exchange(&service, &code, &[]).json();
    assert!(given.get("refresh_token").is_none(), "{given}");
}

#[test]
fn a_user_has_a_bounded_number_of_logins() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let named = |n: u32| with(&service, &json!({"name": format!("login: {n}")})).0;
    let first = named(0);
    let tries = || {
        let code = code(&service, &address(&[("scope", COMPUTE)]), &service.token);
        exchange(&service, &code, &[])
    };
    for n in 1..100 {
        named(n);
    }
    let refused = tries();
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.json()["error_description"].as_str().unwrap().contains("bursa token revoke"));
    assert_eq!(service.delete(&format!("/api/v1/tokens/{first}")).status, 204);
    assert_eq!(tries().status, 200);
    assert_eq!(tries().status, 409, "it counts itself");
}

#[test]
fn the_page_answers_only_itself_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let marked = address(&[("state", "<b>evil"), ("client_id", "evil<script>")]);
    let page = service.request("GET", &marked, &[], b"");
    assert_eq!(page.status, 200);
    assert!(!text(&page).contains("evil"));
    let policy = &page.headers["content-security-policy"];
    for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("script"), "{policy}");
    assert_eq!(page.headers["referrer-policy"], "same-origin", "with none the form's origin would be null");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert!(!page.headers.contains_key("set-cookie"));

    let form = [("token", service.token.as_str())];
    for headers in [
        &[][..],
        &[("Origin", "null")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "http://localhost.evil.example")],
        &[ORIGIN, ("Sec-Fetch-Site", "cross-site")],
        &[ORIGIN, ("Sec-Fetch-Site", "same-site")],
    ] {
        let answer = post(&service, &address(&[]), headers, &form);
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(!text(&answer).contains("id=\"code\""));
    }
    let own = [ORIGIN, ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(post(&service, &address(&[]), &own, &form).status, 200);
}

#[test]
fn requests_without_proof_or_for_somebody_else_are_refused_with_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let long = "x".repeat(3_000);
    for other in [
        ("code_challenge", ""),
        ("code_challenge", "short"),
        ("code_challenge_method", "plain"),
        ("code_challenge_method", ""),
        ("response_type", "token"),
        ("client_id", ""),
        ("client_id", "two words"),
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/v2/web/auth-code"),
        ("redirect_uri", "http://localhost.evil.example/"),
        ("state", long.as_str()),
    ] {
        let address = address(&[other]);
        for answer in [
            service.request("GET", &address, &[], b""),
            post(&service, &address, &[ORIGIN], &[("token", &service.token)]),
        ] {
            assert_eq!(answer.status, 400, "{other:?}");
            assert!(answer.headers["content-type"].starts_with("text/html"), "{answer:?}");
            assert!(!text(&answer).contains("evil"), "{}", text(&answer));
        }
    }
}

#[test]
fn a_program_on_the_same_machine_is_sent_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let uri = "http://127.0.0.1:8765/callback";
    let asked = address(&[("redirect_uri", uri), ("state", "a&b\r\nX: y")]);
    let answer = post(&service, &asked, &[ORIGIN], &[("token", &service.token)]);
    assert_eq!(answer.status, 303, "{answer:?}");
    let query = answer.headers["location"].strip_prefix(uri).unwrap().strip_prefix('?').unwrap();
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(pairs[1], ("state".to_owned(), "a&b\r\nX: y".to_owned()));
    assert_eq!(exchange(&service, &pairs[0].1, &[("redirect_uri", uri)]).status, 200);
}

#[test]
fn unknown_tokens_are_counted_as_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.rates.bad_logins = 1;
    let service = try_start(config).unwrap();
    let tries = |path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]| {
        let answers: Vec<_> = (0..30).map(|_| post(&service, path, headers, form)).collect();
        assert!(answers.iter().all(|answer| [401, 429].contains(&answer.status)), "{:?}", answers[0]);
        answers.last().unwrap().status
    };
    let secret = [("grant_type", "client_credentials"), ("client_secret", "bursa_wrong")];
    assert_eq!(tries("/v2/oauth2/token", &[], &secret), 429);
    assert_eq!(tries(&address(&[]), &[ORIGIN], &[("token", "bursa_wrong")]), 429);
    let again = post(&service, &address(&[]), &[ORIGIN], &[("token", "bursa_wrong")]);
    assert!(text(&again).contains("<form"), "who mistyped may try again");
    assert!(!code(&service, &address(&[]), &service.token).is_empty(), "nobody else is locked out");
}
