//! The device flow (RFC 8628): a code is shown here and entered in any browser, also on another machine.

use super::provider::{self, Asked, Places, Tokens};
use serde::Deserialize;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Deserialize)]
struct Code {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// Logs in; `tell` gets the sentence for the user.
pub(crate) fn log_in(
    places: &Places,
    device_endpoint: &str,
    client_id: &str,
    wanted: &[(&str, &str)],
    tell: impl FnOnce(&str),
) -> anyhow::Result<Tokens> {
    let mut form = vec![("client_id", client_id)];
    form.extend(wanted);
    let code: Code = provider::post(device_endpoint, &form)?;
    let address = code.verification_uri_complete.as_deref().unwrap_or(&code.verification_uri);
    tell(&format!("open {address} in a browser; the code is {}", code.user_code));
    let end = Instant::now() + Duration::from_secs(code.expires_in);
    let mut pause = Duration::from_secs(code.interval.unwrap_or(5).max(1));
    let mut form = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", code.device_code.as_str()),
        ("client_id", client_id),
    ];
    form.extend(wanted.iter().filter(|(name, _)| *name == "resource"));
    while Instant::now() < end {
        // The protocol has no other way: its server says how often one may ask.
        sleep(pause);
        match provider::post(&places.token_endpoint, &form) {
            Ok(tokens) => return Ok(tokens),
            Err(Asked::Refused(why)) if why.starts_with("authorization_pending") => {}
            Err(Asked::Refused(why)) if why.starts_with("slow_down") => pause += Duration::from_secs(5),
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("nobody entered the code {} in time; run `bursa login` again", code.user_code)
}
