//! A socket on the tokio runtime, and the libzmq calls that the `zmq` crate does not offer. Owns all `unsafe` of this
//! crate, behind safe functions; does not own options or messages.
#![expect(
    unsafe_code,
    reason = "three libzmq calls that zmq 0.10 lacks, and tokio's AsyncFd on a borrowed descriptor"
)]

use crate::error::Error;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `ZMQ_ZAP_ENFORCE_DOMAIN` of zmq.h (libzmq ≥ 4.3), which `zmq-sys` 0.12 does not list.
const ZAP_ENFORCE_DOMAIN: c_int = 93;

unsafe extern "C" {
    // zmq.h; `zmq-sys` 0.12 links it but does not list it.
    fn zmq_curve_public(z85_public_key: *mut c_char, z85_secret_key: *const c_char) -> c_int;
}

/// libzmq's notification descriptor of a socket. The socket owns and closes it.
struct Notify(RawFd);

impl AsRawFd for Notify {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Looks in a row that may be left out because the descriptor did not speak: who never waits is never told that it did.
/// Most links have moved to a bulk connection, and have nothing to say here.
const UNTOLD: u32 = 15;

/// A socket and its wake-ups.
pub(crate) struct Link {
    // Dropped in this order: the runtime lets go of the descriptor before libzmq closes it.
    ready: AsyncFd<Notify>,
    socket: zmq::Socket,
    /// Looks that may be left out before the next.
    quiet: Cell<u32>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    pub(crate) fn new(socket: zmq::Socket) -> Result<Self, Error> {
        let notify = Notify(socket.get_fd()?);
        // SAFETY: the descriptor stays open and the same until `socket` is closed, which this type does only after
        // it dropped `ready`; nobody outside can take either of them out.
        let ready = unsafe { AsyncFd::register_with_interest(notify, Interest::READABLE) };
        let ready = ready.map_err(|error| error.into_parts().1)?;
        Ok(Self { ready, socket, quiet: Cell::new(0) })
    }

    /// For anything but receiving. It can swallow a wake-up, so the next look is a real one.
    pub(crate) fn socket(&self) -> &zmq::Socket {
        self.quiet.set(0);
        &self.socket
    }

    /// Receives with `take`, which says `EAGAIN` when there is nothing. A look that finds nothing costs two system calls,
    /// so after one there is none until the descriptor has spoken, or until a few were left out.
    pub(crate) fn look<T>(&self, take: impl Fn(&zmq::Socket) -> Result<T, zmq::Error>) -> Option<T> {
        let mut looked = None;
        // Its silence begins before a look that finds nothing: what comes meanwhile is told.
        let _ = self.ready.try_io(Interest::READABLE, |_| {
            let nothing = matches!(looked.insert(take(&self.socket)), Err(zmq::Error::EAGAIN));
            if nothing { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        let quiet = self.quiet.get();
        if looked.is_none() && quiet > 0 {
            self.quiet.set(quiet - 1);
            return None;
        }
        let found = looked.unwrap_or_else(|| take(&self.socket));
        self.quiet.set(if found.is_ok() { 0 } else { UNTOLD });
        match found {
            Ok(taken) => Some(taken),
            Err(zmq::Error::EAGAIN) => None,
            // A live socket of a live context has no other error to give.
            Err(error) => {
                tracing::error!(%error, "cannot receive");
                None
            }
        }
    }

    /// Waits for news. Cancel-safe. Wakes too often, never too rarely, if one rule is kept: always [`look`](Self::look)
    /// first, then wait, then look again. libzmq's descriptor speaks once, and again only after everything was taken.
    pub(crate) fn news(&self) -> impl Future<Output = ()> + Send {
        // Only this field: a `Sync` one, so that a caller's future may move between threads.
        let ready = &self.ready;
        async move {
            match ready.readable().await {
                // Until a look finds nothing.
                Ok(mut guard) => guard.retain_ready(),
                // Only when the runtime shuts down: nobody will poll us again.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Stops the socket's monitor. Must happen before its reader is dropped: libzmq's I/O thread sends events without a
/// timeout and would wait for a reader for ever.
pub(crate) fn stop_monitor(link: &mut Link) {
    // SAFETY: the pointer is a live socket, borrowed mutably for the call; a null address means "stop".
    let code = unsafe { zmq_sys::zmq_socket_monitor(link.socket.as_mut_ptr(), ptr::null(), 0) };
    debug_assert_eq!(code, 0, "a live socket's monitor can be stopped");
}

/// Without an answering ZAP handler nobody gets in (libzmq's default: everybody).
pub(crate) fn enforce_zap(socket: &mut zmq::Socket) -> Result<(), zmq::Error> {
    let on: c_int = 1;
    // SAFETY: the pointer is a live socket; the value is a C int of the size given and outlives the call.
    let code = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            ZAP_ENFORCE_DOMAIN,
            ptr::from_ref(&on).cast::<c_void>(),
            size_of::<c_int>(),
        )
    };
    // SAFETY: reads libzmq's errno of this thread.
    if code == 0 { Ok(()) } else { Err(zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() })) }
}

/// The public key, in Z85, of a secret key in Z85; none if libzmq finds the secret malformed.
pub(crate) fn public_of(secret: &str) -> Option<String> {
    let mut from = [0_u8; 41];
    from[..40].copy_from_slice(<&[u8; 40]>::try_from(secret.as_bytes()).ok()?);
    let mut to = [0_u8; 41];
    // SAFETY: both buffers hold the 40 characters and the final zero that the call reads and writes.
    let code = unsafe { zmq_curve_public(to.as_mut_ptr().cast::<c_char>(), from.as_ptr().cast::<c_char>()) };
    if code == 0 { String::from_utf8(to[..40].to_vec()).ok() } else { None }
}
