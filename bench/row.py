"""A line of the table: what was measured, what it should be, whether it is."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass
class Row:
    """`met` is None where there is no target; `depth` indents the details of the row above."""

    metric: str
    measured: str
    target: str = ""
    met: bool | None = None
    depth: int = 0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def detail(metric: str, measured: str) -> Row:
    return Row(metric, measured, depth=1)


def at_least(metric: str, value: float, bound: float, unit: str, digits: int = 0) -> Row:
    return Row(metric, figure(value, unit, digits), f"≥ {figure(bound, unit, digits)}", value >= bound)


def at_most(metric: str, value: float, bound: float, unit: str, digits: int = 0) -> Row:
    return Row(metric, figure(value, unit, digits), f"≤ {figure(bound, unit, digits)}", value <= bound)


def figure(value: float, unit: str, digits: int = 0) -> str:
    return f"{value:,.{digits}f} {unit}".strip()


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of values in order."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def text(rows: Iterable[Row]) -> str:
    """For a terminal."""
    marks = {None: "", True: "met", False: "NOT MET"}
    return "\n".join(
        f"{'  ' * row.depth + row.metric:58} {row.measured:>20}   {row.target:28} {marks[row.met]}".rstrip()
        for row in rows
    )


def markdown(rows: Iterable[dict[str, object]]) -> str:
    lines = ["| metric | measured | target | |", "|---|---|---|---|"]
    marks = {None: "", True: "met", False: "**not met**"}
    for row in rows:
        name = ("– " * int(row["depth"])) + str(row["metric"])
        lines.append(f"| {name} | {row['measured']} | {row['target']} | {marks[row['met']]} |")
    return "\n".join(lines) + "\n"
