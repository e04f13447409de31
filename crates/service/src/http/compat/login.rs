//! The routes of Globus Auth by which clients get tokens. A program that a person logged in (`authorize`) gets one of its own;
//! to any other a Bursa API token is the client's secret, and the access token that it gets.

use super::super::body::Format;
use super::super::error::ApiError;
use super::super::extract::{User, stranger};
use super::super::listen::Ends;
use super::super::{App, changed};
use super::openid;
use crate::audit::{self, Who};
use crate::auth::Session;
use crate::login::{Asked, NAMED, challenge_of};
use crate::scope::{Scope, Scopes};
use crate::store::{Change, NewToken};
use crate::{auth, clock};
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursa_core::limits;
use bursa_core::time::Wall;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

/// What all calls to the service are asked for with.
const ALL: &str = "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all";
/// What precedes the name of a resource server in its scopes.
const SERVER: &str = "urn:globus:auth:scope:";
/// The client that is Globus Compute's SDK, and funcX's, if nothing else was set.
const SDK: &str = "4cf29807-cf21-49ec-9443-ff9a3fb9f81c";
/// Clients ask again then, at the latest.
const EXPIRES_S: u64 = limits::LOGIN_S;
/// What a program may do for who logged it in: no tokens, no secrets, nothing of an administrator.
const MAY: [Scope; 7] = [
    Scope::FunctionsRegister,
    Scope::FunctionsRead,
    Scope::ContainersRegister,
    Scope::EndpointsManage,
    Scope::EndpointsRead,
    Scope::TasksSubmit,
    Scope::TasksRead,
];

#[derive(Debug, Deserialize)]
pub(super) struct Grant {
    grant_type: String,
    scope: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    /// One of a login, or of a token store that was filled otherwise: an API token, as the secret is.
    refresh_token: Option<String>,
    code: Option<String>,
    code_verifier: Option<String>,
    redirect_uri: Option<String>,
}

/// `POST /v2/oauth2/token`.
pub(super) async fn token(
    State(app): State<App>,
    ends: Option<Extension<Ends>>,
    uri: Uri,
    headers: HeaderMap,
    Form(grant): Form<Grant>,
) -> Result<Response, ApiError> {
    let is_renewal = grant.grant_type == "refresh_token";
    let secret = match grant.grant_type.as_str() {
        "authorization_code" => return logged_in(&app, &openid::root(&app, &uri, &headers), grant).await,
        "client_credentials" => grant.client_secret.or_else(|| basic(&headers)),
        "refresh_token" => grant.refresh_token,
        other => {
            let why = format!("'{other}' is not authorization_code, client_credentials or refresh_token");
            return Err(ApiError::bad("grant_type", why));
        }
    };
    let secret =
        secret.ok_or_else(|| ApiError::unauthorized("it has no client secret, or no refresh token"))?;
    let Some(session) = app.handle.known.tokens.session(&auth::hash(&secret), clock::wall())? else {
        let why = "its client secret (or refresh token) is no API token of this service";
        return Err(stranger(&app, ends.as_deref(), ApiError::unauthorized(why)));
    };
    let given = Given { lasts_s: left_s(session.expires), renewable: is_renewal, token: secret };
    Ok(Format::Json.ok(&granted(&given, grant.scope.as_deref().unwrap_or(ALL))))
}

/// The end of a login: a token for the program that asked for it, made for who logged it in.
async fn logged_in(app: &App, root: &str, grant: Grant) -> Result<Response, ApiError> {
    let (user, asked) = take(app, &grant)?;
    audit::is_by(Who::User(user.row.clone(), user.token));
    let count = app.handle.reader.tokens(user.no)?;
    let lasts = |expires: Option<Wall>| expires.is_none_or(|end| end > clock::wall());
    let count = count.iter().filter(|token| token.name.starts_with(NAMED) && lasts(token.expires)).count();
    if count >= limits::LOGINS {
        let why = format!("{count} programs of yours are logged in, which is the limit");
        let next = "end some of them with `bursa token revoke`; `bursa token list` shows them";
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "conflict",
            "no more programs can log in",
            why,
            next,
        ));
    }
    let life_s = if asked.offline { limits::LOGIN_OFFLINE_S } else { limits::LOGIN_S };
    let end = Wall(clock::wall().0 + 1_000 * life_s);
    let expires = user.expires.map_or(end, |own| own.min(end));
    let name = match asked.client.as_str() {
        SDK => format!("{NAMED}Globus Compute"),
        client => format!("{NAMED}{client}"),
    };
    let (id, secret) = (clock::new_id()?, auth::new_login_token()?);
    let scopes = user.scopes.and(MAY.into_iter().collect::<Scopes>());
    let token = NewToken { token: id, hash: auth::hash(&secret), name, scopes, expires: Some(expires) };
    changed(app, Change::AddToken { user_no: user.no, token, now: clock::wall() }).await?;
    let given = Given { lasts_s: left_s(Some(expires)), renewable: asked.offline, token: secret };
    let mut answer = granted(&given, &asked.scopes);
    if asked.scopes.split_whitespace().any(|scope| scope == "openid") {
        answer["id_token"] = openid::id_token(app, root, (&user, &asked.client), given.lasts_s).await?;
    }
    Ok(Format::Json.ok(&answer))
}

/// Who granted what to the program that sends this code, if it is the one that asked.
fn take(app: &App, grant: &Grant) -> Result<(User, Asked), ApiError> {
    let unfit = || {
        let why = "it was not given here for this program, was used before, or is older than a minute";
        ApiError::bad("code", why)
    };
    let granted = app.handle.codes.take(grant.code.as_deref().unwrap_or_default(), Instant::now());
    let (user, asked) = granted.ok_or_else(unfit)?;
    let is_its = |said: &Option<String>, asked: &str| said.as_deref() == Some(asked);
    let verifier = grant.code_verifier.as_deref().unwrap_or_default();
    if !is_its(&grant.client_id, &asked.client)
        || !is_its(&grant.redirect_uri, &asked.redirect)
        || challenge_of(verifier) != asked.challenge
    {
        return Err(unfit());
    }
    // The token by which it was granted may be gone.
    Ok((app.handle.again(&user)?.ok_or_else(unfit)?, asked))
}

/// Seconds until then, at most until clients ask again anyway.
fn left_s(expires: Option<Wall>) -> u64 {
    expires.map_or(EXPIRES_S, |end| (end.0.saturating_sub(clock::wall().0) / 1_000).min(EXPIRES_S))
}

/// The password of HTTP's basic authorization.
fn basic(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, secret)| secret.to_owned())
}

/// What a client gets.
#[derive(Debug)]
struct Given {
    token: String,
    lasts_s: u64,
    /// The same token renews itself, while it lasts.
    renewable: bool,
}

/// One token for each resource server whose scopes were asked for; that of the service comes first.
fn granted(given: &Given, scopes: &str) -> Value {
    let mut servers: Vec<(&str, Vec<&str>)> = Vec::new();
    for scope in scopes.split_whitespace() {
        let server = match scope.strip_prefix(SERVER).and_then(|rest| rest.split_once(':')) {
            _ if scope == ALL => "funcx_service",
            Some((server, _)) => server,
            None => "auth.globus.org",
        };
        match servers.iter_mut().find(|(known, _)| *known == server) {
            Some((_, all)) if all.contains(&scope) => {}
            Some((_, all)) => all.push(scope),
            None => servers.push((server, vec![scope])),
        }
    }
    servers.sort_by_key(|(server, _)| *server != "funcx_service");
    let one = |(server, scopes): (&str, Vec<&str>)| {
        let mut one = json!({
            "access_token": given.token,
            "scope": scopes.join(" "),
            "expires_in": given.lasts_s,
            "token_type": "Bearer",
            "resource_server": server,
        });
        if given.renewable {
            one["refresh_token"] = json!(given.token);
        }
        one
    };
    let mut all = servers.into_iter().map(one);
    let mut first = all.next().unwrap_or_else(|| one(("auth.globus.org", vec![])));
    first["other_tokens"] = all.collect();
    first
}

#[derive(Debug, Deserialize)]
pub(super) struct Revoked {
    token: String,
}

/// `POST /v2/oauth2/token/revoke`: a login's token ends, as who has it may ask (RFC 7009). Any other stays, since it is not the
/// client's alone: its owner revokes it (`bursa token revoke`).
pub(super) async fn revoke(
    State(app): State<App>,
    Form(Revoked { token }): Form<Revoked>,
) -> Result<Response, ApiError> {
    if auth::is_of_login(&token)
        && let Some(session) = app.handle.known.tokens.session(&auth::hash(&token), clock::wall())?
        && let Session { row, token: Some(token), .. } = session
    {
        let user_no = Some(row.no);
        audit::is_by(Who::User(row, Some(token)));
        changed(&app, Change::DeleteToken { token, user_no }).await?;
    }
    Ok(Format::Json.ok(&json!({ "active": false })))
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
