//! Connections: how many may come whose user is not known yet, and how long each head of a request may take.

use super::prompt::Prompt;
use crate::tls::Tls;
use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::IntoResponse as _;
use axum::serve::{Listener, ListenerExt as _};
use bursa_core::limits;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The bounds of connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Connections whose user is not known yet; more wait in the system's queue.
    pub(super) newcomers: usize,
    /// From the end of one request, or the connection's begin, to the end of the next head; for those who are not known
    /// also from there to the answer.
    pub(super) head: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { newcomers: limits::HTTP_NEWCOMERS, head: Duration::from_millis(limits::HTTP_HEAD_MS) }
    }
}

/// A connection's place among those whose user is not known yet: given back with its first authorized request.
#[derive(Debug, Clone)]
pub(super) struct Newcomer(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Newcomer {
    /// Its user is known.
    pub(super) fn known(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn is_unknown(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// The two ends of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The address; of IPv4 also where it came as one of IPv6.
    pub(super) theirs: IpAddr,
    pub(super) ours: SocketAddr,
}

impl Ends {
    fn of(stream: &TcpStream) -> Option<Self> {
        Some(Self { theirs: stream.peer_addr().ok()?.ip().to_canonical(), ours: stream.local_addr().ok()? })
    }
}

/// Serves until `stopping` changes, then lets answers under way leave.
pub(super) async fn serve(
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    router: Router,
    bounds: Bounds,
    mut stopping: watch::Receiver<bool>,
) {
    let mut listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    let places = Arc::new(Semaphore::new(bounds.newcomers));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await.0)
        };
        tokio::select! {
            (place, stream) = next => {
                let newcomer = Newcomer(Arc::new(Mutex::new(place)));
                let (router, stopping) = (router.clone(), stopping.clone());
                match &tls {
                    None => {
                        let ends = Ends::of(&stream);
                        let stream = Prompt::new(stream);
                        connections.spawn(connection(stream, ends, router, newcomer, bounds.head, stopping));
                    }
                    Some(tls) => {
                        let tls = tls.acceptor();
                        connections.spawn(secured(stream, tls, router, newcomer, bounds.head, stopping));
                    }
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = stopping.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A connection that begins with the handshake of TLS, for which it has the time of a head.
async fn secured(
    stream: TcpStream,
    tls: TlsAcceptor,
    router: Router,
    newcomer: Newcomer,
    head: Duration,
    stopping: watch::Receiver<bool>,
) {
    let ends = Ends::of(&stream);
    match tokio::time::timeout(head, tls.accept(stream)).await {
        Ok(Ok(stream)) => Box::pin(connection(stream, ends, router, newcomer, head, stopping)).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection without TLS, or with another"),
        Err(_) => tracing::debug!("a handshake of TLS took too long"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ends: Option<Ends>,
    router: Router,
    newcomer: Newcomer,
    head: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(newcomer.clone());
        if let Some(ends) = ends {
            request.extensions_mut().insert(ends);
        }
        let (answer, newcomer) = (router.call(request.map(Body::new)), newcomer.clone());
        async move {
            let mut answer = pin!(answer);
            let mut answer = match tokio::time::timeout(head, answer.as_mut()).await {
                Ok(answer) => answer?,
                // A body that does not come keeps no place either.
                Err(_) if newcomer.is_unknown() => StatusCode::REQUEST_TIMEOUT.into_response(),
                Err(_) => answer.await?,
            };
            // Who is not known has one request for each connection: no place is held for ever.
            if newcomer.is_unknown() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(limits::HTTP_HEAD_BYTES);
    let served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stopping.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Extension;
    use axum::routing::{get, post};
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn start(bounds: Bounds) -> (std::net::SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let known = |Extension(newcomer): Extension<Newcomer>| async move {
            newcomer.known();
            "known"
        };
        let router = Router::new()
            .route("/known", get(known))
            .route("/anybody", get(|| async { "anybody" }))
            .route("/read", post(|body: String| async { body }));
        tokio::spawn(serve((listener, None), router, bounds, stopping));
        (address, stop)
    }

    async fn ask(stream: &mut TcpStream, path: &str) -> String {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 1_000];
        let read = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_its_connection_and_makes_room() {
        let head = Duration::from_millis(300);
        let (address, _stop) = start(Bounds { newcomers: 2, head }).await;
        let begun = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /known HTTP/1.1\r\nHo").await.unwrap();
        let mut third = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut third, "/anybody").await.starts_with("HTTP/1.1 200"));
        assert!(begun.elapsed() >= head, "it waited for a place");
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.unwrap();
        let _ = slow.read_to_end(&mut rest).await;
    }

    #[tokio::test]
    async fn a_strangers_body_that_does_not_come_ends_its_connection() {
        let (address, _stop) = start(Bounds { newcomers: 1, head: Duration::from_millis(300) }).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        let mut said = String::new();
        slow.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    }

    #[tokio::test]
    async fn who_is_known_takes_no_place_and_keeps_its_connection() {
        let (address, stop) = start(Bounds { newcomers: 1, head: Duration::from_secs(60) }).await;
        let mut known = Vec::new();
        for _ in 0..5 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut stream, "/known").await.ends_with("known"));
            known.push(stream);
        }
        for stream in &mut known {
            assert!(!ask(stream, "/anybody").await.contains("connection: close"));
        }
        let mut stranger = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut stranger, "/anybody").await.contains("connection: close"));
        assert_eq!(stranger.read(&mut [0; 8]).await.unwrap(), 0, "one request, then its place is free");
        stop.send(true).unwrap();
        for stream in &mut known {
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "idle connections end with the service");
        }
    }
}
