"""What an idle stack takes: memory by process, and CPU over 20 seconds.

python -m bench.memory
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.row import Row, at_most, detail, text
from bench.stack import running, scratch

IDLE_S = 20


def measure() -> dict[str, object]:
    """A stack of its own, in which nothing has run yet."""
    with scratch() as directory, running(directory / "home") as stack:
        time.sleep(1)  # what a start still has to do is not idleness
        before, rss = stack.cpu_s(), stack.rss_mb()
        time.sleep(IDLE_S)
        after = stack.cpu_s()
    share = {role: 100 * (after[role] - before.get(role, 0.0)) / IDLE_S for role in after}
    return {"rss_mb": rss, "cpu_percent": share}


def rows(found: dict) -> Iterator[Row]:
    rss, cpu = found["rss_mb"], found["cpu_percent"]
    yield at_most("idle, resident: service", rss["service"], 25, "MB", 1)
    yield at_most("idle, resident: manager + executor", rss["manager"] + rss["executor"], 30, "MB", 1)
    for role, used in rss.items():
        yield detail(role, f"{used:.1f} MB")
    yield at_most(f"idle, CPU over {IDLE_S} s, all processes", round(sum(cpu.values()), 1), 0.0, "%", 1)


def main() -> None:
    print(text(rows(measure())))


if __name__ == "__main__":
    main()
