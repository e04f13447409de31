//! API tokens of the user: make, list, revoke. A token's secret is shown once and stored as its hash.

use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::{PathId, User};
use super::functions::check_text;
use super::user_types::{NewToken, Token, TokenMade, Tokens};
use super::value::{Text, Time};
use super::{App, changed};
use crate::policy::{Action, Object, may};
use crate::scope::{Scope, Scopes};
use crate::store::{self, Change, Changed};
use crate::{auth, clock};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursa_core::limits;
use bursa_core::time::Wall;
use uuid::Uuid;

/// Makes a token of the user who asks: it may no more than the one that he asks with, and lasts no longer.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = TokenMade), (status = "default", body = ErrorBody)))]
pub(crate) async fn make(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(asked): Input<NewToken>,
) -> Result<Response, ApiError> {
    if asked.name.is_empty() {
        return Err(ApiError::bad("name", "it is empty"));
    }
    check_text("name", &asked.name, limits::NAME_BYTES)?;
    let (scopes, expires) = (scopes(&user, asked.scopes)?, expiry(&user, asked.expires_in)?);
    let (token, secret) = new(&asked.name, scopes, expires)?;
    let id = Text(Uuid::from_bytes(token.token));
    changed(&app, Change::AddToken { user_no: user.no, token, now: clock::wall() }).await?;
    Ok(format.answer(StatusCode::CREATED, &TokenMade { id, token: secret }))
}

/// A token as the store gets it, and its secret.
pub(super) fn new(
    name: &str,
    scopes: Scopes,
    expires: Option<Wall>,
) -> Result<(store::NewToken, String), ApiError> {
    let (token, secret) = (clock::new_id()?, auth::new_token()?);
    let hash = auth::hash(&secret);
    Ok((store::NewToken { token, hash, name: name.to_owned(), scopes, expires }, secret))
}

fn scopes(user: &User, asked: Option<Vec<String>>) -> Result<Scopes, ApiError> {
    let Some(asked) = asked else { return Ok(user.scopes.and(Scopes::USUAL)) };
    let known = |word: &String| {
        let words: Vec<_> = Scopes::ALL.words().collect();
        let why = || format!("'{word}' is not one of {}", words.join(", "));
        Scope::named(word).ok_or_else(|| ApiError::bad("scopes", why()))
    };
    let scopes: Scopes = asked.iter().map(known).collect::<Result<_, _>>()?;
    if scopes.is_empty() {
        return Err(ApiError::bad("scopes", "it is empty: such a token would be good for nothing"));
    }
    let beyond = scopes.beyond(user.scopes);
    if beyond.is_empty() {
        return Ok(scopes);
    }
    let why = format!("the token that asks has not {} itself", beyond.text().replace(' ', ", "));
    Err(ApiError::forbidden(why, "make it with a token that has, or leave these out"))
}

fn expiry(user: &User, seconds: Option<u64>) -> Result<Option<Wall>, ApiError> {
    let Some(seconds) = seconds else { return Ok(user.expires) };
    if seconds == 0 || seconds > limits::TOKEN_SECONDS {
        let why = format!("{seconds} is not between 1 and {} seconds", limits::TOKEN_SECONDS);
        return Err(ApiError::bad("expires_in", why));
    }
    let asked = Wall(clock::wall().0 + 1_000 * seconds);
    Ok(Some(user.expires.map_or(asked, |own| asked.min(own))))
}

/// The user's tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens",
    responses((status = 200, body = Tokens), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(user: User, State(app): State<App>, format: Format) -> Result<Response, ApiError> {
    let rows = app.handle.reader.tokens(user.no)?;
    let tokens = rows.into_iter().map(|row| Token {
        id: Text(Uuid::from_bytes(row.token)),
        name: row.name,
        created_at: Time(row.created),
        scopes: row.scopes.words().collect(),
        expires_at: row.expires.map(Time),
        used_at: row.used.map(Time),
    });
    Ok(format.ok(&Tokens { tokens: tokens.collect() }))
}

/// Revokes a token: requests with it are refused from now on, its open streams are closed. An administrator may revoke
/// anybody's.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn revoke(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<Uuid>,
) -> Result<Response, ApiError> {
    let anybodys = may(&user, Action::Delete, Object::Token(0));
    let user_no = (!anybodys).then_some(user.no);
    match changed(&app, Change::DeleteToken { token: id.into_bytes(), user_no }).await? {
        Changed::NotFound => Err(ApiError::not_found("token", id)),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
