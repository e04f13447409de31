//! The REST API and the stream: their routes.
//!
//! Owns shapes of requests and answers. Decides nothing: what is asked goes to the driver, what is read comes from
//! the store's readers, who may do what is `policy`'s word.

mod about;
mod around;
mod audit;
mod body;
mod bounds;
mod compat;
mod containers;
mod endpoints;
mod error;
mod exchange;
mod explain;
mod extract;
mod functions;
#[cfg(test)]
mod fuzzed;
mod grants;
mod groups;
mod host;
mod listen;
mod listing;
mod login;
mod memo;
mod page;
mod prompt;
mod push;
mod scopes;
mod secrets;
mod sharing;
mod sharing_types;
mod stream;
mod stream_types;
mod submit;
mod tasks;
mod timings;
mod tokens;
mod types;
mod user_types;
mod users;
mod value;

use crate::handle::Handle;
use crate::store::{Change, Changed};
use crate::tls::Tls;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse as _;
use bursa_core::limits;
pub(crate) use error::ApiError;
use error::RequestIds;
pub(crate) use extract::User;
use std::sync::Arc;
use submit::reply_error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    handle: Arc<Handle>,
    /// Changes when the service stops: held answers leave, streams close.
    stopping: watch::Receiver<bool>,
    ids: Arc<RequestIds>,
}

/// Serves until `stop`, then lets answers under way leave.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    handle: Arc<Handle>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let (say_stop, stopping) = watch::channel(false);
    let app = App { handle, stopping: stopping.clone(), ids: Arc::new(RequestIds::new()) };
    let stopped = async move {
        stop.await;
        let _ = say_stop.send(true);
    };
    let served = listen::serve((listener, tls), router(app), listen::Bounds::default(), stopping);
    tokio::join!(stopped, served);
}

fn routes() -> OpenApiRouter<App> {
    let info = InfoBuilder::new()
        .title("Bursa")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Functions for science, called by the million. See docs/protocol.md."))
        .build();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let openapi = OpenApiBuilder::new()
        .info(info)
        .components(Some(ComponentsBuilder::new().security_scheme("bearer", bearer).build()))
        .security(Some([SecurityRequirement::new("bearer", Vec::<String>::new())]))
        .build();
    OpenApiRouter::with_openapi(openapi)
        .routes(routes!(about::version))
        .routes(routes!(about::health))
        .routes(routes!(about::openapi))
        .routes(routes!(about::whoami))
        .routes(routes!(login::logins))
        .routes(routes!(about::metrics))
        .routes(routes!(audit::search))
        .routes(routes!(functions::register, functions::list))
        .routes(routes!(functions::get, functions::delete))
        .routes(routes!(functions::body))
        .routes(routes!(containers::register, containers::list))
        .routes(routes!(containers::get, containers::delete))
        .routes(routes!(endpoints::register, endpoints::list))
        .routes(routes!(endpoints::get, endpoints::delete))
        .routes(routes!(endpoints::status))
        .routes(routes!(endpoints::revoke_key))
        .routes(routes!(tasks::submit, listing::list))
        .routes(routes!(tasks::get))
        .routes(routes!(explain::explain))
        .routes(routes!(tasks::get_many))
        .routes(routes!(listing::cancel))
        .routes(routes!(stream::open))
        .routes(routes!(memo::show, memo::clear))
        .routes(routes!(tokens::make, tokens::list))
        .routes(routes!(tokens::revoke))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::delete))
        .routes(routes!(secrets::grant, secrets::revoke))
        .routes(routes!(exchange::exchange))
        .routes(routes!(users::add, users::list))
        .routes(routes!(users::get))
        .routes(routes!(users::disable))
        .routes(routes!(users::enable))
        .routes(routes!(users::make_admin, users::unmake_admin))
        .routes(routes!(users::link, users::unlink))
        .routes(routes!(groups::add, groups::list))
        .routes(routes!(groups::get, groups::delete))
        .routes(routes!(groups::add_member, groups::remove_member))
        .routes(routes!(sharing::share, sharing::list, sharing::unshare))
        .routes(routes!(sharing::allowed, sharing::allow))
}

/// The OpenAPI document of this build, as it is committed in `docs/openapi.json`.
#[must_use]
pub fn openapi_json() -> String {
    let mut document: OpenApi = routes().split_for_parts().1;
    bounds::say(&mut document);
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Method and path of each route for clients of funcX and Globus Compute, which the OpenAPI document does not describe.
#[must_use]
pub fn compat_routes() -> Vec<(&'static str, String)> {
    compat::names()
}

fn router(app: App) -> Router {
    let panicked =
        |_: Box<dyn std::any::Any + Send>| ApiError::internal("a handler panicked").into_response();
    routes()
        .split_for_parts()
        .0
        .merge(compat::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(limits::REQUEST_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn_with_state(app.clone(), around::around))
        .with_state(app)
}

async fn no_route(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("there is no route {method} {}", uri.path()),
        "this service has no such route",
        "see GET /api/v1/openapi.json for all of them",
    )
}

async fn no_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid",
        format!("{method} is not possible on {}", uri.path()),
        "this route has other methods",
        "see the Allow header, or GET /api/v1/openapi.json",
    )
}

/// Changes the registry; a store that cannot be written is 503.
async fn changed(app: &App, change: Change) -> Result<Changed, ApiError> {
    app.handle.change(change).await?.map_err(ApiError::unavailable)
}
