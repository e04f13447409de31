//! From the first bytes of a connection to its `open`: who logs in, and what both sides agree on.

use super::codec::{self, FRAME, invalid};
use super::foreign::Who;
use super::peer::{self, Stream};
use crate::audit::Entry;
use crate::handle::Handle;
use crate::http::User;
use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable};
use bursa_core::limits;
use bytes::BytesMut;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Silence of a client, and of us, in seconds: half of it may pass without a word.
const HEARTBEAT_S: u16 = 60;
/// That of an endpoint: tasks that it has are lost with it.
const ENDPOINT_HEARTBEAT_S: u16 = 20;
/// From the connection to its `open`; that of TLS has as long before it.
pub(super) const HANDSHAKE: Duration = Duration::from_millis(limits::HTTP_HEAD_MS);
/// The first bytes of a client of AMQP 0-9-1.
const GREETING: &[u8] = b"AMQP\0\0\x09\x01";
/// AMQP's number for who may not.
const ACCESS_REFUSED: u16 = 403;

/// What both sides agreed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuned {
    /// Largest frame that the client takes.
    pub(super) frame: usize,
    pub(super) heartbeat: Option<Duration>,
}

/// Who logged in.
#[derive(Debug)]
pub(super) enum Login {
    /// A client that reads a user's results.
    User(User),
    /// An endpoint of Globus Compute.
    Endpoint(Who),
}

/// Up to the client's `open`, in time; `None`: it was told that it may not.
pub(super) async fn greet(
    (stream, from): (&mut dyn Stream, Option<IpAddr>),
    bytes: &mut BytesMut,
    handle: &Handle,
) -> io::Result<Option<(Login, Tuned)>> {
    let greeted = tokio::time::timeout(HANDSHAKE, handshake((stream, from), bytes, handle));
    greeted.await.map_err(|_| invalid("it did not log in in time"))?
}

async fn handshake(
    (stream, from): (&mut dyn Stream, Option<IpAddr>),
    bytes: &mut BytesMut,
    handle: &Handle,
) -> io::Result<Option<(Login, Tuned)>> {
    use connection::AMQPMethod::{Open, StartOk, TuneOk};
    while bytes.len() < GREETING.len() {
        peer::read(stream, bytes).await?;
    }
    if bytes.split_to(GREETING.len()) != GREETING {
        // As AMQP wants it: this is what is spoken here.
        peer::write(stream, GREETING).await?;
        return Ok(None);
    }
    say(stream, connection::AMQPMethod::Start(start())).await?;
    let AMQPFrame::Method(0, AMQPClass::Connection(StartOk(answer))) = next(stream, bytes).await? else {
        return Err(invalid("it did not log in"));
    };
    let Some(login) = login(&answer, handle) else {
        record_refusal(from, handle);
        let why = "ACCESS_REFUSED - this user and password are not valid (any more): a client asks for new ones by \
                   GET /v2/get_amqp_result_connection_url, an endpoint is started again";
        say(stream, connection::AMQPMethod::Close(close(ACCESS_REFUSED, why))).await?;
        return Ok(None);
    };
    let heartbeat = match login {
        Login::User(_) => HEARTBEAT_S,
        Login::Endpoint(_) => ENDPOINT_HEARTBEAT_S,
    };
    let (channel_max, frame_max) = (limits::AMQP_CHANNELS, u32::try_from(FRAME).unwrap_or(u32::MAX));
    let tune = connection::Tune { channel_max, frame_max, heartbeat };
    say(stream, connection::AMQPMethod::Tune(tune)).await?;
    let AMQPFrame::Method(0, AMQPClass::Connection(TuneOk(tuned))) = next(stream, bytes).await? else {
        return Err(invalid("it did not agree on the size of frames"));
    };
    let AMQPFrame::Method(0, AMQPClass::Connection(Open(_))) = next(stream, bytes).await? else {
        return Err(invalid("it opened nothing"));
    };
    let frame = match tuned.frame_max as usize {
        0 => FRAME,
        frame => frame.clamp(4_096, FRAME),
    };
    let heartbeat = (tuned.heartbeat > 0).then(|| Duration::from_secs(tuned.heartbeat.into()));
    Ok(Some((login, Tuned { frame, heartbeat })))
}

/// Unless many such come from there, as in a flood.
fn record_refusal(from: Option<IpAddr>, handle: &Handle) {
    let Some(from) = from else { return };
    if handle.rates.bad_login(from).is_ok() {
        let code = Some("unauthorized");
        handle.audit.record(Entry {
            from: Some(from),
            status: ACCESS_REFUSED,
            code,
            ..Entry::now("LOGIN amqp")
        });
    }
}

/// Whose name and password these are.
fn login(answer: &connection::StartOk, handle: &Handle) -> Option<Login> {
    if answer.mechanism.as_str() != "PLAIN" {
        return None;
    }
    let mut words = answer.response.as_bytes().rsplit(|byte| *byte == 0);
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (password, name) = (word()?, word()?);
    if let Some(who) = handle.foreign.who(name, password) {
        return handle.owner_is_active(&who.endpoint).is_ok_and(|is| is).then_some(Login::Endpoint(who));
    }
    let user = handle.credentials.user(password)?;
    // The token that it was minted for may be gone.
    handle.again(&user).is_ok_and(|now| now.is_some()).then_some(Login::User(user))
}

fn start() -> connection::Start {
    let mut can = FieldTable::default();
    for name in ["publisher_confirms", "consumer_cancel_notify", "basic.nack", "authentication_failure_close"]
    {
        can.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut server_properties = FieldTable::default();
    server_properties.insert("product".into(), AMQPValue::LongString("Bursa".into()));
    server_properties.insert("version".into(), AMQPValue::LongString(env!("CARGO_PKG_VERSION").into()));
    server_properties.insert("capabilities".into(), AMQPValue::FieldTable(can));
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties,
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
    }
}

pub(super) fn close(code: u16, why: &str) -> connection::Close {
    connection::Close { reply_code: code, reply_text: why.into(), class_id: 0, method_id: 0 }
}

async fn say(stream: &mut dyn Stream, method: connection::AMQPMethod) -> io::Result<()> {
    let mut out = Vec::new();
    codec::put(&mut out, &AMQPFrame::Method(0, AMQPClass::Connection(method)))?;
    peer::write(stream, &out).await
}

/// The next frame but heartbeats.
async fn next(stream: &mut dyn Stream, bytes: &mut BytesMut) -> io::Result<AMQPFrame> {
    loop {
        match codec::take(bytes)? {
            Some(AMQPFrame::Heartbeat) => {}
            Some(frame) => return Ok(frame),
            None => peer::read(stream, bytes).await?,
        }
    }
}
