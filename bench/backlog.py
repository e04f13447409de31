"""1,000,000 tasks queued by one client for an endpoint that is away, and drained when it comes.

python -m bench.backlog     # or: make backlog; BURSA_BENCH_TASKS for another number

Before the endpoint starts, the service is killed and started again with all of them, to see what that takes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bursa

from bench.processes import memory_mb
from bench.row import Row, at_least, at_most, detail, text
from bench.stack import BINARY, WORKERS, scratch

TASKS = int(os.environ.get("BURSA_BENCH_TASKS", "1000000"))
MOST_MB, MOST_BYTES, LEAST_PACE = 600, 400, 0.9
LOOK_S = 0.25
ENDPOINT = "away"


STUCK_S = 60


@contextmanager
def started(home: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A `bursa` command that runs until the end of the block, and what it said when it was ready."""
    command = [BINARY, *words, "--json", "--home", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"bursa {words[0]} ended with exit code {process.wait()}")
        yield process, json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def service(home: Path, http: str = "127.0.0.1:0", zmq: str = "127.0.0.1:0"):
    return started(home, "serve", "--http", http, "--zmq", zmq)


def measure() -> dict[str, object]:
    with scratch() as directory:
        home = directory / "home"
        with service(home) as (process, ready):
            command = [BINARY, "endpoint", "new", ENDPOINT, "--json", "--home", str(home)]
            new = subprocess.run(command, check=True, capture_output=True, text=True)
            endpoint = json.loads(new.stdout)["endpoint_id"]
            found = {"tasks": TASKS, **queued(home, endpoint, process)}
            process.kill()
            process.wait()
        began = time.perf_counter()
        with service(home, ready["url"].split("//")[1], ready["zmq"].split("//")[-1]) as (process, _):
            found["restart_s"] = time.perf_counter() - began
            found["service_again_mb"] = memory_mb(process.pid)
            found["drained"] = drained(home, endpoint)
    return found


def queued(home: Path, endpoint: str, process: subprocess.Popen[str]) -> dict[str, object]:
    """Submits all of them; what service and client hold then."""
    idle = memory_mb(process.pid)["rss"]
    with bursa.Client(home=home) as client:
        began = time.perf_counter()
        futures = [client.run(abs, -number, endpoint_id=endpoint) for number in range(TASKS)]
        called_s = time.perf_counter() - began
        client.wait_accepted(futures[-1:])
        accepted_s = time.perf_counter() - began
        waiting = client.endpoint_status(endpoint)["queued"]
        if waiting != TASKS:
            raise SystemExit(f"{waiting} of {TASKS} are queued")
        return {
            "called_s": called_s,
            "accepted_s": accepted_s,
            "service_idle_mb": idle,
            "service_mb": memory_mb(process.pid),
            "client_mb": memory_mb(os.getpid())["rss"],
        }


def drained(home: Path, endpoint: str) -> list[tuple[float, int]]:
    """Starts the endpoint; (seconds, tasks that have not ended) until there are none."""
    words = ["endpoint", "start", ENDPOINT, "--workers", str(WORKERS), "--python", sys.executable]
    with bursa.Client(home=home) as client, started(home, *words):
        began, seen, left = time.perf_counter(), [], TASKS
        while left:
            status = client.endpoint_status(endpoint)
            left = status["queued"] + status["held"]
            seen.append((time.perf_counter() - began, left))
            stuck = [point for point in seen if point[0] > seen[-1][0] - STUCK_S]
            if seen[-1][0] > STUCK_S and stuck[0][1] == left > 0:
                raise SystemExit(f"{left} tasks have not ended, and none did within {STUCK_S} s")
            time.sleep(LOOK_S)
    return seen


def pace(seen: list[tuple[float, int]], tasks: int, since: float, until: float) -> float:
    """Tasks per second while the share `since` to `until` of them ended."""
    first = next(point for point in seen if tasks - point[1] >= since * tasks and point[1] < tasks)
    last = next(point for point in seen if tasks - point[1] >= until * tasks)
    return (first[1] - last[1]) / max(last[0] - first[0], 1e-9)


def rows(found: dict) -> Iterator[Row]:
    tasks, memory, again = found["tasks"], found["service_mb"], found["service_again_mb"]
    name = f"{tasks:,} queued tasks"
    each = (memory["rss"] - found["service_idle_mb"]) * 2**20 / tasks
    yield at_most(f"{name}, service holds for each", each, MOST_BYTES, "bytes")
    yield at_most(f"{name}, service at most", max(memory["most"], again["most"]), MOST_MB, "MB")
    yield detail("client, resident", f"{found['client_mb']:.0f} MB")
    yield detail("submit returned for all after", f"{found['called_s']:.1f} s")
    yield detail("all accepted after", f"{found['accepted_s']:.1f} s")
    yield at_most(f"{name}, killed and started again", found["restart_s"], 10, "s", 1)
    seen = found["drained"]
    early, late = pace(seen, tasks, 0.0, 0.3), pace(seen, tasks, 0.7, 1.0)
    yield at_least(f"{name}, drained: the last third to the first", late / early, LEAST_PACE, "×", 2)
    yield detail("drained in", f"{seen[-1][0]:.1f} s, {early:,.0f} then {late:,.0f} tasks/s")


def main() -> None:
    found = list(rows(measure()))
    print(text(found))
    raise SystemExit(any(row.met is False for row in found))


if __name__ == "__main__":
    main()
