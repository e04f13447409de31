"""Logging in as a person does: a program prints an address, its page takes a token and shows a code."""

from __future__ import annotations

import html.parser
import json
import os
import pty
import re
import select
import subprocess
import time
import urllib.error
import urllib.request
from urllib.parse import urlencode, urlsplit

import pytest
from conftest import PROGRAMS, Clients, e2e

ALL = ["sdk-4", "sdk-3", "sdk-2", "funcx-2", "funcx-1", "funcx-0"]
BOUND = 120


class Page(html.parser.HTMLParser):
    """What a browser makes of a page here: its form, and the code that it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: list[str] = []
        self.form: dict[str, str | None] | None = None
        self.code = ""
        self._in_code = False
        self.feed(text)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attributes = dict(pairs)
        if tag == "form":
            self.form = attributes
        if tag == "input":
            self.fields.append(attributes["name"] or "")
        self._in_code = tag == "code" and attributes.get("id") == "code"

    def handle_data(self, text: str) -> None:
        if self._in_code:
            self.code += text

    def handle_endtag(self, tag: str) -> None:
        self._in_code = False


def browse(url: str, token: str) -> str:
    """The code that the page at `url` shows to who enters `token`."""
    with urllib.request.urlopen(url, timeout=BOUND) as answer:
        page = Page(answer.read().decode())
    assert page.form == {"method": "post"} and page.fields == ["token"], "it goes back to where it came from"
    parts = urlsplit(url)
    headers = {"Origin": f"{parts.scheme}://{parts.netloc}", "Sec-Fetch-Site": "same-origin"}
    request = urllib.request.Request(url, urlencode({"token": token}).encode(), headers)
    with urllib.request.urlopen(request, timeout=BOUND) as answer:
        return Page(answer.read().decode()).code


class Terminal:
    """A program at a terminal, as these clients want one before they ask for a code."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.said = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Reads until it has said this."""
        end = time.monotonic() + BOUND
        while not (found := re.search(pattern, self.said)):
            ready, _, _ = select.select([self._ours], [], [], max(0, end - time.monotonic()))
            assert ready, f"it did not say {pattern} within {BOUND} s:\n{self.said}"
            try:
                more = os.read(self._ours, 65_536)
            except OSError:  # the other end is closed
                more = b""
            assert more, f"it ended without {pattern}:\n{self.said}"
            self.said += more.decode(errors="replace")
        return found

    def say(self, line: str) -> None:
        os.write(self._ours, f"{line}\n".encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def tokens(stack: e2e.Stack) -> list[str]:
    request = urllib.request.Request(
        f"{stack.url}/api/v1/tokens", headers={"Authorization": f"Bearer {stack.token}"}
    )
    with urllib.request.urlopen(request, timeout=BOUND) as answer:
        return [token["name"] for token in json.load(answer)["tokens"]]


@pytest.mark.parametrize("clients", ALL, indirect=True)
def test_a_person_logs_a_program_in(clients: Clients) -> None:
    stack, age = clients.stack, clients.name
    # Where people log in, their browsers find the service without a proxy.
    environment = clients.without_secrets(GLOBUS_SDK_SERVICE_URL_AUTH=f"{stack.url}/")
    if age == "funcx-0":
        environment["GLOBUS_SDK_ENVIRONMENT"] = "production"
    del environment["BURSA_TOKEN"]
    command = [str(clients.python), str(PROGRAMS / "logged_in.py"), stack.endpoint_id, age]
    before = len(tokens(stack))

    terminal = Terminal(command, environment)
    try:
        url = terminal.until(r"(https?://\S+/v2/oauth2/authorize\?\S+)[\r\n]")[1]
        assert url.startswith(stack.url), "an address that the person's browser can open"
        terminal.say(browse(url, stack.token))
        assert terminal.until(r'"result": (\d+)')[1] == "42"
    finally:
        terminal.close()
    assert tokens(stack)[before:] == ["login: Globus Compute"]

    # Later runs find the tokens in the store, and logging out ends them.
    done = subprocess.run(
        command,
        env={**environment, "THEN": "--logout"},
        capture_output=True,
        text=True,
        timeout=BOUND,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert '"result": 42' in done.stdout and "logged_out" in done.stdout
    assert len(tokens(stack)) == before
