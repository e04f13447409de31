"""A function's source beside its pickle, so that a worker of another Python minor can run it too.

cloudpickle's bytes are read by the minor that wrote them. Source is read by any, but it says only what is in
the text: so a function travels with it only if it is proven that the text alone makes the same function.
"""

from __future__ import annotations
import __future__

import builtins
import sys
import types
from typing import Any, Callable

from ._vendor.cloudpickle import cloudpickle
from .errors import SerializationError
from .local_code import is_local
from .serialize import CODE, GLOBUS, PLAIN, dumps, dumps_code, loads

HEAD = b"s\0\0"
"""Begins a body with source: `u32` length (little-endian) of a payload for `_rebuild`, that, the pickle."""

KEPT = 1024
"""How many functions' sources are remembered."""

_ANNOTATIONS = __future__.annotations.compiler_flag
_SAME = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount")
_COUNTS = ("co_posonlyargcount", "co_kwonlyargcount")
_NESTED = 0x10
"""The flag of code that was written inside other code."""
_known: dict[tuple[int, str], tuple[types.CodeType, str | None]] = {}


def dumps_function(function: Callable[..., Any]) -> bytes:
    """A function's body: its pickle, and its source if that is proven to be enough. Raises
    SerializationError."""
    code = dumps_code(function)
    parts = _portable(function)
    try:
        described = b"" if parts is None else dumps(parts)
    except SerializationError:
        return code
    if not described.startswith(PLAIN):  # a default that is no plain data
        return code
    return HEAD + len(described).to_bytes(4, "little") + described + code


def loads_function(body: bytes) -> Callable[..., Any]:
    """The function of a body: unpickled where its own Python minor runs, else from its source if it has one.

    Raises DeserializeMismatch, before anything of it runs, when there is neither.
    """
    if body.startswith(GLOBUS[:1]):
        from .globus import loads_function as loads_globus  # few need it, and it is large

        return loads_globus(body)
    if not body.startswith(HEAD):
        return loads(body)
    at = len(HEAD) + 4
    code = at + int.from_bytes(body[len(HEAD) : at], "little")
    return loads(body, code) if body.startswith(CODE, code) else _rebuild(loads(body, at))


def _portable(function: Any) -> dict[str, Any] | None:
    """What makes `function` on any Python, for `_rebuild`; None if the source does not tell it all."""
    if not isinstance(function, types.FunctionType):
        described = getattr(function, "__portable__", None)
        return described() if callable(described) and not isinstance(function, type) else None
    if function.__closure__ or function.__dict__ or function.__code__.co_name == "<lambda>":
        return None  # the source of a lambda is the statement around it
    imports = _imports(function)
    text = None if imports is None else _text_of(function.__code__, imports)
    if text is None:
        return None
    return {
        "name": function.__code__.co_name,
        "text": text,
        "defaults": function.__defaults__,
        "kwdefaults": function.__kwdefaults__,
        "postponed": bool(function.__code__.co_flags & _ANNOTATIONS),
    }


def _rebuild(parts: dict[str, Any]) -> Callable[..., Any]:
    """The function that `_portable` described. Raises what its imports and its syntax raise here."""
    space: dict[str, Any] = {"__builtins__": builtins, "__name__": "__main__"}
    exec(_compiled(parts["text"], parts["name"], parts["postponed"]), space)
    function = space[parts["name"]]
    if isinstance(function, types.FunctionType):
        function.__defaults__, function.__kwdefaults__ = parts["defaults"], parts["kwdefaults"]
    return function


def _compiled(text: str, name: str, postponed: bool) -> types.CodeType:
    """The definition alone: decorators, annotations and defaults are evaluated where they were written."""
    import ast  # here, since workers rarely need it, and it is large

    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            _strip(node, ast.Constant(value=None, kind=None, lineno=1, col_offset=0))
    return compile(tree, f"<{name}>", "exec", _ANNOTATIONS if postponed else 0, dont_inherit=True)


def _strip(node: Any, nothing: Any) -> None:
    """`_rebuild` gives the defaults back as values: here they only say which arguments have one."""
    node.decorator_list, node.returns = [], None
    arguments = node.args
    arguments.defaults = [nothing for _ in arguments.defaults]
    arguments.kw_defaults = [default and nothing for default in arguments.kw_defaults]
    named = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    for argument in filter(None, named):
        argument.annotation = None


def _text_of(code: types.CodeType, imports: str) -> str | None:
    """Imports and source of `code`, if compiling them gives the same code: its file may have changed."""
    known = _known.get((id(code), imports))
    if known is None:
        if len(_known) >= KEPT:
            _known.pop(next(iter(_known)))
        # Holds the code, so that its id() stays its own.
        known = _known[id(code), imports] = code, _proven_text(code, imports)
    return known[1]


def _proven_text(code: types.CodeType, imports: str) -> str | None:
    import inspect  # here, since a worker needs neither
    import textwrap

    try:
        text = imports + textwrap.dedent(inspect.getsource(code))
        made = _compiled(text, code.co_name, bool(code.co_flags & _ANNOTATIONS))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    inner = [each for each in made.co_consts if isinstance(each, types.CodeType)]
    return text if len(inner) == 1 and _is_same(inner[0], code) else None


def _is_same(one: Any, other: Any) -> bool:
    """Whether two constants of code, or two pieces of code, do the same."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if not isinstance(one, types.CodeType):
        return repr(one) == repr(other) if isinstance(one, (float, complex)) else bool(one == other)
    if any(getattr(one, name) != getattr(other, name) for name in (*_SAME, *_COUNTS)):
        return False
    if (one.co_flags | _NESTED) != (other.co_flags | _NESTED):
        return False
    return _is_same(one.co_consts, other.co_consts)


def _imports(function: types.FunctionType) -> str | None:
    """The import statements that give `function` its globals; None if one of them is no import."""
    code, space = function.__code__, function.__globals__
    lines, modules = [], []
    for name in sorted(cloudpickle._extract_code_globals(code)):
        value = space.get(name, space)
        if value is function or (value is space and hasattr(builtins, name)):
            continue
        line = _import_of(name, value)
        if line is None:
            return None
        lines.append(line)
        modules += [value] if isinstance(value, types.ModuleType) else []
    below = {module.__name__ for module in cloudpickle._find_imported_submodules(code, modules)}
    lines += [f"import {module}" for module in sorted(below) if _is_elsewhere(module)]
    return "".join(f"{line}\n" for line in lines)


def _import_of(name: str, value: Any) -> str | None:
    """The statement that binds `name` to `value` on any machine with the same packages."""
    if isinstance(value, types.ModuleType):
        module = value.__name__
        is_found = sys.modules.get(module) is value and _is_elsewhere(module)
        return f"import {module} as {name}" if is_found else None
    module, own = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(own, str) or not _is_elsewhere(module):
        return None
    home = sys.modules.get(module)
    return f"from {module} import {own} as {name}" if getattr(home, own, None) is value else None


def _is_elsewhere(module: str) -> bool:
    """Whether a worker can have this module: it is not of the user's own files."""
    return module != "__main__" and not is_local(_top(module))


def _top(module: str) -> str:
    return module.partition(".")[0]
