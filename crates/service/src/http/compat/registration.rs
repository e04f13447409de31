//! Endpoints of Globus Compute register here, and are told where their queues are (`amqp/foreign`).

use super::super::App;
use super::super::body::{Format, Input};
use super::super::endpoints::{add, find_to_change};
use super::super::error::ApiError;
use super::super::extract::{PathId, User};
use super::super::types::NewEndpoint;
use crate::amqp::foreign::{About, Foreign, Who};
use crate::clock;
use crate::store::Added;
use axum::extract::State;
use axum::response::Response;
use bursa_core::id::EndpointId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// For how long a locked endpoint could not register again: it can, here.
const LOCK_S: u64 = 60;

/// What is looked at of what they say; the rest (templates, subscriptions) is theirs.
#[derive(Debug, Deserialize)]
pub(super) struct Registration {
    endpoint_name: String,
    display_name: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
    allowed_functions: Option<Vec<String>>,
    authentication_policy: Option<String>,
}

/// `POST /v3/endpoints`.
pub(super) async fn register(
    user: User,
    State(app): State<App>,
    Input(new): Input<Registration>,
) -> Result<Response, ApiError> {
    let id = EndpointId::from_bytes(clock::new_id()?);
    registered(&app, &user, id, new).await
}

/// `PUT /v3/endpoints/{id}`: it starts again, here or where it was registered before.
pub(super) async fn register_again(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
    Input(new): Input<Registration>,
) -> Result<Response, ApiError> {
    registered(&app, &user, id, new).await
}

async fn registered(app: &App, user: &User, id: EndpointId, new: Registration) -> Result<Response, ApiError> {
    if new.authentication_policy.is_some() {
        let why = "policies of Globus Auth are not known here; leave it out of config.yaml";
        return Err(ApiError::bad("authentication_policy", why));
    }
    let about = about(&new.metadata);
    let description = format!("{} on {}", about.software, about.host);
    let foreign = &app.handle.foreign;
    let key = match foreign.key(&id) {
        Some(key) => key,
        None => Foreign::new_key()?,
    };
    let name = new.display_name.filter(|name| !name.is_empty()).unwrap_or(new.endpoint_name);
    let endpoint =
        NewEndpoint { endpoint_id: Some(id), name, description: Some(description), public_key: key };
    let added = add(app, user, id, endpoint).await?;
    tracing::info!(endpoint = %id, again = (added == Added::Same), "an endpoint of Globus Compute registered");
    foreign.describe(&id, about);
    app.handle.links.began(id).await;
    let who = Who { endpoint: id, end: None };
    let queues = foreign.queues(&who, &app.handle.about.amqp);
    let mut answer = queues.ok_or_else(|| ApiError::internal("a registered endpoint has no key"))?;
    answer["warnings"] = json!([]);
    if let Some(allowed) = new.allowed_functions {
        tracing::info!(endpoint = %id, functions = allowed.len(), "it runs these functions only, by its own rule");
    }
    Ok(Format::Json.ok(&answer))
}

fn about(metadata: &Map<String, Value>) -> About {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let python = text("python_version");
    About {
        software: format!("globus-compute-endpoint {}", text("endpoint_version")).trim_end().to_owned(),
        host: text("hostname"),
        python: python.splitn(3, '.').take(2).collect::<Vec<_>>().join("."),
    }
}

/// `POST /v3/endpoints/{id}/lock`: `globus-compute-endpoint stop --remote` wants that it does not come again at once.
pub(super) async fn lock(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
) -> Result<Response, ApiError> {
    find_to_change(&app, &user, &id)?;
    let until = clock::wall().0 / 1_000 + LOCK_S;
    Ok(Format::Json.ok(&json!({ "endpoint_id": id.to_string(), "lock_expiration_timestamp": until })))
}
