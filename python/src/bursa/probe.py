"""`python -m bursa.probe ENDPOINT SECONDS`: one call on an endpoint, for `bursa endpoint check`.

Prints one JSON object: `ok`, and what was `found`, in one sentence.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from .client import Client
from .errors import BursaError

LOOK = 1.0
"""Seconds after which it is asked again why the call waits."""


def where() -> tuple[str, str]:
    """What runs there. It travels by value, as functions of users do."""
    import platform

    return platform.node(), platform.python_version()


def main(endpoint: str, seconds: float) -> tuple[bool, str]:
    """Whether the call worked, and what is to be said of it."""
    with Client() as client:
        started = time.monotonic()
        future = client.submit(where, endpoint_id=endpoint, retries=0)
        state: dict[str, Any] = {}
        while not future.done():
            if time.monotonic() - started > seconds:
                future.cancel()
                return False, f"a call did not run within {seconds:g} s: {_words(state)}"
            client.task(future, wait=LOOK)
            state = {} if future.done() else client.explain(future)
            if state.get("reason") == "endpoint-degraded":
                future.cancel()
                return False, _words(state)
        host, python = future.result()
        took = time.monotonic() - started
        return True, f"a call ran on {host} by Python {python}, {took:.2f} s after it was made"


def _words(state: dict[str, Any]) -> str:
    return f"{state.get('message', 'nothing is known of it.')} To do: {state.get('next', 'ask again')}"


if __name__ == "__main__":
    try:
        ok, found = main(sys.argv[1], float(sys.argv[2]))
    except BursaError as error:
        ok, found = False, f"a call failed: {error}"
    print(json.dumps({"ok": ok, "found": found}))
