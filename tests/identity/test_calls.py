"""Calls of somebody who is logged in, on his own endpoint, go on while his tokens end and are renewed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import bursa
import pytest
from conftest import configured, e2e, identity, running, serving
from test_login import Browser, finish, kept, log_in


def test_calls_go_on_over_the_end_of_a_token(
    node: str, keys: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("BURSA_")]:
        monkeypatch.delenv(name)
    with running(node, keys, seconds=4) as provider:
        text = identity(provider.issuer, resource="https://bursa.test/opaque")
        with serving(configured(tmp_path / "service", text)) as url:
            mine = tmp_path / "home"
            process, address = log_in(mine, url, "--browser")
            Browser().visit(address)
            assert finish(process)[0] == 0
            for arguments in (("new", "lab"), ("start", "lab", "--detach", "--workers", "1")):
                done = e2e.run_cli(mine, "endpoint", *arguments)
                assert done.returncode == 0, done.stderr
            try:
                with bursa.Client(home=mine) as client:
                    assert client.run(abs, -1).result(60) == 1
                    first = kept(mine)
                    slow = client.run(time.sleep, 6)
                    assert slow.result(60) is None, "its result comes on a stream with another token"
                    assert client.run(abs, -2).result(60) == 2
                    assert time.time() > first["expires_at"]
                    assert kept(mine)["access_token"] != first["access_token"]
            finally:
                assert e2e.run_cli(mine, "endpoint", "stop", "lab").returncode == 0
