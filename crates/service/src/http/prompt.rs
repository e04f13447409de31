//! A connection whose client may speak as to a proxy.
//!
//! Python's `urllib3` holds the rest of a request to a proxy back until its head is acknowledged (Nagle's algorithm), which
//! the system does 40 ms later: such a head is acknowledged as soon as it is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The stream, and whether its requests come in absolute form.
#[derive(Debug)]
pub(super) struct Prompt {
    stream: TcpStream,
    as_proxy: bool,
}

impl Prompt {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream, as_proxy: false }
    }
}

/// Whether a request in absolute form begins here.
fn is_absolute(bytes: &[u8]) -> bool {
    let target = bytes.iter().take(8).position(|byte| *byte == b' ').map(|at| &bytes[at + 1..]);
    target.is_some_and(|target| target.starts_with(b"http://"))
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        self.as_proxy = self.as_proxy || is_absolute(&into.filled()[before..]);
        if self.as_proxy {
            // It holds until the next answer only.
            self.stream.set_quickack(true)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_comes_as_to_a_proxy_is_acknowledged_at_once() {
        let parts =
            [("GET / HTTP/1.1", None), ("POST /http:// HTTP/1.1", Some(false)), ("body", Some(false))];
        let absolute = [("POST http://localhost:5000/ HTTP/1.1", Some(true)), ("body", Some(true))];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = Prompt::new(listener.accept().await.unwrap().0);
        for (part, at_once) in parts.into_iter().chain(absolute) {
            server.stream.set_quickack(false).unwrap();
            client.write_all(part.as_bytes()).await.unwrap();
            assert_eq!(server.read(&mut [0; 64]).await.unwrap(), part.len());
            // The first of a connection is, whatever it is.
            if let Some(at_once) = at_once {
                assert_eq!(server.stream.quickack().unwrap(), at_once, "{part}");
            }
            server.write_all(b"answer").await.unwrap();
            client.read_exact(&mut [0; 6]).await.unwrap();
        }
    }
}
