"""Containers: from a call to its result in a container that was not there, warm calls, and what the program
that starts it and the interpreter in it take alone.

python -m bench.containers [KIND…]     (as root to measure podman; image and storage are the bench's own)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bursa

from bench.row import Row, at_most, detail, percentile, text
from bench.stack import ROOT, running, scratch

sys.path.append(str(ROOT / "tests/e2e"))
import rootfs
from test_runtimes import IMAGE, PROGRAMS, podman_settings

COLD, WARM, IDLE_MS = 100, 300, 100
PROGRAM = {
    "none": [],
    "bwrap": ["bwrap", "--unshare-all", "--ro-bind", "{image}", "/"],
    "charliecloud": ["ch-run", "{image}", "--"],
    "podman": ["podman", "run", "--rm", "--network=host", IMAGE],
}
NOTHING, PYTHON = ["/bin/sh", "-c", ":"], ["python3", "-c", "pass"]


def measure(asked: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Milliseconds, by kind; of all kinds that can be started here, or of those that are asked for."""
    with scratch() as directory:
        image = directory / "images/py"
        rootfs.make(image, "bench")
        podman = podman_settings(directory)
        os.environ.update(podman, USER=os.environ.get("USER", "root"))
        kinds = [kind for kind in PROGRAM if kind == "none" or shutil.which(PROGRAMS[kind])]
        kinds = [kind for kind in kinds if kind in asked] if asked else kinds
        if os.geteuid() != 0 and "podman" in kinds:
            kinds.remove("podman")
        if "podman" in kinds:
            archive = subprocess.Popen(["tar", "-C", str(image), "-c", "."], stdout=subprocess.PIPE)
            subprocess.run(["podman", "import", "-q", "-", IMAGE], stdin=archive.stdout, check=True)
        try:
            return {kind: measure_one(directory, image, kind) for kind in kinds}
        finally:
            subprocess.run(["umount", str(directory / "graph/overlay")], capture_output=True, check=False)


def measure_one(directory: Path, image: Path, kind: str) -> dict[str, float]:
    settings = {
        "BURSA_ENDPOINT_MIN_WARM": "0",
        "BURSA_ENDPOINT_IDLE_MS": str(IDLE_MS),
        "BURSA_CONTAINERS_IMAGES": str(directory),
        "BURSA_CONTAINERS_RUNTIME": "charliecloud",
    }
    python = [sys.executable, *PYTHON[1:]] if kind == "none" else PYTHON
    location = IMAGE if kind == "podman" else str(image)
    with (
        running(directory / kind, **settings) as stack,
        bursa.Client(stack.url, stack.token) as client,
    ):
        container = None if kind == "none" else client.register_container(location, type=kind)
        call(client, None)
        call(client, container)
        cold, program, bare = [], [], []
        for _ in range(COLD):
            cold.append(cold_start(client, container))
            program.append(alone([*PROGRAM[kind], *NOTHING], image))
            bare.append(alone([*PROGRAM[kind], *python], image))
        call(client, container)
        warm = [call(client, container)[0] for _ in range(WARM)]
    return {
        "cold_p50_ms": percentile(sorted(cold), 0.5),
        "cold_p99_ms": percentile(sorted(cold), 0.99),
        "warm_p50_ms": percentile(sorted(warm), 0.5),
        "program_p50_ms": percentile(sorted(program), 0.5),
        "bare_p50_ms": percentile(sorted(bare), 0.5),
    }


def call(client: bursa.Client, container: str | None) -> tuple[float, float]:
    """The whole call, and the start of a worker in it, in milliseconds."""
    started = time.perf_counter()
    future = client.submit(abs, [-1], container=container)
    future.result()
    return 1000 * (time.perf_counter() - started), 1000 * (future.timings or {}).get("worker_start", 0.0)


def cold_start(client: bursa.Client, container: str | None) -> float:
    """To the first result of a container that was not there: the last one has ended for want of work."""
    time.sleep(3 * IDLE_MS / 1000)
    took, start = call(client, container)
    if not start:
        raise SystemExit("a call found a worker where none should be")
    return took


def alone(command: list[str], image: Path) -> float:
    started = time.perf_counter()
    subprocess.run([word.format(image=image) for word in command], check=True)
    return 1000 * (time.perf_counter() - started)


def rows(found: dict[str, dict[str, float]]) -> Iterator[Row]:
    none = found.get("none", {}).get("warm_p50_ms")
    for kind, one in found.items():
        if kind != "none":
            over = one["cold_p50_ms"] - one["bare_p50_ms"]
            yield at_most(f"{kind}: first result beyond program and interpreter, p50", over, 60, "ms", 0)
        if kind != "none" and none:
            yield at_most(f"{kind}: warm call, p50, beside none", one["warm_p50_ms"] / none, 1.1, "x", 2)
        yield detail(f"{kind}: cold p50, p99", f"{one['cold_p50_ms']:.0f}, {one['cold_p99_ms']:.0f} ms")
        yield detail(f"{kind}: its program alone, p50", f"{one['program_p50_ms']:.0f} ms")
        started = one["bare_p50_ms"] - one["program_p50_ms"]
        yield detail(f"{kind}: the interpreter's start in it, p50", f"{started:.0f} ms")
        yield detail(f"{kind}: warm p50", f"{one['warm_p50_ms']:.2f} ms")


def main() -> None:
    print(text(rows(measure(sys.argv[1:]))))


if __name__ == "__main__":
    main()
