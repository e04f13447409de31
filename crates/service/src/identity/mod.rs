//! Who somebody is by the word of others: OIDC providers, Globus Auth, and what runs a workload.
//!
//! A bearer token that is not Bursa's own is judged here: a JWT by the keys of its issuer, any other by asking the
//! providers. What they say is kept no longer than the token lives. Creates no user and decides no right.

mod cache;
mod claims;
mod exchange;
mod fetch;
mod issuer;
mod jwt;
mod keys;
mod pattern;
mod provider;
mod settings;

pub use pattern::Pattern;
pub use settings::{ExchangeSettings, Grants, IdentitySettings, Kind};
pub(crate) use settings::{parse_exchange, parse_identity};

use crate::http::ApiError;
use crate::scope::Scopes;
use crate::{Error, auth, clock};
use axum::http::StatusCode;
use bursa_core::limits;
use bursa_core::time::Wall;
use cache::Cache;
use exchange::Rule;
use fetch::Fetch;
use issuer::Issuer;
use provider::Provider;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What a source of identity says of the bearer of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) issuer: String,
    /// Never given to anybody else by this issuer.
    pub(crate) subject: String,
    /// For people; may change.
    pub(crate) username: String,
    /// Other subjects of the same person, where the issuer links identities.
    pub(crate) identities: Vec<String>,
    pub(crate) groups: Vec<String>,
    /// What the token may do here.
    pub(crate) scopes: Scopes,
    /// From then on nothing of this counts.
    pub(crate) expires: Wall,
}

/// A short-lived token that a rule gives to a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) known: Known,
    /// What the token is for, for people.
    pub(crate) name: String,
    pub(crate) lifetime_s: u64,
}

/// What `bursa login` needs to know of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoginAt<'a> {
    pub(crate) kind: Kind,
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) scopes: &'a [String],
    pub(crate) resource: Option<&'a str>,
}

/// Why nobody is known by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The token says nothing that counts.
    Invalid(String),
    /// It is good, and its bearer is not wanted.
    Unwanted(String),
    /// Who could say it does not answer.
    Down(String),
}

/// Every source of identity that is configured.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    providers: Vec<Provider>,
    rules: Vec<Rule>,
    known: Cache,
    asks: Asks,
}

/// Questions to providers under way.
#[derive(Debug)]
struct Asks(Semaphore);

impl Default for Asks {
    fn default() -> Self {
        Self(Semaphore::new(limits::IDENTITY_ASKS))
    }
}

impl Providers {
    /// Those of the configuration; relative paths are below `home`.
    ///
    /// # Errors
    /// A secret or certificate cannot be read.
    pub(crate) fn new(
        identity: &[IdentitySettings],
        exchange: &[ExchangeSettings],
        home: &Path,
    ) -> Result<Self, Error> {
        let mut issuers: HashMap<String, Arc<Issuer>> = HashMap::new();
        let mut issuer = |url: &str, ca: Option<&Path>| -> Result<Arc<Issuer>, Error> {
            if let Some(known) = issuers.get(url) {
                return Ok(Arc::clone(known));
            }
            let ca = ca.map(|path| home.join(path));
            let fresh = Arc::new(Issuer::new(url, Fetch::new(ca.as_deref())?));
            issuers.insert(url.to_owned(), Arc::clone(&fresh));
            Ok(fresh)
        };
        let mut made = Self::default();
        for settings in identity {
            let issuer = issuer(&settings.issuer, settings.ca_file.as_deref())?;
            made.providers.push(Provider::new(settings.clone(), issuer, home)?);
        }
        for settings in exchange {
            let issuer = issuer(&settings.issuer, settings.ca_file.as_deref())?;
            made.rules.push(Rule::new(settings.clone(), issuer));
        }
        Ok(made)
    }

    /// Whose token `bearer` is; `None`: it is Bursa's own, or nobody else is asked about tokens.
    ///
    /// # Errors
    /// 401, 403 and, where the provider is out of reach, 503.
    pub(crate) async fn user_of(&self, bearer: &str) -> Result<Option<Arc<Known>>, ApiError> {
        if self.providers.is_empty() || auth::is_own(bearer) {
            return Ok(None);
        }
        let hash = auth::hash(bearer);
        if let Some(decided) = self.known.get(&hash, clock::wall()) {
            return decided.map(Some).map_err(ApiError::from);
        }
        // A permit for each: a flood of unknown tokens takes neither threads nor connections from anybody else.
        let _permit = self.asks.0.acquire().await.map_err(ApiError::internal)?;
        if let Some(decided) = self.known.get(&hash, clock::wall()) {
            return decided.map(Some).map_err(ApiError::from);
        }
        let decided = self.decide(bearer).await.map(Arc::new);
        self.known.put(hash, &decided, clock::wall());
        decided.map(Some).map_err(ApiError::from)
    }

    async fn decide(&self, bearer: &str) -> Result<Known, Refusal> {
        if bearer.len() > limits::IDENTITY_TOKEN_BYTES {
            let limit = limits::IDENTITY_TOKEN_BYTES;
            return Err(Refusal::Invalid(format!(
                "its token has {} bytes, the limit is {limit}",
                bearer.len()
            )));
        }
        let Some(token) = jwt::parse(bearer) else { return self.introspect(bearer).await };
        let token = token.map_err(Refusal::Invalid)?;
        let issuer = token.claims.text("iss").unwrap_or_default();
        let provider = self.providers.iter().find(|provider| provider.reads_jwt_of(issuer));
        let provider = provider.ok_or_else(|| {
            Refusal::Invalid(format!(
                "its token is from '{}', which is no issuer of this service",
                short(issuer)
            ))
        })?;
        provider.verify(&token, clock::wall()).await
    }

    /// Asks those who can be asked, in the order of the configuration.
    async fn introspect(&self, bearer: &str) -> Result<Known, Refusal> {
        let mut refused = Refusal::Invalid("its token is not known; it may have been revoked".to_owned());
        for provider in self.providers.iter().filter(|provider| provider.can_be_asked()) {
            match provider.introspect(bearer, clock::wall()).await {
                Ok(Some(known)) => return Ok(known),
                Ok(None) => {}
                // Somebody else may know it: who is down is blamed only if nobody does.
                Err(why @ Refusal::Down(_)) => refused = why,
                Err(why) => return Err(why),
            }
        }
        Err(refused)
    }

    /// What the rules give to the bearer of a workload's token.
    ///
    /// # Errors
    /// 401, 403 and 503 as of [`Providers::user_of`].
    pub(crate) async fn exchange(&self, subject_token: &str) -> Result<Granted, ApiError> {
        let _permit = self.asks.0.acquire().await.map_err(ApiError::internal)?;
        exchange::grant(&self.rules, subject_token, clock::wall()).await.map_err(ApiError::from)
    }

    /// Where people log in.
    pub(crate) fn logins(&self) -> impl Iterator<Item = LoginAt<'_>> {
        self.providers.iter().filter_map(Provider::login)
    }
}

/// Enough of a foreign text for a sentence.
fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(why) => {
                let next = "run `bursa login` again, or send a token that is valid";
                Self::new(
                    StatusCode::UNAUTHORIZED,
                    "unauthorized",
                    "the request is not authorized",
                    why,
                    next,
                )
            }
            Refusal::Unwanted(why) => {
                let next = "ask who runs the service to list you (docs/identities.md)";
                Self::forbidden(why, next)
            }
            Refusal::Down(why) => {
                let down = Self::unavailable(why);
                let next = "try again; the service's log has the cause".to_owned();
                Self { what: "the service cannot ask who you are".to_owned(), next, ..down }
            }
        }
    }
}
