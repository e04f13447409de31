//! One client's connection: its channels and consumers, and what is sent when.
//!
//! Whatever a client says wrong closes its connection, and nothing else.

use super::codec::{self, invalid, short};
use super::consumer::Consumer;
use super::handshake::close;
use super::peer::Peer;
use super::{PREFIX, message};
use crate::clock;
use crate::clock::sleep_until;
use crate::handle::Handle;
use crate::http::User;
use crate::policy::{Action, Object, may};
use crate::store::{Slice, SliceLimits, Thing};
use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic, channel, connection};
use bursa_core::id::GroupId;
use bursa_core::limits;
use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;
use tokio::sync::watch;

/// Results read at once.
const SLICE: SliceLimits = SliceLimits { rows: 512, bytes: 1 << 20, scanned: 16_384 };

/// AMQP's numbers for what can go wrong.
const NOT_FOUND: u16 = 404;
const NOT_IMPLEMENTED: u16 = 540;
const COMMAND_INVALID: u16 = 503;

#[derive(Debug, Default)]
struct Channel {
    delivered: u64,
    consumers: Vec<Consumer>,
    /// It was closed by us: until the client agrees, what it says there does not count.
    closing: bool,
}

struct Connection<'a> {
    handle: &'a Handle,
    user: User,
    channels: BTreeMap<u16, Channel>,
    /// Largest frame that the client takes.
    frame: usize,
    /// There may be results that were not looked at.
    more: bool,
    out: Vec<u8>,
    over: bool,
}

/// Serves one client until it leaves, breaks a rule, or the service stops.
pub(super) async fn run(
    peer: Peer<'_>,
    (user, frame): (User, usize),
    handle: &Handle,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut connection = Connection {
        handle,
        user,
        channels: BTreeMap::new(),
        frame,
        more: false,
        out: Vec::new(),
        over: false,
    };
    connection.method(0, AMQPClass::Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {})))?;
    let ended = connection.serve(peer, stopping).await;
    connection.leave();
    ended
}

impl Connection<'_> {
    async fn serve(&mut self, mut peer: Peer<'_>, mut stopping: watch::Receiver<bool>) -> io::Result<()> {
        let mut bell = self.handle.bells.listen(self.user.user);
        let mut revocations = self.handle.known.tokens.revocations();
        loop {
            while let Some(frame) = peer.frame()? {
                self.frame(frame)?;
            }
            if self.more {
                self.deliver().await?;
            }
            peer.send(&mut self.out).await?;
            if self.over {
                return Ok(());
            }
            let expiry = self.user.expires.map(clock::instant_of);
            tokio::select! {
                biased;
                _ = stopping.changed() => {
                    self.end("CONNECTION_FORCED - the service stops: connect again")?;
                }
                _ = async { tokio::select! { _ = revocations.changed() => {}, () = sleep_until(expiry) => {} } } => {
                    if self.handle.again(&self.user).map_err(io::Error::other)?.is_none() {
                        self.end("CONNECTION_FORCED - the token was revoked or has expired")?;
                    }
                }
                news = peer.news(&mut self.out) => news?,
                _ = bell.changed() => self.more = true,
                () = std::future::ready(()), if self.more && self.has_room() => tokio::task::yield_now().await,
            }
        }
    }

    fn method(&mut self, channel: u16, method: AMQPClass) -> io::Result<()> {
        codec::put(&mut self.out, &AMQPFrame::Method(channel, method))
    }

    /// Closes the connection: the last word.
    fn end(&mut self, why: &str) -> io::Result<()> {
        self.over = true;
        self.method(0, AMQPClass::Connection(connection::AMQPMethod::Close(close(320, why))))
    }

    /// Closes one channel; its consumers are gone.
    fn close_channel(&mut self, channel: u16, code: u16, why: String) -> io::Result<()> {
        if let Some(closed) = self.channels.get_mut(&channel) {
            closed.closing = true;
            let consumers = std::mem::take(&mut closed.consumers);
            self.leave_in_order(consumers);
        }
        let close = channel::Close { reply_code: code, reply_text: short(why), class_id: 0, method_id: 0 };
        self.method(channel, AMQPClass::Channel(channel::AMQPMethod::Close(close)))
    }

    fn leave_in_order(&self, consumers: Vec<Consumer>) {
        for consumer in consumers {
            self.handle.cursors.leave(consumer.group, consumer.settled());
        }
    }

    /// The connection is over: what is open broke off.
    fn leave(&mut self) {
        for consumer in std::mem::take(&mut self.channels).into_values().flat_map(|channel| channel.consumers)
        {
            self.handle.cursors.break_off(consumer.group, consumer.settled());
        }
    }

    fn frame(&mut self, frame: AMQPFrame) -> io::Result<()> {
        match frame {
            AMQPFrame::Heartbeat => Ok(()),
            AMQPFrame::Method(0, AMQPClass::Connection(method)) => self.connection(&method),
            AMQPFrame::Method(at, AMQPClass::Channel(channel::AMQPMethod::Open(_))) if at > 0 => {
                self.open(at)
            }
            AMQPFrame::Method(at, method) => match self.channels.get(&at) {
                None => Err(invalid("it used a channel that is not open")),
                Some(channel) if channel.closing => {
                    if matches!(method, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))) {
                        self.channels.remove(&at);
                    }
                    Ok(())
                }
                Some(_) => self.on_channel(at, method),
            },
            _ => Err(invalid("it sent what a consumer does not send")),
        }
    }

    fn connection(&mut self, method: &connection::AMQPMethod) -> io::Result<()> {
        self.over = true;
        match method {
            connection::AMQPMethod::Close(_) => {
                for channel in std::mem::take(&mut self.channels).into_values() {
                    self.leave_in_order(channel.consumers);
                }
                self.method(0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})))
            }
            connection::AMQPMethod::CloseOk(_) => Ok(()),
            _ => Err(invalid("it began the handshake again")),
        }
    }

    fn open(&mut self, at: u16) -> io::Result<()> {
        if at > limits::AMQP_CHANNELS || self.channels.contains_key(&at) {
            return Err(invalid("it opened a channel twice, or one above the number that was agreed on"));
        }
        self.channels.insert(at, Channel::default());
        self.method(at, AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})))
    }

    fn on_channel(&mut self, at: u16, method: AMQPClass) -> io::Result<()> {
        use basic::AMQPMethod::{Ack, Cancel, Consume, Nack, Qos, Reject};
        match method {
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                let consumers =
                    self.channels.remove(&at).map(|channel| channel.consumers).unwrap_or_default();
                self.leave_in_order(consumers);
                self.method(at, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})))
            }
            AMQPClass::Basic(Qos(_)) => {
                self.method(at, AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {})))
            }
            AMQPClass::Basic(Consume(consume)) => self.consume(at, &consume),
            AMQPClass::Basic(Cancel(cancel)) => self.cancel(at, cancel),
            AMQPClass::Basic(Ack(ack)) => self.settle(at, ack.delivery_tag, ack.multiple),
            AMQPClass::Basic(Nack(nack)) => self.settle(at, nack.delivery_tag, nack.multiple),
            AMQPClass::Basic(Reject(reject)) => self.settle(at, reject.delivery_tag, false),
            _ => {
                let why = "NOT_IMPLEMENTED - results can be consumed here, and nothing else";
                self.close_channel(at, NOT_IMPLEMENTED, why.to_owned())
            }
        }
    }

    /// The group of a queue, if its results are the user's to read.
    fn group(&self, queue: &str) -> Option<GroupId> {
        let group: GroupId = queue.strip_prefix(PREFIX)?.parse().ok()?;
        let access = self.handle.known.access((Thing::Tasks, *group.as_bytes())).ok().flatten()?;
        // Results are read from where their user's are: those of another's group come by REST only.
        (access.owner == self.user.no && may(&self.user, Action::Use, Object::Tasks(&access)))
            .then_some(group)
    }

    fn consume(&mut self, at: u16, asked: &basic::Consume) -> io::Result<()> {
        let queue = asked.queue.as_str();
        let Some(group) = self.group(queue) else {
            return self.close_channel(at, NOT_FOUND, format!("NOT_FOUND - no queue '{queue}' of this user"));
        };
        let tag = match asked.consumer_tag.as_str() {
            "" => format!("bursa.{at}.{group}"),
            tag => tag.to_owned(),
        };
        let open: usize = self.channels.values().map(|channel| channel.consumers.len()).sum();
        let Some(channel) = self.channels.get_mut(&at) else { return Ok(()) };
        if open >= limits::AMQP_CONSUMERS || channel.consumers.iter().any(|consumer| consumer.tag == tag) {
            let why = format!("NOT_ALLOWED - the consumer '{tag}' is there already, or there are too many");
            return self.close_channel(at, COMMAND_INVALID, why);
        }
        let cursor = self.handle.cursors.open(&group);
        channel.consumers.push(Consumer::new(tag.clone(), group, asked.no_ack, cursor));
        self.more = true;
        if asked.nowait {
            return Ok(());
        }
        let ok = basic::ConsumeOk { consumer_tag: short(tag) };
        self.method(at, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)))
    }

    fn cancel(&mut self, at: u16, cancel: basic::Cancel) -> io::Result<()> {
        let Some(channel) = self.channels.get_mut(&at) else { return Ok(()) };
        let (left, stay) = std::mem::take(&mut channel.consumers)
            .into_iter()
            .partition(|consumer| consumer.tag == cancel.consumer_tag.as_str());
        channel.consumers = stay;
        self.leave_in_order(left);
        if cancel.nowait {
            return Ok(());
        }
        let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
        self.method(at, AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)))
    }

    fn settle(&mut self, at: u16, delivery: u64, multiple: bool) -> io::Result<()> {
        let Some(channel) = self.channels.get_mut(&at) else { return Ok(()) };
        // 0 with `multiple` is all there are.
        let delivery = if delivery == 0 && multiple { u64::MAX } else { delivery };
        let full = channel.consumers.iter().any(|consumer| !consumer.has_room());
        for consumer in &mut channel.consumers {
            consumer.settle(delivery, multiple);
        }
        self.more |= full;
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.channels.values().flat_map(|channel| &channel.consumers).any(Consumer::has_room)
    }

    /// Sends what is new to each consumer that takes more.
    async fn deliver(&mut self) -> io::Result<()> {
        self.more = false;
        let mut channels = std::mem::take(&mut self.channels);
        let mut delivered = Ok(());
        for (at, channel) in &mut channels {
            for place in 0..channel.consumers.len() {
                if delivered.is_err() || !channel.consumers[place].has_room() {
                    continue;
                }
                if self.out.len() >= SLICE.bytes {
                    self.more = true;
                    continue;
                }
                delivered = self.deliver_to(*at, channel, place).await;
            }
        }
        self.channels = channels;
        delivered
    }

    async fn deliver_to(&mut self, at: u16, channel: &mut Channel, place: usize) -> io::Result<()> {
        let consumer = &mut channel.consumers[place];
        let group = consumer.group;
        let slice = self.handle.reader.results(self.user.no, consumer.cursor, SLICE, |of, _| *of == group);
        let Slice { rows, cursor, more } = slice.map_err(io::Error::other)?;
        self.more |= more;
        for row in rows {
            let n = row.n;
            let payload = self.handle.payload(row.payload.clone()).await.map_err(io::Error::other)?;
            let payload = payload.map_err(io::Error::other)?;
            let body = message::of(&row, payload.as_deref());
            channel.delivered += 1;
            self.send(at, &consumer.tag, channel.delivered, &body)?;
            consumer.sent(channel.delivered, n, body.len());
        }
        consumer.cursor = cursor;
        Ok(())
    }

    fn send(&mut self, at: u16, tag: &str, delivery: u64, body: &[u8]) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let properties = BasicProperties::default().with_timestamp(now.as_secs());
        let consumer = (tag.to_owned(), delivery);
        codec::deliver(&mut self.out, (at, self.frame), consumer, properties, body)
    }
}
