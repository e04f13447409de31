"""TLS of the REST API: clients know the service, nobody else, and a new certificate needs no restart."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import bursa
import pytest
from conftest import BINARY, environment, run_cli, running, with_role


def certificate(path: Path, name: str) -> str:
    """A new certificate and key at `path`.crt and .key, for this host by `name`; its hash."""
    cert, key = f"{path}.crt", f"{path}.key"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {key} -out {cert} "
        f"-days 2 -subj /CN={name} -addext subjectAltName=DNS:{name}".split(),
        check=True,
        capture_output=True,
    )
    os.chmod(key, 0o600)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(cert).read_text())).hexdigest()


def served(port: int) -> str:
    """The hash of the certificate that is served."""
    return hashlib.sha256(
        ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
    ).hexdigest()


def test_a_service_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--tls-self-signed") as stack:
        parts = urlsplit(stack.url)
        assert parts.scheme == "https" and parts.fragment.startswith("sha256:")
        kept = stack.client()
        assert kept.run(len, "abc").result(30) == 3
        assert stack.url in (stack.home / "client.toml").read_text()
        assert run_cli(stack.home, "task", "list").returncode == 0
        assert (stack.home / "service/tls.key").stat().st_mode & 0o777 == 0o600

        wrong = stack.url[:-64] + "0" * 64
        with bursa.Client(wrong, stack.token) as client:
            with pytest.raises(bursa.Unavailable, match="has the hash"):
                client.endpoints()
            with pytest.raises(bursa.Unavailable, match="has the hash"):
                client.run(len, "abc").result(30)
        refused = run_cli(stack.home, "task", "list", BURSA_URL=wrong)
        assert refused.returncode != 0 and "has the hash" in refused.stderr, refused
        # Without the hash nothing vouches for it.
        bare = stack.url.partition("#")[0]
        with (
            bursa.Client(bare, stack.token) as client,
            pytest.raises(bursa.Unavailable, match="certificate"),
        ):
            client.endpoints()
        assert run_cli(stack.home, "task", "list", BURSA_URL=bare).returncode != 0
        short = run_cli(stack.home, "task", "list", BURSA_URL=stack.url[:-1])
        with pytest.raises(bursa.Invalid, match="copy it whole"):
            bursa.Client(stack.url[:-1], stack.token)
        assert short.returncode != 0

        with socket.create_connection((parts.hostname, parts.port)) as plain:
            plain.sendall(b"GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" not in plain.recv(1000), "no request is answered without TLS"

        [pid] = with_role(stack.pid, "service")
        os.kill(pid, signal.SIGKILL)
        assert kept.run(len, "abcd").result(60) == 4, "the same certificate, address and url"


def test_a_new_certificate_is_served_after_sighup(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = certificate(tmp_path / "tls", "localhost")
    files = {"BURSA_TLS_CERT": f"{tmp_path}/tls.crt", "BURSA_TLS_KEY": f"{tmp_path}/tls.key"}
    command = [
        str(BINARY),
        "serve",
        "--json",
        "--home",
        str(home),
        "--http",
        "127.0.0.1:0",
        "--zmq",
        "127.0.0.1:0",
    ]
    names = {**files, "BURSA_PUBLIC_HTTP": "localhost"}
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        command, env=environment(home, **names), stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline()
        line = (home / "client.toml").read_text()
        url, token = (row.split('"')[1] for row in sorted(line.splitlines(), reverse=True))
        assert url.startswith("https://localhost:") and "#" not in url, "authorities vouch for it"
        port = int(url.rpartition(":")[2])
        assert served(port) == first
        context = ssl.create_default_context(cafile=f"{tmp_path}/tls.crt")
        kept = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
        kept.request("GET", "/api/v1/whoami", headers={"Authorization": f"Bearer {token}"})
        answer = kept.getresponse()
        assert answer.read() and answer.status == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"

        second = certificate(tmp_path / "tls", "localhost")
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 30
        while served(port) != second:
            assert time.monotonic() < end and process.poll() is None
        kept.request("GET", "/api/v1/whoami", headers={"Authorization": f"Bearer {token}"})
        assert kept.getresponse().status == 200, "connections stay"

        Path(f"{tmp_path}/tls.crt").write_text("no certificate")
        process.send_signal(signal.SIGHUP)
        while "the certificate in use stays" not in (tmp_path / "log").read_text():
            assert time.monotonic() < end and process.poll() is None
        assert served(port) == second
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_plain_http_for_others_must_be_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    refused = run_cli(home, "serve", "--http", "0.0.0.0:0")
    assert refused.returncode == 78 and "--tls-self-signed" in refused.stderr, refused
    os.chmod(tmp_path, 0o700)
    certificate(tmp_path / "tls", "localhost")
    os.chmod(tmp_path / "tls.key", 0o644)
    files = {"BURSA_TLS_CERT": f"{tmp_path}/tls.crt", "BURSA_TLS_KEY": f"{tmp_path}/tls.key"}
    refused = run_cli(home, "serve", "--http", "0.0.0.0:0", **files)
    assert refused.returncode != 0 and "chmod 600" in refused.stderr, refused
