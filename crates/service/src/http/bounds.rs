//! What the OpenAPI document says beyond shapes: the bounds that requests are held to, and a name for each operation.
//!
//! From the numbers that the code refuses by, in one table: attributes of the shapes take literals only.

use super::scopes::KINDS;
use crate::scope::Scopes;
use bursa_core::limits;
use bursa_core::task::TaskState;
use serde_json::Value;
use utoipa::Number;
use utoipa::openapi::path::{Operation, Parameter, PathItem};
use utoipa::openapi::schema::{Array, ArrayItems, Object, Schema};
use utoipa::openapi::{OpenApi, RefOr};

#[derive(Debug, Clone, Copy)]
enum Bound {
    /// So many characters; beyond ASCII fewer fit, since bytes are counted.
    Text(usize, usize),
    /// A list with so many items.
    Items(usize, usize),
    /// From, to.
    Number(u64, u64),
    /// Above zero, at most.
    Above(u64),
    /// One of these.
    Words(&'static [&'static str]),
    /// One of all scopes, or a list of them that is not empty.
    Scopes,
}

use Bound::{Above, Items, Number as Range, Scopes as OfScopes, Text, Words};

const NAME: Bound = Text(1, limits::NAME_BYTES);
const TEXT: Bound = Text(0, limits::TEXT_BYTES);
const RETRIES: Bound = Range(0, limits::RETRIES as u64);
const COUNT: Bound = Range(0, limits::RESOURCE_COUNT as u64);
const SECONDS: Bound = Above(limits::DEADLINE_MS / 1_000);
const WAIT: Bound = Range(0, limits::LONG_POLL_MS / 1_000);

/// Of the fields of requests.
const FIELDS: &[(&str, &str, Bound)] = &[
    ("NewFunction", "name", NAME),
    ("NewFunction", "body", Text(1, limits::FUNCTION_BYTES.div_ceil(3) * 4)),
    ("NewFunction", "description", TEXT),
    ("NewFunction", "python", Text(0, limits::NAME_BYTES)),
    ("NewContainer", "name", Text(0, limits::NAME_BYTES)),
    ("NewContainer", "location", Text(1, limits::LOCATION_BYTES)),
    ("NewContainer", "description", TEXT),
    ("NewEndpoint", "name", NAME),
    ("NewEndpoint", "public_key", Text(KEY, KEY)),
    ("NewEndpoint", "description", TEXT),
    ("NewTasks", "tasks", Items(1, limits::BATCH_TASKS)),
    ("NewTask", "args", Text(0, limits::PAYLOAD_BYTES.div_ceil(3) * 4)),
    ("NewTask", "retries", RETRIES),
    ("NewTask", "retry_on_error", RETRIES),
    ("NewTask", "timeout", SECONDS),
    ("NewTask", "deadline", SECONDS),
    ("AskedResources", "cores", COUNT),
    ("AskedResources", "gpus", COUNT),
    ("AskedResources", "nodes", COUNT),
    ("AskedResources", "ranks_per_node", COUNT),
    ("GetTasks", "task_ids", Items(0, limits::PAGE_ROWS)),
    ("GetTasks", "wait", WAIT),
    ("CancelTasks", "task_ids", Items(0, limits::BATCH_TASKS)),
    ("NewToken", "name", NAME),
    ("NewToken", "scopes", OfScopes),
    ("NewToken", "expires_in", Range(1, limits::TOKEN_SECONDS)),
    ("NewUser", "name", NAME),
    ("Identity", "issuer", Text(1, limits::LOCATION_BYTES)),
    ("Identity", "subject", Text(1, limits::LOCATION_BYTES)),
    ("Identity", "username", Text(0, limits::LOCATION_BYTES)),
    ("NewGroup", "name", NAME),
    ("NewGroup", "issuer", Text(1, limits::LOCATION_BYTES)),
    ("NewGroup", "claim", Text(1, limits::LOCATION_BYTES)),
    ("NewShare", "users", Items(0, limits::SHARES)),
    ("NewShare", "groups", Items(0, limits::SHARES)),
    ("NewShare", "role", Words(&["user", "admin"])),
    ("NewShare", "functions", Items(0, limits::ALLOWED_FUNCTIONS)),
    ("NewShare", "core_hours", Above(1_000_000_000)),
    ("NewShare", "per", Words(&["day", "week"])),
    ("NewShare", "at_once", Range(1, u32::MAX as u64)),
    ("AllowedFunctions", "functions", Items(1, limits::ALLOWED_FUNCTIONS)),
];

/// Characters of a key of CURVE.
const KEY: usize = 40;

/// Writes the bounds into the document, and names its operations; the fields that it has not.
pub(super) fn say(document: &mut OpenApi) -> Vec<(&'static str, &'static str)> {
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            let own = operation.operation_id.take().unwrap_or_default();
            operation.operation_id = Some(named(path, own));
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(parameter) = parameter {
                    bound_parameter(parameter);
                }
            }
        }
    }
    let mut missing = Vec::new();
    for (of, field, bound) in FIELDS {
        let schemas = document.components.as_mut().map(|all| &mut all.schemas);
        let found = schemas.and_then(|schemas| match schemas.get_mut(*of) {
            Some(RefOr::T(Schema::Object(object))) => object.properties.get_mut(*field),
            _ => None,
        });
        match found {
            Some(RefOr::T(schema)) => set(schema, *bound),
            _ => missing.push((*of, *field)),
        }
    }
    missing
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, .. } = item;
    [get, put, post, delete].into_iter().flatten()
}

/// After the first word of its path behind the version, and its function: `tasks_submit`.
fn named(path: &str, own: String) -> String {
    let path = path.trim_start_matches("/api/v1").trim_start_matches('/');
    let first = path.split(['/', '.']).next().unwrap_or_default();
    if first == own { own } else { format!("{first}_{own}") }
}

fn bound_parameter(parameter: &mut Parameter) {
    let Some(RefOr::T(schema)) = &mut parameter.schema else { return };
    match parameter.name.as_str() {
        "limit" => set(schema, Range(1, limits::PAGE_ROWS as u64)),
        "wait" => set(schema, WAIT),
        "kind" => one_of(schema, KINDS.iter().map(|(kind, ..)| *kind)),
        "state" => one_of(schema, TaskState::ALL.iter().map(|state| state.as_str())),
        _ => {}
    }
}

fn one_of(schema: &mut Schema, words: impl Iterator<Item = &'static str>) {
    if let Schema::Object(object) = schema {
        object.enum_values = Some(words.map(Value::from).collect());
    }
}

fn set(schema: &mut Schema, bound: Bound) {
    match (schema, bound) {
        (Schema::Array(array), Items(least, most)) => items(array, least, most),
        (Schema::Array(array), OfScopes) => {
            items(array, 1, usize::MAX);
            if let ArrayItems::RefOrSchema(item) = &mut array.items
                && let RefOr::T(item) = item.as_mut()
            {
                one_of(item, Scopes::ALL.words());
            }
        }
        (Schema::Object(object), bound) => set_plain(object, bound),
        _ => {}
    }
}

fn items(array: &mut Array, least: usize, most: usize) {
    array.min_items = (least > 0).then_some(least);
    array.max_items = (most < usize::MAX).then_some(most);
}

fn set_plain(object: &mut Object, bound: Bound) {
    match bound {
        Text(least, most) => {
            object.min_length = (least > 0).then_some(least);
            object.max_length = Some(most);
        }
        Range(least, most) => {
            object.minimum = Some(number(least));
            object.maximum = Some(number(most));
        }
        Above(most) => {
            object.exclusive_minimum = Some(number(0));
            object.maximum = Some(number(most));
        }
        // Each of these fields may be absent, which is null as well.
        Words(words) => {
            let words = words.iter().copied().map(Value::from);
            object.enum_values = Some(words.chain([Value::Null]).collect());
        }
        Items(..) | OfScopes => {}
    }
}

fn number(value: u64) -> Number {
    Number::UInt(usize::try_from(value).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::routes;
    use super::*;

    #[test]
    fn each_bound_has_its_field() {
        let mut document = routes().split_for_parts().1;
        assert_eq!(say(&mut document), []);
        let said = serde_json::to_value(&document).unwrap();
        let of = |of: &str, field: &str| said["components"]["schemas"][of]["properties"][field].clone();
        assert_eq!(of("NewToken", "expires_in")["minimum"], 1);
        assert_eq!(of("NewTask", "timeout")["exclusiveMinimum"], 0);
        assert_eq!(of("NewShare", "per")["enum"], serde_json::json!(["day", "week", null]));
        assert_eq!(
            of("NewToken", "scopes")["items"]["enum"].as_array().unwrap().len(),
            Scopes::ALL.words().count()
        );
        assert_eq!(of("GetTasks", "task_ids")["maxItems"], limits::PAGE_ROWS);
        for (schema, field, bound) in FIELDS {
            let bounded = of(schema, field);
            let has = |word: &str| bounded.get(word).is_some();
            let said = match bound {
                Text(..) => has("maxLength"),
                Items(..) => has("maxItems"),
                Range(..) | Above(_) => has("maximum"),
                Words(_) => has("enum"),
                OfScopes => has("minItems"),
            };
            assert!(said, "{schema}.{field}: {bounded}");
        }
    }
}
