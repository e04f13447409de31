"""Tables and pictures of docs/performance.md and README.md, between their markers, from earlier runs.

python -m bench.report     # or: make plots
"""

from __future__ import annotations

import json
import re

from bench.peers.table import markdown as peers_table
from bench.row import markdown
from bench.stack import RESULTS, ROOT

HEADLINES = [
    "10,000 no-ops",
    "10,000 no-ops, times the process pool",
    "100,000 no-ops",
    "100,000 no-ops, CPU per task: all",
    "one call at a time, p50",
    "1 MiB there and back, one at a time, p50",
    "`up` on a new home to the first result",
]
"""The rows of README.md."""


CAPTIONS = {
    "peers": "No-ops per second of every system measured, logarithmic.",
    "throughput": "Tasks per second by the size of a burst.",
    "latency": "One call at a time: the share of calls that took at most so long.",
    "hops": "Where the time of one call goes: service, forwarder, endpoint, worker.",
    "prefetch": "No-ops per second by `endpoint.prefetch` over a slow link, for 2 and 8 workers.",
    "scaling": "Throughput by the number of slots of one endpoint, executors simulated on real sockets.",
}
"""Picture -> what it shows; `bench.plots` draws them."""


def saved(name: str) -> dict | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def provenance(found: dict) -> str:
    """One line: when, what and where."""
    machine = found["machine"]
    meanwhile = [measure["meanwhile"] for measure in found.get("measures", {}).values()]
    meanwhile += [both["meanwhile"] for peer in found.get("peers", []) for both in peer["passes"]]
    seconds = sum(watch["seconds"] for watch in meanwhile) or 1.0
    others = sum(watch["others_share"] * watch["seconds"] for watch in meanwhile) / seconds
    return (
        f"{machine['when'][:10]}, commit {machine['commit']}, {machine['cores']} × {machine['cpu']}, "
        f"Linux {machine['kernel']}, Python {machine['python']}; "
        f"other programs used {others:.0%} of the machine meanwhile.\n"
    )


def prefetch_table(found: dict) -> str:
    """Tasks per second: a row for each number of workers, delay and length, a column for each credit."""
    credits = sorted({case["prefetch"] for case in found["cases"]})
    lines = ["| workers | delay each way | task | " + " | ".join(map(str, credits)) + " |"]
    lines.append("|---|---|---|" + "---|" * len(credits))
    rates: dict[tuple, dict[int, list[float]]] = {}
    for case in found["cases"]:
        rates.setdefault((case["workers"], case["delay_ms"]), {})[case["prefetch"]] = case["tasks_per_s"]
    for (workers, delay), by_credit in rates.items():
        for place, length in enumerate(found["lengths_ms"]):
            cells = [f"{by_credit[credit][place]:,.0f}" for credit in credits]
            name = f"{length:g} ms" if length else "no-op"
            lines.append(f"| {workers} | {delay:g} ms | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tables() -> dict[str, str]:
    """Marker -> the text that belongs between it and its end."""
    texts = {}
    if latest := saved("latest"):
        rows = latest["rows"]
        texts["bench"] = f"{provenance(latest)}\n{markdown(rows)}"
        texts["headlines"] = markdown([row for row in rows if row["metric"] in HEADLINES])
    if peers := saved("peers"):
        texts["peers"] = f"{provenance(peers)}\n{peers_table(peers['peers'])}"
    if prefetch := saved("prefetch"):
        texts["prefetch"] = f"{provenance(prefetch)}\n{prefetch_table(prefetch)}"
    texts["pictures"] = "\n\n".join(
        f"![{caption}](images/{name}.svg)\n*{caption}*"
        for name, caption in CAPTIONS.items()
        if (ROOT / f"docs/images/{name}.svg").exists()
    )
    if texts["pictures"]:
        texts["pictures"] += "\n"
    return texts


def replaced(page: str, marker: str, text: str) -> str:
    """The page with what stands between `<!-- MARKER -->` and `<!-- /MARKER -->` replaced."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.S)
    return pattern.sub(lambda found: found[1] + text + found[2], page)


def main() -> None:
    texts = tables()
    for name in ("docs/performance.md", "README.md"):
        path = ROOT / name
        page = old = path.read_text()
        for marker, text in texts.items():
            page = replaced(page, marker, text)
        path.write_text(page)
        print(f"{name}: {'written' if page != old else 'unchanged'}")


if __name__ == "__main__":
    main()
