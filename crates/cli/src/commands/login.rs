//! `bursa login` and `bursa logout`: the user of this home at a provider of identity.

use crate::args;
use crate::client::Client;
use crate::login::browser::{self, Way};
use crate::login::provider::{self, Places, Tokens};
use crate::login::{self, Login, device};
use crate::output::{self, field};
use crate::settings::Settings;
use anyhow::Context;
use serde_json::{Value, json};
use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, json: bool, command: &args::Login) -> anyhow::Result<ExitCode> {
    let url = settings.service_url()?.ok_or_else(|| {
        anyhow::anyhow!("no service is known in {}; set BURSA_URL to its address", settings.home().display())
    })?;
    let client = Client::new(&url, String::new())?;
    let offered = client.get("/login")?;
    let place = chosen(&offered, command, &url)?;
    let (issuer, client_id) = (field(place, "issuer"), field(place, "client_id"));
    let places = provider::discover(&issuer).with_context(|| format!("cannot log in at {issuer}"))?;
    let globus = field(place, "kind") == "globus";
    let scope = scope(place, globus);
    let resource = place.get("resource").and_then(Value::as_str);
    let mut wanted = vec![("scope", scope.as_str())];
    wanted.extend(resource.map(|resource| ("resource", resource)));
    let tokens = tokens(&places, &client_id, &wanted, command, globus)
        .with_context(|| format!("cannot log in at {issuer}"))?;
    let whoami = Client::new(&url, tokens.access_token.clone())?.get("/whoami")?;
    let fresh = Login {
        url,
        issuer,
        client_id,
        token_endpoint: places.token_endpoint,
        revocation_endpoint: places.revocation_endpoint,
        resource: resource.map(str::to_owned),
        access_token: String::new(),
        refresh_token: None,
        expires_at: 0,
    };
    DirBuilder::new().recursive(true).mode(0o700).create(settings.home())?;
    let _lock = login::lock(settings.home())?;
    login::write(settings.home(), &fresh.with(tokens))?;
    if json {
        output::print_json(&whoami);
    } else {
        say!("you are {} ({})", field(&whoami, "name"), field(&whoami, "user_id"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Forgets the login here, and has its provider forget it.
pub(super) fn log_out(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let lock = login::lock(settings.home());
    let login = match &lock {
        Ok(_) => login::read(settings.home())?,
        // Where there is no home there is no login.
        Err(_) => None,
    };
    let Some(login) = login else { anyhow::bail!("nobody is logged in here; `bursa login` does that") };
    let token = login.refresh_token.as_ref().unwrap_or(&login.access_token);
    let revoked =
        login.revocation_endpoint.as_ref().map(|url| provider::revoke(url, &login.client_id, token));
    login::remove(settings.home())?;
    let forgotten = matches!(revoked, Some(Ok(())));
    if json {
        output::print_json(&json!({"issuer": login.issuer, "revoked": forgotten}));
    } else if forgotten {
        say!("logged out at {}", login.issuer);
    } else {
        say!(
            "logged out here; {} did not confirm it, so a copy of the token may count until it ends",
            login.issuer
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The provider to log in at.
fn chosen<'a>(offered: &'a Value, command: &args::Login, url: &str) -> anyhow::Result<&'a Value> {
    let all = offered["providers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = |place: &&Value| {
        (!command.globus || field(place, "kind") == "globus")
            && command.issuer.as_ref().is_none_or(|issuer| field(place, "issuer") == *issuer)
    };
    let fitting: Vec<&Value> = all.iter().filter(wanted).collect();
    let names = || all.iter().map(|place| field(place, "issuer")).collect::<Vec<_>>().join(", ");
    match fitting.as_slice() {
        [place] => Ok(place),
        [] if all.is_empty() => {
            anyhow::bail!(
                "{url} has no provider to log in at; ask its owner for a token, and set BURSA_URL and BURSA_TOKEN"
            )
        }
        [] => anyhow::bail!("{url} has no such provider to log in at; it has {}", names()),
        _ => anyhow::bail!("{url} has several providers; choose one with --issuer: {}", names()),
    }
}

/// What is asked for: what the service needs, and at OpenID Connect a name and a token for renewals.
fn scope(place: &Value, globus: bool) -> String {
    let own = place["scopes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = own.iter().filter_map(Value::as_str);
    // Globus gives each of its own services a token of its own: the one for Bursa alone is asked for.
    let more: &[&str] = if globus { &[] } else { &["openid", "offline_access"] };
    let mut words: Vec<&str> = Vec::new();
    for word in more.iter().copied().chain(own) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" ")
}

fn tokens(
    places: &Places,
    client_id: &str,
    wanted: &[(&str, &str)],
    command: &args::Login,
    globus: bool,
) -> anyhow::Result<Tokens> {
    // On stderr: what scripts read is the answer.
    let tell = |text: &str| {
        let _ = writeln!(std::io::stderr(), "{text}");
    };
    let page = format!("{}/v2/web/auth-code", places.issuer.trim_end_matches('/'));
    match &places.device_authorization_endpoint {
        Some(device) if !command.browser => device::log_in(places, device, client_id, wanted, tell),
        _ if globus && !command.browser => {
            browser::log_in(places, client_id, wanted, Way::Pasted { page: &page }, tell)
        }
        _ => browser::log_in(places, client_id, wanted, Way::Here, tell),
    }
}
