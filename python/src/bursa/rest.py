"""The control plane: JSON requests over kept connections."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections import deque
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from . import tls
from .errors import BursaError, Busy, Unavailable, from_service
from .login import Login

TIMEOUT = 70.0
"""Seconds for one answer; the longest wait that the service offers is 50."""

GIVE_UP = 60.0
"""Seconds that a service which was there before may be away."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts, doubling."""


class Rest:
    """Requests below `/api/v1`. Any thread may call; each request in flight has a connection of its own."""

    def __init__(self, url: str, token: str | Login) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._connect = partial(tls.Connection, pin=tls.pin_of(url)) if secure else http.client.HTTPConnection
        self._address, self._url = parts.netloc, url
        self._prefix = parts.path.rstrip("/") + "/api/v1"
        self._token = token
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._met = False
        self._closed = threading.Event()

    def get(self, path: str, **query: Any) -> Any:
        """`query`: values that are None are left out."""
        return self._request("GET", _with(path, query), None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """`body`: keys that are None are left out; bytes become base64 text."""
        return self._request("POST", path, _json(body))

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """`body` as of `post`."""
        return self._request("PUT", path, _json(body))

    def delete(self, path: str, **query: Any) -> Any:
        """`query` as of `get`."""
        return self._request("DELETE", _with(path, query), None)

    def pages(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """All items of a listing."""
        items: list[dict[str, Any]] = []
        after = None
        while True:
            page = self.get(path, after=after, **query)
            items += page[key]
            after = page.get("next")
            if not after:
                return items

    def close(self) -> None:
        self._closed.set()
        while self._idle:
            self._idle.pop().close()

    def _request(self, method: str, path: str, body: bytes | None) -> Any:
        """Sends again while a service that was there before is away, or asks to come later: all our requests
        may be repeated."""
        until = time.monotonic() + GIVE_UP
        pause = FIRST_PAUSE
        while True:
            try:
                return self._once(method, self._prefix + path, body)
            except Busy as error:
                if time.monotonic() >= until or self._closed.is_set():
                    raise
                self._closed.wait(error.retry_after or pause)
                continue
            except (OSError, http.client.HTTPException) as error:
                if not self._met or time.monotonic() >= until or self._closed.is_set():
                    raise Unavailable(
                        f"The service at {self._url} cannot be reached ({error}); "
                        "run `bursa up` there, or check the url."
                    ) from error
            self._closed.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _once(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect(self._address, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            data = response.read()
        except BaseException:
            connection.close()
            self._idle.clear()  # they belong to the same service that went away
            raise
        self._met = True
        self._idle.append(connection)
        return _answer(response.status, data)


def _with(path: str, query: dict[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _answer(status: int, data: bytes) -> Any:
    try:
        value = json.loads(data) if data else None
    except ValueError:
        raise BursaError(
            f"The service answered {status} with something that is no JSON; check the url."
        ) from None
    if status < 400:
        return value
    error = value.get("error") if isinstance(value, dict) else None
    raise from_service(error if isinstance(error, dict) else {"message": f"The service answered {status}."})


def _json(body: dict[str, Any]) -> bytes:
    given = {name: value for name, value in body.items() if value is not None}
    return json.dumps(given, default=_base64).encode()


def _base64(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(str(text), safe="")
