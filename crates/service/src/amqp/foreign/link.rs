//! One connection of an endpoint's: what it says in AMQP for its manager, and the manager's orders in AMQP.

use super::call::Ticket;
use super::driver::{LinkId, Links};
use super::manager::{Order, Said};
use super::message::{self, Ended, ErrorDetails, Report, Word};
use super::{HEARTBEATS, RESULTS, Who};
use crate::amqp::codec::{self, invalid, short};
use crate::amqp::handshake::close;
use crate::amqp::peer::Peer;
use crate::handle::Handle;
use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{
    AMQPClass, BasicProperties, basic, channel, confirm, connection, exchange, queue,
};
use bursa_core::id::TaskId;
use bursa_core::limits;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::SystemTime;
use tokio::sync::{mpsc, watch};

/// Bytes that wait to be sent beyond which no more orders are taken.
const FULL: usize = 1 << 20;
/// What is kept of a message that is too large: its task's id is at its beginning.
const HEAD: usize = 4_096;

const NOT_FOUND: u16 = 404;
const NOT_IMPLEMENTED: u16 = 540;

/// What a consumer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Tasks,
    Commands,
}

#[derive(Debug, Default)]
struct Channel {
    /// The consumer and its tag.
    consumes: Option<(Queue, String)>,
    delivered: u64,
    /// Messages that are not acknowledged; `None`: a command.
    unsettled: VecDeque<(u64, Option<TaskId>)>,
    confirms: bool,
    published: u64,
    /// A message that is not whole yet.
    coming: Option<Coming>,
    closing: bool,
}

#[derive(Debug, Default)]
struct Coming {
    /// Bytes of the body; `None`: its header has not come.
    size: Option<usize>,
    had: usize,
    body: Vec<u8>,
}

struct Link<'a> {
    id: LinkId,
    who: Who,
    handle: &'a Handle,
    links: &'a Links,
    channels: BTreeMap<u16, Channel>,
    frame: usize,
    out: Vec<u8>,
    over: bool,
}

/// Serves one connection until it ends, breaks a rule, or the service stops.
pub(in crate::amqp) async fn run(
    peer: Peer<'_>,
    (who, frame): (Who, usize),
    handle: &Handle,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let Some((id, orders)) = handle.links.open(who).await else { return Ok(()) };
    let links = &handle.links;
    let mut link =
        Link { id, who, handle, links, channels: BTreeMap::new(), frame, out: Vec::new(), over: false };
    link.method(0, AMQPClass::Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {})))?;
    let ended = link.serve(peer, orders, stopping).await;
    handle.links.say(id, who, Said::Closed).await;
    ended
}

impl Link<'_> {
    async fn serve(
        &mut self,
        mut peer: Peer<'_>,
        mut orders: mpsc::Receiver<Order>,
        mut stopping: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let mut revocations = self.handle.known.tokens.revocations();
        loop {
            while let Some(frame) = peer.frame()? {
                self.frame(frame).await?;
            }
            while self.out.len() < FULL
                && let Ok(order) = orders.try_recv()
            {
                self.order(order)?;
            }
            peer.send(&mut self.out).await?;
            if self.over {
                return Ok(());
            }
            tokio::select! {
                biased;
                _ = stopping.changed() => self.end("CONNECTION_FORCED - the service stops: connect again")?,
                _ = revocations.changed() => {
                    if !self.handle.owner_is_active(&self.who.endpoint).map_err(io::Error::other)? {
                        self.end("CONNECTION_FORCED - the owner of this endpoint is disabled")?;
                    }
                }
                order = orders.recv() => match order {
                    Some(order) => self.order(order)?,
                    None => self.end("RESOURCE_ERROR - it takes nothing of what is sent: connect again")?,
                },
                news = peer.news(&mut self.out) => news?,
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

    async fn say(&mut self, said: Said) -> io::Result<()> {
        if self.links.say(self.id, self.who, said).await {
            Ok(())
        } else {
            self.end("CONNECTION_FORCED - the service stops")
        }
    }

    fn order(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Task(call) => {
                let (properties, body) = message::task(&call);
                self.deliver(Queue::Tasks, Some(call.task), properties, &body)
            }
            Order::Command(body) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                self.deliver(Queue::Commands, None, message::of_command(now.as_secs()), &body)
            }
            Order::Confirm(Ticket { channel, number, .. }) => self.confirm(channel, number),
            Order::Close(why) => self.end(&why),
        }
    }

    fn confirm(&mut self, channel: u16, number: u64) -> io::Result<()> {
        let ack = basic::Ack { delivery_tag: number, multiple: false };
        self.method(channel, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)))
    }

    fn deliver(
        &mut self,
        queue: Queue,
        task: Option<TaskId>,
        properties: BasicProperties,
        body: &[u8],
    ) -> io::Result<()> {
        let found = self.channels.iter_mut().find_map(|(at, channel)| {
            let tag = channel.consumes.as_ref().filter(|(of, _)| *of == queue).map(|(_, tag)| tag.clone());
            tag.map(|tag| (*at, channel, tag))
        });
        // Without a consumer it comes again when there is one.
        let Some((at, channel, tag)) = found else { return Ok(()) };
        channel.delivered += 1;
        let delivery_tag = channel.delivered;
        channel.unsettled.push_back((delivery_tag, task));
        codec::deliver(&mut self.out, (at, self.frame), (tag, delivery_tag), properties, body)
    }

    async fn frame(&mut self, frame: AMQPFrame) -> io::Result<()> {
        match frame {
            AMQPFrame::Heartbeat => Ok(()),
            AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(_))) => {
                self.over = true;
                self.method(0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})))
            }
            AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))) => {
                self.over = true;
                Ok(())
            }
            AMQPFrame::Method(at, AMQPClass::Channel(channel::AMQPMethod::Open(_))) if at > 0 => {
                if at > limits::AMQP_CHANNELS || self.channels.contains_key(&at) {
                    return Err(invalid(
                        "it opened a channel twice, or one above the number that was agreed on",
                    ));
                }
                self.channels.insert(at, Channel::default());
                self.method(at, AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})))
            }
            AMQPFrame::Method(at, method) => match self.channels.get(&at) {
                None => Err(invalid("it used a channel that is not open")),
                Some(channel) if channel.closing => {
                    if matches!(method, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))) {
                        self.channels.remove(&at);
                    }
                    Ok(())
                }
                Some(_) => self.on_channel(at, method).await,
            },
            AMQPFrame::Header(at, header) => self.header(at, header.body_size).await,
            AMQPFrame::Body(at, part) => self.body(at, &part).await,
            _ => Err(invalid("it sent what an endpoint does not send")),
        }
    }

    async fn on_channel(&mut self, at: u16, method: AMQPClass) -> io::Result<()> {
        match method {
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                self.channels.remove(&at);
                self.method(at, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})))
            }
            AMQPClass::Exchange(exchange::AMQPMethod::Declare(asked)) => self.find_exchange(at, &asked),
            AMQPClass::Queue(queue::AMQPMethod::Declare(asked)) => self.find_queue(at, asked),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                if let Some(channel) = self.channels.get_mut(&at) {
                    channel.confirms = true;
                }
                if select.nowait {
                    return Ok(());
                }
                self.method(at, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})))
            }
            AMQPClass::Basic(method) => self.basic(at, method).await,
            _ => self.refuse(at),
        }
    }

    async fn basic(&mut self, at: u16, method: basic::AMQPMethod) -> io::Result<()> {
        use basic::AMQPMethod::{Ack, Cancel, Consume, Nack, Publish, Qos, Reject};
        match method {
            Qos(_) => self.method(at, AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {}))),
            Consume(asked) => self.consume(at, asked).await,
            Cancel(cancel) => {
                if let Some(channel) = self.channels.get_mut(&at) {
                    channel.consumes = None;
                }
                if cancel.nowait {
                    return Ok(());
                }
                let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
                self.method(at, AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)))
            }
            Ack(ack) => self.settle(at, ack.delivery_tag, ack.multiple, true).await,
            Nack(nack) => self.settle(at, nack.delivery_tag, nack.multiple, false).await,
            Reject(reject) => self.settle(at, reject.delivery_tag, false, false).await,
            Publish(_) => {
                let Some(channel) = self.channels.get_mut(&at) else { return Ok(()) };
                if channel.coming.replace(Coming::default()).is_some() {
                    return Err(invalid("it began a message within another"));
                }
                channel.published += 1;
                Ok(())
            }
            _ => self.refuse(at),
        }
    }

    fn refuse(&mut self, at: u16) -> io::Result<()> {
        self.close_channel(
            at,
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED - an endpoint consumes and publishes here, and nothing else",
        )
    }

    fn close_channel(&mut self, at: u16, code: u16, why: &str) -> io::Result<()> {
        if let Some(channel) = self.channels.get_mut(&at) {
            *channel = Channel { closing: true, ..Channel::default() };
        }
        let close =
            channel::Close { reply_code: code, reply_text: short(why.to_owned()), class_id: 0, method_id: 0 };
        self.method(at, AMQPClass::Channel(channel::AMQPMethod::Close(close)))
    }

    /// Endpoints declare nothing: they look whether what they were told of is there.
    fn find_exchange(&mut self, at: u16, asked: &exchange::Declare) -> io::Result<()> {
        let name = asked.exchange.as_str();
        if !asked.passive {
            return self.refuse(at);
        }
        if ![RESULTS, HEARTBEATS, "tasks"].contains(&name) {
            return self.close_channel(at, NOT_FOUND, &format!("NOT_FOUND - no exchange '{name}'"));
        }
        self.method(at, AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {})))
    }

    fn find_queue(&mut self, at: u16, asked: queue::Declare) -> io::Result<()> {
        let name = asked.queue.as_str();
        if !asked.passive {
            return self.refuse(at);
        }
        if ![RESULTS, HEARTBEATS].contains(&name) && self.queue(name).is_none() {
            return self.close_channel(
                at,
                NOT_FOUND,
                &format!("NOT_FOUND - no queue '{name}' of this endpoint"),
            );
        }
        let ok = queue::DeclareOk { queue: asked.queue, message_count: 0, consumer_count: 0 };
        self.method(at, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)))
    }

    /// The queue of this name, if it is this endpoint's.
    fn queue(&self, name: &str) -> Option<Queue> {
        let id = self.who.end.map_or_else(|| self.who.endpoint.to_string(), |end| end.to_string());
        match name.strip_prefix(id.as_str())? {
            ".tasks" => Some(Queue::Tasks),
            ".commands" if self.who.end.is_none() => Some(Queue::Commands),
            _ => None,
        }
    }

    async fn consume(&mut self, at: u16, asked: basic::Consume) -> io::Result<()> {
        let name = asked.queue.as_str();
        let Some(queue) = self.queue(name) else {
            return self.close_channel(
                at,
                NOT_FOUND,
                &format!("NOT_FOUND - no queue '{name}' of this endpoint"),
            );
        };
        let tag = match asked.consumer_tag.as_str() {
            "" => format!("bursa.{at}"),
            tag => tag.to_owned(),
        };
        if let Some(channel) = self.channels.get_mut(&at) {
            channel.consumes = Some((queue, tag.clone()));
        }
        if !asked.nowait {
            let ok = basic::ConsumeOk { consumer_tag: short(tag) };
            self.method(at, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)))?;
        }
        self.say(match queue {
            Queue::Tasks => Said::TakesTasks,
            Queue::Commands => Said::TakesCommands,
        })
        .await
    }

    async fn settle(&mut self, at: u16, delivery: u64, multiple: bool, taken: bool) -> io::Result<()> {
        let Some(channel) = self.channels.get_mut(&at) else { return Ok(()) };
        // 0 with `multiple` is all there are.
        let delivery = if delivery == 0 && multiple { u64::MAX } else { delivery };
        let mut tasks = Vec::new();
        channel.unsettled.retain(|(tag, task)| {
            let settled = if multiple { *tag <= delivery } else { *tag == delivery };
            tasks.extend(task.filter(|_| settled));
            !settled
        });
        if tasks.is_empty() { Ok(()) } else { self.say(Said::Settled(tasks, taken)).await }
    }

    async fn header(&mut self, at: u16, size: u64) -> io::Result<()> {
        let channel = self.channels.get_mut(&at).filter(|channel| !channel.closing);
        let Some(channel) = channel else { return Ok(()) };
        let coming = channel.coming.as_mut().filter(|coming| coming.size.is_none());
        let coming = coming.ok_or_else(|| invalid("it sent the header of no message"))?;
        coming.size = Some(usize::try_from(size).unwrap_or(usize::MAX));
        if size == 0 { self.published(at).await } else { Ok(()) }
    }

    async fn body(&mut self, at: u16, part: &[u8]) -> io::Result<()> {
        let channel = self.channels.get_mut(&at).filter(|channel| !channel.closing);
        let Some(channel) = channel else { return Ok(()) };
        let Some((coming, size)) =
            channel.coming.as_mut().and_then(|coming| coming.size.map(|size| (coming, size)))
        else {
            return Err(invalid("it sent the body of no message"));
        };
        coming.had += part.len();
        let keep = if size <= limits::FOREIGN_MESSAGE_BYTES { size } else { HEAD };
        coming.body.extend_from_slice(&part[..part.len().min(keep - coming.body.len())]);
        match coming.had.cmp(&size) {
            std::cmp::Ordering::Less => Ok(()),
            std::cmp::Ordering::Equal => self.published(at).await,
            std::cmp::Ordering::Greater => Err(invalid("it sent more of a message than it said")),
        }
    }

    /// A message is whole: results are confirmed when the store has them, the rest at once.
    async fn published(&mut self, at: u16) -> io::Result<()> {
        let Some(channel) = self.channels.get_mut(&at) else { return Ok(()) };
        let (number, confirms) = (channel.published, channel.confirms);
        let Some(Coming { size: Some(size), body, .. }) = channel.coming.take() else { return Ok(()) };
        let word = if size == body.len() { message::read(&body) } else { oversized(&body, size) };
        let ticket = confirms.then_some(Ticket { link: self.id, channel: at, number });
        let said = match word {
            Some(Word::Ended(ended)) => return self.say(Said::Ended(ticket, ended)).await,
            Some(Word::Report { global_state }) => Some(Said::Report(Report::of(&global_state))),
            None => {
                tracing::warn!(endpoint = %self.who.endpoint, bytes = size, "an endpoint published what cannot be read");
                None
            }
        };
        if let Some(ticket) = ticket {
            self.confirm(ticket.channel, ticket.number)?;
        }
        match said {
            Some(said) => self.say(said).await,
            None => Ok(()),
        }
    }
}

/// The end of a task whose message is larger than any that is read here.
fn oversized(head: &[u8], size: usize) -> Option<Word> {
    let why = format!("the result came in {size} bytes, and the limit is {}", limits::FOREIGN_MESSAGE_BYTES);
    let error = ErrorDetails { code: "MaxResultSizeExceeded".to_owned(), user_message: why.clone() };
    Some(Word::Ended(Ended::new(message::task_of(head)?, why, Some(error))))
}
