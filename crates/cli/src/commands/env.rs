//! `bursa env`: what other clients need in their environment to come here.

use crate::args::Env;
use crate::client::{ApiError, Client};
use crate::output::{self, field};
use crate::pin;
use crate::settings::{Credentials, Settings};
use anyhow::Context;
use bursa_service::token_stores;
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where Globus Compute's clients look for a service of their own, and nowhere else.
const THEIRS: &str = "http://localhost:5000";
/// What tokens begin with that this service gave.
const OWN: &str = "bursa_";

pub(super) fn run(settings: &Settings, as_json: bool, command: &Env) -> anyhow::Result<ExitCode> {
    let Env::GlobusCompute { store } = command;
    let home = settings.home().display().to_string();
    let credentials = settings.credentials()?.ok_or(ApiError::NoToken { home })?;
    if *store {
        fill_stores(&credentials)?;
    }
    let (address, pin) = credentials.url.split_once('#').unwrap_or((&credentials.url, ""));
    let mut variables = globus_compute(address, (!store).then_some(&credentials.token));
    if let Some(pin) = pin.strip_prefix("sha256:") {
        let path = keep_certificate(settings, address, pin)?;
        // The first is what requests by REST look at, the other what AMQP does.
        variables.extend(["GLOBUS_SDK_VERIFY_SSL", "SSL_CERT_FILE"].map(|name| (name, path.clone())));
    }
    if address.starts_with("https://") {
        let note = "Globus Compute's Client knows http://localhost:5000 only: docs/compat.md has the two lines by which it comes \
                    to another address";
        let _ = writeln!(std::io::stderr(), "{note}");
    }
    if as_json {
        let map: serde_json::Map<_, _> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        output::print_json(&map.into());
    } else {
        for (name, value) in variables {
            say!("export {name}='{value}'");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The file with the certificate that has this hash: these clients know none by that.
fn keep_certificate(settings: &Settings, address: &str, pin: &str) -> anyhow::Result<String> {
    let authority = address.trim_start_matches("https://").trim_end_matches('/');
    let (path, text) = (settings.home().join("service.crt"), pin::certificate(authority, pin)?);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.display().to_string())
}

/// As if somebody had logged in there.
fn fill_stores(credentials: &Credentials) -> anyhow::Result<()> {
    anyhow::ensure!(
        credentials.token.starts_with(OWN),
        "the token of this login ends soon, and a store is to last; make one with `bursa token new`, set BURSA_TOKEN to it, \
         and say this again"
    );
    let whoami = Client::new(&credentials.url, credentials.token.clone())?.get("/whoami")?;
    let home = std::env::var_os("HOME").context("HOME is not set: no token store can be found without it")?;
    let compute =
        std::env::var_os("GLOBUS_COMPUTE_USER_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let user = field(&whoami, "user_id");
    token_stores::fill(&PathBuf::from(home), compute.as_deref(), &credentials.token, &user)?;
    Ok(())
}

/// With `token` as a client's secret, or without one: then they find theirs in a store, or ask for a login.
///
/// A service at another address is reached as a proxy: they have no variable for it. Not one with TLS, since of a proxy's
/// certificate they look at nothing.
fn globus_compute(url: &str, token: Option<&String>) -> Vec<(&'static str, String)> {
    let url = url.trim_end_matches('/');
    let is_theirs = [THEIRS, "http://127.0.0.1:5000"].contains(&url);
    // Where people are sent to log in: their browsers know no proxy.
    let auth = if is_theirs { THEIRS } else { url };
    let mut variables = vec![
        ("GLOBUS_SDK_ENVIRONMENT", "local".to_owned()),
        ("GLOBUS_SDK_SERVICE_URL_AUTH", format!("{auth}/")),
    ];
    match token {
        Some(token) => {
            variables.push(("GLOBUS_COMPUTE_CLIENT_ID", "bursa".to_owned()));
            variables.push(("GLOBUS_COMPUTE_CLIENT_SECRET", token.clone()));
        }
        // By which funcX before 2 finds its part of the store.
        None => variables.push(("FUNCX_SDK_ENVIRONMENT", "local".to_owned())),
    }
    if !is_theirs && !url.starts_with("https://") {
        variables.push(("http_proxy", url.to_owned()));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_elsewhere_is_reached_as_a_proxy() {
        let of = |url| globus_compute(url, Some(&"t".to_owned()));
        let named = |url| of(url).into_iter().find(|(name, _)| *name == "http_proxy");
        assert_eq!(named("http://127.0.0.1:5000/"), None);
        assert_eq!(named("http://lab:8000").unwrap().1, "http://lab:8000");
        assert_eq!(named("https://lab:8000"), None, "they would tell the token to whoever answers");
    }

    #[test]
    fn no_variable_has_the_token_that_is_in_a_store() {
        let text = format!("{:?}", globus_compute("http://lab:8000", None));
        assert!(!text.contains("SECRET") && !text.contains("CLIENT_ID"), "{text}");
        assert!(text.contains("\"http://lab:8000/\""), "people log in at its own address: {text}");
    }
}
