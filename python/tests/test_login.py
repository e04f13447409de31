"""A login's token is renewed before it ends, by one of those who want it, and shown to its service only."""

from __future__ import annotations

import json
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator
from urllib.parse import parse_qsl

import pytest
from fake_service import FakeService

import bursa
from bursa.config import settings
from bursa.errors import Unauthorized, Unavailable
from bursa.login import Login


class Provider(ThreadingHTTPServer):
    """Each refresh token is good once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.good, self.asked, self.made = "r0", [], 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        form = dict(parse_qsl(self.rfile.read(length).decode()))
        self.server.asked.append(form)
        good = form.get("refresh_token") == self.server.good
        if good:
            self.server.made += 1
            self.server.good = f"r{self.server.made}"
            answer = {
                "access_token": f"a{self.server.made}",
                "refresh_token": self.server.good,
                "expires_in": 600,
            }
        else:
            answer = {"error": "invalid_grant", "error_description": "it was used before"}
        body = json.dumps(answer).encode()
        self.send_response(200 if good else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    thread = threading.Thread(target=provider.serve_forever)
    thread.start()
    yield provider
    provider.shutdown()
    thread.join()
    provider.server_close()


def write(home: Path, provider: Provider, left: float, **more: object) -> None:
    kept = {
        "url": "http://127.0.0.1:1/",
        "issuer": provider.url,
        "client_id": "cli",
        "token_endpoint": f"{provider.url}/token",
        "access_token": "a0",
        "refresh_token": "r0",
        "expires_at": int(time.time() + left),
        "resource": "https://bursa",
        **more,
    }
    (home / "login.json").write_text(json.dumps(kept))


def test_a_token_is_renewed_before_it_ends_and_once(tmp_path: Path, provider: Provider) -> None:
    write(tmp_path, provider, 3600)
    assert str(Login(tmp_path)) == "a0" and provider.asked == []
    write(tmp_path, provider, 30)
    logins = [Login(tmp_path) for _ in range(8)]
    said: list[str] = []
    threads = [threading.Thread(target=lambda login=login: said.append(str(login))) for login in logins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["a1"] * 8
    wanted = {
        "grant_type": "refresh_token",
        "client_id": "cli",
        "refresh_token": "r0",
        "resource": "https://bursa",
    }
    assert provider.asked == [wanted]
    kept = json.loads((tmp_path / "login.json").read_text())
    assert kept["refresh_token"] == "r1" and kept["expires_at"] > time.time() + 500
    assert stat.S_IMODE((tmp_path / "login.json").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["login.json", "login.lock"]


def test_a_login_that_has_ended_says_so(tmp_path: Path, provider: Provider) -> None:
    write(tmp_path, provider, -1, refresh_token="used")
    with pytest.raises(Unauthorized, match="ended \\(invalid_grant\\); run `bursa login` again"):
        str(Login(tmp_path))
    write(tmp_path, provider, 30, refresh_token="used")
    assert str(Login(tmp_path)) == "a0"  # while it lasts
    write(tmp_path, provider, -1, token_endpoint="http://127.0.0.1:1/token")
    with pytest.raises(Unavailable, match="cannot be renewed now"):
        str(Login(tmp_path))
    (tmp_path / "login.json").write_text("{")
    with pytest.raises(Unauthorized, match="run `bursa login` again"):
        Login(tmp_path)


def test_a_token_goes_to_the_service_it_is_for(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BURSA_URL", "BURSA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path, provider, 3600)
    (tmp_path / "client.toml").write_text('url = "http://other:1"\ntoken = "t"\n')
    url, token = settings(home=tmp_path)
    assert (url, str(token)) == ("http://127.0.0.1:1", "a0")
    assert settings("http://127.0.0.1:1/", home=tmp_path).token == Login(tmp_path)
    assert settings("http://other:1", home=tmp_path) == ("http://other:1", "t")
    assert settings(token="mine", home=tmp_path) == ("http://other:1", "mine")


def test_a_client_sends_the_token_of_now(tmp_path: Path, provider: Provider) -> None:
    service = FakeService()
    try:
        write(tmp_path, provider, 3600, url=service.url, access_token="secret")
        with bursa.Client(home=tmp_path) as client:
            assert client.run(abs, -3).result(30) == 3
    finally:
        service.close()
