//! What handlers take from a request's head: the user, ids in the path, parameters of the query.

use super::error::ApiError;
use super::listen::{Ends, Newcomer};
use super::{App, scopes};
use crate::audit::{self, Who};
use crate::auth::{self, Session};
use crate::clock;
use crate::rate::Kind;
use crate::scope::Scopes;
use crate::store::UserRow;
use axum::extract::{FromRequestParts, MatchedPath, Path, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bursa_core::time::Wall;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Who asks. Taken before anything else of a request is looked at; whether his token may come this way is known then.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) row: Arc<UserRow>,
    pub(crate) token_hash: [u8; 32],
    /// The token's id; `None`: it is another issuer's.
    pub(crate) token: Option<[u8; 16]>,
    pub(crate) scopes: Scopes,
    /// When his token ends.
    pub(crate) expires: Option<Wall>,
}

impl User {
    pub(crate) fn of(session: Session, token_hash: [u8; 32]) -> Self {
        let Session { row, token, scopes, expires, .. } = session;
        Self { row, token_hash, token, scopes, expires }
    }
}

impl std::ops::Deref for User {
    type Target = UserRow;

    fn deref(&self) -> &UserRow {
        &self.row
    }
}

impl FromRequestParts<App> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let value = value.ok_or_else(|| ApiError::unauthorized("it has no Authorization header"))?;
        let token = match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(ApiError::unauthorized("its Authorization header is not 'Bearer TOKEN'")),
        };
        let token_hash = auth::hash(token);
        let ends = parts.extensions.get::<Ends>();
        let session = match app.handle.known.tokens.session(&token_hash, clock::wall())? {
            None if auth::is_own(token) => Ok(None),
            None => {
                room_for_stranger(app, ends)?;
                app.handle.known_elsewhere(token, token_hash).await
            }
            session => Ok(session),
        };
        let unknown = "its token is not known; it may have been revoked or have expired";
        let session = session.and_then(|session| session.ok_or_else(|| ApiError::unauthorized(unknown)));
        let session = session.map_err(|refused| stranger(app, ends, refused))?;
        if let Some(newcomer) = parts.extensions.get::<Newcomer>() {
            newcomer.known();
        }
        audit::is_by(Who::User(Arc::clone(&session.row), session.token));
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let kind = Kind::of(&parts.method, route);
        app.handle.rates.ask(session.row.no, kind).map_err(|wait| ApiError::too_often(kind, wait))?;
        if session.unnoted {
            app.handle.note_use(token_hash);
        }
        scopes::check(parts, session.scopes)?;
        Ok(Self::of(session, token_hash))
    }
}

/// What a request gets whose token is `refused`. Looking for a token costs less than the rest of its request, so that it is
/// done however many came: nobody is locked out by others behind his address.
pub(super) fn stranger(app: &App, ends: Option<&Ends>, refused: ApiError) -> ApiError {
    if refused.status != StatusCode::UNAUTHORIZED {
        return refused;
    }
    match app.handle.rates.bad_login(address(ends)) {
        Ok(()) => {
            audit::is_by(Who::Stranger);
            refused
        }
        Err(wait) => ApiError::too_many_strangers(wait),
    }
}

/// Nobody else is asked about a token from where too many unknown ones came: that would cost him, and us, far more than a look.
pub(super) fn room_for_stranger(app: &App, ends: Option<&Ends>) -> Result<(), ApiError> {
    app.handle.rates.room_for_login(address(ends)).map_err(ApiError::too_many_strangers)
}

fn address(ends: Option<&Ends>) -> IpAddr {
    ends.map_or(IpAddr::from([0; 4]), |ends| ends.theirs)
}

/// The id in the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathId<T>(pub(crate) T);

impl<S: Send + Sync, T> FromRequestParts<S> for PathId<T>
where
    T: FromStr + Send,
    T::Err: Display,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::bad("id", error.to_string()))?;
        text.parse().map(Self).map_err(|error: T::Err| {
            let why = error.to_string();
            let shown: String = text.chars().take(64).collect();
            ApiError::bad("id", if why.contains(&shown) { why } else { format!("'{shown}': {why}") })
        })
    }
}

/// The query's parameters; what nobody takes is refused.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::bad("query", error.to_string()))?;
        Ok(Self(pairs))
    }
}

impl Params {
    /// Takes the parameter `name`; an empty one counts as not given.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.swap_remove(place).1).filter(|value| !value.is_empty())
    }

    /// Takes the parameter `name` as a `T`.
    pub(crate) fn parse<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, ApiError>
    where
        T::Err: Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        let parsed = text.parse().map_err(|error: T::Err| ApiError::bad(name, format!("'{text}': {error}")));
        parsed.map(Some)
    }

    /// Takes the parameter `name`, which bounds what a request does: an empty one is refused, or it would do more than was meant.
    pub(crate) fn bound<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, ApiError>
    where
        T::Err: Display,
    {
        if self.0.iter().any(|(key, value)| key == name && value.is_empty()) {
            return Err(ApiError::bad(name, "it is empty; leave it out if you mean all"));
        }
        self.parse(name)
    }

    /// Refuses what was not taken.
    pub(crate) fn done(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::bad(name, "this route has no such parameter")),
        }
    }
}
