//! `/v2/oauth2/authorize`: a person says, with a token of his, that a program may act for him, and the program gets a code.
//!
//! Without cookies: what another site could have a browser send here has no token in it. Its posts are refused all the same.

use super::super::App;
use super::super::error::ApiError;
use super::super::extract::{User, stranger};
use super::super::listen::Ends;
use super::openid;
use super::pages;
use super::redirect::Redirect;
use crate::audit::{self, Who};
use crate::login::Asked;
use crate::rate::Kind;
use crate::scope::Scope;
use crate::{auth, clock};
use axum::Extension;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bursa_core::limits;
use form_urlencoded::Serializer;
use serde::Deserialize;
use tokio::time::Instant;

/// RFC 6749 §4.1.1 and RFC 7636 §4.3; what else Globus's clients say counts for nothing here.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    scope: Option<String>,
    state: Option<String>,
    access_type: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Filled {
    token: String,
}

type Query_ = Result<Query<Request>, QueryRejection>;

/// Asks who is there.
pub(super) async fn page(
    State(app): State<App>,
    ends: Option<Extension<Ends>>,
    uri: Uri,
    headers: HeaderMap,
    query: Query_,
) -> Result<Response, ApiError> {
    checked(query, &openid::authority(&uri, &headers), ends.as_deref().copied(), &app)?;
    Ok(pages::ask())
}

/// Gives a code, for the token of who is there.
pub(super) async fn grant(
    State(app): State<App>,
    ends: Option<Extension<Ends>>,
    uri: Uri,
    headers: HeaderMap,
    query: Query_,
    form: Result<Form<Filled>, FormRejection>,
) -> Result<Response, ApiError> {
    let own = openid::authority(&uri, &headers);
    check_origin(&headers, &own)?;
    let (asked, state, redirect) = checked(query, &own, ends.as_deref().copied(), &app)?;
    let Form(filled) = form.map_err(|_| ApiError::bad("token", "the form has none"))?;
    let user = user(&app, ends.as_deref(), filled.token.trim())?;
    let uri = asked.redirect.clone();
    let code = app.handle.codes.give(user, asked, Instant::now())?;
    match redirect {
        Redirect::Shown => Ok(pages::code(&code)),
        Redirect::Loopback => sent(&uri, &code, state.as_deref()),
    }
}

/// What is asked for, and where its answer goes. Nothing of it is repeated in an error: that is a page.
fn checked(
    query: Query_,
    own: &str,
    ends: Option<Ends>,
    app: &App,
) -> Result<(Asked, Option<String>, Redirect), ApiError> {
    let unclear = |_| ApiError::bad("", "response_type, client_id and redirect_uri must be there, once each");
    let Query(request) = query.map_err(unclear)?;
    if request.response_type != "code" {
        return Err(ApiError::bad("response_type", "it must be code"));
    }
    let scopes = request.scope.unwrap_or_default();
    let state = request.state;
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_word(&request.client_id) || request.client_id.len() > 64 {
        return Err(ApiError::bad("client_id", "it must be up to 64 letters, digits and signs"));
    }
    for (name, text) in [("scope", Some(&scopes)), ("state", state.as_ref())] {
        if text.is_some_and(|text| text.len() > limits::LOGIN_FIELD_BYTES) {
            let why = format!("it is longer than {} bytes", limits::LOGIN_FIELD_BYTES);
            return Err(ApiError::bad(name, why));
        }
    }
    let challenge =
        request.code_challenge.filter(|_| request.code_challenge_method.as_deref() == Some("S256"));
    // 256 bits as base64.
    let challenge = challenge.filter(|text| text.len() == 43 && is_word(text));
    let why = "a program must prove that it asked: code_challenge with code_challenge_method=S256 (PKCE)";
    let challenge = challenge.ok_or_else(|| ApiError::bad("code_challenge", why))?;
    let redirect = Redirect::of(&request.redirect_uri, own, ends, &app.handle.about);
    let why = "a code is shown here (/v2/web/auth-code) or goes to a program on the reader's own machine \
               (http://localhost:PORT/ or http://127.0.0.1:PORT/), and nowhere else";
    let redirect = redirect.ok_or_else(|| ApiError::bad("redirect_uri", why))?;
    let offline = request.access_type.as_deref() == Some("offline")
        || scopes.split_whitespace().any(|word| word == "offline_access");
    let (client, uri) = (request.client_id, request.redirect_uri);
    Ok((Asked { client, redirect: uri, challenge, scopes, offline }, state, redirect))
}

/// A page of another site may show a form, but not send it here.
fn check_origin(headers: &HeaderMap, own: &str) -> Result<(), ApiError> {
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let origin = said("origin").and_then(|origin| origin.split_once("://"));
    let is_own = origin.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(own));
    if is_own && said("sec-fetch-site").is_none_or(|site| site == "same-origin") {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "this form was not sent by the page of this service",
        "open the address that the program gave you, and log in there",
    ))
}

/// Who has this token; it must be one that may make others.
fn user(app: &App, ends: Option<&Ends>, token: &str) -> Result<User, ApiError> {
    let hash = auth::hash(token);
    let Some(session) =
        app.handle.known.tokens.session(&hash, clock::wall())?.filter(|_| auth::is_own(token))
    else {
        let why = "this is no API token of this service, or it was revoked or has expired";
        return Err(stranger(app, ends, ApiError::unauthorized(why)));
    };
    audit::is_by(Who::User(session.row.clone(), session.token));
    app.handle
        .rates
        .ask(session.row.no, Kind::Write)
        .map_err(|wait| ApiError::too_often(Kind::Write, wait))?;
    if !session.scopes.has(Scope::TokensManage) {
        return Err(ApiError::forbidden(
            "a login makes a token, and the one that you gave may not: it has not the scope 'tokens:manage'",
            "log in with one that has, or give the program this one in its variables (`bursa env globus-compute`)",
        ));
    }
    Ok(User::of(session, hash))
}

/// To the program, by the reader's browser.
fn sent(uri: &str, code: &str, state: Option<&str>) -> Result<Response, ApiError> {
    let mut query = Serializer::new(String::new());
    query.append_pair("code", code);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    let place = HeaderValue::try_from(format!("{uri}?{}", query.finish())).map_err(ApiError::internal)?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response())
}
