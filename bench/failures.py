"""The fault experiment of the funcX papers: a steady load, and a process fails after two seconds.

    make failures       # prints a table, writes bench/results/failures.json and docs/images/failures.svg

2 executors of 4 workers, calls of 100 ms at 48 per second, heartbeats every second, lost after two.
`docs/reliability.md` has the figures and the picture.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bursa

from bench import plots
from bench.processes import below
from bench.stack import BINARY, ROOT

RATE, CALL_S, FAULT_S, LOAD_S = 48, 0.1, 2.0, 8.0
SETTINGS = {
    "BURSA_EXECUTORS": "2",
    "BURSA_WORKERS": "4",
    "BURSA_ENDPOINT_HEARTBEAT_MS": "1000",
    "BURSA_ENDPOINT_THRESHOLD_MS": "2000",
    "BURSA_ENDPOINT_LINK_HEARTBEAT_MS": "1000",
    "BURSA_ENDPOINT_LINK_THRESHOLD_MS": "2000",
    "BURSA_SERVICE_HEARTBEAT_MS": "1000",
    "BURSA_SERVICE_THRESHOLD_MS": "2000",
}
CASES = {
    "executor killed": ("executor", signal.SIGKILL),
    "manager killed": ("manager", signal.SIGKILL),
    "service killed": ("service", signal.SIGKILL),
    "executor frozen": ("executor", signal.SIGSTOP),
}
RESULTS = ROOT / "bench/results/failures.json"


@dataclass
class Call:
    """When it was submitted, in seconds since the load began, and how many it took; None: it failed."""

    at: float
    took: float | None = None


def hundred_ms() -> None:
    import time

    time.sleep(0.1)


@contextmanager
def running(home: Path) -> Iterator[tuple[subprocess.Popen, dict]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BURSA_")}
    command = [BINARY, "up", "--json", "--home", str(home), "--http", "127.0.0.1:0", "--zmq", "127.0.0.1:0"]
    command += ["--python", sys.executable]
    with (home.parent / "stderr").open("w") as log:
        process = subprocess.Popen(
            command, env={**clean, **SETTINGS}, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def victim(top: int, role: str) -> int:
    """The first process of this role."""
    for pid in below(top):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if role in words and "bursa.worker" not in words:
            return pid
    raise SystemExit(f"there is no {role} below process {top}")


def load(client: bursa.Client, function: str, fault) -> list[Call]:
    """All calls, each submitted at its time; `fault` is done at its own."""
    calls: list[Call] = []
    ended = threading.Semaphore(0)
    began = time.perf_counter()

    def done(future, call: Call) -> None:
        if future.exception() is None:
            call.took = time.perf_counter() - began - call.at
        ended.release()

    for number in range(int(RATE * LOAD_S)):
        due = number / RATE
        if fault is not None and due >= FAULT_S:
            fault()
            fault = None
        time.sleep(max(0.0, began + due - time.perf_counter()))
        call = Call(time.perf_counter() - began)
        calls.append(call)
        client.run(function).add_done_callback(lambda future, call=call: done(future, call))
    for _ in calls:
        if not ended.acquire(timeout=60):
            raise SystemExit("a call has not ended within 60 s")
    return calls


def once(case: str) -> list[Call]:
    role, number = CASES[case]
    with (
        tempfile.TemporaryDirectory(prefix="bursa-failures-", dir=ROOT / "target") as directory,
        running(Path(directory) / "home") as (process, ready),
        bursa.Client(ready["url"], ready["token"]) as client,
    ):
        function = client.register(hundred_ms, "hundred_ms")
        for future in [client.run(function) for _ in range(RATE)]:
            future.result()
        pid = victim(process.pid, role)
        try:
            return load(client, function, lambda: os.kill(pid, number))
        finally:
            if number == signal.SIGSTOP:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def figures(calls: list[Call]) -> dict[str, float]:
    """In seconds: means before the fault, in its second and in the next; the longest; when back to normal."""
    took = [call for call in calls if call.took is not None]
    baseline = statistics.mean(call.took for call in took if call.at + call.took < FAULT_S)
    hit = [call for call in took if call.at + call.took >= FAULT_S]
    late = [call.at for call in hit if call.took > 2 * baseline]

    def mean(first: float, last: float) -> float:
        return statistics.mean(call.took for call in hit if first <= call.at < last)

    return {
        "baseline": baseline,
        "first_second": mean(0.0, FAULT_S + 1),
        "next_second": mean(FAULT_S + 1, FAULT_S + 2),
        "longest": max(call.took for call in hit),
        "normal_after": max(late, default=FAULT_S) - FAULT_S,
        "completed": len(took),
        "failed": len(calls) - len(took),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--passes", type=int, default=3, help="of which the one with the median longest call is shown"
    )
    given = parser.parse_args()
    (ROOT / "target").mkdir(exist_ok=True)
    shown, found = {}, {}
    print(f"{'seconds':<18}" + "".join(f"{name:>14}" for name in figures_names()))
    for case in CASES:
        passes = sorted(
            (once(case) for _ in range(given.passes)), key=lambda calls: figures(calls)["longest"]
        )
        shown[case] = passes[len(passes) // 2]
        found[case] = figures(shown[case])
        found[case]["failed"] = sum(figures(calls)["failed"] for calls in passes)
        print(f"{case:<18}" + "".join(f"{value:>14.3g}" for value in found[case].values()), flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    cases = {
        case: {**found[case], "calls": [(call.at, call.took) for call in calls if call.took is not None]}
        for case, calls in shown.items()
    }
    RESULTS.write_text(json.dumps({"fault_s": FAULT_S, "cases": cases}, indent=2) + "\n")
    picture = plots.draw("failures")
    print(f"\nwritten to {RESULTS.relative_to(ROOT)} and {picture.relative_to(ROOT)}")


def figures_names() -> list[str]:
    return ["baseline", "first second", "next second", "longest", "normal after", "completed", "failed"]


if __name__ == "__main__":
    main()
