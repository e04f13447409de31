"""Every measure of the product in one run.

python -m bench.run [NAME …]     # all: writes bench/results/latest.*; or the named ones: writes some.*
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from bench import (
    backlog,
    bursts,
    cold_start,
    curve,
    hops,
    machine,
    map,
    memo,
    memory,
    payload,
    row,
    scale,
    short_tasks,
    single,
    worker_start,
)
from bench.stack import RESULTS, fresh

ALONE = {
    "cold_start": cold_start,
    "worker_start": worker_start,
    "memory": memory,
    "backlog": backlog,
    "scale": scale,
}
"""Name -> a module whose `measure()` starts what it needs."""
TOGETHER = {
    "bursts": bursts,
    "single": single,
    "short_tasks": short_tasks,
    "payload": payload,
    "map": map,
    "memo": memo,
    "hops": hops,
    "curve": curve,
}
"""Name -> a module whose `measure(stack, client)` runs on one stack that they share."""


def measured(name: str, measure, *given: object) -> dict[str, object]:
    """The figures, and who else was at work meanwhile. What fails says why, and the others go on."""
    machine.progress(f"{name} …")
    found: dict[str, object] = {}
    with machine.Watch() as watch:
        try:
            found["figures"] = measure(*given)
        except (Exception, SystemExit) as error:
            found["error"] = f"{type(error).__name__}: {error}"
    machine.progress(f"{name}: {found.get('error', watch.found)}")
    return {"meanwhile": watch.found, **found}


def lines(name: str, module, found: dict[str, object]) -> Iterator[row.Row]:
    if "error" in found:
        yield row.Row(name, f"not measured: {found['error']}", met=False)
    else:
        yield from module.rows(found["figures"])


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
    found["rows"] = [line.as_dict() for name in shown for line in lines(name, modules[name], measures[name])]
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
    sys.exit(any("error" in measure for measure in found["measures"].values()))


if __name__ == "__main__":
    main()
