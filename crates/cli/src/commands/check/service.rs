//! Whether the service answers, takes the token, tells the same time, and knows the endpoint.

use crate::client::Client;
use crate::settings::Settings;
use bursa_endpoint::check::{Item, item};
use bursa_endpoint::{EndpointDir, Registration};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, SystemTime};

/// Clocks that differ by more make times of tasks hard to compare, and certificates invalid.
const SKEW: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);

/// An endpoint that is online.
pub(super) struct Reached {
    pub(super) url: String,
    pub(super) token: String,
    pub(super) endpoint_id: String,
}

/// What can be found out of the service; and where the endpoint can be called, if it is online.
pub(super) fn check(settings: &Settings, directory: Option<&EndpointDir>) -> (Vec<Item>, Option<Reached>) {
    let credentials = match settings.credentials() {
        Ok(Some(credentials)) => credentials,
        Ok(None) => {
            let found =
                "none is known to this home; `bursa up` starts one, BURSA_URL and BURSA_TOKEN name one";
            let found = if directory.is_some() { Err(found.into()) } else { Ok(found.into()) };
            return (vec![item("service", found)], None);
        }
        Err(error) => return (vec![item("service", Err(error.to_string()))], None),
    };
    let client = match Client::new(&credentials.url, credentials.token.clone()) {
        Ok(client) => client,
        Err(error) => return (vec![item("service", Err(error.to_string()))], None),
    };
    let mut items = Vec::new();
    let asked = SystemTime::now();
    match client.health() {
        Err(error) => return (vec![item("service", Err(error.to_string()))], None),
        Ok((_, date)) => {
            items.push(item("service", Ok(format!("it answers at {}", credentials.url))));
            items.extend(date.map(|date| item("clock", clock(asked, date))));
        }
    }
    let who = client
        .get("/whoami")
        .map(|who| format!("the service knows you as {}", crate::output::field(&who, "name")));
    let is_known = who.is_ok();
    items.push(item("token", who.map_err(|error| format!("the service does not accept it: {error}"))));
    let Some(registration) = directory.and_then(|directory| directory.registration().ok()) else {
        return (items, None);
    };
    items.push(item("link", link(&registration)));
    let endpoint_id = registration.endpoint_id.to_string();
    let status = if is_known {
        client.get(&format!("/endpoints/{endpoint_id}/status"))
    } else {
        return (items, None);
    };
    let online = status.as_ref().is_ok_and(|status| status["status"] == "online");
    items.push(item(
        "endpoint",
        status.map_err(|error| error.to_string()).and_then(|status| match status["degraded"].as_str() {
            Some(why) => Err(format!("it is degraded: {why}")),
            None => Ok(format!("it is {}", crate::output::field(&status, "status"))),
        }),
    ));
    let reached = Reached { url: credentials.url, token: credentials.token, endpoint_id };
    (items, online.then_some(reached))
}

/// Compares the service's time, which is in whole seconds, with ours of before and after.
fn clock(asked: SystemTime, date: SystemTime) -> Result<String, String> {
    let answered = SystemTime::now();
    let ahead = date.duration_since(answered).unwrap_or_default();
    let behind = asked.duration_since(date).unwrap_or_default();
    let (by, which) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if by > SKEW {
        let by = by.as_secs();
        return Err(format!(
            "the service's clock is {by} s {which} this host's; let both keep the time by NTP"
        ));
    }
    Ok("the service tells the same time".into())
}

/// Whether the service's port for endpoints can be reached.
fn link(registration: &Registration) -> Result<String, String> {
    let address = &registration.zmq;
    let connect = || {
        let address = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
        TcpStream::connect_timeout(&address, CONNECT)
    };
    match connect() {
        Ok(_) => Ok(format!("endpoints can connect to {address}")),
        Err(error) => Err(format!(
            "endpoints cannot connect to {address}: {error}; start the service, or open that port to it from here"
        )),
    }
}
