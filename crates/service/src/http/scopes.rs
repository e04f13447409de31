//! Which scope each route needs: one table. A route that is not in it is refused to everybody.

use super::error::ApiError;
use crate::scope::{Scope, Scopes};
use crate::store::Thing;
use axum::extract::MatchedPath;
use axum::http::request::Parts;

/// `None`: any valid token will do.
type Need = Option<Scope>;

const FUNCTIONS_REGISTER: Need = Some(Scope::FunctionsRegister);
const FUNCTIONS_READ: Need = Some(Scope::FunctionsRead);
const CONTAINERS_REGISTER: Need = Some(Scope::ContainersRegister);
const ENDPOINTS_MANAGE: Need = Some(Scope::EndpointsManage);
const ENDPOINTS_READ: Need = Some(Scope::EndpointsRead);
const TASKS_SUBMIT: Need = Some(Scope::TasksSubmit);
const TASKS_READ: Need = Some(Scope::TasksRead);
const TOKENS_MANAGE: Need = Some(Scope::TokensManage);
const SECRETS_MANAGE: Need = Some(Scope::SecretsManage);
const ADMIN: Need = Some(Scope::Admin);

/// Method, route and need. Routes of no user (version, health, login) are not here: nobody is asked for there.
const ROUTES: &[(&str, &str, Need)] = &[
    ("GET", "/api/v1/whoami", None),
    ("GET", "/metrics", None),
    ("GET", "/api/v1/audit", ADMIN),
    ("POST", "/api/v1/functions", FUNCTIONS_REGISTER),
    ("GET", "/api/v1/functions", FUNCTIONS_READ),
    ("GET", "/api/v1/functions/{id}", FUNCTIONS_READ),
    ("DELETE", "/api/v1/functions/{id}", FUNCTIONS_REGISTER),
    ("GET", "/api/v1/functions/{id}/body", FUNCTIONS_READ),
    ("POST", "/api/v1/containers", CONTAINERS_REGISTER),
    ("GET", "/api/v1/containers", FUNCTIONS_READ),
    ("GET", "/api/v1/containers/{id}", FUNCTIONS_READ),
    ("DELETE", "/api/v1/containers/{id}", CONTAINERS_REGISTER),
    ("POST", "/api/v1/endpoints", ENDPOINTS_MANAGE),
    ("GET", "/api/v1/endpoints", ENDPOINTS_READ),
    ("GET", "/api/v1/endpoints/{id}", ENDPOINTS_READ),
    ("DELETE", "/api/v1/endpoints/{id}", ENDPOINTS_MANAGE),
    ("GET", "/api/v1/endpoints/{id}/status", ENDPOINTS_READ),
    ("POST", "/api/v1/endpoints/{id}/revoke-key", ENDPOINTS_MANAGE),
    ("POST", "/api/v1/tasks", TASKS_SUBMIT),
    ("GET", "/api/v1/tasks", TASKS_READ),
    ("GET", "/api/v1/tasks/{id}", TASKS_READ),
    ("GET", "/api/v1/tasks/{id}/explain", TASKS_READ),
    ("POST", "/api/v1/tasks/get", TASKS_READ),
    ("POST", "/api/v1/tasks/cancel", TASKS_SUBMIT),
    // What is submitted there needs `tasks:submit` too.
    ("GET", "/api/v1/stream", TASKS_READ),
    ("GET", "/api/v1/memo", TASKS_READ),
    ("DELETE", "/api/v1/memo", TASKS_SUBMIT),
    ("POST", "/api/v1/tokens", TOKENS_MANAGE),
    ("GET", "/api/v1/tokens", TOKENS_MANAGE),
    ("DELETE", "/api/v1/tokens/{id}", TOKENS_MANAGE),
    ("GET", "/api/v1/secrets", SECRETS_MANAGE),
    ("PUT", "/api/v1/secrets/{name}", SECRETS_MANAGE),
    ("DELETE", "/api/v1/secrets/{name}", SECRETS_MANAGE),
    ("PUT", "/api/v1/secrets/{name}/functions/{id}", SECRETS_MANAGE),
    ("DELETE", "/api/v1/secrets/{name}/functions/{id}", SECRETS_MANAGE),
    ("POST", "/api/v1/users", ADMIN),
    ("GET", "/api/v1/users", ADMIN),
    ("GET", "/api/v1/users/{id}", ADMIN),
    ("POST", "/api/v1/users/{id}/disable", ADMIN),
    ("POST", "/api/v1/users/{id}/enable", ADMIN),
    ("POST", "/api/v1/users/{id}/admin", ADMIN),
    ("DELETE", "/api/v1/users/{id}/admin", ADMIN),
    ("POST", "/api/v1/users/{id}/identities", ADMIN),
    ("DELETE", "/api/v1/users/{id}/identities", ADMIN),
    ("POST", "/api/v1/groups", ENDPOINTS_MANAGE),
    ("GET", "/api/v1/groups", ENDPOINTS_READ),
    ("GET", "/api/v1/groups/{id}", ENDPOINTS_READ),
    ("DELETE", "/api/v1/groups/{id}", ENDPOINTS_MANAGE),
    ("POST", "/api/v1/groups/{id}/members", ENDPOINTS_MANAGE),
    ("DELETE", "/api/v1/groups/{id}/members", ENDPOINTS_MANAGE),
    // Which scope it is, the kind of thing says: `KINDS`.
    ("POST", "/api/v1/shares/{kind}/{id}", None),
    ("GET", "/api/v1/shares/{kind}/{id}", None),
    ("DELETE", "/api/v1/shares/{kind}/{id}", None),
    ("GET", "/api/v1/endpoints/{id}/allowed-functions", ENDPOINTS_READ),
    ("POST", "/api/v1/endpoints/{id}/allowed-functions", ENDPOINTS_MANAGE),
    ("GET", "/v2/authenticate", None),
    ("POST", "/v2/functions", FUNCTIONS_REGISTER),
    ("GET", "/v2/functions/{id}", FUNCTIONS_READ),
    ("DELETE", "/v2/functions/{id}", FUNCTIONS_REGISTER),
    ("POST", "/v2/submit", TASKS_SUBMIT),
    ("GET", "/v2/tasks/{id}", TASKS_READ),
    ("POST", "/v2/batch_status", TASKS_READ),
    ("GET", "/v2/taskgroup/{id}", TASKS_READ),
    ("GET", "/v2/task_groups/{id}", TASKS_READ),
    ("GET", "/v2/endpoints", ENDPOINTS_READ),
    ("GET", "/v2/endpoints/{id}", ENDPOINTS_READ),
    ("DELETE", "/v2/endpoints/{id}", ENDPOINTS_MANAGE),
    ("GET", "/v2/endpoints/{id}/status", ENDPOINTS_READ),
    ("GET", "/v2/endpoints/{id}/whitelist", ENDPOINTS_READ),
    ("POST", "/v2/endpoints/{id}/whitelist", ENDPOINTS_MANAGE),
    ("DELETE", "/v2/endpoints/{id}/whitelist/{function}", ENDPOINTS_MANAGE),
    ("GET", "/v2/get_amqp_result_connection_url", TASKS_READ),
    ("POST", "/v2/containers", CONTAINERS_REGISTER),
    ("GET", "/v2/containers/{id}/{kind}", FUNCTIONS_READ),
    ("GET", "/v2/oauth2/userinfo", None),
    ("GET", "/v2/api/identities", None),
    ("POST", "/v3/functions", FUNCTIONS_REGISTER),
    ("POST", "/v3/endpoints/{id}/submit", TASKS_SUBMIT),
    ("GET", "/v3/endpoints/{id}/allowed_functions", ENDPOINTS_READ),
    ("POST", "/v3/endpoints", ENDPOINTS_MANAGE),
    ("PUT", "/v3/endpoints/{id}", ENDPOINTS_MANAGE),
    ("DELETE", "/v3/endpoints/{id}", ENDPOINTS_MANAGE),
    ("POST", "/v3/endpoints/{id}/lock", ENDPOINTS_MANAGE),
];

/// What is shared below `/api/v1/shares/`, and the scope that each kind needs.
pub(super) const KINDS: &[(&str, Thing, Scope)] = &[
    ("functions", Thing::Function, Scope::FunctionsRegister),
    ("containers", Thing::Container, Scope::ContainersRegister),
    ("endpoints", Thing::Endpoint, Scope::EndpointsManage),
    ("task-groups", Thing::Tasks, Scope::TasksSubmit),
];

/// Refuses a request whose route needs a scope that its token has not.
pub(super) fn check(parts: &Parts, has: Scopes) -> Result<(), ApiError> {
    let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let method = if parts.method == "HEAD" { "GET" } else { parts.method.as_str() };
    match need(method, path) {
        Some(None) => match shared_kind(parts.uri.path()) {
            Some(scope) => require(has, scope),
            None => Ok(()),
        },
        Some(Some(scope)) => require(has, scope),
        None => {
            let next = "report it: the table of http/scopes.rs needs a line for this route";
            Err(ApiError::forbidden(format!("no scope is set for {method} {path}"), next))
        }
    }
}

/// Refuses who has not this scope.
pub(super) fn require(has: Scopes, scope: Scope) -> Result<(), ApiError> {
    if has.has(scope) {
        return Ok(());
    }
    let (scope, has) = (scope.as_str(), has.text().replace(' ', ", "));
    let why = format!("it needs a token with the scope '{scope}', and this one has: {has}");
    let next = format!("use another token, or make one: `bursa token new NAME --scope {scope}`");
    Err(ApiError::forbidden(why, next))
}

fn shared_kind(path: &str) -> Option<Scope> {
    let kind = path.strip_prefix("/api/v1/shares/")?.split('/').next()?;
    KINDS.iter().find(|(name, ..)| *name == kind).map(|(.., scope)| *scope)
}

/// `None`: there is no such route.
fn need(method: &str, path: &str) -> Option<Need> {
    let same = |route: &str| match path.strip_prefix("/v1/") {
        // The old name of `/v2`.
        Some(rest) => route.strip_prefix("/v2/") == Some(rest),
        None => route == path,
    };
    ROUTES.iter().find(|(of, route, _)| *of == method && same(route)).map(|(.., need)| *need)
}
