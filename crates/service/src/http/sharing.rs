//! Sharing: who else may use a function, a container, an endpoint or the results of a group of tasks, and how much.

use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::PathId;
use super::extract::{Params, User};
use super::sharing_types::{AllowedFunctions, NewShare, Shares, ShownShare};
use super::value::{Text, Time};
use super::{App, changed, endpoints, functions, groups, scopes, users};
use crate::policy::{self, Access, Action, Object, Period, Role, Share, Terms, With};
use crate::store::{Change, Changed, Shared, Thing};
use crate::{clock, store};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursa_core::id::{EndpointId, FunctionId};
use bursa_core::limits;
use std::sync::Arc;
use uuid::Uuid;

/// Core-milliseconds of a core-hour.
const HOUR_MS: f64 = 3_600_000.0;

/// Shares a thing with users, groups of users or everybody, or shares it with them otherwise than before.
#[utoipa::path(post, path = "/api/v1/shares/{kind}/{id}", tag = "sharing", request_body = NewShare, params(
    ("kind" = String, Path, description = "`functions`, `containers`, `endpoints` or `task-groups`"),
    ("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn share(
    user: User,
    State(app): State<App>,
    Path(at): Path<(String, String)>,
    Input(new): Input<NewShare>,
) -> Result<Response, ApiError> {
    let (shared, _) = find(&app, &user, &at)?;
    share_with(&app, &user, shared, new).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Shares a thing that the user may share.
pub(super) async fn share_with(
    app: &App,
    user: &User,
    shared: Shared,
    new: NewShare,
) -> Result<(), ApiError> {
    let role = role(shared.0, new.role.as_deref())?;
    let terms = terms(app, user, shared.0, &new)?;
    let whom = whom(app, user, &new)?;
    let count = access(app, shared)?.map_or(0, |access| access.shares.len()) + whom.len();
    if count > limits::SHARES {
        return Err(ApiError::too_large(
            "the list of those it is shared with",
            count,
            limits::SHARES,
            "names",
        ));
    }
    for with in whom {
        let share = Share { with, role, terms: terms.clone() };
        changed(app, Change::Share { object: shared, share, now: clock::wall() }).await?;
    }
    Ok(())
}

/// With whom a thing is shared.
#[utoipa::path(get, path = "/api/v1/shares/{kind}/{id}", tag = "sharing", params(
    ("kind" = String, Path, description = "`functions`, `containers`, `endpoints` or `task-groups`"),
    ("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Shares), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(
    user: User,
    State(app): State<App>,
    Path(at): Path<(String, String)>,
    format: Format,
) -> Result<Response, ApiError> {
    let (shared, access) = find(&app, &user, &at)?;
    let shares: Result<Vec<_>, _> =
        access.shares.iter().map(|share| shown(&app, shared, access.owner, share)).collect();
    Ok(format.ok(&Shares { shares: shares? }))
}

/// Shares a thing with somebody no longer: what he has submitted goes on.
#[utoipa::path(delete, path = "/api/v1/shares/{kind}/{id}", tag = "sharing", params(
    ("kind" = String, Path, description = "`functions`, `containers`, `endpoints` or `task-groups`"),
    ("id" = String, Path, format = "uuid"),
    ("user" = Option<String>, Query, description = "Name or id"),
    ("group" = Option<String>, Query, description = "Name or id"),
    ("public" = Option<bool>, Query, description = "true: with everybody")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn unshare(
    user: User,
    State(app): State<App>,
    Path(at): Path<(String, String)>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (object, _) = find(&app, &user, &at)?;
    let (name, group, public) = (params.text("user"), params.text("group"), params.parse::<bool>("public")?);
    params.done()?;
    let with = match (&name, &group, public.unwrap_or_default()) {
        (Some(name), None, false) => With::User(users::find(&app, name)?.no),
        (None, Some(name), false) => With::Group(groups::named(&app, name)?.no),
        (None, None, true) => With::Everybody,
        _ => return Err(ApiError::bad("user", "give one of 'user', 'group' and 'public=true'")),
    };
    match changed(&app, Change::Unshare { object, with }).await? {
        Changed::NotFound => {
            let why = "it is not shared with that one";
            Err(ApiError::bad(if name.is_some() { "user" } else { "group" }, why))
        }
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// What the path names, if the user may share it.
fn find(app: &App, user: &User, (kind, id): &(String, String)) -> Result<(Shared, Arc<Access>), ApiError> {
    let known = scopes::KINDS.iter().find(|(name, ..)| name == kind);
    let thing = known.map(|(_, thing, _)| *thing).ok_or_else(|| {
        let names: Vec<_> = scopes::KINDS.iter().map(|(name, ..)| *name).collect();
        ApiError::bad("kind", format!("it is not one of {}", names.join(", ")))
    })?;
    let id = Uuid::try_parse(id).map_err(|_| ApiError::bad("id", "it is not a UUID"))?;
    let shared = (thing, id.into_bytes());
    let found = access(app, shared)?.filter(|access| policy::may(user, Action::See, object(thing, access)));
    let found = found.ok_or_else(|| ApiError::not_found(word(thing), id))?;
    if policy::may(user, Action::Share, object(thing, &found)) {
        return Ok((shared, found));
    }
    let what = word(thing);
    let why = format!("the {what} {id} is shared with you for use, not for sharing it further");
    Err(ApiError::forbidden(why, format!("ask the owner of the {what}")))
}

const fn word(thing: Thing) -> &'static str {
    match thing {
        Thing::Function => "function",
        Thing::Container => "container",
        Thing::Endpoint => "endpoint",
        Thing::Tasks => "group",
    }
}

const fn object(thing: Thing, access: &Access) -> Object<'_> {
    match thing {
        Thing::Function => Object::Function(access),
        Thing::Container => Object::Container(access),
        Thing::Endpoint => Object::Endpoint(access),
        Thing::Tasks => Object::Tasks(access),
    }
}

fn access(app: &App, shared: Shared) -> Result<Option<Arc<Access>>, store::Error> {
    app.handle.known.access(shared)
}

fn role(thing: Thing, asked: Option<&str>) -> Result<Role, ApiError> {
    match asked {
        None | Some("user") => Ok(Role::User),
        Some("admin") if thing != Thing::Tasks => Ok(Role::Admin),
        Some("admin") => Err(ApiError::bad("role", "a group of tasks is read by others, not administered")),
        Some(other) => Err(ApiError::bad("role", format!("'{other}' is neither user nor admin"))),
    }
}

fn terms(app: &App, user: &User, thing: Thing, new: &NewShare) -> Result<Terms, ApiError> {
    let functions = new.functions.clone().unwrap_or_default();
    let terms = Terms {
        core_ms: new.core_hours.map(|hours| core_ms(hours, new.per.as_deref())).transpose()?,
        at_once: new.at_once,
        functions,
    };
    let bad = |field, why| Err(ApiError::bad(field, why));
    match () {
        () if terms == Terms::default() && new.per.is_none() => return Ok(terms),
        () if thing != Thing::Endpoint => return bad("functions", "only a share of an endpoint has bounds"),
        () if new.role.as_deref() == Some("admin") => {
            return bad("role", "who administers an endpoint could lift its bounds: give either");
        }
        () if new.per.is_some() && terms.core_ms.is_none() => return bad("per", "it goes with 'core_hours'"),
        () if terms.at_once == Some(0) => return bad("at_once", "it is 0: unshare instead"),
        () if terms.functions.len() > limits::ALLOWED_FUNCTIONS => {
            let count = terms.functions.len();
            return Err(ApiError::too_large(
                "the field 'functions'",
                count,
                limits::ALLOWED_FUNCTIONS,
                "ids",
            ));
        }
        () => {}
    }
    for function in &terms.functions {
        functions::find(app, user, function)?;
    }
    Ok(terms)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked: positive, and far below 2^63"
)]
fn core_ms(hours: f64, per: Option<&str>) -> Result<(u64, Period), ApiError> {
    let period = match per {
        None | Some("week") => Period::Week,
        Some("day") => Period::Day,
        Some(other) => return Err(ApiError::bad("per", format!("'{other}' is neither day nor week"))),
    };
    if hours > 0.0 && hours <= 1e9 {
        return Ok(((hours * HOUR_MS) as u64, period));
    }
    Err(ApiError::bad("core_hours", format!("{hours} is not above 0 and at most 1,000,000,000")))
}

fn whom(app: &App, user: &User, new: &NewShare) -> Result<Vec<With>, ApiError> {
    let mut whom = Vec::new();
    for name in new.users.iter().flatten() {
        whom.push(With::User(users::find(app, name)?.no));
    }
    for name in new.groups.iter().flatten() {
        whom.push(With::Group(groups::find(app, user, name)?.no));
    }
    if new.public.unwrap_or_default() {
        whom.push(With::Everybody);
    }
    if whom.is_empty() {
        return Err(ApiError::bad("users", "say with whom: 'users', 'groups' or 'public'"));
    }
    Ok(whom)
}

#[expect(clippy::cast_precision_loss, reason = "for people, and far below 2^52")]
fn shown(app: &App, shared: Shared, owner: i64, share: &Share) -> Result<ShownShare, ApiError> {
    let name = app.handle.reader.name_of(share.with)?;
    let (mut shown, now) = (ShownShare::default(), clock::wall());
    match share.with {
        With::User(_) => shown.user = name,
        With::Group(_) => shown.group = name,
        With::Everybody => shown.public = Some(true),
    }
    shown.role = if share.role == Role::Admin { "admin" } else { "user" };
    shown.functions = share.terms.functions.iter().copied().map(Text).collect();
    shown.at_once = share.terms.at_once;
    if let Some((ms, period)) = share.terms.core_ms {
        let endpoint = EndpointId::from_bytes(shared.1);
        let used = app.handle.reader.core_use(&endpoint, owner, share.with, period, now)?;
        shown.core_hours = Some(ms as f64 / HOUR_MS);
        shown.per = Some(period.as_str());
        shown.used_core_hours = Some(used as f64 / HOUR_MS);
        shown.resets_at = Some(Time(period.resets(now)));
    }
    Ok(shown)
}

/// The only functions that an endpoint runs, for anybody; null: it runs any.
#[utoipa::path(get, path = "/api/v1/endpoints/{id}/allowed-functions", tag = "sharing",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = AllowedFunctions), (status = "default", body = ErrorBody)))]
pub(crate) async fn allowed(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
    format: Format,
) -> Result<Response, ApiError> {
    endpoints::find(&app, &user, &id)?;
    let functions = app.handle.reader.allowed_functions(&id)?;
    let functions = (!functions.is_empty()).then(|| functions.into_iter().map(Text).collect());
    Ok(format.ok(&AllowedFunctions { functions }))
}

/// Says which functions an endpoint runs, for anybody, its owner too; null: any.
#[utoipa::path(post, path = "/api/v1/endpoints/{id}/allowed-functions", tag = "sharing",
    params(("id" = String, Path, format = "uuid")), request_body = AllowedFunctions,
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn allow(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
    Input(asked): Input<AllowedFunctions>,
) -> Result<Response, ApiError> {
    endpoints::find_to(&app, &user, &id, Action::Change)?;
    let functions: Vec<FunctionId> = match asked.functions {
        Some(functions) if functions.is_empty() => {
            return Err(ApiError::bad("functions", "it is empty; null lifts the restriction"));
        }
        functions => functions.into_iter().flatten().map(|id| id.0).collect(),
    };
    allow_only(&app, &user, id, functions).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Lets an endpoint run these functions only; none: any.
async fn allow_only(
    app: &App,
    user: &User,
    endpoint: EndpointId,
    functions: Vec<FunctionId>,
) -> Result<(), ApiError> {
    if functions.len() > limits::ALLOWED_FUNCTIONS {
        return Err(too_many(functions.len()));
    }
    check_known(app, user, &functions)?;
    let functions = functions.into_iter().collect();
    changed(app, Change::AllowFunctions { endpoint, functions }).await?;
    Ok(())
}

/// Lets an endpoint run these as well; how many of them are new.
pub(super) async fn allow_more(
    app: &App,
    user: &User,
    endpoint: EndpointId,
    functions: Vec<FunctionId>,
) -> Result<usize, ApiError> {
    check_known(app, user, &functions)?;
    let functions = functions.into_iter().collect();
    match changed(app, Change::AllowMore { endpoint, functions }).await? {
        Changed::Added(count) => Ok(count),
        Changed::TooMany(count) => Err(too_many(count)),
        other => Err(ApiError::internal(format!("an answer that does not fit the request: {other:?}"))),
    }
}

fn check_known(app: &App, user: &User, functions: &[FunctionId]) -> Result<(), ApiError> {
    functions.iter().try_for_each(|function| functions::find(app, user, function).map(drop))
}

fn too_many(count: usize) -> ApiError {
    ApiError::too_large("the field 'functions'", count, limits::ALLOWED_FUNCTIONS, "ids")
}
