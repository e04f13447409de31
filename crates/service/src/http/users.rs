//! Users, as administrators see them: add, list, end and give back their access, say who they are elsewhere.

use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, PathId, User};
use super::functions::check_text;
use super::user_types::{Identity, NewUser, ShownUser, UserMade, Users};
use super::value::{Text, Time};
use super::{App, changed, tokens};
use crate::clock;
use crate::policy::{Action, Object, may};
use crate::scope::Scopes;
use crate::store::{Change, Changed, UserRow};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursa_core::id::UserId;
use bursa_core::limits;
use uuid::Uuid;

/// Adds a user, with a token that is shown this once.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = NewUser,
    responses((status = 201, body = UserMade), (status = "default", body = ErrorBody)))]
pub(crate) async fn add(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(new): Input<NewUser>,
) -> Result<Response, ApiError> {
    administrator(&user)?;
    check_name(&new.name)?;
    let (id, admin) = (UserId::from_bytes(clock::new_id()?), new.admin.unwrap_or_default());
    let scopes = if admin { Scopes::ALL } else { Scopes::USUAL };
    let (token, secret) = tokens::new("first", scopes, None)?;
    let token_id = Text(Uuid::from_bytes(token.token));
    let (name, service) = (new.name, new.service.unwrap_or_default());
    let change = Change::AddUser { user: id, name: name.clone(), admin, service, token, now: clock::wall() };
    if changed(&app, change).await? == Changed::Taken {
        let what = format!("the user '{name}' cannot be added");
        return Err(ApiError::conflict(what, "another user has this name", "choose another name"));
    }
    Ok(format.answer(StatusCode::CREATED, &UserMade { user_id: Text(id), id: token_id, token: secret }))
}

/// A name that others can write, and that is nobody's id.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    check_text("name", name, limits::NAME_BYTES)?;
    let why = if name.trim() != name || name.is_empty() {
        "it is empty, or begins or ends with a blank"
    } else if name.chars().any(char::is_control) {
        "it holds control characters"
    } else if Uuid::try_parse(name).is_ok() {
        "it looks like an id"
    } else {
        return Ok(());
    };
    Err(ApiError::bad("name", why))
}

fn administrator(user: &User) -> Result<(), ApiError> {
    if may(user, Action::Change, Object::Users) {
        return Ok(());
    }
    let next = "ask an administrator; `bursa user list` shows who is one";
    Err(ApiError::forbidden("only an administrator may do this", next))
}

/// All users.
#[utoipa::path(get, path = "/api/v1/users", tag = "users",
    responses((status = 200, body = Users), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(user: User, State(app): State<App>, format: Format) -> Result<Response, ApiError> {
    administrator(&user)?;
    let users = app.handle.reader.users()?.into_iter().map(|row| shown(row, Vec::new()));
    Ok(format.ok(&Users { users: users.collect() }))
}

/// A user, by name or id.
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 200, body = ShownUser), (status = "default", body = ErrorBody)))]
pub(crate) async fn get(
    user: User,
    State(app): State<App>,
    PathId(named): PathId<String>,
    format: Format,
) -> Result<Response, ApiError> {
    administrator(&user)?;
    let row = find(&app, &named)?;
    let identities = app.handle.reader.identities(row.no)?.into_iter().map(|row| Identity {
        issuer: row.issuer,
        subject: row.subject,
        username: row.username,
    });
    Ok(format.ok(&shown(row, identities.collect())))
}

fn shown(row: UserRow, identities: Vec<Identity>) -> ShownUser {
    ShownUser {
        user_id: Text(row.user),
        name: row.name,
        admin: row.admin,
        active: row.active,
        kind: if row.service { "service" } else { "person" },
        created_at: Time(row.created),
        identities,
    }
}

pub(super) fn find(app: &App, named: &str) -> Result<UserRow, ApiError> {
    app.handle.reader.user(named)?.ok_or_else(|| no_user(named))
}

pub(super) fn no_user(named: &str) -> ApiError {
    let shown: String = named.chars().take(64).collect();
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("there is no user '{shown}'"),
        "no user has this name or id",
        "check the name; an administrator lists all with `bursa user list`",
    )
}

/// Ends a user's access: his tokens are refused from now on, his streams are closed. His tasks go on, and what he has
/// stays.
#[utoipa::path(post, path = "/api/v1/users/{id}/disable", tag = "users", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn disable(
    user: User,
    State(app): State<App>,
    PathId(named): PathId<String>,
) -> Result<Response, ApiError> {
    set(&app, &user, &named, (Some(false), None)).await
}

/// Gives a user his access back, with the tokens that he had.
#[utoipa::path(post, path = "/api/v1/users/{id}/enable", tag = "users", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn enable(
    user: User,
    State(app): State<App>,
    PathId(named): PathId<String>,
) -> Result<Response, ApiError> {
    set(&app, &user, &named, (Some(true), None)).await
}

/// Makes a user an administrator. His tokens that are for all that he may are for that, too.
#[utoipa::path(post, path = "/api/v1/users/{id}/admin", tag = "users", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn make_admin(
    user: User,
    State(app): State<App>,
    PathId(named): PathId<String>,
) -> Result<Response, ApiError> {
    set(&app, &user, &named, (None, Some(true))).await
}

/// Makes an administrator a user like others; not the last one.
#[utoipa::path(delete, path = "/api/v1/users/{id}/admin", tag = "users", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn unmake_admin(
    user: User,
    State(app): State<App>,
    PathId(named): PathId<String>,
) -> Result<Response, ApiError> {
    set(&app, &user, &named, (None, Some(false))).await
}

/// Says whether a user is active, and whether an administrator.
async fn set(
    app: &App,
    user: &User,
    named: &str,
    (active, admin): (Option<bool>, Option<bool>),
) -> Result<Response, ApiError> {
    administrator(user)?;
    let row = find(app, named)?;
    match changed(app, Change::SetUser { user_no: row.no, active, admin }).await? {
        Changed::LastAdmin => Err(ApiError::conflict(
            format!("the user '{}' stays an active administrator", row.name),
            "no other active user is an administrator",
            "make another one first: `bursa user admin NAME`",
        )),
        Changed::NotFound => Err(no_user(named)),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Says who a user is elsewhere: who comes with that identity is this user from now on.
#[utoipa::path(post, path = "/api/v1/users/{id}/identities", tag = "users", params(("id" = String, Path)),
    request_body = Identity, responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn link(
    user: User,
    State(app): State<App>,
    PathId(named): PathId<String>,
    Input(identity): Input<Identity>,
) -> Result<Response, ApiError> {
    administrator(&user)?;
    let row = find(&app, &named)?;
    let Identity { issuer, subject, username } = identity;
    for (field, text) in [("issuer", &issuer), ("subject", &subject), ("username", &username)] {
        check_text(field, text, limits::LOCATION_BYTES)?;
    }
    if issuer.is_empty() || subject.is_empty() {
        return Err(ApiError::bad("subject", "issuer and subject are both needed"));
    }
    if row.service {
        return Err(ApiError::bad("id", "it is a service account, as which nobody logs in"));
    }
    changed(&app, Change::LinkIdentity { user_no: row.no, issuer, subject, username }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Says that a user is not who has this identity: who comes with it from now on is a new user.
#[utoipa::path(delete, path = "/api/v1/users/{id}/identities", tag = "users", params(
    ("id" = String, Path),
    ("issuer" = String, Query, description = "Who says so: the URL of an OpenID Connect provider"),
    ("subject" = String, Query, description = "The user's id there")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn unlink(
    user: User,
    State(app): State<App>,
    PathId(named): PathId<String>,
    mut params: Params,
) -> Result<Response, ApiError> {
    administrator(&user)?;
    let row = find(&app, &named)?;
    let (issuer, subject) = (params.text("issuer"), params.text("subject"));
    params.done()?;
    let (Some(issuer), Some(subject)) = (issuer, subject) else {
        return Err(ApiError::bad("subject", "issuer and subject are both needed"));
    };
    let change = Change::UnlinkIdentity { user_no: row.no, issuer, subject };
    if changed(&app, change).await? == Changed::NotFound {
        return Err(ApiError::bad(
            "subject",
            "the user has no such identity; GET /api/v1/users/{id} lists his",
        ));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
