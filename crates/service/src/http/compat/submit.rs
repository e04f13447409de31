//! Submits of foreign clients: by function for one endpoint (`/v3`), or as a list of triples (`/v2`).

use super::super::App;
use super::super::body::{Format, Input};
use super::super::error::ApiError;
use super::super::extract::{PathId, User};
use super::super::submit::{Batch, Options, accept, check_group};
use super::failure::{Client, body};
use crate::clock;
use crate::dialect::{self, Abroad, Beside};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bursa_core::id::{EndpointId, FunctionId, GroupId, TaskId};
use bursa_core::resources::Resources;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// `POST /v3/endpoints/{id}/submit`: arguments by function.
#[derive(Debug, Deserialize)]
pub(super) struct Calls {
    tasks: Map<String, Value>,
    task_group_id: Option<GroupId>,
    result_serializers: Option<Vec<String>>,
    user_endpoint_config: Option<Value>,
    user_runtime: Option<Value>,
    resource_specification: Option<Value>,
}

/// Answered when all tasks are on disk.
pub(super) async fn to_endpoint(
    user: User,
    State(app): State<App>,
    PathId(endpoint): PathId<EndpointId>,
    Input(calls): Input<Calls>,
) -> Result<Response, ApiError> {
    let group = group(&app, &user, calls.task_group_id)?;
    let payloads =
        calls.tasks.iter().map(|(function, args)| payloads(function, args)).collect::<Result<Vec<_>, _>>()?;
    let count = payloads.iter().map(Vec::len).sum();
    let mut batch = Batch::new(&app, &user, group, count)?;
    let mut ids = clock::new_ids(count)?.into_iter();
    let serializers = calls.result_serializers.unwrap_or_default();
    let is_foreign = app.handle.foreign.key(&endpoint).is_some();
    let resources = match &calls.resource_specification {
        // It is that of the engine there.
        Some(asked) if !is_foreign => resources(asked)?,
        _ => Resources::NONE,
    };
    let mut made = Map::new();
    for (name, payloads) in calls.tasks.keys().zip(payloads) {
        let abroad = Abroad {
            function: name,
            username: &user.name,
            user_endpoint_config: calls.user_endpoint_config.as_ref(),
            user_runtime: calls.user_runtime.as_ref(),
            resource_specification: calls.resource_specification.as_ref(),
        };
        let beside = Beside { result_serializers: &serializers, abroad: is_foreign.then_some(abroad) };
        let target = batch.target(parsed(name)?, endpoint, Options { resources, ..Options::default() })?;
        let mut tasks = Vec::with_capacity(payloads.len());
        for (payload, id) in payloads.into_iter().zip(&mut ids) {
            let task = TaskId::from_bytes(id);
            batch.push(&target, task, dialect::args(&beside, payload)?)?;
            tasks.push(json!(task.to_string()));
        }
        made.insert(name.clone(), Value::Array(tasks));
    }
    accept(&app, &user, group, batch.finish()?).await?;
    Ok(Format::Json.ok(&json!({
        "request_id": Uuid::from_bytes(clock::new_id()?).to_string(),
        "task_group_id": group.to_string(),
        "endpoint_id": endpoint.to_string(),
        "tasks": made,
    })))
}

/// What a call of MPI asks for. Their engines know other words too, such as `priority`: these ask for nothing here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ranks {
    num_nodes: Option<u32>,
    ranks_per_node: Option<u32>,
    num_ranks: Option<u32>,
}

/// The resources that a `resource_specification` asks for.
fn resources(asked: &Value) -> Result<Resources, ApiError> {
    let bad = |why: String| ApiError::bad("resource_specification", why);
    let Ranks { num_nodes, ranks_per_node, num_ranks } =
        Ranks::deserialize(asked).map_err(|error| bad(error.to_string()))?;
    let nodes = match (num_nodes, num_ranks, ranks_per_node) {
        (Some(nodes), ..) => nodes,
        (None, Some(ranks), Some(each)) if each > 0 => ranks.div_ceil(each),
        (None, None, None) => 0,
        _ => 1,
    };
    let each = match (ranks_per_node, num_ranks) {
        (Some(each), _) => each,
        (None, Some(ranks)) if nodes > 0 => ranks.div_ceil(nodes),
        _ => 0,
    };
    if num_ranks.is_some_and(|ranks| u64::from(ranks) != u64::from(nodes) * u64::from(each)) {
        let ranks = num_ranks.unwrap_or_default();
        return Err(bad(format!(
            "num_ranks is {ranks}, and {nodes} nodes with {each} ranks each are not as many"
        )));
    }
    let resources = Resources { nodes, ranks_per_node: each, ..Resources::NONE };
    resources.checked().map_err(|(name, why)| bad(format!("{name}: {why}")))
}

fn payloads<'a>(function: &str, args: &'a Value) -> Result<Vec<&'a str>, ApiError> {
    let texts = args.as_array().and_then(|args| args.iter().map(Value::as_str).collect());
    texts.ok_or_else(|| ApiError::bad(&format!("tasks.{function}"), "it is not a list of texts"))
}

fn parsed(function: &str) -> Result<FunctionId, ApiError> {
    function.parse().map_err(|_| ApiError::bad("id", "the key of 'tasks' is not the UUID of a function"))
}

/// The group that was asked for, if it is the user's or nobody's; or a new one.
fn group(app: &App, user: &User, asked: Option<GroupId>) -> Result<GroupId, ApiError> {
    let group = match asked {
        Some(group) => group,
        None => GroupId::from_bytes(clock::new_id()?),
    };
    tracing::Span::current().record("group", tracing::field::display(group));
    check_group(app, user, &group)?;
    if app.handle.reader.group_owner(&group)?.is_none() {
        // What reads its results by AMQP begins here. Of a group of an earlier life nobody knows what was taken.
        app.handle.cursors.begin(group, app.handle.reader.newest(user.no)?);
    }
    Ok(group)
}

/// `POST /v2/submit`: `[function, endpoint, arguments]` each, or one call as an object.
#[derive(Debug, Deserialize)]
pub(super) struct Triples {
    tasks: Option<Vec<(String, String, String)>>,
    func: Option<String>,
    endpoint: Option<String>,
    payload: Option<String>,
    task_group_id: Option<GroupId>,
}

/// Each call has an answer of its own: those that can be are accepted.
pub(super) async fn many(
    user: User,
    State(app): State<App>,
    headers: HeaderMap,
    Input(asked): Input<Triples>,
) -> Result<Response, ApiError> {
    let client = Client::of(&headers);
    let group = group(&app, &user, asked.task_group_id)?;
    let triples = match (asked.tasks, asked.func, asked.endpoint, asked.payload) {
        (Some(tasks), ..) => tasks,
        (None, Some(function), Some(endpoint), Some(payload)) => vec![(function, endpoint, payload)],
        _ => {
            return Err(ApiError::invalid(
                StatusCode::UNPROCESSABLE_ENTITY,
                "tasks",
                "missing field `tasks`",
            ));
        }
    };
    let mut batch = Batch::new(&app, &user, group, triples.len())?;
    let mut results = Vec::with_capacity(triples.len());
    for ((function, endpoint, payload), id) in triples.iter().zip(clock::new_ids(triples.len())?) {
        let task = TaskId::from_bytes(id);
        results.push(match add(&app, &mut batch, (function, endpoint, payload), task) {
            Ok(()) => json!({ "status": "Success", "task_uuid": task.to_string(), "http_status_code": 200 }),
            Err(error) => {
                let mut refused = body(&error, client);
                refused["task_uuid"] = json!(task.to_string());
                refused
            }
        });
    }
    let all = results.iter().all(|result| result["status"] == "Success");
    let tasks = batch.finish()?;
    if !tasks.is_empty() {
        accept(&app, &user, group, tasks).await?;
    }
    let status = if all { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    let answer = json!({ "response": "batch", "task_group_id": group.to_string(), "results": results });
    Ok(Format::Json.answer(status, &answer))
}

fn add(
    app: &App,
    batch: &mut Batch<'_>,
    (function, endpoint, payload): (&str, &str, &str),
    task: TaskId,
) -> Result<(), ApiError> {
    let endpoint = endpoint.parse().map_err(|_| ApiError::bad("id", "the endpoint's is not a UUID"))?;
    let target = batch.target(parsed(function)?, endpoint, Options::default())?;
    let abroad = app.handle.foreign.key(&endpoint).map(|_| Abroad {
        function,
        username: batch.username(),
        user_endpoint_config: None,
        user_runtime: None,
        resource_specification: None,
    });
    let beside = Beside { abroad, ..Beside::default() };
    batch.push(&target, task, dialect::args(&beside, payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_become_nodes_and_ranks_of_each() {
        let of = |asked| resources(&asked).map(|found| (found.nodes, found.ranks_per_node)).ok();
        assert_eq!(of(json!({ "num_nodes": 2, "ranks_per_node": 3, "num_ranks": 6 })), Some((2, 3)));
        assert_eq!(of(json!({ "num_nodes": 2, "num_ranks": 6 })), Some((2, 3)));
        assert_eq!(of(json!({ "num_ranks": 6, "ranks_per_node": 3 })), Some((2, 3)));
        assert_eq!(of(json!({ "num_ranks": 4 })), Some((1, 4)));
        assert_eq!(of(json!({ "priority": 3 })), Some((0, 0)));
        assert_eq!(of(json!({ "num_nodes": 2, "num_ranks": 5 })), None);
        assert_eq!(of(json!({ "num_nodes": "2" })), None);
    }
}
