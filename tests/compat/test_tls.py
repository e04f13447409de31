"""REST and AMQP with TLS and a certificate that no authority knows: their clients check it, and its name."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import Clients, e2e, python_of

GREETING = b"AMQP\0\0\x09\x01"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[e2e.Stack]:
    """A stack whose results others can come for."""
    home = tmp_path_factory.mktemp("tls") / "home"
    more = {"BURSA_AMQP": "0.0.0.0:0", "BURSA_PUBLIC_HTTP": "localhost"}
    with e2e.running(home, "--tls-self-signed", **more) as stack:
        yield stack


def printed(stack: e2e.Stack) -> dict[str, str]:
    """The variables that a user sets."""
    done = e2e.run_cli(stack.home, "--json", "env", "globus-compute")
    assert done.returncode == 0, done.stderr
    assert "two lines" in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("packages", ["sdk-4", "funcx-2"])
def test_executor(secured: e2e.Stack, tmp_path: Path, packages: str) -> None:
    clients = Clients(secured, python_of(packages), tmp_path)
    variables = printed(secured)
    assert "http_proxy" not in variables, "of a proxy's certificate they look at nothing"
    environment = {**clients.environment(), **variables}
    del environment["http_proxy"]
    heard = clients.run_with(environment, "executor_tls.py", packages, timeout=240)
    assert heard == [{"many": [2 * n for n in range(50)], "large": 3_000_000}, {"back": 2_000_000}]


def address(stack: e2e.Stack, trust: ssl.SSLContext) -> tuple[str, int]:
    request = urllib.request.Request(
        f"{stack.url.partition('#')[0]}/v2/get_amqp_result_connection_url",
        headers={"Authorization": f"Bearer {stack.token}"},
    )
    with urllib.request.urlopen(request, context=trust, timeout=60) as answer:
        url = urlsplit(json.load(answer)["connection_url"])
    assert url.scheme == "amqps"
    return url.hostname, url.port


def test_nobody_speaks_without_tls_and_the_certificate_is_that_of_rest(secured: e2e.Stack) -> None:
    trust = ssl.create_default_context(cafile=printed(secured)["SSL_CERT_FILE"])
    at = address(secured, trust)
    assert at[0] == "localhost", "the service's first name, for which the certificate is"
    with (
        socket.create_connection(at, timeout=60) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"AMQP\x03\x01\0\0")
        assert client.recv(8) == GREETING
    with socket.create_connection(at, timeout=60) as plain:
        plain.sendall(GREETING)
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while more := plain.recv(1000):
                heard += more
    assert b"PLAIN" not in heard, "it is not asked for a password"


def test_without_tls_it_must_be_said(tmp_path: Path) -> None:
    def started(**more: str) -> subprocess.CompletedProcess[str]:
        return e2e.run_cli(
            tmp_path / "home", "serve", "--http", "127.0.0.1:0", BURSA_AMQP="0.0.0.0:0", **more
        )

    refused = started()
    assert refused.returncode == 78 and "service.plain_amqp" in refused.stderr, refused
    assert "true or false" in started(BURSA_PLAIN_AMQP="perhaps").stderr
