"""Every measure of the product in one run.

python -m bench.run [NAME …]     # all: writes bench/results/latest.*; or the named ones: writes some.*
"""

from __future__ import annotations

import json
import sys

from bench import backlog, bursts, cold_start, curve, machine, map, memo, memory, payload, row, short_tasks
from bench.stack import RESULTS, fresh

ALONE = {"cold_start": cold_start, "memory": memory, "backlog": backlog}
"""Name -> a module whose `measure()` starts what it needs."""
TOGETHER = {
    "bursts": bursts,
    "short_tasks": short_tasks,
    "payload": payload,
    "map": map,
    "memo": memo,
    "curve": curve,
}
"""Name -> a module whose `measure(stack, client)` runs on one stack that they share."""


def measured(name: str, measure, *given: object) -> dict[str, object]:
    """The figures, and who else was at work meanwhile."""
    machine.progress(f"{name} …")
    with machine.Watch() as watch:
        figures = measure(*given)
    machine.progress(f"{name}: {watch.found}")
    return {"meanwhile": watch.found, "figures": figures}


def run(names: list[str]) -> dict[str, object]:
    found: dict[str, object] = {"machine": machine.about(), "measures": {}}
    measures = found["measures"]
    for name in [name for name in ALONE if name in names]:
        measures[name] = measured(name, ALONE[name].measure)
    if shared := [name for name in TOGETHER if name in names]:
        with fresh() as (stack, client):
            for name in shared:
                measures[name] = measured(name, TOGETHER[name].measure, stack, client)
    modules = {**ALONE, **TOGETHER}
    shown = [name for name in [*TOGETHER, *ALONE] if name in measures]
    found["rows"] = [
        line.as_dict() for name in shown for line in modules[name].rows(measures[name]["figures"])
    ]
    return found


def main() -> None:
    modules = {**ALONE, **TOGETHER}
    names = sys.argv[1:] or list(modules)
    if unknown := set(names) - set(modules):
        raise SystemExit(
            f"there is no measure {', '.join(sorted(unknown))}; the measures are {', '.join(modules)}"
        )
    found = run(names)
    kind = "latest" if set(names) == set(modules) else "some"
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{kind}.json").write_text(json.dumps(found, indent=2) + "\n")
    (RESULTS / f"{kind}.md").write_text(row.markdown(found["rows"]))
    print(row.text(row.Row(**line) for line in found["rows"]))
    print(f"\nwritten to bench/results/{kind}.json and {kind}.md")


if __name__ == "__main__":
    main()
