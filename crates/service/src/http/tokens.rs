//! API tokens of the user: make, list, revoke. A token's secret is shown once and stored as its hash.

use super::App;
use super::body::{Format, Input};
use super::changed;
use super::error::{ApiError, ErrorBody};
use super::extract::{PathId, User};
use super::functions::check_text;
use super::types::{NewToken, Token, TokenMade, Tokens};
use super::value::{Text, Time};
use crate::store::{Change, Changed};
use crate::{auth, clock};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursa_core::limits;
use uuid::Uuid;

/// Makes a token of the user who asks.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = TokenMade), (status = "default", body = ErrorBody)))]
pub(crate) async fn make(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(new): Input<NewToken>,
) -> Result<Response, ApiError> {
    if new.name.is_empty() {
        return Err(ApiError::bad("name", "it is empty"));
    }
    check_text("name", &new.name, limits::NAME_BYTES)?;
    let (id, secret) = (clock::new_id()?, auth::new_token()?);
    let (user_no, name, hash, now) = (user.no, new.name, auth::hash(&secret), clock::wall());
    changed(&app, Change::AddToken { token: id, user_no, name, hash, now }).await?;
    let made = TokenMade { id: Text(Uuid::from_bytes(id)), token: secret };
    Ok(format.answer(StatusCode::CREATED, &made))
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
    });
    Ok(format.ok(&Tokens { tokens: tokens.collect() }))
}

/// Revokes a token: requests with it are refused from now on, its open streams are closed.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn revoke(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<Uuid>,
) -> Result<Response, ApiError> {
    match changed(&app, Change::DeleteToken { token: id.into_bytes(), user_no: user.no }).await? {
        Changed::TokenGone(hash) => {
            app.handle.tokens.forget(&hash);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => Err(ApiError::not_found("token", id)),
    }
}
