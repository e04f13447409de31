"""Other systems beside ours, pass by pass: ours, the peer, ours, the peer, …

python -m bench.peers [NAME …]     # all, or the named ones; writes bench/results/peers.json and peers.md

Of named peers the figures replace those of an earlier run; the others' stay.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from bench import machine
from bench.peers.driver import Driver, Failed
from bench.peers.environment import PLACE, Missing, python_of
from bench.peers.table import markdown, summary
from bench.stack import RESULTS

OURS = "bursa"
PEERS = {
    "processpool": [""],
    "pyzmq": [""],
    "uvicorn": [""],
    "ray": ["actors", "tasks"],
    "globus": ["processpool", "tuned", "default"],
    "parsl": ["raw", "tuned", "default"],
    "celery": [""],
    "dask": [""],
    "hyperqueue": [""],
    "funcx": [""],
}
"""Peer -> its variants."""
BURSTS = {"hyperqueue": 4_000}
"""Peer -> no-ops in a burst, where a short one would measure its client, which looks once a second."""
QUEUELESS = {"uvicorn", "hyperqueue"}
"""Peers that queue nothing, or whose start of a program would be weighed."""
PASSES = 3
BUDGET_S = 14 * 60
"""Of the whole run without installing. A slow peer gets fewer passes, and smaller bursts."""
BURST, SHORT_S, QUEUED_S = 10_000, 0.001, 2.0


def one_pass(name: str, variant: str) -> dict[str, object]:
    """Starts it, measures everything, ends it. What fails is said in the place of its figure."""
    python = python_of(name)
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=PLACE) as place:
        driver = Driver(name, variant, python, Path(place))
        try:
            return measured(driver, name)
        finally:
            driver.end()


def measured(driver: Driver, name: str) -> dict[str, object]:
    found: dict[str, object] = {"started_s": driver.started_s}
    warm = driver.ask("noop", n=200)["seconds"]
    time.sleep(1)
    found["idle"] = idle(driver)
    rate = 200 / warm
    fitting = BURST if rate * 4 > BURST else max(200, int(rate * 3) // 100 * 100)
    count = BURSTS.get(name, fitting)
    if name not in QUEUELESS:
        found["queue"] = weighed(driver, rate)
    short = max(200, min(2_000, int(rate * 2) // 100 * 100))
    asked = {
        "noop": {"n": count},
        "one": {"seconds": 1.0, "n": 300},
        "sleep": {"n": short, "seconds": SHORT_S},
        "echo": {"seconds": 1.0, "n": 20},
        "pipelined": {"n": 40},
    }
    for measure, given in asked.items():
        try:
            found[measure] = {**given, **driver.ask(measure, **given)}
        except Failed as failure:
            found[measure] = {"error": str(failure)}
    return found


def weighed(driver: Driver, rate: float) -> dict[str, object]:
    """Memory of queued calls, as many as the peer takes in within the time."""
    count = min(BURST, int(rate * QUEUED_S / 2))
    try:
        return driver.weigh(count, QUEUED_S)
    except Failed as failure:
        return {"error": str(failure)}


def idle(driver: Driver) -> dict[str, float]:
    """Memory and CPU of all its processes, its client among them, while nothing is asked."""
    began, before = time.perf_counter(), driver.cpu_s()
    time.sleep(1)
    share = 100 * (driver.cpu_s() - before) / (time.perf_counter() - began)
    return {**driver.memory_mb(), "cpu_percent": share}


def beside(name: str, variant: str, until: float) -> dict[str, object]:
    """Passes of ours and of the peer in turn, as many as there is time for."""
    passes: list[dict[str, object]] = []
    found: dict[str, object] = {"peer": name, "variant": variant, "passes": passes}
    while len(passes) < PASSES and (not passes or time.perf_counter() < until):
        try:
            python_of(name)  # an installation is no part of a pass
            with machine.Watch() as watch:
                pair = {"ours": one_pass(OURS, ""), "peer": one_pass(name, variant)}
        except (Missing, Failed) as failure:
            found["error"] = str(failure)
            break
        passes.append({**pair, "meanwhile": watch.found})
    return found


def main() -> None:
    names = sys.argv[1:] or list(PEERS)
    if unknown := set(names) - set(PEERS):
        raise SystemExit(f"there is no peer {', '.join(sorted(unknown))}; the peers are {', '.join(PEERS)}")
    chosen = [(name, variant) for name in names for variant in PEERS[name]]
    for name in names:
        try:
            python_of(name)
        except Missing as missing:
            machine.progress(f"{name}: {missing}")
    where, peers = machine.about(), []
    end = time.perf_counter() + BUDGET_S
    for number, (name, variant) in enumerate(chosen):
        now = time.perf_counter()
        machine.progress(f"{name} {variant} …")
        peer = beside(name, variant, now + (end - now) / (len(chosen) - number))
        peers.append({**peer, "when": where["when"], "summary": summary(peer["passes"])})
        machine.progress(f"  {peer.get('error') or peers[-1]['summary']}")
    order = [(name, variant) for name in PEERS for variant in PEERS[name]]
    peers = sorted([*others(names), *peers], key=lambda peer: order.index((peer["peer"], peer["variant"])))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "peers.json").write_text(json.dumps({"machine": where, "peers": peers}, indent=2) + "\n")
    (RESULTS / "peers.md").write_text(markdown(peers))
    print(markdown(peers))
    print("written to bench/results/peers.json and peers.md")


def others(names: list[str]) -> list[dict]:
    """What an earlier run found of the peers that this one leaves out."""
    path = RESULTS / "peers.json"
    found = json.loads(path.read_text())["peers"] if path.exists() else []
    return [peer for peer in found if peer["peer"] not in names and peer["peer"] in PEERS]


if __name__ == "__main__":
    main()
