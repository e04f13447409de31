"""The rules of the tree that a compiler does not hold: who imports whom, and how large things may be."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Crate -> the crates of ours it may depend on.
CRATES = {
    "bursa-core": set(),
    "bursa-fabric": {"bursa-core"},
    "bursa-service": {"bursa-core", "bursa-fabric"},
    "bursa-endpoint": {"bursa-core", "bursa-fabric"},
    "bursa": {"bursa-core", "bursa-fabric", "bursa-service", "bursa-endpoint"},
}
# Foreign crate -> the only crates of ours that may name it.
CONFINED = {
    "zmq": {"bursa-fabric"},
    "zmq-sys": {"bursa-fabric"},
    "rusqlite": {"bursa-service"},
    "axum": {"bursa-service"},
    "ureq": {"bursa-service", "bursa"},
    "nix": {"bursa-endpoint", "bursa"},
    "anyhow": {"bursa"},
}
# Folder -> modules of its own crate that it may not name.
MODULES = {
    "crates/core/src/hub": ["manager", "executor", "sim"],
    "crates/core/src/manager": ["hub", "executor", "sim"],
    "crates/core/src/executor": ["hub", "manager", "sim"],
    "crates/core/src/wire": ["hub", "manager", "executor", "sim"],
    "crates/service/src/http": ["store::sqlite", "driver::"],
    "crates/service/src/store": ["http", "forwarder", "driver", "identity"],
    "crates/service/src/identity": ["store", "forwarder", "driver", "handle"],
    "crates/endpoint/src/provider": ["worker", "manager_driver", "executor_driver"],
    "crates/endpoint/src/worker": ["provider", "manager_driver", "executor_driver"],
}
# In core: no clock, no IO, no threads, no random hashers (map.rs holds the maps with a fixed one).
CORE_WORDS = re.compile(
    r"std::(time::(Instant|SystemTime)|fs|net|thread|process|env)|collections::\{?[^;]*\b(HashMap|HashSet)|tokio|println!"
)
WORKER_IMPORTS = {"serialize", "_vendor", "worker"}
FILE_CAP, FILE_P95, FILE_MEDIAN, FUNCTION_CAP = 700, 450, 150, 70


def main() -> int:
    problems = [*crate_imports(), *module_imports(), *core_purity(), *worker_imports(), *rust_sizes()]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"layers: {len(problems)} problems" if problems else "layers: ok")
    return 1 if problems else 0


def crate_imports() -> Iterator[str]:
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)[
        "packages"
    ]
    for package in packages:
        name = package["name"]
        normal = {dep["name"] for dep in package["dependencies"] if dep["kind"] is None}
        ours = {dep for dep in normal if dep in CRATES}
        yield from (f"{name} may not depend on {dep}" for dep in ours - CRATES[name])
        yield from (
            f"{name} may not depend on {dep}: only {', '.join(sorted(CONFINED[dep]))} may"
            for dep in normal & CONFINED.keys()
            if name not in CONFINED[dep]
        )


def module_imports() -> Iterator[str]:
    for folder, banned in MODULES.items():
        for path in sorted((ROOT / folder).rglob("*.rs")):
            source = without_tests(path.read_text())
            for name in banned:
                if re.search(rf"\bcrate::{name}\b" if name.isidentifier() else rf"\bcrate::{name}", source):
                    yield f"{path.relative_to(ROOT)} may not name crate::{name}"


def core_purity() -> Iterator[str]:
    files = {path for path in (ROOT / "crates/core/src").rglob("*.rs") if path.name != "map.rs"}
    for path in sorted(files):
        for number, line in enumerate(without_tests(path.read_text()).splitlines(), 1):
            if not line.lstrip().startswith("//") and (found := CORE_WORDS.search(line)):
                yield f"{path.relative_to(ROOT)}:{number}: core may not use {found.group(0)}"


def worker_imports() -> Iterator[str]:
    """The worker knows serialize and the vendored packages only; the SDK never names the worker."""
    package = ROOT / "python/src/bursa"
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        if relative.parts[0] == "_vendor":
            continue
        in_worker = relative.parts[0] == "worker" or relative.name == "serialize.py"
        for name in re.findall(r"^\s*(?:from|import) bursa\.?(\w*)", path.read_text(), re.M):
            if in_worker and name not in WORKER_IMPORTS:
                yield f"{path.relative_to(ROOT)}: the worker may not import bursa.{name}"
            if not in_worker and name == "worker":
                yield f"{path.relative_to(ROOT)}: the SDK may not import bursa.worker"


def rust_sizes() -> Iterator[str]:
    sizes = {}
    for path in sorted((ROOT / "crates").glob("*/src/**/*.rs")):
        source = without_tests(path.read_text())
        sizes[path] = source.count("\n")
        if sizes[path] > FILE_CAP:
            yield f"{path.relative_to(ROOT)}: {sizes[path]} lines, the cap is {FILE_CAP}"
        for name, length in functions(source):
            if length > FUNCTION_CAP:
                yield f"{path.relative_to(ROOT)}: fn {name} has {length} lines, the cap is {FUNCTION_CAP}"
    ordered = sorted(sizes.values())
    if (median := statistics.median(ordered)) > FILE_MEDIAN:
        yield f"the median Rust file has {median:.0f} lines, {FILE_MEDIAN} at most"
    if (p95 := ordered[int(len(ordered) * 0.95)]) > FILE_P95:
        yield f"the 95th percentile of Rust files has {p95} lines, {FILE_P95} at most"


def without_tests(source: str) -> str:
    """The source up to its `mod tests`, which stands last in a file."""
    return source.split("#[cfg(test)]\nmod tests")[0]


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Names and lengths of functions, by the indentation that rustfmt gives their closing brace."""
    lines = source.splitlines()
    for start, line in enumerate(lines):
        found = re.match(r"(\s*)(?:pub(?:\([^)]*\))? )?(?:const )?(?:async )?(?:unsafe )?fn (\w+)", line)
        if not found:
            continue
        for end in range(start, len(lines)):
            if lines[end].rstrip() == found.group(1) + "}":
                yield found.group(2), end - start + 1
                break
            if lines[end].rstrip().endswith(";") and end == start:
                break


if __name__ == "__main__":
    sys.exit(main())
