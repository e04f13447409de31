//! A workload's own token exchanged for a short-lived one of Bursa's (RFC 8693), by the rules `[[exchange]]`.

use super::body::Format;
use super::error::{ApiError, ErrorBody};
use super::extract::{room_for_stranger, stranger};
use super::listen::Ends;
use super::types::{Exchange, Exchanged};
use super::{App, changed, tokens};
use crate::clock;
use crate::scope::{Scope, Scopes};
use crate::store::Change;
use axum::Extension;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// What a workload's token may be called: it must be a JWT, whatever it is for.
const SUBJECTS: [&str; 3] =
    [ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];

/// Exchanges the token that a CI system gave a run for a token of Bursa's, by the service's rules.
#[utoipa::path(post, path = "/api/v1/tokens/exchange", tag = "tokens", security(()),
    request_body(content = Exchange, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = Exchanged), (status = "default", body = ErrorBody)))]
pub(crate) async fn exchange(
    State(app): State<App>,
    ends: Option<Extension<Ends>>,
    format: Format,
    form: Result<Form<Exchange>, FormRejection>,
) -> Result<Response, ApiError> {
    let Form(asked) = form.map_err(|why| ApiError::bad("", why.body_text()))?;
    if asked.grant_type != GRANT {
        return Err(ApiError::bad("grant_type", format!("it must be {GRANT}")));
    }
    if !SUBJECTS.contains(&asked.subject_token_type.as_str()) {
        return Err(ApiError::bad(
            "subject_token_type",
            format!("it must be one of {}", SUBJECTS.join(", ")),
        ));
    }
    if asked.requested_token_type.is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(ApiError::bad("requested_token_type", format!("only {ACCESS_TOKEN} is given")));
    }
    room_for_stranger(&app, ends.as_deref())?;
    let granted = app.handle.identity.exchange(&asked.subject_token).await;
    let granted = granted.map_err(|refused| stranger(&app, ends.as_deref(), refused))?;
    let scopes = narrowed(granted.known.scopes, asked.scope.as_deref())?;
    let user = app.handle.user_of(&granted.known).await?;
    let (token, access_token) = tokens::new(&granted.name, scopes, Some(granted.known.expires))?;
    changed(&app, Change::AddToken { user_no: user.no, token, now: clock::wall() }).await?;
    let given = Exchanged {
        access_token,
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: granted.lifetime_s,
        scope: scopes.text(),
    };
    let mut answer = format.answer(StatusCode::OK, &given);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// What is asked for of what the rule gives; all of it where nothing is named.
fn narrowed(given: Scopes, asked: Option<&str>) -> Result<Scopes, ApiError> {
    let Some(asked) = asked else { return Ok(given) };
    let fits = |word: &str| Scope::named(word).filter(|scope| given.has(*scope)).ok_or(word.to_owned());
    let scopes: Result<Scopes, String> = asked.split_whitespace().map(fits).collect();
    let scopes = scopes.map_err(|word| {
        let word: String = word.chars().take(64).collect();
        ApiError::bad("scope", format!("'{word}' is not among what the rule gives: {}", given.text()))
    })?;
    if scopes.is_empty() { Err(ApiError::bad("scope", "it is empty")) } else { Ok(scopes) }
}
