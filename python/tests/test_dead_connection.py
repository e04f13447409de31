"""A connection that dies without a sign, in a network namespace whose loopback is taken down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ENTER = ["unshare", "--user", "--map-root-user", "--net"]

PROGRAM = """
import subprocess, threading
import bursa
from bursa import stream, websocket
from fake_service import TOKEN, fake_service

def loopback(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)

loopback("up")
websocket.PROBE_AFTER, websocket.PROBE_EVERY, websocket.PROBES, websocket.UNANSWERED = 1, 1, 1, 1
noticed = threading.Event()
resume = stream.Stream._resume
stream.Stream._resume = lambda self: noticed.set() or resume(self)
with fake_service() as service, bursa.Client(service.url, TOKEN) as client:
    assert client.run(len, "a").result(20) == 1
    loopback("down")
    assert noticed.wait(20), "nobody has noticed"
    loopback("up")
    assert client.run(len, "ab").result(20) == 2
    assert service.connections == 2
"""


def test_a_connection_that_is_dead_without_a_sign_is_noticed_and_made_again() -> None:
    try:
        subprocess.run([*ENTER, "ip", "link", "set", "lo", "up"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system gives no network namespace to its users")
    done = subprocess.run(
        [*ENTER, sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
