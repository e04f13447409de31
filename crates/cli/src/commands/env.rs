//! `bursa env`: what other clients need in their environment to come here.

use crate::args::Env;
use crate::client::ApiError;
use crate::output;
use crate::settings::Settings;
use serde_json::json;
use std::process::ExitCode;

/// Where Globus Compute's clients look for a service of their own, and nowhere else.
const THEIRS: &str = "http://localhost:5000";

pub(super) fn run(settings: &Settings, as_json: bool, command: &Env) -> anyhow::Result<ExitCode> {
    let Env::GlobusCompute = command;
    let home = settings.home().display().to_string();
    let credentials = settings.credentials()?.ok_or(ApiError::NoToken { home })?;
    let variables = globus_compute(&credentials.url, &credentials.token);
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

/// A service at another address is reached as a proxy: they have no variable for it.
fn globus_compute(url: &str, token: &str) -> Vec<(&'static str, String)> {
    let url = url.trim_end_matches('/');
    let mut variables = vec![
        ("GLOBUS_SDK_ENVIRONMENT", "local".to_owned()),
        ("GLOBUS_SDK_SERVICE_URL_AUTH", format!("{THEIRS}/")),
        ("GLOBUS_COMPUTE_CLIENT_ID", "bursa".to_owned()),
        ("GLOBUS_COMPUTE_CLIENT_SECRET", token.to_owned()),
    ];
    if ![THEIRS, "http://127.0.0.1:5000"].contains(&url) {
        variables.push(("http_proxy", url.to_owned()));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_elsewhere_is_reached_as_a_proxy() {
        let named = |url| globus_compute(url, "t").into_iter().find(|(name, _)| *name == "http_proxy");
        assert_eq!(named("http://127.0.0.1:5000/"), None);
        assert_eq!(named("http://lab:8000").unwrap().1, "http://lab:8000");
    }
}
