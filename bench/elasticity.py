"""The elasticity experiment of the funcX papers, ten times as fast: bursts of three functions, each in
containers of its own, on endpoints that grow to ten blocks of one worker and shrink to none.

make elasticity       # prints a table, writes bench/results/elasticity.json and docs/images/elasticity.svg
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import bursa

from bench import plots
from bench.machine import about
from bench.row import Row, at_most, detail, text
from bench.stack import BINARY, RESULTS, ROOT, Stack, running, scratch

sys.path.append(str(ROOT / "tests/e2e"))
import rootfs

BURSTS, PERIOD_S, IDLE_S, BLOCKS = 3, 12.0, 0.8, 10
LOOK_S = 0.01
ASKED_S, RELEASED_S = 0.3, IDLE_S + 1
CALLS = {"short": (1, 0.1), "middle": (5, 1.0), "long": (20, 2.0)}
"""Function -> calls of a burst, and the seconds that each takes."""
SETTINGS = f"""\
[endpoint]
workers = 1
min_warm = 0

[blocks]
init = 0
min = 0
max = {BLOCKS}
idle_ms = {int(1000 * IDLE_S)}
"""


@dataclass
class Function:
    """One of the three: its endpoint's name, its calls as (submitted, started, ended), and blocks by time."""

    name: str
    calls: list[tuple[float, float, float]] = field(default_factory=list)
    blocks: list[tuple[float, int]] = field(default_factory=list)
    ended: list[tuple[float, float, bursa.TaskFuture]] = field(default_factory=list)


def measure() -> dict[str, Function]:
    """Seconds count from the first burst."""
    with scratch() as directory:
        image = directory / "images/py"
        rootfs.make(image, "bench")
        with (
            running(directory / "home", BURSA_CONTAINERS_IMAGES=str(directory)) as stack,
            bursa.Client(stack.url, stack.token) as client,
        ):
            endpoints = {name: endpoint(stack, name, image.parent) for name in CALLS}
            try:
                containers = {name: client.register_container(str(image), type="bwrap") for name in CALLS}
                return run(client, endpoints, containers, stack.home / "endpoints")
            finally:
                for name in endpoints:
                    command(stack, "endpoint", "stop", name)


def endpoint(stack: Stack, name: str, images: Path) -> str:
    """Its id; it runs."""
    made = command(stack, "--json", "endpoint", "new", name)
    file = stack.home / "endpoints" / name / "endpoint.toml"
    file.write_text(f'{SETTINGS}\n[containers]\nimages = ["{images}"]\n')
    command(stack, "endpoint", "start", name, "--detach")
    return json.loads(made)["endpoint_id"]


def command(stack: Stack, *arguments: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BURSA_")}
    given = [BINARY, "--home", str(stack.home), *arguments]
    environment = {**clean, "BURSA_PYTHON": sys.executable}
    return subprocess.run(given, env=environment, capture_output=True, text=True, check=True).stdout


def run(
    client: bursa.Client, endpoints: dict[str, str], containers: dict[str, str], directory: Path
) -> dict[str, Function]:
    functions = {name: Function(name) for name in CALLS}
    ids = {name: client.register(time.sleep, name, container=containers[name]) for name in CALLS}
    began = time.perf_counter()
    with watched(functions, directory, began):
        for burst in range(BURSTS):
            time.sleep(max(0.0, began + burst * PERIOD_S - time.perf_counter()))
            futures = [
                (functions[name], client.run(ids[name], seconds, endpoint_id=endpoints[name]), now(began))
                for name, (calls, seconds) in CALLS.items()
                for _ in range(calls)
            ]
            for function, future, submitted in futures:
                future.add_done_callback(lambda it, to=function, at=submitted: note(it, to, at, began))
            for _, future, _ in futures:
                future.result(60)
        time.sleep(max(0.0, began + BURSTS * PERIOD_S - time.perf_counter()))
    for function in functions.values():
        ran(function)
    return functions


def now(began: float) -> float:
    return time.perf_counter() - began


def note(future: bursa.TaskFuture, function: Function, submitted: float, began: float) -> None:
    """When it has ended. What it took is asked for when nothing is measured any more."""
    end = now(began)
    function.ended.append((submitted, end, future))


def ran(function: Function) -> None:
    for submitted, end, future in function.ended:
        function.calls.append((submitted, end - (future.timings or {}).get("run", 0.0), end))


@contextmanager
def watched(functions: dict[str, Function], endpoints: Path, began: float) -> Iterator[None]:
    """Notes each change of the number of executors: an endpoint makes a key for one that it asks for, and
    removes it when that has ended."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            for name, function in functions.items():
                count = sum(key.endswith(".key") for key in os.listdir(endpoints / name / "executors"))
                if not function.blocks or function.blocks[-1][1] != count:
                    function.blocks.append((now(began), count))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def figures(function: Function) -> dict[str, list[float]]:
    """For each burst, in seconds: after its submit all blocks that it needs were asked for; after the end of
    its last call none was left; and what its slowest call took."""
    found: dict[str, list[float]] = {"asked_s": [], "released_s": [], "slowest_s": [], "most": []}
    for burst in range(BURSTS):
        first, last = burst * PERIOD_S, (burst + 1) * PERIOD_S
        calls = [call for call in function.calls if first <= call[0] < last]
        began, end = min(call[0] for call in calls), max(call[2] for call in calls)
        changes = [(at, count) for at, count in function.blocks if began <= at < last]
        most = max(count for _, count in changes)
        found["most"].append(most)
        found["asked_s"].append(next(at for at, count in changes if count == most) - began)
        found["released_s"].append(next(at for at, count in changes if count == 0 and at > end) - end)
        found["slowest_s"].append(max(call[2] - call[0] for call in calls))
    return found


def rows(functions: dict[str, Function]) -> Iterator[Row]:
    for name, function in functions.items():
        found, (calls, seconds) = figures(function), CALLS[name]
        wanted = min(calls, BLOCKS)
        if found["most"] != [wanted] * BURSTS:
            raise SystemExit(f"{name}: {found['most']} blocks at most, where {wanted} are wanted")
        what = f"{calls} × {seconds:g} s"
        yield at_most(
            f"{what}: blocks asked for after the burst, at most", max(found["asked_s"]), ASKED_S, "s", 2
        )
        yield at_most(
            f"{what}: none left after the last call, at most", max(found["released_s"]), RELEASED_S, "s", 2
        )
        yield detail("blocks", str(wanted))
        yield detail(
            "slowest call of each burst", ", ".join(f"{took:.2f}" for took in found["slowest_s"]) + " s"
        )


def main() -> None:
    functions = measure()
    print(text(rows(functions)))
    RESULTS.mkdir(parents=True, exist_ok=True)
    cases = [
        {
            "name": f"{calls} calls of {seconds:g} s",
            "calls": functions[name].calls,
            "blocks": functions[name].blocks,
        }
        for name, (calls, seconds) in CALLS.items()
    ]
    found = {"machine": about(), "end_s": BURSTS * PERIOD_S, "functions": cases}
    (RESULTS / "elasticity.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"written to {plots.draw('elasticity').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
