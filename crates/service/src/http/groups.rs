//! Groups of users: make, list, choose their members, delete.

use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, PathId, User};
use super::functions::check_text;
use super::sharing_types::{GroupMade, NewGroup, NewMember, UserGroup, UserGroups};
use super::value::{Text, Time};
use super::{App, changed, users};
use crate::policy::{Action, Object, may};
use crate::store::{Change, Changed, GroupRow};
use crate::{clock, policy};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursa_core::limits;
use uuid::Uuid;

/// Makes a group of users.
#[utoipa::path(post, path = "/api/v1/groups", tag = "sharing", request_body = NewGroup,
    responses((status = 201, body = GroupMade), (status = "default", body = ErrorBody)))]
pub(crate) async fn add(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(new): Input<NewGroup>,
) -> Result<Response, ApiError> {
    users::check_name(&new.name)?;
    let claim = match (new.issuer, new.claim) {
        (None, None) => None,
        (Some(issuer), Some(claim)) if !issuer.is_empty() && !claim.is_empty() => {
            check_text("issuer", &issuer, limits::LOCATION_BYTES)?;
            check_text("claim", &claim, limits::LOCATION_BYTES)?;
            Some((issuer, claim))
        }
        _ => return Err(ApiError::bad("claim", "issuer and claim go together")),
    };
    if claim.is_some() && !policy::may(&user, Action::Change, Object::Users) {
        let next = "ask an administrator, or make a group without a claim and add its members";
        return Err(ApiError::forbidden("only an administrator says what an issuer's groups are", next));
    }
    let (group, name) = (clock::new_id()?, new.name);
    let change = Change::AddGroup { group, user_no: user.no, name: name.clone(), claim, now: clock::wall() };
    if changed(&app, change).await? == Changed::Taken {
        let what = format!("the group '{name}' cannot be made");
        return Err(ApiError::conflict(what, "another group has this name", "choose another name"));
    }
    Ok(format.answer(StatusCode::CREATED, &GroupMade { group_id: Text(Uuid::from_bytes(group)) }))
}

/// The groups that the user made or is in, by name; an administrator sees all.
#[utoipa::path(get, path = "/api/v1/groups", tag = "sharing",
    responses((status = 200, body = UserGroups), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(user: User, State(app): State<App>, format: Format) -> Result<Response, ApiError> {
    let rows = app.handle.reader.groups()?;
    let groups = rows.into_iter().filter(|row| may(&user, Action::See, object(row)));
    let groups: Result<Vec<_>, _> = groups.map(|row| shown(&app, row, None)).collect();
    Ok(format.ok(&UserGroups { groups: groups? }))
}

/// A group of users, by name or id.
#[utoipa::path(get, path = "/api/v1/groups/{id}", tag = "sharing", params(("id" = String, Path)),
    responses((status = 200, body = UserGroup), (status = "default", body = ErrorBody)))]
pub(crate) async fn get(
    user: User,
    State(app): State<App>,
    PathId(name): PathId<String>,
    format: Format,
) -> Result<Response, ApiError> {
    let row = find(&app, &user, &name)?;
    let members = match may(&user, Action::Change, object(&row)) {
        true => Some(app.handle.reader.members(row.no)?),
        false => None,
    };
    Ok(format.ok(&shown(&app, row, members)?))
}

fn shown(app: &App, row: GroupRow, members: Option<Vec<String>>) -> Result<UserGroup, ApiError> {
    let owner = app.handle.reader.name_of(policy::With::User(row.user_no))?;
    let (issuer, claim) = row.claim.unzip();
    Ok(UserGroup {
        group_id: Text(Uuid::from_bytes(row.group)),
        name: row.name,
        owner,
        created_at: Time(row.created),
        issuer,
        claim,
        members,
    })
}

/// Deletes a group: what is shared with it is not any more.
#[utoipa::path(delete, path = "/api/v1/groups/{id}", tag = "sharing", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn delete(
    user: User,
    State(app): State<App>,
    PathId(name): PathId<String>,
) -> Result<Response, ApiError> {
    let row = find_to_change(&app, &user, &name)?;
    changed(&app, Change::DeleteGroup { group_no: row.no }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Adds a user to a group.
#[utoipa::path(post, path = "/api/v1/groups/{id}/members", tag = "sharing", params(("id" = String, Path)),
    request_body = NewMember, responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn add_member(
    user: User,
    State(app): State<App>,
    PathId(name): PathId<String>,
    Input(new): Input<NewMember>,
) -> Result<Response, ApiError> {
    let row = find_to_change(&app, &user, &name)?;
    let member = users::find(&app, &new.user)?;
    changed(&app, Change::AddMember { group_no: row.no, user_no: member.no }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Takes a user out of a group: what is shared with it is his no longer.
#[utoipa::path(delete, path = "/api/v1/groups/{id}/members", tag = "sharing", params(("id" = String, Path),
    ("user" = String, Query, description = "Name or id")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn remove_member(
    user: User,
    State(app): State<App>,
    PathId(name): PathId<String>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let row = find_to_change(&app, &user, &name)?;
    let member = params.text("user").ok_or_else(|| ApiError::bad("user", "it is missing"))?;
    params.done()?;
    let member = users::find(&app, &member)?;
    match changed(&app, Change::RemoveMember { group_no: row.no, user_no: member.no }).await? {
        Changed::NotFound => Err(ApiError::bad("user", "he was not added to this group")),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

const fn object(row: &GroupRow) -> Object<'static> {
    Object::Group { owner: row.user_no, no: row.no }
}

/// A group that the user may know of, by name or id.
pub(super) fn find(app: &App, user: &User, name: &str) -> Result<GroupRow, ApiError> {
    let row = named(app, name)?;
    if may(user, Action::See, object(&row)) { Ok(row) } else { Err(no_group(name)) }
}

fn find_to_change(app: &App, user: &User, name: &str) -> Result<GroupRow, ApiError> {
    let row = find(app, user, name)?;
    if may(user, Action::Change, object(&row)) {
        return Ok(row);
    }
    let why = format!("the group '{}' is not yours: you are in it", row.name);
    Err(ApiError::forbidden(why, "ask who made it, or an administrator"))
}

/// A group of this name or id, whoever asks.
pub(super) fn named(app: &App, name: &str) -> Result<GroupRow, ApiError> {
    app.handle.reader.group(name)?.ok_or_else(|| no_group(name))
}

fn no_group(name: &str) -> ApiError {
    let shown: String = name.chars().take(64).collect();
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("there is no group '{shown}'"),
        "no group of users that you made or are in has this name or id",
        "see `bursa group list`",
    )
}
