//! The connection to whoever is above: one socket per session (FABRIC §3), messages instead of frames.

use bursa_core::wire::{self, Message};
use bursa_fabric::{Connector, Context, KeyPair, PublicKey, Timing};
use bytes::Bytes;

/// What happened on it.
#[derive(Debug)]
pub(crate) enum News {
    Up,
    Down(String),
    Message(Message),
}

/// No connection, or one.
#[derive(Debug)]
enum State {
    Closed,
    Connecting(Connector),
    Up(Connector),
}

/// The connection and what is needed to make another.
#[derive(Debug)]
pub(crate) struct Uplink {
    context: Context,
    keys: KeyPair,
    timing: Timing,
    state: State,
}

impl Uplink {
    pub(crate) const fn new(context: Context, keys: KeyPair, timing: Timing) -> Self {
        Self { context, keys, timing, state: State::Closed }
    }

    /// Opens a fresh socket; the one before is closed.
    pub(crate) fn connect(&mut self, addr: &str, server: &PublicKey) -> Result<(), String> {
        self.disconnect();
        let made = Connector::connect(&self.context, addr, server, &self.keys, self.timing);
        self.state = State::Connecting(made.map_err(|error| error.to_string())?);
        Ok(())
    }

    pub(crate) fn disconnect(&mut self) {
        self.state = State::Closed;
    }

    /// What happens next. Cancel-safe.
    pub(crate) async fn news(&mut self) -> News {
        loop {
            match &mut self.state {
                State::Closed => return std::future::pending().await,
                State::Connecting(connector) => match connector.connected().await {
                    Ok(()) => {
                        if let State::Connecting(connector) =
                            std::mem::replace(&mut self.state, State::Closed)
                        {
                            self.state = State::Up(connector);
                        }
                        return News::Up;
                    }
                    Err(why) => return self.down(&why),
                },
                State::Up(connector) => match connector.recv().await {
                    Ok(frames) => {
                        if let Some(message) = decode(&frames) {
                            return News::Message(message);
                        }
                    }
                    Err(why) => return self.down(&why),
                },
            }
        }
    }

    /// What has happened already.
    pub(crate) fn try_news(&mut self) -> Option<News> {
        while let State::Up(connector) = &mut self.state {
            match connector.try_recv() {
                Ok(Some(frames)) => {
                    if let Some(message) = decode(&frames) {
                        return Some(News::Message(message));
                    }
                }
                Ok(None) => return None,
                Err(why) => return Some(self.down(&why)),
            }
        }
        None
    }

    fn down(&mut self, why: &dyn std::fmt::Display) -> News {
        self.state = State::Closed;
        News::Down(why.to_string())
    }

    /// Sends, or says why the session is over.
    pub(crate) fn send(&mut self, message: Message) -> Result<(), String> {
        let State::Up(connector) = &mut self.state else {
            return Err("there is no connection".into());
        };
        let sent = encode(message).and_then(|frames| connector.send(&frames).map_err(|why| why.to_string()));
        if sent.is_err() {
            self.state = State::Closed;
        }
        sent
    }
}

pub(crate) fn encode(message: Message) -> Result<Vec<Bytes>, String> {
    wire::encode(message).map_err(|error| error.to_string())
}

/// What is no message is dropped; the gap that it leaves ends the session (F3).
pub(crate) fn decode(frames: &[Bytes]) -> Option<Message> {
    wire::decode(frames).map_err(|error| tracing::warn!(%error, "a message was dropped")).ok()
}
