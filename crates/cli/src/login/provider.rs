//! What is asked of a provider of identity: where its parts are, and tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Largest answer that is read.
const ANSWER_BYTES: u64 = 256 * 1024;

/// Where its parts are.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Places {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) device_authorization_endpoint: Option<String>,
    pub(crate) revocation_endpoint: Option<String>,
}

/// Tokens. No `Debug`: they are secrets.
#[derive(Clone, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
    pub(crate) expires_in: Option<u64>,
}

/// Why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nobody answers there, or nothing that one can read.
    Unreachable(String),
    /// It said no: its word for why.
    Refused(String),
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "it gives no good answer: {why}"),
            Self::Refused(why) => write!(f, "it refused: {why}"),
        }
    }
}

impl std::error::Error for Asked {}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// Asks the issuer to describe itself.
pub(crate) fn discover(issuer: &str) -> Result<Places, Asked> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    safe(&url)?;
    let places: Places = read(agent()?.get(&url).call())?;
    if places.issuer != issuer {
        return Err(Asked::Unreachable(format!("{issuer} says that it is {}", places.issuer)));
    }
    safe(&places.authorization_endpoint)?;
    Ok(places)
}

/// Sends a form, as OAuth asks by.
pub(crate) fn post<T: DeserializeOwned>(url: &str, form: &[(&str, &str)]) -> Result<T, Asked> {
    safe(url)?;
    let request = agent()?.post(url).header("Accept", "application/json");
    read(request.send_form(form.iter().copied()))
}

/// Fresh tokens for a refresh token.
pub(crate) fn renew(
    token_endpoint: &str,
    client_id: &str,
    refresh_token: &str,
    resource: Option<&str>,
) -> Result<Tokens, Asked> {
    let mut form =
        vec![("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", refresh_token)];
    form.extend(resource.map(|resource| ("resource", resource)));
    post(token_endpoint, &form)
}

/// Has the provider forget a token. It answers with nothing.
pub(crate) fn revoke(url: &str, client_id: &str, token: &str) -> Result<(), Asked> {
    safe(url)?;
    let form = [("client_id", client_id), ("token", token)];
    let answer = agent()?.post(url).send_form(form).map_err(|why| Asked::Unreachable(why.to_string()))?;
    match answer.status().as_u16() {
        200 => Ok(()),
        status => Err(Asked::Refused(status.to_string())),
    }
}

/// 256 random bits as text.
pub(crate) fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|why| anyhow::anyhow!("the system gives no random bytes: {why}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What S256 makes of a PKCE verifier.
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()))
}

fn agent() -> Result<ureq::Agent, Asked> {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(Duration::from_secs(30)));
    // As in Python: for a provider whose certificate is an institute's own.
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        let text = std::fs::read(&path)
            .map_err(|why| Asked::Unreachable(format!("SSL_CERT_FILE {}: {why}", path.display())))?;
        let certificates: Vec<Certificate<'static>> = parse_pem(&text)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        let roots = RootCerts::new_with_certs(&certificates);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    Ok(config.build().into())
}

/// Secrets leave encrypted, or stay on this host.
fn safe(url: &str) -> Result<(), Asked> {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.as_ref().and_then(|uri| uri.scheme_str()) {
        Some("https") => Ok(()),
        Some("http") if here => Ok(()),
        _ => Err(Asked::Unreachable(format!("'{url}' must begin with https:// (http:// only on this host)"))),
    }
}

fn read<T: DeserializeOwned>(
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<T, Asked> {
    let unreadable = |why: String| Asked::Unreachable(why);
    let mut answer = answer.map_err(|error| unreadable(error.to_string()))?;
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES);
    let text = body.read_to_vec().map_err(|error| unreadable(error.to_string()))?;
    if status.is_success() {
        return serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()));
    }
    match serde_json::from_slice::<Refusal>(&text) {
        Ok(refusal) => Err(Asked::Refused(match refusal.error_description {
            // The word itself first: the device flow goes on by it.
            Some(more) => format!("{} ({more})", refusal.error),
            None => refusal.error,
        })),
        Err(_) => Err(unreadable(format!("it answered {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
