//! `bursa endpoint`: endpoints of this home, and those that the service knows.

use super::{check, process, share};
use crate::args::Endpoint;
use crate::client::Client;
use crate::exit::{Coded, FAILED};
use crate::output::{self, field};
use crate::settings::{Settings, keys};
use anyhow::{Context, bail};
use bursa_core::id::EndpointId;
use bursa_endpoint::Config;
use bursa_endpoint::config::blocks::Provider;
use bursa_endpoint::control::{self, NotStarted, Stopped};
use bursa_endpoint::home::{self, EndpointDir, Registration};
use bursa_endpoint::host::Host;
use bursa_endpoint::provider;
use bursa_endpoint::watchdog;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How long a manager may stop whose settings cannot be read.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn run(settings: &Settings, as_json: bool, command: Endpoint) -> anyhow::Result<ExitCode> {
    match command {
        Endpoint::New { name, description, provider } => {
            new(settings, as_json, &name, &description, &provider)?;
        }
        Endpoint::Start { process, detach: false } => {
            return Err(process::become_endpoint_watchdog(settings, as_json, &process));
        }
        Endpoint::Start { process, detach: true } => start_in_background(settings, as_json, &process)?,
        Endpoint::Check { name, no_call, .. } => return check::run(settings, as_json, &name, !no_call),
        Endpoint::Stop { name } => stop(settings, as_json, &name)?,
        Endpoint::List { shared } => {
            let path = format!("/endpoints?limit=1000&shared={shared}");
            list(as_json, &Client::from_settings(settings)?.get(&path)?);
        }
        Endpoint::Status { endpoint } => {
            let id = id_of(settings, &endpoint)?;
            let mut status = Client::from_settings(settings)?.get(&format!("/endpoints/{id}/status"))?;
            // Only the endpoint's own home knows.
            let sandboxed = home::load(settings.home(), &endpoint).ok().and_then(|own| own.sandboxed());
            status["sandbox"] = serde_json::to_value(&sandboxed)?;
            if as_json {
                output::print_json(&status);
            } else {
                status["warm"] = warm(&status).into();
                status["sandbox"] = sandboxed
                    .map_or("not known here".into(), |it| format!("{} (on {})", it.found, it.host))
                    .into();
                if status["blocks"].is_object() {
                    status["blocks"] = blocks(&status["blocks"]).into();
                }
                output::print_fields(&status);
            }
        }
        Endpoint::Allow { endpoint, functions, any } => allow(settings, as_json, &endpoint, &functions, any)?,
        Endpoint::Share(how) => {
            let id = id_of(settings, &how.id)?;
            share::share(&Client::from_settings(settings)?, as_json, "endpoints", &id, &how)?;
        }
        Endpoint::Unshare(with) => {
            let id = id_of(settings, &with.id)?;
            share::unshare(&Client::from_settings(settings)?, as_json, "endpoints", &id, &with)?;
        }
        Endpoint::Shares { id } => {
            let id = id_of(settings, &id)?;
            share::list(&Client::from_settings(settings)?, as_json, "endpoints", &id)?;
        }
        Endpoint::Plan { name } => plan(settings, as_json, &name)?,
        Endpoint::Revoke { endpoint } => revoke(settings, as_json, &endpoint)?,
        Endpoint::Delete { endpoint } => delete(settings, as_json, &endpoint)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Registers the endpoint of this directory with the service.
pub(super) fn register(
    client: &Client,
    directory: &EndpointDir,
    id: Option<String>,
    description: &str,
) -> anyhow::Result<Registration> {
    let mut request = json!({
        "name": directory.name(),
        "public_key": directory.keys()?.public.to_string(),
        "description": description,
    });
    if let Some(id) = id {
        request["endpoint_id"] = id.into();
    }
    let answer = client.post("/endpoints", &request)?;
    let text =
        |name: &str| answer[name].as_str().with_context(|| format!("the service's answer has no `{name}`"));
    let registration = Registration {
        endpoint_id: text("endpoint_id")?.parse()?,
        name: directory.name().to_owned(),
        zmq: text("zmq")?.to_owned(),
        service_key: text("service_key")?.parse()?,
        owner: answer["owner"].as_str().map(str::parse).transpose()?,
    };
    directory.register(&registration)?;
    Ok(registration)
}

fn new(
    settings: &Settings,
    as_json: bool,
    name: &str,
    description: &str,
    provider: &str,
) -> anyhow::Result<()> {
    let client = Client::from_settings(settings)?;
    let directory = home::create(settings.home(), name)?;
    let host = Host::probe(Provider::named(provider).context("there is no such provider")?);
    let of_endpoints = keys().filter(|key| !key.name.starts_with("service."));
    let fresh = directory.first_settings(&host.settings_file(name, provider, of_endpoints))?;
    let id = register(&client, &directory, None, description)?.endpoint_id;
    let file = directory.settings_file();
    if as_json {
        output::print_json(&json!({"endpoint_id": id, "name": name, "settings": file}));
    } else {
        say!("endpoint {name} is {id}; start it with `bursa endpoint start {name}`");
        let kept = if fresh { "" } else { " were there already, and stay as they are" };
        say!("its settings are in {}{kept}", file.display());
    }
    Ok(())
}

fn start_in_background(
    settings: &Settings,
    as_json: bool,
    endpoint: &crate::args::Process,
) -> anyhow::Result<()> {
    home::load(settings.home(), &endpoint.name)?;
    process::make_way(settings, &endpoint.name, false)?;
    let command = process::endpoint_watchdog(settings, true, endpoint)?;
    let log = settings.home().join("logs").join(format!("{}.watchdog.log", endpoint.name));
    let started = control::start_in_background(command, &log).map_err(not_started)?;
    let ready: Value = serde_json::from_str(&started)?;
    if as_json {
        output::print_json(&ready);
    } else {
        say!("endpoint {} runs in the background (process {})", endpoint.name, field(&ready, "pid"));
    }
    Ok(())
}

/// What a watchdog in the background said is the failure, with the exit code that it left with.
fn not_started(why: NotStarted) -> anyhow::Error {
    match &why {
        NotStarted::Ended { code: Some(code), .. } => {
            let code = u8::try_from(*code).unwrap_or(FAILED);
            Coded { code, text: why.to_string() }.into()
        }
        _ => why.into(),
    }
}

fn stop(settings: &Settings, as_json: bool, name: &str) -> anyhow::Result<()> {
    let failed = |text: String| Err(Coded { code: FAILED, text }.into());
    // Settings that are wrong by now are no reason to let it run.
    let within =
        process::endpoint_config(settings, name).map_or(STOPS_WITHIN, |config| config.stops_within());
    match control::stop(&home::load(settings.home(), name)?, watchdog::stops_within(within))? {
        Stopped::Ended(_) if as_json => output::print_json(&json!({"stopped": name})),
        Stopped::Ended(owner) => say!("endpoint {name} is stopped ({owner})"),
        Stopped::WasNot if as_json => output::print_json(&json!({"stopped": name})),
        Stopped::WasNot => say!("endpoint {name} does not run"),
        Stopped::PartOfUp { pid } => {
            return failed(format!("endpoint {name} is run by `bursa up`; stop that (kill {pid})"));
        }
        Stopped::Elsewhere(owner) => {
            return failed(format!("endpoint {name} runs elsewhere ({owner}); stop it there"));
        }
        Stopped::StillThere { pid } => {
            return failed(format!(
                "endpoint {name} was told to stop and its watchdog ({pid}) is still there"
            ));
        }
    }
    Ok(())
}

fn delete(settings: &Settings, as_json: bool, endpoint: &str) -> anyhow::Result<()> {
    let id = id_of(settings, endpoint)?;
    Client::from_settings(settings)?.delete(&format!("/endpoints/{id}"))?;
    if let Ok(directory) = home::load(settings.home(), endpoint) {
        directory.remove()?;
    }
    if as_json {
        output::print_json(&json!({"deleted": id}));
    } else {
        say!("endpoint {endpoint} is deleted");
    }
    Ok(())
}

/// The old key is dead at once; the endpoint's own home gets another, so that it can start again.
fn revoke(settings: &Settings, as_json: bool, endpoint: &str) -> anyhow::Result<()> {
    let (client, id) = (Client::from_settings(settings)?, id_of(settings, endpoint)?);
    client.post(&format!("/endpoints/{id}/revoke-key"), &json!({}))?;
    let directory = home::load(settings.home(), endpoint).ok();
    if let Some(directory) = &directory {
        directory.replace_keys()?;
        register(&client, directory, Some(id.clone()), "")?;
    }
    if as_json {
        output::print_json(&json!({"revoked": id, "new_key": directory.is_some()}));
    } else if directory.is_some() {
        say!("the key of endpoint {endpoint} is revoked, and a new one registered: start it again");
    } else {
        say!("the key of endpoint {endpoint} is revoked: register it again with a new key in its own home");
    }
    Ok(())
}

/// Says which functions an endpoint runs.
fn allow(
    settings: &Settings,
    as_json: bool,
    endpoint: &str,
    functions: &[String],
    any: bool,
) -> anyhow::Result<()> {
    let id = id_of(settings, endpoint)?;
    let allowed = (!any).then_some(functions);
    let path = format!("/endpoints/{id}/allowed-functions");
    Client::from_settings(settings)?.post(&path, &json!({"functions": allowed}))?;
    match allowed {
        _ if as_json => output::print_json(&json!({"allowed": allowed})),
        Some(functions) => say!("endpoint {endpoint} runs these {} functions only", functions.len()),
        None => say!("endpoint {endpoint} runs any function"),
    }
    Ok(())
}

/// The id of an endpoint given by its name in this home, or by its id.
pub(super) fn id_of(settings: &Settings, endpoint: &str) -> anyhow::Result<String> {
    match home::load(settings.home(), endpoint) {
        Ok(directory) => Ok(directory.registration()?.endpoint_id.to_string()),
        Err(_) if endpoint.parse::<EndpointId>().is_ok() => Ok(endpoint.to_owned()),
        Err(why) => bail!(
            "'{endpoint}' is neither an endpoint of this home ({why}) nor an endpoint's id; `bursa endpoint list` shows the ids of yours"
        ),
    }
}

/// The workers that run, container by container, as people read it.
fn warm(status: &Value) -> String {
    let of = |warm: &Value| {
        let container = warm["container"].as_str().map_or(String::new(), |id| format!(" in container {id}"));
        format!("{} workers{container}, {} idle", field(warm, "workers"), field(warm, "idle"))
    };
    let all: Vec<String> = status["warm"].as_array().into_iter().flatten().map(of).collect();
    if all.is_empty() { "no workers".to_owned() } else { all.join("; ") }
}

/// The blocks asked for, as people read them.
fn blocks(blocks: &Value) -> String {
    let [running, waiting, most] = ["running", "waiting", "most"].map(|name| field(blocks, name));
    let reason = blocks["reason"].as_str().map_or(String::new(), |reason| format!(" ({reason})"));
    format!("{running} run, {waiting} wait{reason}, at most {most}")
}

/// Prints what the endpoint would ask its provider for.
fn plan(settings: &Settings, as_json: bool, name: &str) -> anyhow::Result<()> {
    let config =
        Config::from_values(settings.values(), settings.home(), name).map_err(process::configuration)?;
    let blocks = &config.blocks;
    let script = provider::script(&config);
    if as_json {
        let (init, min, max, nodes) = (blocks.init, blocks.min, blocks.max, blocks.nodes);
        output::print_json(&json!({"init": init, "min": min, "max": max, "nodes": nodes, "script": script}));
    } else {
        let of = if blocks.nodes == 1 { "one node".to_owned() } else { format!("{} nodes", blocks.nodes) };
        say!(
            "endpoint {name} asks for {} blocks of {of} at its start, keeps {} and has at most {}",
            blocks.init,
            blocks.min,
            blocks.max
        );
        match script {
            Some(script) => say!("each is a job with this script:\n\n{script}"),
            None => say!("each is a process of this node"),
        }
    }
    Ok(())
}

fn list(as_json: bool, page: &Value) {
    if as_json {
        return output::print_json(page);
    }
    let endpoints = page["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = endpoints
        .iter()
        .map(|e| {
            let degraded = if e["degraded"].is_string() { " (degraded)" } else { "" };
            let status = field(e, "status") + degraded;
            let [id, name, since, description] =
                ["endpoint_id", "name", "registered_at", "description"].map(|n| field(e, n));
            vec![id, name, status, since, description]
        })
        .collect();
    let headings = ["ENDPOINT", "NAME", "STATUS", "REGISTERED", "DESCRIPTION"];
    output::print_table(&headings, rows, "no endpoints; make one with `bursa endpoint new NAME`");
}
