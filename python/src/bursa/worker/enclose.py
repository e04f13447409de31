"""Into the sandbox: what this interpreter needs of the host, and then bubblewrap with the same interpreter
inside.
Runs outside, before the zygote. The endpoint says what is visible anyway and what was granted; only the
interpreter itself knows where it imports from.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Dict, Iterable, List, Tuple

from .visible import OWN, is_below

VARIABLE = "BURSA_SANDBOX"
"""What the endpoint says, as JSON: see `crates/endpoint/src/runtime/bwrap.rs`."""
INSIDE = "BURSA_CONFINE"
"""What the zygote inside is told, as JSON: see `confine.Confinement`."""

FLAGS = {"read": "--ro-bind", "write": "--bind", "hide": "--tmpfs"}
Bind = Tuple[str, str]
"""(read, write or hide; path)"""


def enter(told: str) -> None:
    """Becomes bubblewrap, which becomes the zygote. Never returns."""
    plan = json.loads(told)
    compile_package()
    granted: List[Bind] = [(kind, path) for kind, path in plan["binds"]]
    needed = needs(interpreter_paths(), plan["visible"], plan["never"])
    binds = merged(granted, needed)
    inside = {**plan["inside"], **seen(binds, plan["visible"])}
    os.environ[INSIDE] = json.dumps(inside)
    argv = [*plan["before"], *flags_of(binds), *plan["after"], sys.executable, "-m", "bursa.worker"]
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.exit(
            f"bursa.worker: {argv[0]} cannot be run ({error}); install bubblewrap or set sandbox.runtime"
        )


def compile_package() -> None:
    """Compiles what workers import, once for each Python: inside, and in containers, nothing can be kept."""
    from importlib.util import cache_from_source

    here = os.path.dirname(__file__)
    compiled = cache_from_source(os.path.join(here, "zygote.py"))
    if not os.path.exists(compiled) and os.access(here, os.W_OK) and not sys.dont_write_bytecode:
        from . import zygote  # noqa: F401


def interpreter_paths() -> List[str]:
    """Where this interpreter and its modules are. The first entry of `sys.path` is the directory it runs
    in."""
    programs = [os.path.dirname(sys.executable), os.path.dirname(os.path.realpath(sys.executable))]
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return [*prefixes, *programs, *sys.path[1:], *libraries]


def needs(paths: Iterable[str], visible: List[str], never: List[str]) -> List[str]:
    """Those of `paths` that must be bound, by both of their names; without what holds a path of `never`."""
    found: List[str] = []
    for path in paths:
        if not os.path.isabs(path) or not os.path.exists(path):
            continue
        for name in (os.path.normpath(path), os.path.realpath(path)):
            real = os.path.realpath(name)
            if any(is_below(secret, name) or is_below(secret, real) for secret in never):
                print(f"{name} stays outside the sandbox, since it holds more than modules", file=sys.stderr)
            elif not any(is_below(real, root) for root in visible) and name not in found:
                found.append(name)
    return [name for name in found if not any(is_below(name, other) for other in found if other != name)]


def merged(granted: List[Bind], needed: List[str]) -> List[Bind]:
    """Outer directories first. What the interpreter needs stays read-only also where more was granted:
    whoever changes it could act outside."""
    kinds: Dict[str, str] = {path: kind for kind, path in granted}
    kinds.update(dict.fromkeys(needed, "read"))
    return [(kinds[path], path) for path in sorted(kinds, key=lambda path: (path.count("/"), path))]


def flags_of(binds: List[Bind]) -> List[str]:
    flags: List[str] = []
    for kind, path in binds:
        flags += [FLAGS[kind], path] if kind == "hide" else [FLAGS[kind], path, path]
    for kind, path in binds:
        if kind == "hide":
            flags += ["--remount-ro", path]
    return flags


def seen(binds: List[Bind], visible: List[str]) -> Dict[str, List[str]]:
    """What workers are told of it: what to bind below their own directories, and what explains a failure."""
    again = [path for _, path in binds if any(is_below(path, own) for own in OWN)]
    return {
        "again": [
            path for path in again if not any(is_below(path, other) for other in again if other != path)
        ],
        "read": [*visible, *(path for kind, path in binds if kind == "read")],
        "write": [path for kind, path in binds if kind == "write"],
    }
