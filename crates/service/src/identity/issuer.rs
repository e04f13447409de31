//! One issuer: where its parts are (discovery) and its keys, asked for as seldom as is right.

use super::Refusal;
use super::fetch::{Fetch, Question, down, is_safe};
use super::jwt::Unverified;
use super::keys::Keys;
use bursa_core::limits;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const KEPT: Duration = Duration::from_millis(limits::IDENTITY_KEPT_MS);
const UNKNOWN_KEY: Duration = Duration::from_millis(limits::IDENTITY_UNKNOWN_KEY_MS);
const DOWN: Duration = Duration::from_millis(limits::IDENTITY_DOWN_MS);

/// An issuer and what it said of itself.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) url: String,
    pub(super) fetch: Fetch,
    /// Who asks holds it, so that of many who want to know, one asks.
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    places: Option<(Places, Instant)>,
    keys: Option<(Arc<Keys>, Instant)>,
    /// When a key was looked for that the set did not have.
    looked: Option<Instant>,
    failed: Option<Instant>,
}

/// Where its parts are, of `/.well-known/openid-configuration`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Places {
    issuer: String,
    jwks_uri: String,
    pub(super) introspection_endpoint: Option<String>,
}

impl Issuer {
    pub(super) fn new(url: &str, fetch: Fetch) -> Self {
        Self { url: url.to_owned(), fetch, said: Mutex::default() }
    }

    /// Where its parts are.
    pub(super) async fn places(&self) -> Result<Places, Refusal> {
        self.find(&mut *self.said.lock().await).await
    }

    /// Whether one of its keys signed `token`. A key that is not known is looked for anew, now and then.
    pub(super) async fn signed(&self, token: &Unverified<'_>) -> Result<bool, Refusal> {
        let mut said = self.said.lock().await;
        let known = match &said.keys {
            Some((keys, at)) if at.elapsed() < KEPT => {
                let recently = said.looked.is_some_and(|at| at.elapsed() < UNKNOWN_KEY);
                (recently || keys.has_key_for(token)).then(|| Arc::clone(keys))
            }
            _ => None,
        };
        let keys = match known {
            Some(keys) => keys,
            None => {
                if said.keys.is_some() {
                    said.looked = Some(Instant::now());
                }
                let keys = Arc::new(self.keys(&mut said).await?);
                said.keys = Some((Arc::clone(&keys), Instant::now()));
                keys
            }
        };
        drop(said);
        Ok(keys.verify(token))
    }

    async fn keys(&self, said: &mut Said) -> Result<Keys, Refusal> {
        let places = self.find(said).await?;
        let text = self.asked(said, Question::Get(places.jwks_uri)).await?;
        Keys::parse(&text).ok_or_else(|| down("its jwks_uri gives no set of keys"))
    }

    async fn find(&self, said: &mut Said) -> Result<Places, Refusal> {
        if let Some((places, at)) = &said.places
            && at.elapsed() < KEPT
        {
            return Ok(places.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let text = self.asked(said, Question::Get(url)).await?;
        let places: Places = serde_json::from_slice(&text)
            .map_err(|why| down(&format!("{} does not describe itself: {why}", self.url)))?;
        if places.issuer != self.url {
            return Err(down(&format!("{} says that it is {}", self.url, places.issuer)));
        }
        let all = [Some(&places.jwks_uri), places.introspection_endpoint.as_ref()];
        if let Some(url) = all.into_iter().flatten().find(|url| !is_safe(url)) {
            return Err(down(&format!("{} refers to {url}, which is not encrypted", self.url)));
        }
        said.places = Some((places.clone(), Instant::now()));
        Ok(places)
    }

    /// Asks, unless it just gave no answer: then those who wait are told so at once.
    async fn asked(&self, said: &mut Said, question: Question) -> Result<Vec<u8>, Refusal> {
        if said.failed.is_some_and(|at| at.elapsed() < DOWN) {
            return Err(down("it gave no good answer a moment ago"));
        }
        let answer = self.fetch.ask_bytes(question).await;
        said.failed = answer.is_err().then(Instant::now);
        answer
    }
}
