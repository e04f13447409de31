"""A `bursa login`: its token, renewed before it ends. The CLI reads and renews the same file."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from .errors import Unauthorized, Unavailable

if TYPE_CHECKING:
    from urllib.error import HTTPError

AHEAD = 60.0
"""Seconds before its end when a token is renewed: longer than a request takes."""

UNSAID = 300
"""Seconds that a token counts whose provider does not say how long it lives."""

TIMEOUT = 30.0
"""Seconds for an answer of the provider."""


class Login:
    """The login in `<home>/login.json`; as text, the token to send now.

    Any thread may ask, and a fork's child.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "login.json"
        self._kept = self._read()

    @property
    def url(self) -> str:
        """The service that it is for: the token is shown to no other."""
        return str(self._kept["url"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Login) and other._path == self._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __str__(self) -> str:
        if _left(self._kept) <= AHEAD:
            with self._alone():
                self._kept = self._read()  # who had the lock before may have renewed it
                if _left(self._kept) <= AHEAD:
                    self._kept = self._renewed(self._kept)
        return str(self._kept["access_token"])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Many providers end a login whose renewal is asked for twice."""
        lock = os.open(self._path.with_name("login.lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough where a fork's child has it too
            os.close(lock)

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text("utf-8"))
            return {**kept, "url": kept["url"].rstrip("/"), "access_token": kept["access_token"]}
        except FileNotFoundError:
            raise Unauthorized("Nobody is logged in here any more; run `bursa login` again.") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unauthorized(
                f"{self._path} cannot be read as a login ({error}); run `bursa login` again."
            ) from error

    def _renewed(self, kept: dict[str, Any]) -> dict[str, Any]:
        try:
            fresh = _ask(kept)
        except Unauthorized:
            if _left(kept) > 0:  # it may still be used while it lasts
                return kept
            raise
        except (OSError, ValueError) as error:
            if _left(kept) > 0:
                return kept
            raise Unavailable(
                f"The login at {kept.get('issuer')} has ended and cannot be renewed now ({error}); try again."
            ) from error
        kept = {**kept, "access_token": str(fresh["access_token"])}
        kept["refresh_token"] = fresh.get("refresh_token") or kept.get("refresh_token")
        kept["expires_at"] = int(time.time()) + int(fresh.get("expires_in") or UNSAID)
        partial = self._path.with_name("login.partial")
        with suppress(FileNotFoundError):
            partial.unlink()
        with open(
            os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(kept, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self._path)
        return kept


def of_home(home: Path) -> Login | None:
    """The login of this home, if there is one."""
    return Login(home) if (home / "login.json").exists() else None


def _left(kept: dict[str, Any]) -> float:
    return float(kept.get("expires_at") or 0) - time.time()


def _ask(kept: dict[str, Any]) -> dict[str, Any]:
    """The provider's answer to the refresh token, which has an `access_token`."""
    from urllib.error import HTTPError  # who has no login to renew does without
    from urllib.request import Request, urlopen

    wanted = {"client_id": kept.get("client_id"), "refresh_token": kept.get("refresh_token")}
    if not all(wanted.values()):
        raise _over(kept, "it cannot be renewed")
    form = {"grant_type": "refresh_token", **wanted}
    if kept.get("resource"):
        form["resource"] = kept["resource"]
    request = Request(
        str(kept.get("token_endpoint")), urlencode(form).encode(), {"Accept": "application/json"}
    )
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:
            fresh = json.load(answer)
    except HTTPError as error:
        with error:
            if error.code not in (400, 401):
                raise OSError(f"it answered {error.code}") from None
            raise _over(kept, _word(error)) from None
    if not isinstance(fresh, dict) or "access_token" not in fresh:
        raise ValueError("it answered without a token")
    return fresh


def _word(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.code)


def _over(kept: dict[str, Any], why: str) -> Unauthorized:
    return Unauthorized(f"The login at {kept.get('issuer')} has ended ({why}); run `bursa login` again.")
