//! Memoized results: what there is, and forgetting them.

use super::App;
use super::body::Format;
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, User};
use super::types::{MemoCleared, MemoState};
use super::{changed, endpoints, functions};
use crate::store::{Change, Changed, MemoFilter, MemoSums};
use axum::extract::State;
use axum::response::Response;
use bursa_core::limits;
use std::sync::Arc;

/// What the user has of memoized results.
#[utoipa::path(get, path = "/api/v1/memo", tag = "memo",
    responses((status = 200, body = MemoState), (status = "default", body = ErrorBody)))]
pub(crate) async fn show(user: User, State(app): State<App>, format: Format) -> Result<Response, ApiError> {
    let MemoSums { entries, bytes, hits } = app.handle.reader.memo_sums(user.no)?;
    Ok(format.ok(&MemoState { entries, bytes, hits }))
}

/// Forgets the user's memoized results: all, or those of a function's body, of an endpoint, or of both together.
#[utoipa::path(delete, path = "/api/v1/memo", tag = "memo", params(
    ("function_id" = Option<String>, Query, format = "uuid", description = "Those of the body of this function"),
    ("endpoint_id" = Option<String>, Query, format = "uuid", description = "Those of this endpoint")),
    responses((status = 200, body = MemoCleared), (status = "default", body = ErrorBody)))]
pub(crate) async fn clear(
    user: User,
    State(app): State<App>,
    format: Format,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (function, endpoint) = (params.bound("function_id")?, params.bound("endpoint_id")?);
    params.done()?;
    let function = match function {
        Some(id) => Some(functions::find(&app, &user, &id)?.hash),
        None => None,
    };
    if let Some(id) = &endpoint {
        endpoints::find(&app, &user, id)?;
    }
    let removed = forget(&app, user.no, MemoFilter { function, endpoint }).await?;
    Ok(format.ok(&MemoCleared { removed }))
}

/// Removes what was there when it began; how many.
pub(super) async fn forget(app: &App, no: i64, filter: MemoFilter) -> Result<usize, ApiError> {
    let (mut after, mut removed) = (-1, 0);
    loop {
        let reader = Arc::clone(&app.handle.slow_reader);
        let find = move || reader.memo_ids(no, &filter, after, limits::MEMO_CLEAR_ROWS);
        let ids = tokio::task::spawn_blocking(find).await??;
        let Some(last) = ids.last() else { return Ok(removed) };
        after = *last;
        if let Changed::Removed(count) = changed(app, Change::ClearMemo { ids }).await? {
            removed += count;
        }
    }
}
