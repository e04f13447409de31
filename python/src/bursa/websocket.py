"""A WebSocket client over one raw socket: binary messages, no extensions, TLS for https.

One thread at a time reads, and one at a time writes (the caller sees to that); when that is the same, it
keeps reading while the peer does not take its bytes, so that two full pipes can never wait for each other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import socket
import ssl
import struct
import threading
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from . import tls
from .errors import BursaError, Unavailable, from_service
from .login import Login

CONNECT_TIMEOUT = 10.0
"""Seconds for connecting and for the handshake."""

SILENCE = 60
"""Seconds without a byte after which the connection counts as broken; the service pings every 20 s."""

PROBE_AFTER, PROBE_EVERY, PROBES, UNANSWERED = 5, 2, 3, 10
"""Seconds without a byte after which the kernel asks whether the other side is there, how often it asks, and
how many times; seconds without an answer after which it is not. What died without a sign is noticed
by this; SILENCE is for a service that hangs."""

LISTEN, IGNORE = (select.EPOLLIN, 0) if hasattr(select, "epoll") else (0, 0)
CALL = LISTEN | (select.EPOLLOUT if LISTEN else 0)
"""What `watch` may be set to: `wait` ends when something comes; it goes on; it ends at once."""

RESULT = 40
"""Bytes that wake who waits for nothing but a result: an `accepted` has fewer, results have more."""

_CHUNK = 256 << 10
_KEPT = 4 << 20
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA


class WebSocket:
    """Raises OSError (ConnectionError and so on) for anything wrong with the connection."""

    def __init__(self, url: str, token: str | Login) -> None:
        """Connects and shakes hands. Raises OSError, or a BursaError that the service answered with."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        self._sock = socket.create_connection((host, port), CONNECT_TIMEOUT)
        self._in = bytearray()
        self._room = memoryview(bytearray(_CHUNK))  # received into, over and over
        self._large = memoryview(
            b""
        )  # likewise for large frames, up to _KEPT: new pages cost more than a copy
        self._fills = 0
        self.owed: list[bytes] = []  # pongs to send
        self.torn = False  # what was read may be lost, so that this connection is of no use any more
        self.watch = select.epoll() if LISTEN else None  # of `wait`; None where there is no such thing
        self._arrivals = select.poll()
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _probe(self._sock)
            self._tls = _Tls(self._sock, host, tls.pin_of(url)) if secure else None
            self._shake_hands(parts.netloc.rpartition("@")[2], parts.path or "/", token)
            self._sock.settimeout(None)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", SILENCE, 0))
            self._arrivals.register(self._sock, select.POLLIN)
            # Each a single call into C. Of TLS one cannot say how many bytes a message has.
            least = partial(self._sock.setsockopt, socket.SOL_SOCKET, socket.SO_RCVLOWAT)
            self.hear_all, self.hear_results = partial(least, 1), partial(least, 1 if secure else RESULT)
            if self.watch is not None:
                self.watch.register(self._sock, LISTEN)
        except BaseException:
            self.close()
            raise

    def _shake_hands(self, host: str, path: str, token: str | Login) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        self._write(request.encode())
        while (end := self._in.find(b"\r\n\r\n")) < 0:
            self._fill()
        head = bytes(self._in[:end]).decode("latin-1").split("\r\n")
        del self._in[: end + 4]
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        status = head[0].split(" ")[1]
        if status != "101":
            raise self._refusal(status, int(headers.get("content-length", "0") or 0))
        proof = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
        if headers.get("sec-websocket-accept", "") != proof.lower():
            raise ConnectionError("the answer to the handshake is not a WebSocket's")

    def _refusal(self, status: str, length: int) -> BursaError:
        self._have(length)
        try:
            return from_service(json.loads(bytes(self._in[:length]))["error"])
        except (ValueError, KeyError, TypeError):
            return Unavailable(f"The service answered the stream's handshake with {status}; check the url.")

    def send(self, *parts: bytes, reading: bool = False) -> None:
        """One binary message. `reading`: the caller is the reading thread."""
        head, first = _head(_BINARY, sum(map(len, parts))), parts[0]
        if len(first) < _CHUNK:
            self._write(head + first, reading)
        else:
            self._write(head, reading)
            self._write(first, reading)
        for part in parts[1:]:
            self._write(part, reading)

    def send_owed(self, *, reading: bool = False) -> None:
        """Answers the pings that came."""
        while self.owed:
            self._write(_frame(_PONG, self.owed.pop()), reading)

    def receive(self) -> bytes | memoryview | None:
        """The next message, to be read before the one after it; None when a ping came instead, whose pong is
        now owed."""
        parts: list[bytes] = []
        while True:
            opcode, final, data = self._receive_frame()
            if opcode == _PING:
                self.owed.append(bytes(data))
                if not parts:
                    return None
            elif opcode == _CLOSE:
                raise ConnectionError("the service closed the stream")
            elif opcode != _PONG:
                if final and not parts:
                    return data
                parts.append(bytes(data))
                if final:
                    return b"".join(parts)

    def has_frame(self) -> bool:
        """Whether `receive` finds a frame that is here as a whole."""
        start, size = self._measure()
        return start > 0 and start + size <= len(self._in)

    def has_large(self) -> bool:
        """Whether `receive` finds the beginning of a large frame, and would wait for its end."""
        return self._measure()[1] > _CHUNK and self._tls is None

    def _measure(self) -> tuple[int, int]:
        """Where the data of the first frame begin, and how many; zeros while its head is not whole."""
        have = len(self._in)
        size = self._in[1] if have >= 2 else 0
        start = 2 if size < 126 else 4 if size == 126 else 10
        if have < start:
            return 0, 0
        return start, size if start == 2 else int.from_bytes(self._in[2:start], "big")

    def _receive_frame(self) -> tuple[int, bool, bytes | memoryview]:
        while not (measured := self._measure())[0]:
            self._fill()
        start, size = measured
        first = self._in[0]
        if size > _CHUNK and self._tls is None:
            return first & 0x0F, bool(first & 0x80), self._receive_large(start, size)
        self._have(start + size)
        with memoryview(self._in) as view:
            data = bytes(view[start : start + size])
        del self._in[: start + size]
        return first & 0x0F, bool(first & 0x80), data

    def _receive_large(self, start: int, size: int) -> memoryview:
        """The content of a large frame, received where it stays."""
        room = self._large
        if size > len(room):
            room = memoryview(bytearray(size))
            if size <= _KEPT:
                self._large = room
        data = room[:size]
        held = min(len(self._in) - start, size)
        data[:held] = self._in[start : start + held]
        del self._in[: start + held]
        while held < size:
            held += self._received(data[held:])
        return data

    def _have(self, count: int) -> None:
        while len(self._in) < count:
            self._fill()

    def _fill(self, flags: int = 0) -> None:
        data = self._room[: self._received(self._room, flags)]
        self._in += data if self._tls is None else self._tls.decode(data)

    def _received(self, room: memoryview, flags: int = 0) -> int:
        try:
            received = self._sock.recv_into(room, 0, flags)
        except BlockingIOError:
            if flags:
                return 0
            raise ConnectionError(f"nothing came for {SILENCE} s") from None
        if not received:
            raise ConnectionError("the service ended the connection")
        self._fills += 1
        return received

    def fill(self) -> None:
        """Takes what has come since (only without `watch` it waits for something)."""
        self._fill(0 if self.watch is None else socket.MSG_DONTWAIT)

    def arrives(self, timeout: float) -> bool:
        """Whether something comes within so many seconds. An interrupt of this loses nothing."""
        return bool(self._arrivals.poll(max(0.0, timeout) * 1000))

    def wait(self) -> bool:
        """Waits as `watch` is set. True when it ended because somebody set it to CALL."""
        if self.watch is None:
            return False
        fills = self._fills
        events = self.watch.poll(SILENCE)
        if not events and fills == self._fills:
            raise ConnectionError(f"nothing came for {SILENCE} s")
        return bool(events and events[0][1] & select.EPOLLOUT)

    def fileno(self) -> int:
        return self._sock.fileno()

    def _write(self, data: bytes, reading: bool = False) -> None:
        if self._tls is not None:
            data = self._tls.encode(data)
        if not reading:
            try:
                return self._sock.sendall(data)
            except BlockingIOError:
                raise ConnectionError(f"the service took nothing for {SILENCE} s") from None
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait_writable()

    def _wait_writable(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | select.POLLOUT)
        ready = poll.poll(SILENCE * 1000)
        if not ready:
            raise ConnectionError(f"the service took nothing for {SILENCE} s")
        if ready[0][1] & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._fill()

    def shut(self) -> None:
        """Ends the connection; a blocked reader or writer of it gets an error."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self.watch is not None:
            self.watch.close()
        self._sock.close()


def _frame(opcode: int, data: bytes) -> bytes:
    return _head(opcode, len(data)) + data


def _head(opcode: int, size: int) -> bytes:
    """Of a final client frame. Its mask is all zero, which is legal and leaves the data as it is."""
    if size < 126:
        head = struct.pack(">BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0"


def _probe(sock: socket.socket) -> None:
    """Have the kernel notice a peer that went away without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": PROBE_AFTER,
        "TCP_KEEPINTVL": PROBE_EVERY,
        "TCP_KEEPCNT": PROBES,
        "TCP_USER_TIMEOUT": 1000 * UNANSWERED,
    }
    for name, value in options.items():
        if hasattr(socket, name):  # not everywhere
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Tls:
    """TLS over memory buffers, so that one thread can read the socket while another writes it."""

    def __init__(self, sock: socket.socket, host: str, pin: str | None) -> None:
        self._lock = threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.context(pin).wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(self._outgoing.read())
                data = sock.recv(_CHUNK)
                if not data:
                    raise ConnectionError("the service ended the TLS handshake") from None
                self._incoming.write(data)
            else:
                tls.check(pin, self._tls.getpeercert(True))
                sock.sendall(self._outgoing.read())
                return

    def encode(self, data: bytes) -> bytes:
        with self._lock:
            self._tls.write(data)
            return self._outgoing.read()

    def decode(self, data: memoryview) -> bytes:
        parts = []
        with self._lock:
            self._incoming.write(data)
            try:
                while part := self._tls.read(_CHUNK):
                    parts.append(part)
            except ssl.SSLWantReadError:
                pass
        return b"".join(parts)
