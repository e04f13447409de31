"""Pictures for docs/images from the JSON of earlier runs; what was not measured is not drawn.

python -m bench.plots     # or: make plots
"""

from __future__ import annotations

import io
import itertools
import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench import hops
from bench.report import saved
from bench.stack import RESULTS, ROOT

IMAGES = ROOT / "docs/images"
STEPS = 100
"""Points of a distribution."""
OURS, THEIRS, FAULT = "#1f6fb4", "#999999", "#c0392b"
ROUTINGS = {"random": ("#999999", "^:"), "soft": ("#1f6fb4", "o-"), "hard": ("#e0a030", "s--")}
PALETTE = ["#1f6fb4", "#63a5d8", "#e0a030", "#5a9e58", "#aaaaaa"]
plt.rcParams.update(
    {
        "svg.hashsalt": "bursa",  # the same figures give the same file
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "axes.axisbelow": True,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)


def figures_of(measure: str) -> dict | None:
    """What `make bench` found, if it measured this."""
    found = ((saved("latest") or {}).get("measures") or {}).get(measure)
    return found.get("figures") if found else None


def axes(width: float = 6.2, height: float = 3.2) -> tuple[Figure, Axes]:
    return plt.subplots(figsize=(width, height))


def throughput() -> Figure | None:
    """Tasks per second by the size of a burst."""
    found = figures_of("curve")
    if found is None:
        return None
    figure, ax = axes()
    ax.plot(found["tasks"], found["tasks_per_s"], "o-", color=OURS, label="Bursa, durable and encrypted")
    ax.plot(
        found["tasks"], found["process_pool_tasks_per_s"], "s--", color=THEIRS, label="ProcessPoolExecutor"
    )
    ax.set(xscale="log", yscale="log", xlabel="no-ops in the burst", ylabel="tasks per second")
    ax.legend()
    return figure


def latency() -> Figure | None:
    """The share of calls that took at most so long, one call at a time."""
    lines = list(latencies())
    if not lines:
        return None
    figure, ax = axes()
    ax.set_prop_cycle(color=plt.get_cmap("tab20").colors)
    for name, times in lines:
        ordered, share = sorted(times), [number / STEPS for number in range(STEPS + 1)]
        shown = [ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in share]
        emphasis = {"color": OURS, "linewidth": 2.2, "zorder": 3} if name == "bursa" else {"linewidth": 1.1}
        ax.plot(shown, share, label=name, **emphasis)
    ax.set(xscale="log", xlabel="milliseconds from call to result", ylabel="share of calls", ylim=(0, 1))
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def latencies():
    """Name -> milliseconds of single calls: ours first, then each peer's."""
    peers = (saved("peers") or {"peers": []})["peers"]
    ours = [ms for peer in peers for both in peer["passes"] for ms in both["ours"]["one"].get("ms", [])]
    if ours:
        yield "bursa", ours
    for peer in peers:
        times = [ms for both in peer["passes"] for ms in both["peer"]["one"].get("ms", [])]
        if times:
            yield f"{peer['peer']} {peer['variant']}".strip(), times


def peers() -> Figure | None:
    """No-ops per second of every system that was measured."""
    found = (saved("peers") or {"peers": []})["peers"]
    having = [peer for peer in found if "noops_per_s" in peer["summary"]]
    if not having:
        return None
    rates = {
        f"{peer['peer']} {peer['variant']}".strip(): peer["summary"]["noops_per_s"]["peer"] for peer in having
    }
    rates["bursa"] = statistics.median(peer["summary"]["noops_per_s"]["ours"] for peer in having)
    names = sorted(rates, key=rates.__getitem__)
    figure, ax = axes(height=0.7 + 0.24 * len(names))
    bars = ax.barh(
        names, [rates[name] for name in names], color=[OURS if name == "bursa" else THEIRS for name in names]
    )
    ax.bar_label(bars, labels=[f"{rates[name]:,.0f}" for name in names], padding=3, fontsize=8)
    ax.set(
        xscale="log", xlabel="no-ops per second, one client, 2 workers", xlim=(10, 4 * max(rates.values()))
    )
    ax.grid(axis="y", visible=False)
    return figure


def breakdown() -> Figure | None:
    """Where the time of one call goes: a bar of its parts in their order."""
    found = figures_of("hops")
    if found is None:
        return None
    groups = hops.grouped(found["parts_ms"])
    figure, ax = axes(height=2.6)
    left = 0.0
    for (name, parts), color in zip(groups.items(), PALETTE):
        whole = sum(parts.values())
        ax.barh([0], [whole], left=[left], height=0.5, color=color, label=f"{name}: {1000 * whole:.0f} µs")
        for ms in list(parts.values())[:-1]:
            left += ms
            ax.plot([left, left], [-0.25, 0.25], color="white", linewidth=0.8)
        left += list(parts.values())[-1]
    ax.set(yticks=[], ylim=(-0.3, 0.3), xlabel="milliseconds, medians of single calls")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=2, fontsize=8)
    return figure


def scaling() -> Figure | None:
    """Throughput of one manager by the number of its slots."""
    found = figures_of("scale")
    if found is None:
        return None
    figure, ax = axes()
    ax.plot(*zip(*((size["slots"], size["tasks_per_s"]) for size in found["sizes"])), "o-", color=OURS)
    ax.set(xscale="log", xlabel="slots of the endpoint", ylabel="no-ops per second")
    ax.set_ylim(bottom=0)
    return figure


def prefetch() -> Figure | None:
    """No-ops per second by the calls taken ahead for each worker, for each delay; 8 workers dashed."""
    found = saved("prefetch")
    if found is None:
        return None
    figure, ax = axes()
    delays = sorted({case["delay_ms"] for case in found["cases"]})
    for (workers, line), (delay, color) in itertools.product(((2, "o-"), (8, "s--")), zip(delays, PALETTE)):
        points = sorted(
            (case["prefetch"], case["tasks_per_s"][0])
            for case in found["cases"]
            if (case["workers"], case["delay_ms"]) == (workers, delay)
        )
        ax.plot(*zip(*points), line, color=color, markersize=4, label=f"{workers} workers, {delay:g} ms")
    ax.set(yscale="log", xlabel="endpoint.prefetch", ylabel="no-ops per second")
    ax.set_xscale("symlog", linthresh=1)
    ax.legend(fontsize=7)
    return figure


def failures() -> Figure | None:
    """Latency of each call, by the moment at which it was submitted; a process fails meanwhile."""
    found = saved("failures")
    if found is None:
        return None
    figure, panels = plt.subplots(len(found["cases"]), figsize=(6.2, 1.5 * len(found["cases"])), sharex=True)
    for ax, (name, case) in zip(panels, found["cases"].items()):
        points(ax, case["calls"])
        ax.axvline(found["fault_s"], color=FAULT, linestyle="--", linewidth=1)
        ax.set_title(name, loc="left", fontsize=9, color=FAULT)
        ax.set(ylim=(0, max(3.0, 1.05 * case["longest"])), ylabel="latency, s")
    panels[-1].set_xlabel("second in which the call was submitted")
    return figure


def elasticity() -> Figure | None:
    """Calls that wait and run, and blocks, over time; one panel for each function."""
    found = saved("elasticity")
    if found is None:
        return None
    figure, panels = plt.subplots(len(found["functions"]), figsize=(6.2, 4.6), sharex=True)
    for ax, function in zip(panels, found["functions"]):
        waits = [(call[0], 1) for call in function["calls"]] + [(call[1], -1) for call in function["calls"]]
        runs = [(call[1], 1) for call in function["calls"]] + [(call[2], -1) for call in function["calls"]]
        blocks = [(0.0, 0), *map(tuple, function["blocks"]), (found["end_s"], function["blocks"][-1][1])]
        ax.fill_between(*zip(*summed(waits, found["end_s"])), step="post", color=PALETTE[2], label="waiting")
        ax.step(*zip(*summed(runs, found["end_s"])), where="post", color=PALETTE[3], label="running")
        ax.step(*zip(*blocks), where="post", color=OURS, linewidth=1.8, label="blocks")
        ax.set_title(function["name"], loc="left", fontsize=9)
        ax.set_ylim(bottom=0)
        ax.yaxis.get_major_locator().set_params(integer=True)
    panels[0].legend(fontsize=7, ncols=3, loc="upper right")
    panels[-1].set_xlabel("seconds; a burst every 12")
    return figure


def routing() -> Figure | None:
    """Time until the last of 3,000 calls has ended, by how long each takes; a panel for each site."""
    path = RESULTS / "routing.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {case["case"].split(" ")[0] for case in found}
    sites = [site for site in ("20x4", "10x16", "4x64") if site in known]
    if not sites:
        return None
    figure, panels = plt.subplots(1, len(sites), figsize=(2.4 * len(sites), 2.8), squeeze=False)
    for ax, site in zip(panels[0], sites):
        for name, (color, line) in ROUTINGS.items():
            cases = [case for case in found if case["routing"] == name]
            lasts = {case["case"]: statistics.mean(case["makespan_ms"]) / 1000 for case in cases}
            times = [
                (seconds, lasts[key])
                for seconds in (0, 1, 5, 10, 20)
                if (key := f"{site} uniform at-once {seconds}s") in lasts
            ]
            ax.plot(*zip(*times), line, color=color, markersize=4, label=name)
        ax.set_title(f"{site.replace('x', ' executors × ')} workers", loc="left", fontsize=9)
        ax.set(yscale="log", xlabel="seconds of a call")
    panels[0][0].set_ylabel("seconds to the last result")
    panels[0][-1].legend(fontsize=7)
    return figure


def routing_real() -> Figure | None:
    """Time to the last and the mean result with real containers, and the workers that were started."""
    found = saved("routing_real")
    if found is None:
        return None
    figure, panels = plt.subplots(1, 3, figsize=(6.8, 2.4))
    wanted = {
        "last_s": "seconds to the last result",
        "mean_s": "to the mean one",
        "starts": "workers started",
    }
    for ax, (what, title) in zip(panels, wanted.items()):
        for name, passes in found["routings"].items():
            each = [one[what] for one in passes]
            ax.bar(name, statistics.median(each), color=ROUTINGS[name][0], width=0.6)
            ax.plot([name] * len(each), each, ".", color="#333333", markersize=4)
        ax.set_title(title, loc="left", fontsize=9)
        ax.set_ylim(bottom=0)
    return figure


def summed(steps: list[tuple[float, int]], end: float) -> list[tuple[float, int]]:
    """Changes at their times as what there is from then on."""
    times = sorted(steps)
    totals = itertools.accumulate(change for _, change in times)
    last = sum(change for _, change in times)
    return [(0.0, 0), *((at, total) for (at, _), total in zip(times, totals)), (end, last)]


def points(ax: Axes, places: list[tuple[float, float]]) -> None:
    """One path of lines almost without length: a tenth of the bytes that markers take in a file."""
    across = [value for x, _ in places for value in (x, x + 0.004, math.nan)]
    up = [value for _, y in places for value in (y, y, math.nan)]
    ax.plot(across, up, color=OURS, linewidth=3, solid_capstyle="round", alpha=0.7)


PICTURES: dict[str, Callable[[], Figure | None]] = {
    "throughput": throughput,
    "latency": latency,
    "peers": peers,
    "hops": breakdown,
    "scaling": scaling,
    "prefetch": prefetch,
    "failures": failures,
    "elasticity": elasticity,
    "routing": routing,
    "routing_real": routing_real,
}


def draw(name: str) -> Path | None:
    """Writes docs/images/NAME.svg; None when there are no figures for it."""
    figure = PICTURES[name]()
    if figure is None:
        return None
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / f"{name}.svg"
    text = io.StringIO()
    figure.savefig(text, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    path.write_text(re.sub(r"(\.\d\d)\d+", r"\1", text.getvalue()))  # hundredths of a point are enough
    return path


def main() -> None:
    for name in PICTURES:
        path = draw(name)
        print(f"written to {path.relative_to(ROOT)}" if path else f"{name}: not measured yet")


if __name__ == "__main__":
    main()
