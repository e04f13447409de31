"""`python -m bursa.run [--json] [--endpoint ID] [--container ID] [--memoize]
[--cores N] [--memory 4GB] [--gpus N] [--nodes N] [--ranks-per-node N] FILE.py[::function] [ARGS…]`

Calls one function of a file on an endpoint. Exit code 0; 1 when the task failed; 2 for a wrong call;
3, 4, 5 as `bursa --help` says.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
from types import ModuleType
from typing import Any, Callable

from .arguments import Usage, bind
from .client import Client
from .errors import (
    BursaError,
    Invalid,
    NotFound,
    RemoteTraceback,
    TaskFailed,
    Unauthorized,
    Unavailable,
)
from .resources import COUNTS

LOOK = 0.5
"""Seconds that the service holds its answer about a live task, while somebody watches it."""

USAGE = (
    "usage: bursa run [--json] [--endpoint ID] [--container ID] [--memoize] [--cores N] "
    "[--memory 4GB] [--gpus N] [--nodes N] [--ranks-per-node N] FILE.py[::function] [ARGS...] "
    "[--name value...]"
)


def main(argv: list[str]) -> int:
    try:
        as_json, options, target, words = _options(argv)
        path, _, name = target.partition("::")
        function = _choose(_load(path), name, path)
        args, kwargs = bind(function, words)
    except Usage as error:
        print(f"bursa run: {error}", file=sys.stderr)
        return 2
    try:
        with Client() as client:
            future = client.submit(function, args, kwargs, **options)
            value = _wait(client, future)
    except Exception as error:  # the user's own, or ours
        _explain(error, as_json)
        return _exit_code(error)
    _show(value, future.task_id, as_json)
    return 0


def _options(argv: list[str]) -> tuple[bool, dict[str, Any], str, list[str]]:
    """(json?, options of the call, FILE[::function], the rest)"""
    as_json, options, words = False, {}, list(argv)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--json":
            as_json = True
        elif option == "--memoize":
            options["memoize"] = True
        elif option == "--endpoint" and words:
            options["endpoint_id"] = words.pop(0)
        elif option == "--container" and words:
            options["container"] = words.pop(0)
        elif option[2:].replace("-", "_") in ("memory", *COUNTS) and words:
            name, value = option[2:].replace("-", "_"), words.pop(0)
            options.setdefault("resources", {})[name] = int(value) if value.isdecimal() else value
        else:
            raise Usage(f"the option {option} is unknown or lacks its value here.\n{USAGE}")
    if not words:
        raise Usage(f"no file is given.\n{USAGE}")
    return as_json, options, words[0], words[1:]


def _load(path: str) -> ModuleType:
    """The file as a module, as if it had been imported from its own directory."""
    if not os.path.isfile(path):
        raise Usage(f"there is no file {path}; give the path of a Python file.")
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Usage(f"{path} is no Python file, since its name does not end with .py; rename it.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Usage(
            f"{path} cannot be loaded ({type(error).__name__}: {error}); correct it first."
        ) from error
    return module


def _choose(module: ModuleType, name: str, path: str) -> Callable[..., Any]:
    """The function `name`, else the file's only one, else its `main`."""
    functions = {
        key: inspect.unwrap(value)
        for key, value in vars(module).items()
        if callable(value)
        and not isinstance(value, type)
        and getattr(value, "__module__", "") == module.__name__
    }
    if name in functions:
        return functions[name]
    if not name and len(functions) == 1:
        return next(iter(functions.values()))
    if not name and "main" in functions:
        return functions["main"]
    choices = ", ".join(sorted(functions)) or "none"
    what = (
        f"has no function {name}"
        if name
        else "has several functions and no main"
        if functions
        else "has no function"
    )
    raise Usage(f"{path} {what}; choose one with {path}::NAME (there is: {choices}).")


def _wait(client: Client, future: Any) -> Any:
    if not sys.stderr.isatty():
        return future.result()
    state = "submitted"
    try:
        client.wait_accepted([future])
        while not future.done():
            state = _tell(future, state)
            state = client.task(future, wait=LOOK)["state"]
        return future.result()
    finally:
        _tell(future, "ended" if future.done() else "goes on")
        print(file=sys.stderr)


def _tell(future: Any, state: str) -> str:
    """Where the task stands, in place of what was told before."""
    print(f"\r\033[Ktask {future.task_id} {state}", end="", file=sys.stderr, flush=True)
    return state


def _exit_code(error: Exception) -> int:
    """As the `bursa` command documents it; the failures of a task are 1 whatever their code."""
    if isinstance(error, BursaError) and not isinstance(error, TaskFailed):
        kinds = {Invalid: 2, NotFound: 3, Unauthorized: 4, Unavailable: 5}
        return next((code for kind, code in kinds.items() if isinstance(error, kind)), 1)
    return 1


def _explain(error: Exception, as_json: bool) -> None:
    remote = error.__cause__
    if isinstance(remote, RemoteTraceback):
        text, output = remote.text.rstrip(), remote.output
    else:
        name = "" if isinstance(error, BursaError) else f"{type(error).__name__}: "
        text, output = f"bursa run: {name}{error}", getattr(error, "output", "")
    if output:
        print(output, end="" if output.endswith("\n") else "\n", file=sys.stderr)
    print(text, file=sys.stderr)
    if as_json:
        code = error.code if isinstance(error, BursaError) else "user-error"
        print(json.dumps({"error": {"code": code, "class": type(error).__name__, "message": str(error)}}))


def _show(value: Any, task_id: str, as_json: bool) -> None:
    """A string as it is, anything else as its repr; with --json one object."""
    if as_json:
        print(json.dumps({"task_id": task_id, "result": value}, default=repr))
    elif isinstance(value, str):
        print(value)
    elif value is not None:
        print(repr(value))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
