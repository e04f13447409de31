"""`bursa login` and `bursa logout` at a real provider, as a person with a browser does it."""

from __future__ import annotations

import http.cookiejar
import json
import re
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import bursa
import pytest
from conftest import Provider, ask, configured, e2e, identity, running, serving

JWT = "https://bursa.test/ES256"


@pytest.fixture(scope="module")
def service(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = configured(tmp_path_factory.mktemp("login") / "home", identity(provider.issuer, resource=JWT))
    with serving(home) as url:
        yield url


class Browser:
    """Follows where it is sent, with cookies; agrees to what it is asked."""

    def __init__(self) -> None:
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar).open

    def visit(self, url: str, form: dict[str, str] | None = None) -> tuple[str, str]:
        """The address and the text of the page at the end."""
        data = urlencode(form).encode() if form else None
        with self._open(url, data, timeout=30) as page:
            return page.url, page.read().decode()

    def enter(self, url: str) -> str:
        """Enters a device's code; the page at the end."""
        at, page = self.visit(url)
        for more in ({}, {"confirm": "yes"}):
            names = re.findall(r'name="(xsrf|user_code)" value="([^"]*)"', page)
            if names:
                at, page = self.visit(at.partition("?")[0], {**dict(names), **more})
        return page


def log_in(home: Path, service: str, *flags: str, **more: str) -> tuple[subprocess.Popen[str], str]:
    """The command, and the address that it says to open."""
    process = subprocess.Popen(
        [str(e2e.BINARY), "login", "--json", *flags],
        env=e2e.environment(home, BURSA_URL=service, **more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    found = re.search(r"open (\S+) in a browser", line)
    if not found:
        out, err = process.communicate(timeout=30)
        pytest.fail(f"bursa login ended with {process.returncode}: {line}{err}{out}")
    return process, found[1]


def finish(process: subprocess.Popen[str], entered: str | None = None) -> tuple[int, str, str]:
    out, err = process.communicate(entered, timeout=60)
    return process.returncode, out, err


def kept(home: Path) -> dict[str, object]:
    path = home / "login.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return json.loads(path.read_text())


def test_a_code_is_entered_on_any_machine(service: str, provider: Provider, tmp_path: Path) -> None:
    process, address = log_in(tmp_path / "home", service)
    Browser().enter(address)
    code, out, err = finish(process)
    assert code == 0, err
    assert json.loads(out)["name"] == "alice@lab.test"
    login = kept(tmp_path / "home")
    assert (login["url"], login["issuer"]) == (service, provider.issuer)
    shown = e2e.run_cli(tmp_path / "home", "token", "show").stdout.strip()
    assert shown == login["access_token"] and ask(service, shown)[0] == 200
    assert e2e.run_cli(tmp_path / "home", "function", "list").returncode == 0


def test_a_browser_here_comes_back_with_the_right_state_only(service: str, tmp_path: Path) -> None:
    process, address = log_in(tmp_path, service, "--browser")
    asked = parse_qs(urlsplit(address).query)
    assert asked["code_challenge_method"] == ["S256"] and len(asked["code_challenge"][0]) == 43
    back = asked["redirect_uri"][0]
    for query in (
        "code=stolen&state=other",
        "code=stolen",
        "state=",
        f"code=x&state={asked['state'][0]}&iss=x",
    ):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            Browser().visit(f"{back}?{query}")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        Browser().visit(back.replace("callback", "favicon.ico"))
    assert process.poll() is None
    end, page = Browser().visit(address)
    assert end.startswith(f"{back}?code=") and "You are logged in" in page
    code, _, err = finish(process)
    assert code == 0, err


def test_a_code_is_good_once(service: str, provider: Provider, tmp_path: Path) -> None:
    first, address = log_in(tmp_path / "first", service, "--browser")
    end, _ = Browser().visit(address)
    assert finish(first)[0] == 0
    used = parse_qs(urlsplit(end).query)["code"][0]
    second, address = log_in(tmp_path / "second", service, "--browser")
    asked = parse_qs(urlsplit(address).query)
    Browser().visit(f"{asked['redirect_uri'][0]}?{urlencode({'code': used, 'state': asked['state'][0]})}")
    code, _, err = finish(second)
    assert code != 0 and "invalid_grant" in err
    assert not (tmp_path / "second" / "login.json").exists()


def test_a_refusal_at_the_provider_is_said(service: str, tmp_path: Path) -> None:
    process, address = log_in(tmp_path, service, "--browser")
    asked = parse_qs(urlsplit(address).query)
    answer = {"error": "access_denied", "error_description": "not today", "state": asked["state"][0]}
    Browser().visit(f"{asked['redirect_uri'][0]}?{urlencode(answer)}")
    code, _, err = finish(process)
    assert code == 1 and "not today" in err


def test_cli_and_sdk_renew_a_login_and_a_logout_ends_it(
    node: str, keys: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BURSA_URL", "BURSA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    # Tokens of this provider live for less than a login keeps ahead: each use is a renewal.
    with running(node, keys, seconds=50) as provider:
        home = configured(tmp_path / "service", identity(provider.issuer, resource=JWT))
        with serving(home) as url:
            mine = tmp_path / "home"
            process, address = log_in(mine, url, "--browser")
            Browser().visit(address)
            assert finish(process)[0] == 0
            seen = [kept(mine)]
            assert e2e.run_cli(mine, "function", "list").returncode == 0
            seen.append(kept(mine))
            with bursa.Client(home=mine) as client:
                client.functions() if hasattr(client, "functions") else client._rest.get("/functions")
                seen.append(kept(mine))
            assert len({login["access_token"] for login in seen}) == 3
            assert seen[-1]["expires_at"] > time.time()
            done = e2e.run_cli(mine, "logout")
            assert done.returncode == 0 and provider.issuer in done.stdout
            assert not (mine / "login.json").exists()
            (mine / "login.json").write_text(json.dumps({**seen[-1], "expires_at": 0}))
            done = e2e.run_cli(mine, "function", "list")
            assert done.returncode == 4 and "run `bursa login` again" in done.stderr


def test_a_service_without_providers_says_what_to_do(tmp_path: Path) -> None:
    with serving(configured(tmp_path / "service", "")) as url:
        done = e2e.run_cli(tmp_path / "home", "login", BURSA_URL=url)
        assert done.returncode == 1 and "ask its owner for a token" in done.stderr
    done = e2e.run_cli(tmp_path / "home", "login")
    assert done.returncode == 1 and "set BURSA_URL" in done.stderr
    done = e2e.run_cli(tmp_path / "home", "logout")
    assert done.returncode == 1 and "nobody is logged in" in done.stderr
