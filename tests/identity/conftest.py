"""A certified OpenID Connect provider (npm's oidc-provider) beside the real binary."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import e2e
import pytest

HERE = Path(__file__).resolve().parent
MODULES = HERE.parents[1] / "target" / "identity"
PACKAGE = "oidc-provider@8.8.1"


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the provider, installed now if it is not there. Without Node nothing of this can be tried."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        why = "Node and npm are missing: apt install nodejs npm"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    done = MODULES / "package"
    if not done.exists() or done.read_text() != PACKAGE:
        shutil.rmtree(MODULES, ignore_errors=True)
        MODULES.mkdir(parents=True)
        (MODULES / "package.json").write_text('{"private": true}')
        install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
        subprocess.run(install, cwd=MODULES, check=True, timeout=300, stdout=subprocess.DEVNULL)
        done.write_text(PACKAGE)
    return program


class Provider:
    """A running provider. What it is asked is counted by path."""

    def __init__(self, node: str, keys: list[dict[str, str]], port: int = 0, seconds: int = 600) -> None:
        given = {"modules": str(MODULES / "x.js"), "port": port, "keys": keys, "seconds": seconds}
        command = [node, str(HERE / "provider.mjs"), json.dumps(given)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_plain()
        )
        self._errors: list[str] = []
        self._asked: list[str] = []
        self._readers = [
            threading.Thread(target=lambda: self._errors.extend(self._process.stderr), daemon=True),
            threading.Thread(target=self._listen, daemon=True),
        ]
        self._readers[0].start()
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(30)
            self._readers[0].join(30)
            pytest.fail(f"the provider did not start: {''.join(self._errors)}")
        self.issuer = json.loads(line)["issuer"]
        self.port = int(self.issuer.rpartition(":")[2])
        self._readers[1].start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            if line.startswith("{"):  # the rest is advice to who would use it in earnest
                self._asked.append(json.loads(line)["asked"])

    def asked(self, path: str) -> int:
        return self._asked.count(path)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        for reader in self._readers:
            reader.join(30)

    def token(self, resource: str = "https://bursa.test/RS256", scope: str = "calls") -> str:
        """An access token of the client `robot`, for https://AUDIENCE.test/FORMAT."""
        form = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
        request = urllib.request.Request(f"{self.issuer}/token", urlencode(form).encode())
        request.add_header("Authorization", "Basic cm9ib3Q6b2Yrcm9ib3Q=")  # robot:of+robot
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["access_token"]


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@contextmanager
def running(node: str, keys: list[dict[str, str]], **more: int) -> Iterator[Provider]:
    provider = Provider(node, keys, **more)
    try:
        yield provider
    finally:
        provider.stop()


def make_keys(node: str, mark: str) -> list[dict[str, str]]:
    """One private key for each algorithm that counts, as JWKs with ids of their own."""
    script = """
        const { generateKeyPairSync } = require('node:crypto');
        const make = (kind, options, more) => {
            const { privateKey } = generateKeyPairSync(kind, options);
            return { ...privateKey.export({ format: 'jwk' }), use: 'sig', ...more };
        };
        const mark = process.argv[1];
        console.log(JSON.stringify([
            make('rsa', { modulusLength: 2048 }, { kid: `rs-${mark}`, alg: 'RS256' }),
            make('rsa', { modulusLength: 2048 }, { kid: `ps-${mark}`, alg: 'PS256' }),
            make('ec', { namedCurve: 'P-256' }, { kid: `es-${mark}`, alg: 'ES256' }),
            make('ed25519', {}, { kid: `ed-${mark}` }),
        ]));
    """
    done = subprocess.run([node, "-e", script, mark], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def keys(node: str) -> list[dict[str, str]]:
    return make_keys(node, "first")


@pytest.fixture(scope="session")
def provider(node: str, keys: list[dict[str, str]]) -> Iterator[Provider]:
    with running(node, keys) as provider:
        yield provider


def configured(home: Path, text: str) -> Path:
    """A home whose service has this configuration."""
    home.mkdir(parents=True)
    (home / "secret").write_text("of service: /+%\n")
    (home / "secret").chmod(0o600)
    (home / "config.toml").write_text(text)
    return home


def identity(issuer: str, **more: object) -> str:
    """A section [[identity]] for the provider."""
    given = {
        "kind": "oidc",
        "issuer": issuer,
        "audience": "bursa",
        "client_id": "bursa service",
        "client_secret_file": "secret",
        "login_client_id": "bursa-cli",
        "scopes": ["calls"],
        "resource": "https://bursa.test/RS256",
        "groups": "realm.groups",
        "allow": ["*@lab.test"],
        **more,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items() if value is not None]
    return "\n".join(["[[identity]]", *lines, ""])


def ask(url: str, token: str | None, path: str = "/api/v1/whoami", form: dict[str, str] | None = None):
    """Status, body and headers of an answer of the service."""
    request = urllib.request.Request(url + path, urlencode(form).encode() if form else None)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The url of a service in this home, stopped whatever happens."""
    command = [str(e2e.BINARY), "serve", "--json", "--home", str(home), "--http", "127.0.0.1:0"]
    log = (home.parent / f"{home.name}.stderr").open("w")
    process = subprocess.Popen(
        command, env=e2e.environment(home), stdout=subprocess.PIPE, stderr=log, text=True
    )
    line = process.stdout.readline()
    if not line:
        process.wait(e2e.START_S)
        pytest.fail(f"bursa serve ended with {process.returncode}: {Path(log.name).read_text()[-4000:]}")
    try:
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.wait(30)
