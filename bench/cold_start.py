"""From `bursa up` on a new home to the first result, and the same on a home that exists.

python -m bench.cold_start
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import bursa

from bench.row import Row, at_most, detail, spread, text
from bench.stack import running, scratch

PASSES = 5


def measure() -> dict[str, dict]:
    first, again = [], []
    for _ in range(PASSES):
        with scratch() as directory:
            first.append(start(directory / "home"))
            again.append(start(directory / "home"))
    return {"new_home_s": spread(first), "again_s": spread(again)}


def start(home: Path) -> float:
    with running(home) as stack, bursa.Client(stack.url, stack.token) as client:
        if client.run(abs, -1).result() != 1:
            raise SystemExit("the first call did not give the right result")
        return time.perf_counter() - stack.started


def rows(found: dict) -> Iterator[Row]:
    yield at_most("`up` on a new home to the first result", found["new_home_s"]["median"], 0.6, "s", 2)
    yield detail("on a home that exists", f"{found['again_s']['median']:.2f} s")


def main() -> None:
    print(text(rows(measure())))


if __name__ == "__main__":
    main()
