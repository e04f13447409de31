//! By which share somebody submits to another's endpoint, and whether its bounds leave room.

use super::App;
use super::error::ApiError;
use crate::clock;
use crate::known::KnownEndpoint;
use crate::policy::{Period, Role, Share, Terms};
use crate::store::UserRow;
use bursa_core::hub::Counter;
use bursa_core::id::{EndpointId, FunctionId, UserId};
use tokio::sync::MutexGuard;

/// What a submit of a guest must not go beyond, at one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guest {
    endpoint: EndpointId,
    /// Tasks that have not ended.
    at_once: Option<u32>,
}

impl Period {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
        }
    }
}

/// Whether the endpoint runs this function for this user now: the first of the shares that he comes by which says so
/// decides. `None`: the endpoint is his own, or his to administer.
pub(super) fn guest(
    app: &App,
    user: &UserRow,
    function: FunctionId,
    id: EndpointId,
    endpoint: &KnownEndpoint,
) -> Result<Option<Guest>, ApiError> {
    if !endpoint.allowed.is_empty() && !endpoint.allowed.contains(&function) {
        let why = format!(
            "endpoint {id} runs {} functions only, and {function} is none of them",
            endpoint.allowed.len()
        );
        return Err(ApiError::forbidden(why, "call one that it runs, or ask its owner to allow this one"));
    }
    if endpoint.access.owner == user.no {
        return Ok(None);
    }
    let mut refused = None;
    for share in endpoint.access.shares_of(user) {
        if share.role == Role::Admin {
            return Ok(None);
        }
        match refusal(app, function, id, endpoint.access.owner, share)? {
            None => return Ok(Some(Guest { endpoint: id, at_once: share.terms.at_once })),
            Some(why) => refused = Some(why),
        }
    }
    Err(refused.unwrap_or_else(|| ApiError::not_found("endpoint", id)))
}

fn refusal(
    app: &App,
    function: FunctionId,
    id: EndpointId,
    owner: i64,
    share: &Share,
) -> Result<Option<ApiError>, ApiError> {
    let Terms { functions, core_ms, .. } = &share.terms;
    if !functions.is_empty() && !functions.contains(&function) {
        let why = format!(
            "endpoint {id} is shared with you for {} functions only, and {function} is none of them",
            functions.len()
        );
        return Ok(Some(ApiError::forbidden(
            why,
            "call one of those, or ask the endpoint's owner to add this one",
        )));
    }
    let Some((limit, period)) = *core_ms else { return Ok(None) };
    let now = clock::wall();
    let used = app.handle.reader.core_use(&id, owner, share.with, period, now)?;
    if used < limit {
        return Ok(None);
    }
    let (limit, used) = (hours(limit), hours(used));
    let per = period.as_str();
    let why = format!(
        "the {limit} core-hours a {per} for which endpoint {id} is shared with you are used up ({used} of them)"
    );
    let next = format!(
        "submit again after {}, or ask the endpoint's owner for more",
        clock::text(period.resets(now))
    );
    Ok(Some(ApiError::forbidden(why, next)))
}

/// As people read it.
#[expect(clippy::cast_precision_loss, reason = "for people, and far below 2^52")]
fn hours(ms: u64) -> String {
    let text = format!("{:.3}", ms as f64 / 3_600_000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Holds until the submit is with the driver: two of a guest's do not both take the last place.
pub(super) type Turn<'a> = Option<MutexGuard<'a, ()>>;

/// Refuses a submit of `count` tasks that goes beyond what a guest may have there.
pub(super) async fn check<'a>(
    app: &'a App,
    user: UserId,
    guests: &[Guest],
    counts: impl Fn(&EndpointId) -> usize,
) -> Result<Turn<'a>, ApiError> {
    if guests.is_empty() {
        return Ok(None);
    }
    let turn = app.handle.guests.lock().await;
    for Guest { endpoint, at_once } in guests {
        let Some(there) = app.handle.guest(*endpoint, user).await? else { continue };
        if !there.welcome {
            let why = format!(
                "endpoint {endpoint} runs functions without a sandbox, or none of its managers was seen yet: it serves its \
                 owner only"
            );
            let next =
                "ask its owner to start it with `sandbox.runtime = \"bwrap\"`, or use another endpoint";
            return Err(ApiError::forbidden(why, next));
        }
        let (live, count) = (there.live, counts(endpoint));
        if let Some(limit) = at_once.map(|limit| limit as usize)
            && live + count > limit
        {
            app.handle.metrics.count(Counter::Refused, 1);
            if count > limit {
                return Err(ApiError::forbidden(
                    format!(
                        "the submit has {count} tasks for endpoint {endpoint}, which is shared with you for {limit} at once"
                    ),
                    format!("submit at most {limit} at a time"),
                ));
            }
            return Err(ApiError::busy(format!(
                "you have {live} tasks at endpoint {endpoint} that have not ended, and it is shared with you for {limit} at once"
            )));
        }
    }
    Ok(Some(turn))
}

/// Adds what a target brings to what the submit must keep to.
pub(super) fn add(guests: &mut Vec<Guest>, guest: Option<Guest>) {
    let Some(guest) = guest else { return };
    match guests.iter_mut().find(|known| known.endpoint == guest.endpoint) {
        // Different functions may come by different shares: the narrower counts.
        Some(known) => known.at_once = known.at_once.into_iter().chain(guest.at_once).min(),
        None => guests.push(guest),
    }
}
