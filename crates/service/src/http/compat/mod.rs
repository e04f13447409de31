//! The REST dialects of funcX and Globus Compute clients, `/v2` and `/v3` (`/v1` is `/v2` by its old name).
//!
//! Adapters only: each route turns its request into what `/api/v1` would be asked, and the answer into the shape that
//! those clients read. Shapes, words and pitfalls: docs/compat.md.

mod containers;
mod endpoints;
mod failure;
mod functions;
mod login;
mod registration;
mod submit;
mod tasks;

use super::App;
use super::body::Format;
use super::error::ApiError;
use super::extract::User;
use crate::amqp;
use axum::Router;
use axum::extract::{Query, State};
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use bursa_core::hub::Counter;
pub(super) use failure::Dialect;
use serde::Deserialize;
use serde_json::json;

/// What clients compare their own version with: all that there ever were may come.
const OLDEST: &str = "0.0.2";
/// The version of the funcX service whose routes these are.
const API: &str = "1.40.0";

pub(super) fn routes() -> Router<App> {
    let v2 = || {
        Router::new()
            .route("/version", get(version))
            .route("/authenticate", get(authenticate))
            .route("/stats", get(stats))
            .route("/functions", post(functions::register))
            .route("/functions/{id}", get(functions::get).delete(functions::delete))
            .route("/submit", post(submit::many))
            .route("/tasks/{id}", get(tasks::get))
            .route("/batch_status", post(tasks::get_many))
            .route("/taskgroup/{id}", get(tasks::group))
            .route("/task_groups/{id}", get(tasks::may_see_group))
            .route("/endpoints", get(endpoints::list))
            .route("/endpoints/{id}", get(endpoints::get).delete(endpoints::delete))
            .route("/endpoints/{id}/status", get(endpoints::status))
            .route("/endpoints/{id}/whitelist", get(endpoints::whitelist).post(endpoints::add_to_whitelist))
            .route("/endpoints/{id}/whitelist/{function}", delete(endpoints::delete_from_whitelist))
            .route("/get_amqp_result_connection_url", get(amqp_url))
            .route("/containers", post(containers::register))
            .route("/containers/{id}/{kind}", get(containers::get))
    };
    let v3 = Router::new()
        .route("/functions", post(functions::register))
        .route("/endpoints/{id}/submit", post(submit::to_endpoint))
        .route("/endpoints/{id}/allowed_functions", get(endpoints::allowed_functions))
        .route("/endpoints", post(registration::register))
        .route("/endpoints/{id}", put(registration::register_again).delete(endpoints::delete))
        .route("/endpoints/{id}/lock", post(registration::lock));
    let login = Router::new()
        .route("/v2/oauth2/token", post(login::token))
        .route("/v2/oauth2/token/revoke", post(login::revoke))
        .route("/v2/oauth2/userinfo", get(login::userinfo))
        .route("/v2/api/identities", get(login::identities));
    Router::new()
        .nest("/v1", v2())
        .nest("/v2", v2())
        .nest("/v3", v3)
        .layer(from_fn(failure::in_dialect))
        .merge(login.layer(from_fn(failure::of_oauth)))
}

#[derive(Debug, Deserialize)]
struct Of {
    service: Option<String>,
}

/// Which versions of clients may come. Asked before anybody is known.
async fn version(Query(of): Query<Of>) -> Result<Response, ApiError> {
    match of.service.as_deref() {
        None | Some("api" | "forwarder") => Ok(Format::Json.ok(&API)),
        Some("all") => Ok(Format::Json.ok(&json!({
            "api": API,
            "forwarder": API,
            "min_sdk_version": OLDEST,
            "min_ep_version": OLDEST,
            "git_sha": env!("CARGO_PKG_VERSION"),
        }))),
        Some(other) => Err(ApiError::bad("service", format!("'{other}' is not one of all, api, forwarder"))),
    }
}

/// Where and with which password results can be read by AMQP: asked before each connection.
async fn amqp_url(user: User, State(app): State<App>) -> Result<Response, ApiError> {
    let (password, address) = (app.handle.credentials.mint(&user)?, &app.handle.about.amqp);
    let url = format!("amqp://{}:{password}@{address}/", user.user);
    Ok(Format::Json.ok(&json!({ "queue_prefix": amqp::PREFIX, "connection_url": url })))
}

async fn authenticate(_user: User) -> &'static str {
    "OK"
}

async fn stats(State(app): State<App>) -> Response {
    let submitted = app.handle.metrics.counted(Counter::Accepted);
    Format::Json.ok(&json!({ "total_function_invocations": submitted }))
}
