//! Where people log in.

use super::App;
use super::body::Format;
use super::types::{Login, Logins};
use axum::extract::State;
use axum::response::Response;

/// Where people log in, for programs that do it for them, such as `bursa login`.
#[utoipa::path(get, path = "/api/v1/login", tag = "service", security(()), responses((status = 200, body = Logins<'_>)))]
pub(crate) async fn logins(State(app): State<App>, format: Format) -> Response {
    let providers = app.handle.identity.logins().map(|at| Login {
        kind: at.kind.word(),
        issuer: at.issuer,
        client_id: at.client_id,
        scopes: at.scopes,
        resource: at.resource,
    });
    format.ok(&Logins { providers: providers.collect() })
}
