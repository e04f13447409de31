"""No-ops through one manager by the number of its slots, 256 to 131,072: real sockets, simulated executors.

python -m bench.scale     # or: make bench-scale

`crates/endpoint/benches/scale` does the work: three processes, no Python, no disk.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

from bench.row import Row, at_least, detail, text
from bench.stack import ROOT

LEAST, LEAST_OF_BEST = 100_000, 0.8


def measure() -> dict[str, list]:
    command = ["cargo", "bench", "--quiet", "--locked", "-p", "bursa-endpoint", "--bench", "scale"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return {"sizes": [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]}


def rows(found: dict) -> Iterator[Row]:
    rates = {size["slots"]: size["tasks_per_s"] for size in found["sizes"]}
    tasks, slots = found["sizes"][-1]["tasks"], max(rates)
    yield at_least(f"{tasks:,} no-ops, one manager, {slots:,} slots", rates[slots], LEAST, "tasks/s")
    yield at_least(
        "the slowest size to the fastest", min(rates.values()) / max(rates.values()), LEAST_OF_BEST, "×", 2
    )
    for size in found["sizes"]:
        cpu = f"manager {size['manager_us']:.1f} µs each"
        yield detail(f"{size['slots']:,} slots", f"{size['tasks_per_s']:,.0f} tasks/s, {cpu}")


def main() -> None:
    print(text(rows(measure())))


if __name__ == "__main__":
    main()
