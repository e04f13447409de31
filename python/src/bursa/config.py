"""Which service, and with what token: arguments, environment, a login, `<home>/client.toml`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from . import login
from .errors import Invalid, Unauthorized

_LINE = re.compile(r'^\s*(url|token)\s*=\s*"([^"\\]*)"\s*(?:#.*)?$', re.MULTILINE)


class Settings(NamedTuple):
    url: str
    token: str | login.Login
    """As text it is the token to send now: that of a login changes."""


def directory_of(home: str | os.PathLike[str] | None = None) -> Path:
    """Where everything of Bursa's is kept: the argument, BURSA_HOME, or `~/.bursa`."""
    return Path(home or os.environ.get("BURSA_HOME") or Path.home() / ".bursa")


def settings(
    url: str | None = None, token: str | None = None, home: str | os.PathLike[str] | None = None
) -> Settings:
    """Raises Unauthorized when url or token is nowhere to be found."""
    url = url or os.environ.get("BURSA_URL")
    token = token or os.environ.get("BURSA_TOKEN")
    directory = directory_of(home)
    path = directory / "client.toml"
    known = None if token else login.of_home(directory)
    if known is not None and url in (None, "", known.url, known.url + "/"):
        url, token = known.url, known
    if not (url and token):
        stored = _read(path)
        url, token = url or stored.get("url"), token or stored.get("token")
    if not url or not token:
        missing = " and no ".join(name for name, value in (("url", url), ("token", token)) if not value)
        raise Unauthorized(
            f"There is no {missing} of a Bursa service in {path} or in the environment; "
            "run `bursa up` or `bursa login`, or set BURSA_URL and BURSA_TOKEN."
        )
    if not re.match(r"https?://[^/]", url):
        raise Invalid(f"The service's url {url!r} does not begin with http:// or https://; write it in full.")
    if not re.match(r"https://[^#]*(#sha256:[0-9a-fA-F]{64})?$|http://[^#]*$", url):
        raise Invalid(
            f"The service's url {url!r} does not end as a url or as one with its certificate's hash does, "
            "https://host:port#sha256:…; copy it whole."
        )
    return Settings(url.rstrip("/"), token)


def _read(path: Path) -> dict[str, str]:
    """The two keys of client.toml. (Python 3.9 has no TOML reader, and the file has two plain lines.)"""
    try:
        return dict(_LINE.findall(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unauthorized(
            f"{path} cannot be read ({error.strerror}); make it yours, or set BURSA_URL and BURSA_TOKEN."
        ) from error
