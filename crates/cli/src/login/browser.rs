//! The code flow with PKCE (RFC 7636, RFC 8252): the browser comes back to this machine, or its user pastes a code.

use super::provider::{self, Places, Tokens};
use anyhow::Context;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Bytes of a request's first line: an address with a code and a state.
const LINE_BYTES: u64 = 16 * 1024;

/// How the code comes here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'a> {
    /// The browser is on this machine, and is sent to a port of it.
    Here,
    /// The provider shows it on this page of its own, and the user pastes it.
    Pasted { page: &'a str },
}

/// Logs in; `tell` gets sentences for the user.
pub(crate) fn log_in(
    places: &Places,
    client_id: &str,
    wanted: &[(&str, &str)],
    way: Way<'_>,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<Tokens> {
    let (verifier, state) = (provider::random()?, provider::random()?);
    let listener = match way {
        Way::Here => Some(TcpListener::bind("127.0.0.1:0").context("cannot listen for the browser")?),
        Way::Pasted { .. } => None,
    };
    let redirect = match (&listener, way) {
        (Some(listener), _) => format!("http://127.0.0.1:{}/callback", listener.local_addr()?.port()),
        (None, Way::Pasted { page }) => page.to_owned(),
        (None, Way::Here) => unreachable!("it listens"),
    };
    let challenge = provider::challenge(&verifier);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", &redirect),
        ("state", &state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        // Globus gives refresh tokens for the first, OpenID Connect for `offline_access` with the second.
        ("access_type", "offline"),
        ("prompt", "consent"),
    ]);
    query.extend_pairs(wanted);
    let separator = if places.authorization_endpoint.contains('?') { '&' } else { '?' };
    tell(&format!("open {}{separator}{} in a browser", places.authorization_endpoint, query.finish()));
    let code = match &listener {
        Some(listener) => returned(listener, &state, &places.issuer)?,
        None => {
            tell("and paste the code that it shows:");
            pasted()?
        }
    };
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", &code),
        ("redirect_uri", &redirect),
        ("code_verifier", &verifier),
    ];
    form.extend(wanted.iter().filter(|(name, _)| *name == "resource"));
    Ok(provider::post(&places.token_endpoint, &form)?)
}

fn pasted() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().take(LINE_BYTES).read_line(&mut line)?;
    let code = line.trim();
    anyhow::ensure!(!code.is_empty(), "no code was pasted; run `bursa login` again");
    Ok(code.to_owned())
}

/// The code that the browser brings. What has not the state of this login is somebody else's, and is passed over.
fn returned(listener: &TcpListener, state: &str, issuer: &str) -> anyhow::Result<String> {
    loop {
        let (stream, _) = listener.accept()?;
        let Some(query) = asked(&stream) else {
            answer(&stream, "404 Not Found", "Nothing is here.");
            continue;
        };
        let field = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        // Some providers name themselves, too (RFC 9207).
        let is_other = field("iss").is_some_and(|named| named != issuer);
        if field("state").as_deref() != Some(state) || is_other {
            answer(&stream, "400 Bad Request", "This answer is not for the login that waits here.");
            continue;
        }
        if let Some(code) = field("code") {
            answer(&stream, "200 OK", "You are logged in. This page may be closed.");
            return Ok(code);
        }
        answer(&stream, "200 OK", "The login was refused. This page may be closed.");
        let why = field("error_description").or_else(|| field("error")).unwrap_or_default();
        anyhow::bail!("the login was refused: {why}; run `bursa login` again");
    }
}

/// The query of a request for `/callback`.
fn asked(stream: &TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES)).read_line(&mut line).ok()?;
    let path = line.strip_prefix("GET ")?.split(' ').next()?;
    path.strip_prefix("/callback?").map(str::to_owned)
}

fn answer(mut stream: &TcpStream, status: &str, text: &str) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n");
    // Who is gone needs no answer.
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{text}\n", text.len() + 1);
}
