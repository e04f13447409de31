//! The stream of one connection: bytes in and out, and whether its other end still lives.

use super::codec::{self, invalid};
use amq_protocol::frame::AMQPFrame;
use bursa_core::limits;
use bytes::BytesMut;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

/// Time for the other end to take what is sent.
const STUCK: Duration = Duration::from_millis(limits::STREAM_SEND_MS);

/// Its bytes, with TLS around them or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// After the handshake.
pub(super) struct Peer<'a> {
    stream: &'a mut dyn Stream,
    bytes: &'a mut BytesMut,
    /// What both sides agreed on.
    heartbeat: Option<Duration>,
    heard: Instant,
    beat_at: Instant,
}

impl<'a> Peer<'a> {
    pub(super) fn new(
        stream: &'a mut dyn Stream,
        bytes: &'a mut BytesMut,
        heartbeat: Option<Duration>,
    ) -> Self {
        let heard = Instant::now();
        let beat_at = heard + heartbeat.unwrap_or_default() / 2;
        Self { stream, bytes, heartbeat, heard, beat_at }
    }

    /// The next frame, if all of it is here.
    ///
    /// # Errors
    /// What is here is no frame.
    pub(super) fn frame(&mut self) -> io::Result<Option<AMQPFrame>> {
        codec::take(self.bytes)
    }

    /// Sends all of `out`, which is empty then.
    ///
    /// # Errors
    /// The other end is gone, or takes nothing.
    pub(super) async fn send(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(out);
        let sent = tokio::time::timeout(STUCK, write(self.stream, &out)).await;
        sent.map_err(|_| invalid("it takes nothing"))?
    }

    /// Waits until more is here, or a heartbeat is due, which goes into `out`. Cancel-safe.
    ///
    /// # Errors
    /// The other end is gone, or silent for too long.
    pub(super) async fn news(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        tokio::select! {
            biased;
            more = read(self.stream, self.bytes) => {
                more?;
                self.heard = Instant::now();
            }
            period = beat(self.heartbeat, self.beat_at) => {
                if self.heard.elapsed() > 2 * period {
                    return Err(invalid("it has been silent for two heartbeats"));
                }
                codec::put(out, &AMQPFrame::Heartbeat)?;
                self.beat_at = Instant::now() + period / 2;
            }
        }
        Ok(())
    }
}

/// When the next heartbeat is due: their period. Never without one.
async fn beat(heartbeat: Option<Duration>, at: Instant) -> Duration {
    let Some(period) = heartbeat else { return std::future::pending().await };
    tokio::time::sleep_until(at).await;
    period
}

/// Sends all of `out`. TLS keeps what the socket does not take until it is told to go on.
pub(super) async fn write(stream: &mut dyn Stream, out: &[u8]) -> io::Result<()> {
    stream.write_all(out).await?;
    stream.flush().await
}

/// Waits until more is here. Cancel-safe.
///
/// # Errors
/// The other end is gone.
pub(super) async fn read(stream: &mut dyn Stream, bytes: &mut BytesMut) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
