"""Globus Compute's own `Executor`: 10,000 no-ops at an endpoint of Bursa's and at the official one.

python -m bench.compute     # needs the package rabbitmq-server; writes bench/results/compute.json

The official endpoint comes once through this service, once on a real RabbitMQ with a relay in the place of
the hosted service (`bench/peers/compute/relay.py` says what that leaves out, in its favour).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from bench import machine
from bench.peers.driver import Driver, Failed
from bench.peers.environment import PLACE, python_of
from bench.processes import cpu_s, tree, words
from bench.stack import RESULTS

CALLS, WARM, PASSES = 10_000, 400, 3
PLACES = ["ours", "gateway processpool", "rabbitmq processpool", "gateway default", "rabbitmq default"]
"""Where, and with which engine of the official endpoint's; 2 workers everywhere."""


def one_pass(place: str) -> dict[str, float]:
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=PLACE) as directory:
        driver = Driver("compute", place, python_of("globus"), Path(directory))
        try:
            driver.ask("noop", n=WARM)
            before = service_s(driver)
            found = driver.ask("noop", n=CALLS)
            used = service_s(driver) - before
        finally:
            driver.end()
    per_second, us = CALLS / found["seconds"], 1e6 / CALLS
    return {"per_second": per_second, "cpu_us": us * found["cpu_s"], "service_us": us * used}


def service_s(driver: Driver) -> float:
    """CPU seconds of what is between client and endpoint: our service, or broker and relay."""
    own = {"service", "serve"}
    between = [pid for pid in tree(driver.process.pid) if is_between(words(pid), own)]
    return sum(cpu_s(pid) for pid in between)


def is_between(command: list[str], own: set[str]) -> bool:
    program, rest = Path(command[0]).name, command[1:]
    return (
        (program == "bursa" and not own.isdisjoint(rest))
        or program == "beam.smp"
        or any(word.endswith("relay.py") for word in rest)
    )


def main() -> None:
    found: dict[str, object] = {"machine": machine.about(), "calls": CALLS, "places": {}}
    places: dict[str, list[dict[str, float]]] = {place: [] for place in PLACES}
    with machine.Watch() as watch:
        for _ in range(PASSES):
            for place, passes in places.items():
                try:
                    passes.append(one_pass(place))
                except Failed as failure:
                    machine.progress(f"{place}: {failure}")
                else:
                    machine.progress(f"{place}: {passes[-1]}")
    print("| where | no-ops/s | CPU µs each | between client and endpoint |\n|---|---|---|---|")
    for place, passes in places.items():
        if passes:
            middle = {name: statistics.median(each[name] for each in passes) for name in passes[0]}
            cells = f"{middle['per_second']:,.0f} | {middle['cpu_us']:,.0f} | {middle['service_us']:,.0f}"
            print(f"| {place} | {cells} |")
    found |= {"places": places, "meanwhile": watch.found}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "compute.json").write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(not all(places.values()))


if __name__ == "__main__":
    main()
