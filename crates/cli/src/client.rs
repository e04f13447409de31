//! The command's own HTTP client: documented routes only, JSON.

use crate::settings::Settings;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Why a request got no good answer.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Nobody answers there.
    Unreachable { url: String, why: String },
    /// No token is known for the service.
    NoToken { home: String },
    /// The service said no.
    Answer { status: u16, message: String, body: Value },
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable { url, why } => {
                write!(f, "no service answers at {url} ({why}); start one with `bursa up`, or set BURSA_URL")
            }
            Self::NoToken { home } => {
                write!(
                    f,
                    "no token in {home}/client.toml; start a service with `bursa up`, or set BURSA_URL and BURSA_TOKEN"
                )
            }
            Self::Answer { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for ApiError {}

/// A service and the token to use there.
pub(crate) struct Client {
    url: String,
    token: String,
    agent: ureq::Agent,
}

impl Client {
    /// The client of this home: `BURSA_URL` and `BURSA_TOKEN`, else `client.toml`.
    pub(crate) fn from_settings(settings: &Settings) -> anyhow::Result<Self> {
        let credentials = settings.credentials()?;
        let credentials =
            credentials.ok_or_else(|| ApiError::NoToken { home: settings.home().display().to_string() })?;
        Self::new(&credentials.url, credentials.token)
    }

    /// A client for this service and token.
    ///
    /// # Errors
    /// When the url ends in something that is not the hash of a certificate.
    pub(crate) fn new(url: &str, token: String) -> anyhow::Result<Self> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(60)));
        let (address, pin) = url.split_once('#').unwrap_or((url, ""));
        // The variable by which clients of Globus Compute come leads to the service itself (`bursa env`).
        let is_itself = |proxy: &String| proxy.trim_end_matches('/') == address.trim_end_matches('/');
        let config = match std::env::var("http_proxy") {
            Ok(proxy) if is_itself(&proxy) => config.proxy(None),
            _ => config,
        };
        let agent = match (pin.strip_prefix("sha256:"), address.starts_with("https://")) {
            (Some(pin), true) => crate::pin::agent(config.proxy(None).build(), pin)?,
            _ if pin.is_empty() => config.build().into(),
            _ => anyhow::bail!(
                "the url {url} does not end as one with its certificate's hash does, https://host:port#sha256:…; copy it whole"
            ),
        };
        Ok(Self { url: address.trim_end_matches('/').to_owned(), token, agent })
    }

    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.agent.get(self.at(path)).header("Authorization", self.bearer());
        self.answer(request.call())
    }

    /// With these parameters, as far as they are given.
    pub(crate) fn get_with(&self, path: &str, query: &[(&str, &Option<String>)]) -> anyhow::Result<Value> {
        let given = query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let request = self.agent.get(self.at(path)).query_pairs(given).header("Authorization", self.bearer());
        self.answer(request.call())
    }

    /// Whether the service is well, and what time it has.
    pub(crate) fn health(&self) -> anyhow::Result<(Value, Option<SystemTime>)> {
        let answer = self.agent.get(self.at("/health")).call();
        let date = answer.as_ref().ok().and_then(|answer| answer.headers().get("date")?.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        Ok((self.answer(answer)?, date))
    }

    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.agent.delete(self.at(path)).header("Authorization", self.bearer());
        self.answer(request.call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(self.at(path)).header("Authorization", self.bearer());
        self.answer(request.send_json(body))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.put(self.at(path)).header("Authorization", self.bearer());
        self.answer(request.send_json(body))
    }

    fn at(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn answer(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let mut response = result
            .map_err(|error| ApiError::Unreachable { url: self.url.clone(), why: error.to_string() })?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string()?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status < 400 {
            return Ok(body);
        }
        let message = match body.pointer("/error/message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => format!(
                "{} answered {status}, which is not a Bursa error; is that a Bursa service?",
                self.url
            ),
        };
        Err(ApiError::Answer { status, message, body }.into())
    }
}
