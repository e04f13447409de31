//! The routes of Globus Auth that clients use before they ask anything: a Bursa API token is the client's secret there,
//! and the access token that it gets.

use super::super::App;
use super::super::body::Format;
use super::super::error::ApiError;
use super::super::extract::{User, stranger};
use super::super::listen::Ends;
use crate::{auth, clock};
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

/// What all calls to the service are asked for with.
const ALL: &str = "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all";
/// Two days, as Globus Auth has it: clients ask again then.
const EXPIRES_S: u64 = 172_800;

#[derive(Debug, Deserialize)]
pub(super) struct Grant {
    grant_type: String,
    scope: Option<String>,
    client_secret: Option<String>,
    /// One of those that a seeded token store has: an API token, as the secret is.
    refresh_token: Option<String>,
}

/// `POST /v2/oauth2/token`.
pub(super) async fn token(
    State(app): State<App>,
    ends: Option<Extension<Ends>>,
    headers: HeaderMap,
    Form(grant): Form<Grant>,
) -> Result<Response, ApiError> {
    let secret = match grant.grant_type.as_str() {
        "client_credentials" => grant.client_secret.or_else(|| basic(&headers)),
        "refresh_token" => grant.refresh_token,
        other => {
            let why = format!("'{other}' is not client_credentials or refresh_token");
            return Err(ApiError::bad("grant_type", why));
        }
    };
    let secret =
        secret.ok_or_else(|| ApiError::unauthorized("it has no client secret, or no refresh token"))?;
    if app.handle.known.tokens.session(&auth::hash(&secret), clock::wall())?.is_none() {
        let why = "its client secret (or refresh token) is no API token of this service";
        return Err(stranger(&app, ends.as_deref(), ApiError::unauthorized(why)));
    }
    let mut granted = granted(&secret, grant.scope.as_deref().unwrap_or(ALL));
    if grant.grant_type == "refresh_token" {
        granted["refresh_token"] = json!(secret);
    }
    Ok(Format::Json.ok(&granted))
}

/// The password of HTTP's basic authorization.
fn basic(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, secret)| secret.to_owned())
}

/// One token for each resource server whose scopes were asked for; that of the service comes first.
fn granted(token: &str, scopes: &str) -> Value {
    let (all, others): (Vec<_>, Vec<_>) = scopes.split_whitespace().partition(|scope| *scope == ALL);
    let one = |server: &str, scope: &str| {
        json!({
            "access_token": token,
            "scope": scope,
            "expires_in": EXPIRES_S,
            "token_type": "Bearer",
            "resource_server": server,
        })
    };
    let auth = one("auth.globus.org", &others.join(" "));
    let (mut first, rest) = match (all.is_empty(), others.is_empty()) {
        (true, _) => (auth, vec![]),
        (false, true) => (one("funcx_service", ALL), vec![]),
        (false, false) => (one("funcx_service", ALL), vec![auth]),
    };
    first["other_tokens"] = Value::Array(rest);
    first
}

/// `POST /v2/oauth2/token/revoke`: the client forgets it; an API token is revoked by its owner (`bursa token revoke`).
pub(super) async fn revoke() -> Response {
    Format::Json.ok(&json!({ "active": false }))
}

/// `GET /v2/oauth2/userinfo`.
pub(super) async fn userinfo(user: User) -> Response {
    let (sub, name) = (user.user.to_string(), &user.name);
    Format::Json.ok(&json!({
        "sub": sub,
        "name": name,
        "preferred_username": name,
        "identity_set": [{ "sub": sub, "username": name, "name": name, "status": "used" }],
    }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Ids {
    ids: Option<String>,
}

/// `GET /v2/api/identities?ids=`: of all who are asked for, the one who asks.
pub(super) async fn identities(user: User, Query(asked): Query<Ids>) -> Result<Response, ApiError> {
    let sub = user.user.to_string();
    let ids = asked
        .ids
        .ok_or_else(|| ApiError::invalid(StatusCode::UNPROCESSABLE_ENTITY, "ids", "missing field `ids`"))?;
    let found: Vec<_> = ids
        .split(',')
        .filter(|id| *id == sub)
        .map(|id| json!({ "id": id, "username": user.name, "name": user.name, "status": "used" }))
        .collect();
    Ok(Format::Json.ok(&json!({ "identities": found })))
}
