//! Where the code of a login goes: to a program on the reader's own machine, or onto the page, to be carried over by hand.

use super::super::host;
use super::super::listen::Ends;
use crate::handle::About;
use axum::http::{HeaderMap, Uri};

/// The page of Globus Auth that shows codes: programs name it at this service, or at Globus.
const PAGE: &str = "/v2/web/auth-code";
const THEIRS: &str = "https://auth.globus.org/v2/web/auth-code";

/// One of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirect {
    /// Shown on the page.
    Shown,
    /// Sent there, which is this machine whoever reads it.
    Loopback,
}

impl Redirect {
    /// What `uri` asks for; `None`: it leads to somebody else.
    pub(super) fn of(uri: &str, own: &str, ends: Option<Ends>, about: &About) -> Option<Self> {
        if uri == THEIRS {
            return Some(Self::Shown);
        }
        // A fragment, which this type drops, belongs to no redirect.
        let parsed: Uri = uri.parse().ok().filter(|_| !uri.contains(['#', '?', '\\']))?;
        let authority = parsed.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let is_http = parsed.scheme_str() == Some("http");
        if !is_http && parsed.scheme_str() != Some("https") {
            return None;
        }
        if parsed.path() == PAGE {
            let is_own = authority.as_str().eq_ignore_ascii_case(own)
                || host::foreign(&parsed, &HeaderMap::new(), ends, about).is_none();
            return is_own.then_some(Self::Shown);
        }
        (is_http && ["localhost", "127.0.0.1"].contains(&authority.host())).then_some(Self::Loopback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_the_page_that_shows_codes() {
        let about = About {
            service_key: String::new(),
            zmq: String::new(),
            http: "10.0.0.7:5000".parse().unwrap(),
            amqp: String::new(),
            is_tls: false,
            is_vouched_for: false,
            names: vec!["bursa.example.org".to_owned()],
        };
        let of = |uri: &str| Redirect::of(uri, "203.0.113.9:8443", None, &about);
        for uri in [
            "https://auth.globus.org/v2/web/auth-code",
            "http://localhost:5000/v2/web/auth-code",
            "https://bursa.example.org/v2/web/auth-code",
            "https://203.0.113.9:8443/v2/web/auth-code",
        ] {
            assert_eq!(of(uri), Some(Redirect::Shown), "{uri}");
        }
        for uri in ["http://localhost:8888/", "http://127.0.0.1:1", "http://localhost:8888/callback"] {
            assert_eq!(of(uri), Some(Redirect::Loopback), "{uri}");
        }
        for uri in [
            "",
            "/v2/web/auth-code",
            "https://evil.example/v2/web/auth-code",
            "https://evil.example/",
            "https://localhost:8888/",
            "http://localhost.evil.example/",
            "http://localhost@evil.example/",
            "http://evil.example@localhost/",
            "http://localhost:8888/?next=https://evil.example",
            "http://localhost:8888/#x",
            "http://localhost:8888\\@evil.example/",
            "http://[::1]:8888/",
            "javascript:alert(1)",
            "https://auth.globus.org/v2/web/auth-code?x",
            "https://auth.globus.org/v2/web/other",
        ] {
            assert_eq!(of(uri), None, "{uri}");
        }
    }
}
