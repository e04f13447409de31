"""Routing by warm workers with real containers: 3,000 calls in ten containers, all at once, on four executors
of one node, by `soft`, `hard` and `random`.

python -m bench.routing_real [--kind charliecloud] [--calls 3000] [--seconds 0.1] [--passes 3]
make routing-real     # also writes bench/results/routing_real.json and docs/images/routing_real.svg

A call sleeps, so that slots and not cores are scarce; what a container's start costs is real. Podman needs
root.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bursa

from bench import plots
from bench.machine import about
from bench.row import Row, at_most, detail, text
from bench.stack import RESULTS, ROOT, running, scratch

sys.path.append(str(ROOT / "tests/e2e"))
import rootfs
from test_runtimes import IMAGE, podman_settings

CONTAINERS, EXECUTORS, WORKERS = 10, 4, 4
ROUTINGS = ("random", "soft", "hard")


def work(seconds: float) -> str:
    """Which worker ran it."""
    import os
    import time

    time.sleep(seconds)
    with open("/proc/self/stat") as stat:
        start = stat.read().rpartition(")")[2].split()[19]
    return f"{os.readlink('/proc/self/ns/pid')}/{os.getpid()}/{start}"


def measure(kind: str, calls: int, seconds: float, passes: int) -> dict:
    """Seconds to the last result and to the mean one, and workers that ran calls: by routing, each pass."""
    found: dict = {name: [] for name in ROUTINGS}
    with scratch() as directory:
        image = directory / "images/py"
        rootfs.make(image, "bench")
        if kind == "podman":
            os.environ.update(podman_settings(directory))
            archive = subprocess.Popen(["tar", "-C", str(image), "-c", "."], stdout=subprocess.PIPE)
            subprocess.run(["podman", "import", "-q", "-", IMAGE], stdin=archive.stdout, check=True)
        try:
            for number in range(passes):
                for name in ROUTINGS:
                    home = directory / f"{name}{number}"
                    place = IMAGE if kind == "podman" else str(image)
                    found[name].append(one(home, directory, (kind, place), name, calls, seconds, number))
                    print(name, found[name][-1], file=sys.stderr)
        finally:
            subprocess.run(["umount", str(directory / "graph/overlay")], capture_output=True, check=False)
    shape = {"kind": kind, "calls": calls, "seconds": seconds, "containers": CONTAINERS}
    return {**shape, "executors": EXECUTORS, "workers": WORKERS, "routings": found, "machine": about()}


def one(
    home: Path,
    images: Path,
    image: tuple[str, str],
    routing: str,
    calls: int,
    seconds: float,
    seed: int,
) -> dict[str, float]:
    settings = {
        "BURSA_EXECUTORS": str(EXECUTORS),
        "BURSA_ENDPOINT_ROUTING": routing,
        "BURSA_ENDPOINT_MIN_WARM": "0",
        "BURSA_CONTAINERS_IMAGES": str(images),
        "BURSA_CONTAINERS_RUNTIME": image[0],
    }
    with (
        running(home, "--workers", str(WORKERS), **settings) as stack,
        bursa.Client(stack.url, stack.token) as client,
    ):
        kind, location = image
        containers = [client.register_container(location, type=kind) for _ in range(CONTAINERS)]
        chosen = random.Random(seed).choices(containers, k=calls)
        begun = time.perf_counter()
        ends: list[float] = []
        futures = [client.submit(work, [seconds], container=container) for container in chosen]
        for future in futures:
            future.add_done_callback(lambda _: ends.append(time.perf_counter() - begun))
        workers = {future.result() for future in futures}
    return {"last_s": max(ends), "mean_s": statistics.mean(ends), "starts": len(workers)}


def rows(found: dict) -> Iterator[Row]:
    median = {
        name: {what: statistics.median(one[what] for one in passes) for what in passes[0]}
        for name, passes in found["routings"].items()
    }
    saved = median["soft"]["last_s"] / median["random"]["last_s"]
    yield at_most("soft beside random: time to the last result", saved, 1.0, "x", 2)
    for name, one in median.items():
        last, mean, starts = one["last_s"], one["mean_s"], one["starts"]
        yield detail(f"{name}: last result, mean result", f"{last:.1f} s, {mean:.1f} s")
        yield detail(f"{name}: workers started", f"{starts:,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("charliecloud", "podman", "bwrap"), default="charliecloud")
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--passes", type=int, default=3)
    asked = parser.parse_args()
    found = measure(asked.kind, asked.calls, asked.seconds, asked.passes)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "routing_real.json").write_text(json.dumps(found, indent=1))
    print(text(rows(found)))
    print(plots.draw("routing_real"))


if __name__ == "__main__":
    main()
