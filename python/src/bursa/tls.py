"""TLS to a service: authorities and its name vouch for it, or the hash of its certificate in the url's end,
`https://host:port#sha256:…`, as of a service with a certificate of its own."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from typing import Any
from urllib.parse import urlsplit

_BEGIN = "sha256:"


def pin_of(url: str) -> str | None:
    """The hash that the url names, in hexadecimal."""
    fragment = urlsplit(url).fragment
    return fragment[len(_BEGIN) :].lower() if fragment.startswith(_BEGIN) else None


def context(pin: str | None) -> ssl.SSLContext:
    """With a pin, who uses it must `check` before the first byte is sent."""
    made = ssl.create_default_context()
    if pin is not None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def check(pin: str | None, certificate: bytes | None) -> None:
    """Raises ssl.SSLCertVerificationError where the peer's certificate is not the one of the pin."""
    if pin is None:
        return
    found = hashlib.sha256(certificate or b"").hexdigest()
    if found != pin:
        raise ssl.SSLCertVerificationError(
            f"its certificate has the hash {found}, and the url names {pin}: it is another service, or has "
            "a new certificate; take the url from its client.toml"
        )


class Connection(http.client.HTTPSConnection):
    """A connection of HTTP that says nothing to anybody but the one whom `pin` names."""

    def __init__(self, address: str, *, pin: str | None, timeout: float) -> None:
        super().__init__(address, timeout=timeout, context=context(pin))
        self._pin = pin

    def connect(self) -> None:
        super().connect()
        sock: Any = self.sock
        check(self._pin, sock.getpeercert(True))
