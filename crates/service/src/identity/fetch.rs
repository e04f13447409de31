//! The HTTP client for providers: one JSON document for a question, on a thread, bounded in bytes and time.

use super::Refusal;
use crate::Error;
use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursa_core::limits;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Asks providers. Follows no redirect.
#[derive(Debug, Clone)]
pub(super) struct Fetch(ureq::Agent);

/// A question.
#[derive(Debug)]
pub(super) enum Question {
    Get(String),
    /// With the client's id and secret, as `Authorization` says them.
    Post {
        url: String,
        authorization: String,
        form: Vec<(&'static str, String)>,
    },
}

impl Fetch {
    /// A client that trusts `ca` (PEM), or else the authorities that browsers trust.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, Error> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_millis(limits::IDENTITY_ANSWER_MS)));
        if let Some(path) = ca {
            config = config.tls_config(TlsConfig::builder().root_certs(roots(path)?).build());
        }
        Ok(Self(config.build().into()))
    }

    /// The answer's document. Anything but a good one means that the provider is down: it says nothing of a token.
    pub(super) async fn ask<T: DeserializeOwned>(&self, question: Question) -> Result<T, Refusal> {
        let text = self.ask_bytes(question).await?;
        serde_json::from_slice(&text).map_err(|why| down(&format!("its answer is no such document: {why}")))
    }

    pub(super) async fn ask_bytes(&self, question: Question) -> Result<Vec<u8>, Refusal> {
        let agent = self.0.clone();
        let asked = tokio::task::spawn_blocking(move || answer(&agent, &question));
        asked.await.map_err(|error| down(&error.to_string()))?
    }
}

fn roots(path: &Path) -> Result<RootCerts, Error> {
    let unreadable =
        |why: String| Error::Refused(format!("the ca_file {} cannot be used: {why}", path.display()));
    let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let items = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = items.collect();
    if certificates.is_empty() {
        return Err(unreadable("it holds no certificate in PEM".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn answer(agent: &ureq::Agent, question: &Question) -> Result<Vec<u8>, Refusal> {
    let (url, answer) = match question {
        Question::Get(url) => (url, agent.get(url).header("Accept", "application/json").call()),
        Question::Post { url, authorization, form } => {
            let request = agent.post(url).header("Accept", "application/json");
            let form = form.iter().map(|(name, value)| (*name, value.as_str()));
            (url, request.header("Authorization", authorization).send_form(form))
        }
    };
    let troubled = |why: String| down(&format!("{url}: {why}"));
    let mut answer = answer.map_err(|error| troubled(error.to_string()))?;
    if answer.status() != 200 {
        return Err(troubled(format!("it answered {}", answer.status())));
    }
    let body = answer.body_mut().with_config().limit(limits::IDENTITY_ANSWER_BYTES as u64);
    body.read_to_vec().map_err(|error| troubled(error.to_string()))
}

/// The cause goes to the log: who asks without a good token is told no addresses.
pub(super) fn down(why: &str) -> Refusal {
    tracing::warn!(why, "an identity provider gave no good answer");
    Refusal::Down("its identity provider gave no good answer".to_owned())
}

/// Whether questions may go to `url`: encrypted, or to this host.
pub(super) fn is_safe(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => here,
        _ => false,
    }
}

/// HTTP Basic, with both parts as forms encode them where `encoded` (RFC 6749 §2.3.1).
pub(super) fn basic(id: &str, secret: &str, encoded: bool) -> String {
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let part = |text: &str| if encoded { form(text) } else { text.to_owned() };
    format!("Basic {}", STANDARD.encode(format!("{}:{}", part(id), part(secret))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_leave_encrypted_or_stay_here() {
        for url in ["https://a.org", "http://127.0.0.1:7/x", "http://localhost", "http://[::1]:8"] {
            assert!(is_safe(url), "{url}");
        }
        for url in [
            "http://a.org",
            "http://localhost.a.org",
            "http://127.0.0.1.a.org",
            "ftp://a",
            "a.org",
            "",
            "https://",
        ] {
            assert!(!is_safe(url), "{url}");
        }
    }

    #[test]
    fn basic_credentials_are_encoded_as_forms_are() {
        assert_eq!(basic("a:b", "c d/é", true), format!("Basic {}", STANDARD.encode("a%3Ab:c+d%2F%C3%A9")));
        assert_eq!(basic("a", "b/=", false), format!("Basic {}", STANDARD.encode("a:b/=")));
    }
}
