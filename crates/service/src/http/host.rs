//! Whether a request is meant for this service: it forwards nothing, and a page of another site whose name was made to
//! lead here (DNS rebinding) reads nothing.

use super::error::ApiError;
use super::listen::Ends;
use crate::handle::About;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use std::net::IpAddr;

/// The host that a request is for, if that is not this service.
///
/// In absolute form, as clients send it to a proxy, an address must be this service's own. In the `Host` header any
/// address will do, since no name leads to it, and behind a translation of addresses nobody here knows it.
pub(super) fn foreign(uri: &Uri, headers: &HeaderMap, ends: Option<Ends>, about: &About) -> Option<String> {
    if let Some(host) = uri.host() {
        let own = match address(host) {
            Some(address) => is_own(address, ends, about),
            None => is_own_name(host, about),
        };
        return (!own).then(|| host.to_owned());
    }
    let value = headers.get(header::HOST)?;
    let said = value.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
    match said.as_ref().map(Authority::host) {
        Some(host) if address(host).is_some() || is_own_name(host, about) => None,
        Some(host) => Some(host.to_owned()),
        None => Some("a host that is none".to_owned()),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

fn is_own(address: IpAddr, ends: Option<Ends>, about: &About) -> bool {
    address.is_loopback() || address == about.http.ip() || ends.is_some_and(|ends| ends.ours.ip() == address)
}

fn is_own_name(host: &str, about: &About) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost") || about.names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

pub(super) fn misdirected(host: &str) -> ApiError {
    ApiError::new(
        StatusCode::MISDIRECTED_REQUEST,
        "invalid",
        format!("the request is for {host}"),
        "this service answers for itself under its own names, and is no proxy",
        "unset http_proxy for other hosts, or set no_proxy; if it is a name of this service, add it to service.public_http",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_names_and_addresses() {
        let about = About {
            service_key: String::new(),
            zmq: String::new(),
            http: "10.0.0.7:5000".parse().unwrap(),
            amqp: String::new(),
            is_tls: false,
            is_vouched_for: false,
            names: vec!["bursa.example.org".to_owned()],
        };
        let ends = Ends { theirs: "10.0.0.9".parse().unwrap(), ours: "192.168.1.7:5000".parse().unwrap() };
        let foreign = |uri: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            foreign(&uri.parse().unwrap(), &headers, Some(ends), &about)
        };
        for host in [
            "localhost",
            "LOCALHOST:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
            "10.0.0.7",
            "203.0.113.9:5000",
            "bursa.example.org",
            "Bursa.Example.org.:443",
        ] {
            assert_eq!(foreign("/x", host), None, "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "bursa.example.org.evil.example:5000", "a b", ""]
        {
            assert!(foreign("/x", host).is_some(), "{host}");
        }
        for uri in ["http://10.0.0.7/x", "http://192.168.1.7:5000/x", "http://localhost/x", "http://[::1]/x"]
        {
            assert_eq!(foreign(uri, "localhost"), None, "{uri}");
        }
        for uri in ["http://203.0.113.9/x", "http://evil.example/x"] {
            assert!(foreign(uri, "localhost").is_some(), "{uri}");
        }
    }
}
