//! The audit log, for administrators.

use super::App;
use super::body::Format;
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, User};
use super::page;
use super::types::AuditLines;
use crate::audit::{self, Wanted};
use crate::policy;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

/// Lines of the audit log, oldest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "service", params(
    ("user" = Option<String>, Query, description = "A user's id or name"),
    ("action" = Option<String>, Query, description = "A part of method and route"),
    ("object" = Option<String>, Query, description = "The id that it is about"),
    ("since" = Option<String>, Query, description = "A time, RFC 3339 in UTC"),
    ("limit" = Option<usize>, Query),
    ("after" = Option<String>, Query)),
    responses((status = 200, body = AuditLines), (status = "default", body = ErrorBody)))]
pub(crate) async fn search(
    user: User,
    State(app): State<App>,
    format: Format,
    mut params: Params,
) -> Result<Response, ApiError> {
    if !policy::may(&user, policy::Action::See, policy::Object::Users) {
        return Err(ApiError::not_found("route", "GET /api/v1/audit"));
    }
    let page = page::take(&mut params)?;
    let since = params.parse::<jiff::Timestamp>("since")?.map(|since| format!("{since:.3}"));
    let wanted = Wanted {
        user: params.text("user"),
        action: params.text("action"),
        object: params.text("object"),
        since,
        after: page.before.unwrap_or_default(),
        limit: page.limit,
    };
    params.done()?;
    let audit = Arc::clone(&app.handle.audit);
    let entries = tokio::task::spawn_blocking(move || audit::search(audit.directory(), &wanted)).await??;
    let next = page::next(page, entries.len(), entries.last().and_then(|line| line["n"].as_u64()));
    Ok(format.ok(&AuditLines { entries, next }))
}
