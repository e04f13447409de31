"""Globus Auth as its documents describe it: tokens told by introspection, and a login with a pasted code."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ask, configured, e2e, serving
from globus import CLIENT, NATIVE, SCOPE, SECRET, Globus
from test_login import finish, kept, log_in


@pytest.fixture
def globus() -> Iterator[Globus]:
    globus = Globus()
    yield globus
    globus.stop()


def settings(globus: Globus, more: str = "") -> str:
    return f"""
        [[identity]]
        kind = "globus"
        issuer = "{globus.issuer}"
        client_id = "{CLIENT}"
        client_secret_file = "globus-secret"
        login_client_id = "{NATIVE}"
        scopes = ["{SCOPE}"]
        allow = ["subject:66666666-7777-4888-8999-000000000000"]
        {more}
    """


@pytest.fixture
def service(globus: Globus, tmp_path: Path) -> Iterator[str]:
    with running(tmp_path / "service", settings(globus)) as url:
        yield url


@contextmanager
def running(home: Path, text: str) -> Iterator[str]:
    configured(home, text)
    (home / "globus-secret").write_text(SECRET)
    (home / "globus-secret").chmod(0o600)
    with serving(home) as url:
        yield url


def test_a_token_is_told_by_introspection(service: str, globus: Globus) -> None:
    token = globus.token()
    for _ in range(3):
        status, who, _ = ask(service, token)
        assert status == 200 and who["name"] == "ann@globusid.org"
    assert globus.introspected == [{"token": token, "include": "identity_set"}]


@pytest.mark.parametrize(
    ("more", "status", "why"),
    [
        ({"aud": ["other"]}, 401, "not for"),
        ({"scope": "openid email"}, 401, "lacks the scope"),
        ({"active": False}, 401, "not known"),
        ({"exp": int(time.time()) - 1}, 401, "expired"),
        ({"iss": "https://elsewhere.test"}, 401, "not from"),
        ({"identity_set": []}, 403, "on no list"),
    ],
)
def test_a_token_for_others_is_refused(
    service: str, globus: Globus, more: dict[str, object], status: int, why: str
) -> None:
    code, body, _ = ask(service, globus.token(**more))
    assert code == status and why in body["error"]["why"], body


def test_a_code_is_pasted(service: str, globus: Globus, tmp_path: Path) -> None:
    process, address = log_in(tmp_path / "home", service, "--globus")
    code, out, err = finish(process, globus.code(address) + "\n")
    assert code == 0, err
    assert json.loads(out)["name"] == "ann@globusid.org"
    assert kept(tmp_path / "home")["refresh_token"] == "Rg-refresh"
    assert e2e.run_cli(tmp_path / "home", "function", "list").returncode == 0


def test_a_pasted_code_needs_its_own_verifier(service: str, globus: Globus, tmp_path: Path) -> None:
    first, address = log_in(tmp_path / "first", service)
    stolen = globus.code(address)
    second, _ = log_in(tmp_path / "second", service)
    code, _, err = finish(second, stolen + "\n")
    assert code == 1 and "invalid_grant" in err
    code, _, err = finish(first, "\n")
    assert code == 1 and "no code was pasted" in err


def test_a_provider_with_a_certificate_of_its_own_is_trusted_where_that_is_said(tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=globus"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    key = tmp_path / "key.pem"
    made = subprocess.run([*make, *more, "-keyout", str(key)], capture_output=True, text=True, check=True)
    certificate.write_text(made.stdout)
    both = tmp_path / "both.pem"
    both.write_text(made.stdout + key.read_text())
    globus = Globus(both)
    try:
        with running(tmp_path / "no", settings(globus)) as url:
            status, body, _ = ask(url, globus.token())
            assert status == 503 and "gave no good answer" in body["error"]["why"]
        with running(tmp_path / "yes", settings(globus, f'ca_file = "{certificate}"')) as url:
            assert ask(url, globus.token())[0] == 200
            done = e2e.run_cli(tmp_path / "home", "login", BURSA_URL=url)
            assert done.returncode == 1 and globus.issuer in done.stderr
            process, address = log_in(tmp_path / "home", url, SSL_CERT_FILE=str(certificate))
            code, _, err = finish(process, globus.code(address) + "\n")
            assert code == 0, err
    finally:
        globus.stop()
