//! The REST dialects of funcX and Globus Compute clients, `/v2` and `/v3` (`/v1` is `/v2` by its old name).
//!
//! Adapters only: each route turns its request into what `/api/v1` would be asked, and the answer into the shape that
//! those clients read. Shapes, words and pitfalls: docs/compat.md.

mod authorize;
mod containers;
mod endpoints;
mod failure;
mod functions;
mod login;
mod openid;
mod pages;
mod redirect;
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
use axum::handler::Handler;
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use bursa_core::hub::Counter;
pub(super) use failure::Dialect;
use serde::Deserialize;
use serde_json::json;

/// What clients compare their own version with: all that there ever were may come.
const OLDEST: &str = "0.0.2";
/// The version of the funcX service whose routes these are.
const API: &str = "1.40.0";

/// Routes, and what they are called: tests hold a line for each.
struct Routes {
    router: Router<App>,
    names: Vec<(&'static str, String)>,
}

impl Routes {
    fn new() -> Self {
        Self { router: Router::new(), names: Vec::new() }
    }

    fn on<H: Handler<T, App>, T: 'static>(mut self, method: &'static str, path: &str, handler: H) -> Self {
        let filter = match method {
            "GET" => MethodFilter::GET,
            "PUT" => MethodFilter::PUT,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::POST,
        };
        self.router = self.router.route(path, on(filter, handler));
        self.names.push((method, path.to_owned()));
        self
    }

    fn below(mut self, prefix: &str, others: Self) -> Self {
        self.router = self.router.nest(prefix, others.router);
        self.names.extend(others.names.into_iter().map(|(method, path)| (method, format!("{prefix}{path}"))));
        self
    }
}

fn v2() -> Routes {
    Routes::new()
        .on("GET", "/version", version)
        .on("GET", "/authenticate", authenticate)
        .on("GET", "/stats", stats)
        .on("POST", "/functions", functions::register)
        .on("GET", "/functions/{id}", functions::get)
        .on("DELETE", "/functions/{id}", functions::delete)
        .on("POST", "/submit", submit::many)
        .on("GET", "/tasks/{id}", tasks::get)
        .on("POST", "/batch_status", tasks::get_many)
        .on("GET", "/taskgroup/{id}", tasks::group)
        .on("GET", "/task_groups/{id}", tasks::may_see_group)
        .on("GET", "/endpoints", endpoints::list)
        .on("GET", "/endpoints/{id}", endpoints::get)
        .on("DELETE", "/endpoints/{id}", endpoints::delete)
        .on("GET", "/endpoints/{id}/status", endpoints::status)
        .on("GET", "/endpoints/{id}/whitelist", endpoints::whitelist)
        .on("POST", "/endpoints/{id}/whitelist", endpoints::add_to_whitelist)
        .on("DELETE", "/endpoints/{id}/whitelist/{function}", endpoints::delete_from_whitelist)
        .on("GET", "/get_amqp_result_connection_url", amqp_url)
        .on("POST", "/containers", containers::register)
        .on("GET", "/containers/{id}/{kind}", containers::get)
}

fn v3() -> Routes {
    Routes::new()
        .on("POST", "/functions", functions::register)
        .on("POST", "/endpoints/{id}/submit", submit::to_endpoint)
        .on("GET", "/endpoints/{id}/allowed_functions", endpoints::allowed_functions)
        .on("POST", "/endpoints", registration::register)
        .on("PUT", "/endpoints/{id}", registration::register_again)
        .on("DELETE", "/endpoints/{id}", endpoints::delete)
        .on("POST", "/endpoints/{id}/lock", registration::lock)
}

/// What Globus Auth has.
fn login() -> Routes {
    Routes::new()
        .on("GET", "/.well-known/openid-configuration", openid::configuration)
        .on("GET", "/jwk.json", openid::keys)
        .on("POST", "/v2/oauth2/token", login::token)
        .on("POST", "/v2/oauth2/token/revoke", login::revoke)
        .on("GET", "/v2/oauth2/userinfo", login::userinfo)
        .on("GET", "/v2/api/identities", login::identities)
}

/// What a person sees of it.
fn pages() -> Routes {
    Routes::new().on("GET", "/v2/oauth2/authorize", authorize::page).on(
        "POST",
        "/v2/oauth2/authorize",
        authorize::grant,
    )
}

fn of_service() -> Routes {
    Routes::new().below("/v1", v2()).below("/v2", v2()).below("/v3", v3())
}

pub(super) fn routes() -> Router<App> {
    let service = of_service().router.layer(from_fn(failure::in_dialect));
    let login = login().router.layer(from_fn(failure::of_oauth));
    service.merge(login).merge(pages().router.layer(from_fn(failure::of_page)))
}

/// Method and path of each of these routes.
pub(super) fn names() -> Vec<(&'static str, String)> {
    [of_service(), login(), pages()].into_iter().flat_map(|routes| routes.names).collect()
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
    let password = app.handle.credentials.mint(&user)?;
    let url = amqp::url(&app.handle.about.amqp, &user.user.to_string(), &password);
    Ok(Format::Json.ok(&json!({ "queue_prefix": amqp::PREFIX, "connection_url": url })))
}

async fn authenticate(_user: User) -> &'static str {
    "OK"
}

async fn stats(State(app): State<App>) -> Response {
    let submitted = app.handle.metrics.counted(Counter::Accepted);
    Format::Json.ok(&json!({ "total_function_invocations": submitted }))
}
