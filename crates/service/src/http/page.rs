//! Pages of listings: `limit` and `after` in, `next` out.

use super::error::ApiError;
use super::extract::Params;
use crate::store::Page;
use bursa_core::limits;

/// Rows of a page that does not say.
const DEFAULT_ROWS: usize = 100;

/// Takes `limit` and `after`.
pub(crate) fn take(params: &mut Params) -> Result<Page, ApiError> {
    let limit = params.parse("limit")?.unwrap_or(DEFAULT_ROWS);
    if !(1..=limits::PAGE_ROWS).contains(&limit) {
        return Err(ApiError::bad("limit", format!("{limit} is not between 1 and {}", limits::PAGE_ROWS)));
    }
    let before = params.parse::<u64>("after")?;
    Ok(Page { before: before.map(|n| n.min(1 << crate::store::USER_SHIFT)), limit })
}

/// The cursor behind a page whose last row has number `last`; `None` when the page was not full.
pub(crate) fn next(page: Page, rows: usize, last: Option<u64>) -> Option<String> {
    last.filter(|_| rows >= page.limit).map(|last| last.to_string())
}
