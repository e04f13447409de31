//! `bursa up`: a service and a local endpoint, kept running.

use super::process;
use crate::args::Up;
use crate::client::Client;
use crate::output;
use crate::settings::Settings;
use anyhow::Context;
use bursa_endpoint::home::Registration;
use bursa_endpoint::watchdog::{Report, Role};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

/// The name of the endpoint that `bursa up` runs.
pub(super) const LOCAL: &str = "local";
/// The endpoint of funcX's tutorials.
const TUTORIAL: &str = "4b116d3c-1703-4f8f-9f6f-39921e5864df";

/// What the service said when it was ready.
#[derive(Debug, Clone)]
struct Service {
    url: String,
    http: String,
    zmq: String,
}

pub(super) fn run(settings: &Settings, json: bool, up: &Up) -> anyhow::Result<ExitCode> {
    // Both are checked before anything is started.
    bursa_service::Config::from_values(settings.values(), settings.home()).map_err(process::configuration)?;
    process::check_endpoint(settings, LOCAL)?;
    process::make_way(settings, LOCAL, true)?;
    let service: Rc<RefCell<Option<Service>>> = Rc::default();
    let known = Rc::clone(&service);
    let addresses = move || {
        let known = known.borrow();
        let service = known.as_ref()?;
        Some((service.http.clone(), service.zmq.clone()))
    };
    let (own, tutorial) = (settings.clone(), up.tutorial);
    // Once: a service that was started again has the same addresses, key and registry.
    let registered = Arc::new(move |line: &Value| {
        let service = said(line).ok_or("the service did not say where it listens")?;
        register(&own, &service, tutorial).map_err(|error| format!("{error:#}"))
    });
    let children = vec![
        process::service_child(settings, addresses, registered)?,
        process::manager_child(settings, LOCAL, &up.workers)?,
    ];
    process::watch(settings, children, |report| {
        match report {
            Report::Ready { role: Role::Service, line } => {
                let mut service = service.borrow_mut();
                if service.is_none() {
                    *service = said(line);
                }
            }
            Report::AllReady => {
                let service = service.borrow();
                let service = service.as_ref().ok_or("the service did not say where it listens")?;
                announce(settings, json, service).map_err(|error| format!("{error:#}"))?;
            }
            trouble => process::tell_trouble(&trouble),
        }
        Ok(())
    })
}

fn said(line: &Value) -> Option<Service> {
    let text = |name: &str| line.get(name)?.as_str().map(str::to_owned);
    Some(Service { url: text("url")?, http: text("http")?, zmq: text("zmq")? })
}

/// Makes the local endpoint known to the service, or tells it where the service is now.
fn register(settings: &Settings, service: &Service, tutorial: bool) -> anyhow::Result<()> {
    let client = Client::new(&service.url, token(settings)?)?;
    let existing = bursa_endpoint::home::load(settings.home(), LOCAL).ok();
    let known = existing.as_ref().map(|directory| directory.registration()).transpose()?;
    let id = match &known {
        Some(known) => Some(known.endpoint_id.to_string()),
        None => tutorial.then(|| TUTORIAL.to_owned()),
    };
    if tutorial && id.as_deref() != Some(TUTORIAL) {
        anyhow::bail!("--tutorial: the endpoint of this home has another id already; choose another --home");
    }
    let directory = match existing {
        Some(directory) => directory,
        None => bursa_endpoint::home::create(settings.home(), LOCAL)?,
    };
    let registration = super::endpoint::register(&client, &directory, id, "on the service's own machine")?;
    directory.register(&Registration { zmq: service.zmq.clone(), ..registration })?;
    Ok(())
}

/// The one line that says that a first call would succeed.
fn announce(settings: &Settings, json: bool, service: &Service) -> anyhow::Result<()> {
    let id = bursa_endpoint::home::load(settings.home(), LOCAL)?.registration()?.endpoint_id;
    let home = settings.home().display().to_string();
    if json {
        let token = token(settings)?;
        let pid = std::process::id();
        output::print_json(
            &json!({"url": service.url, "token": token, "endpoint_id": id, "home": home, "pid": pid}),
        );
    } else {
        say!("service is ready at {}, endpoint {LOCAL} is {id}", service.url);
        say!("SDK and CLI here find both by themselves; the token is in {home}/client.toml");
        say!("{}", bursa_endpoint::sandbox::in_words(&process::endpoint_config(settings, LOCAL)?));
        say!("Ctrl-C stops everything");
    }
    Ok(())
}

fn token(settings: &Settings) -> anyhow::Result<String> {
    let stored = settings.stored_credentials()?.context("the service left no token in client.toml")?;
    Ok(stored.token)
}
