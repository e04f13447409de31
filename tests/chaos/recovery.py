"""How soon all was well again after each fault that came alone."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from math import inf
from pathlib import Path

from faults import Fault
from journal import Known
from stack import TIMERS

AT_ONCE, MARGIN = 0.5, 0.2
"""Targets in seconds: where a death is seen at once, and beyond the threshold by which all else is seen."""
SEEN_AT_ONCE = {f"kill {role}" for role in ("service", "manager", "executor", "zygote", "worker")}
SERVICE_S, ENDPOINT_S = (int(TIMERS[f"BURSA_{name}_THRESHOLD_MS"]) / 1000 for name in ("SERVICE", "ENDPOINT"))


def target(kind: str) -> float | None:
    """The most that it should take; None for what is not the product's to heal."""
    if kind in SEEN_AT_ONCE:
        return AT_ONCE
    if kind.startswith("kill") or kind.endswith(("client", "client-service")):
        return None
    inner = kind.endswith(("worker", "zygote", "executor", "executor-manager"))
    return (ENDPOINT_S if inner else SERVICE_S) + MARGIN


def begun(folder: Path) -> dict[str, list[float]]:
    """When each task began, each time that it did."""
    found: dict[str, list[float]] = {}
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            task, at = line.split()
            found.setdefault(task, []).append(float(at))
    return found


class Recovery:
    """Both figures of a fault, from what clients and workers wrote down."""

    def __init__(self, known: Known, began: dict[str, list[float]]) -> None:
        ended = [(min(r.at for r in results), task) for task, results in known.results.items()]
        self.ends = sorted((at, max(began[task])) for at, task in ended if task in began)
        calls = known.calls
        self.runs = sorted(
            (min(began[task]), at, min(began[task]) + calls[task].seconds)
            for at, task in ended
            if task in began
        )

    def new(self, fault: Fault) -> float | None:
        """Seconds to the first success of a call that began after it (after its end, if it lasts)."""
        for at, start in self.ends[bisect_right(self.ends, (fault.over, 0.0)) :]:
            if start > fault.over:
                return at - fault.over
        return None

    def running(self, fault: Fault, following: float) -> float | None:
        """Seconds by which the calls that ran when it came were late at most, counted from its end.

        Those that the `following` fault met too were as late as they were then: the rest is for its account.
        """
        runs = self.runs[: bisect_right(self.runs, (fault.at, 0.0, 0.0))]
        late = [min(end, following) - max(fault.over, planned) for _, end, planned in runs if end > fault.at]
        return max(0.0, *late) if late else None


def rows(faults: list[Fault], recovery: Recovery) -> Iterator[tuple[str, int, int, list[float], list[float]]]:
    """Kind, how often, how often alone, and the figures of the latter."""
    times = Counter(fault.kind for fault in faults)
    starts = [*sorted(fault.at for fault in faults), inf]
    for kind in sorted(times):
        alone = [fault for fault in faults if fault.kind == kind and fault.alone]
        new = [seconds for fault in alone if (seconds := recovery.new(fault)) is not None]
        met = ((fault, starts[bisect_right(starts, fault.at)]) for fault in alone)
        ran = [
            seconds for fault, following in met if (seconds := recovery.running(fault, following)) is not None
        ]
        yield kind, times[kind], len(alone), new, [] if "client" in kind else ran


def table(faults: list[Fault], recovery: Recovery) -> tuple[list[str], list[str]]:
    """Lines to print, and what is above its target."""
    lines = [line("", "times", "alone", "next call, p50", "max", "running ones, p50", "max", "target")]
    above = []
    for kind, times, alone, new, ran in rows(faults, recovery):
        most = target(kind)
        middle = max((statistics.median(found) for found in (new, ran) if found), default=0.0)
        if most is not None and middle > most:
            above.append(f"recovery from '{kind}' takes {middle:.2f} s (p50), its target is {most:.1f} s")
        figures = (figure(found, of) for found in (new, ran) for of in (statistics.median, max))
        lines.append(line(kind, times, alone, *figures, "" if most is None else f"{most:.1f}"))
    return lines, above


def line(kind: str, *cells: object) -> str:
    widths = (6, 6, 16, 7, 19, 7, 8)
    return f"{kind:<29}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))


def figure(found: list[float], of) -> str:
    return f"{of(found):.2f}" if found else "-"
