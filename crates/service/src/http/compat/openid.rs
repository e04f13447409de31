//! What OpenID Connect's clients ask before they believe an id token: where this service's routes are, and its key.

use super::super::App;
use super::super::body::Format;
use super::super::error::ApiError;
use super::super::extract::User;
use crate::clock;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use serde_json::{Value, json};

/// `GET /.well-known/openid-configuration`.
pub(super) async fn configuration(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let root = root(&app, &uri, &headers);
    Format::Json.ok(&json!({
        "issuer": root,
        "authorization_endpoint": format!("{root}/v2/oauth2/authorize"),
        "token_endpoint": format!("{root}/v2/oauth2/token"),
        "revocation_endpoint": format!("{root}/v2/oauth2/token/revoke"),
        "userinfo_endpoint": format!("{root}/v2/oauth2/userinfo"),
        "jwks_uri": format!("{root}/jwk.json"),
        "scopes_supported": ["openid", "offline_access"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
    }))
}

/// `GET /jwk.json`.
pub(super) async fn keys(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(Format::Json.ok(&app.handle.signer.public().await.map_err(ApiError::internal)?))
}

/// Who logged in, for the program `client`.
pub(super) async fn id_token(
    app: &App,
    root: &str,
    (user, client): (&User, &str),
    lasts_s: u64,
) -> Result<Value, ApiError> {
    let now = clock::wall().0 / 1_000;
    let claims = json!({
        "iss": root,
        "sub": user.user.to_string(),
        "aud": client,
        "iat": now,
        "exp": now + lasts_s,
        "name": user.name,
        "preferred_username": user.name,
    });
    Ok(app.handle.signer.sign(&claims).await.map_err(ApiError::internal)?.into())
}

/// This service, by the name under which it is asked: one of its own, or the request would not be here.
pub(super) fn root(app: &App, uri: &Uri, headers: &HeaderMap) -> String {
    // What a proxy with TLS says, it says of who asks, and to him only.
    let is_https =
        app.handle.about.is_tls || headers.get("x-forwarded-proto").is_some_and(|said| said == "https");
    let scheme = uri.scheme_str().unwrap_or(if is_https { "https" } else { "http" });
    format!("{scheme}://{}", authority(uri, headers))
}

/// The host and port for which a request is.
pub(super) fn authority(uri: &Uri, headers: &HeaderMap) -> String {
    let said = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    uri.authority().map_or(said.unwrap_or_default(), |authority| authority.as_str()).to_owned()
}
