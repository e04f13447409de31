"""The figures of all passes as one line for each peer."""

from __future__ import annotations

import statistics
from collections.abc import Callable

Pass = dict[str, dict]


def rate(measure: str) -> Callable[[Pass], float]:
    return lambda found: found[measure]["n"] / found[measure]["seconds"]


def p50(measure: str) -> Callable[[Pass], float]:
    return lambda found: statistics.median(found[measure]["ms"])


FIGURES: dict[str, Callable[[Pass], float]] = {
    "noops_per_s": rate("noop"),
    "cpu_us_per_noop": lambda found: 1e6 * found["noop"]["cpu_s"] / found["noop"]["n"],
    "one_p50_ms": p50("one"),
    "short_per_s": rate("sleep"),
    "echo_p50_ms": p50("echo"),
    "pipelined_mib_per_s": rate("pipelined"),
    "first_result_s": lambda found: found["started_s"],
    "idle_rss_mb": lambda found: found["idle"]["rss"],
    "idle_pss_mb": lambda found: found["idle"]["pss"],
    "queued_bytes": lambda found: found["queue"]["bytes"],
    "idle_cpu_percent": lambda found: found["idle"]["cpu_percent"],
}
"""Name -> its value in one pass; KeyError where the peer has none."""


def summary(passes: list[dict]) -> dict[str, dict[str, float]]:
    """Figure -> medians of ours and the peer's, and of their ratio pass by pass."""
    found = {}
    for name, value in FIGURES.items():
        try:
            pairs = [(value(both["ours"]), value(both["peer"])) for both in passes]
        except KeyError:
            continue
        if pairs:
            found[name] = {
                "ours": round(statistics.median(ours for ours, _ in pairs), 3),
                "peer": round(statistics.median(peer for _, peer in pairs), 3),
                "ratio": round(statistics.median(ours / peer for ours, peer in pairs if peer > 0.001), 3)
                if all(peer > 0.001 for _, peer in pairs)
                else None,
            }
    return found


COLUMNS = [
    ("no-ops/s", "noops_per_s", ",.0f"),
    ("CPU µs each", "cpu_us_per_noop", ",.0f"),
    ("one at a time, p50 ms", "one_p50_ms", ",.2f"),
    ("1 ms tasks/s", "short_per_s", ",.0f"),
    ("1 MiB echo, p50 ms", "echo_p50_ms", ",.1f"),
    ("MiB/s each way", "pipelined_mib_per_s", ",.0f"),
    ("start to first result, s", "first_result_s", ".2f"),
    ("idle PSS, MB", "idle_pss_mb", ",.0f"),
    ("bytes per queued call", "queued_bytes", ",.0f"),
    ("idle CPU, %", "idle_cpu_percent", ".1f"),
]


def markdown(peers: list[dict]) -> str:
    """A line for each peer, ours first: the median over everything that was measured beside it."""
    heads = ["", *(head for head, _, _ in COLUMNS), "ours, no-ops"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    ours = {
        figure: statistics.median(peer["summary"][figure]["ours"] for peer in having)
        for _, figure, _ in COLUMNS
        if (having := [peer for peer in peers if figure in peer["summary"]])
    }
    lines.append(line("**bursa**", ours, ""))
    for peer in peers:
        name = f"{peer['peer']} {peer['variant']}".strip()
        if not peer["summary"]:
            lines.append(f"| {name} | {peer.get('error', 'not measured')} |" + " |" * len(COLUMNS))
            continue
        theirs = {figure: values["peer"] for figure, values in peer["summary"].items()}
        times = peer["summary"].get("noops_per_s", {}).get("ratio")
        lines.append(line(name, theirs, f"{times:.1f} ×" if times else ""))
    return "\n".join(lines) + "\n"


def line(name: str, figures: dict[str, float], last: str) -> str:
    cells = [format(figures[figure], how) if figure in figures else "–" for _, figure, how in COLUMNS]
    return "| " + " | ".join([name, *cells, last]) + " |"
