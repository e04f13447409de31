"""Payloads: functions, arguments, results and exceptions as bytes with a three-byte header.

    p 0 0          pickle protocol 5 of plain data (builtins, dates, decimals, numpy): any Python reads it
    c major minor  cloudpickle, code by value: only the same Python minor reads it
    m 0 0          arguments of many calls: a payload follows, see `dumps_items`
    g              text of a funcX or Globus Compute client, see `globus`
    x 0 0          sealed, see `sealed`: workers never see one that can be opened

The header is read before anything is unpickled. Client and worker share this module, so it imports only the
standard library, the vendored cloudpickle and `errors`.
"""

from __future__ import annotations

import builtins
import datetime
import decimal
import io
import pickle
import sys
import types
from typing import Any, Callable

from ._vendor import cloudpickle
from .errors import DeserializeMismatch, SerializationError
from .local_code import carry_by_value
from .shell import ShellResult

PLAIN = b"p\0\0"
CODE = b"c" + bytes(sys.version_info[:2])
ITEMS = b"m\0\0"
GLOBUS = b"g\0\0"
"""Begins what funcX and Globus Compute clients send (`globus`); functions have major and minor for zeros."""
SEALED = b"x\0\0"
PROTOCOL = 5
LIMIT = 64 << 20
"""The largest payload, in bytes; the service refuses more."""

_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_SIZED = frozenset({str, bytes})
_LARGE = 1 << 16
"""Text and bytes of this size are pickled in parts, which copies them once or never, not thrice."""
_LEAVES = (
    complex,
    range,
    slice,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
)
_LEAF_SET = frozenset(_LEAVES)
NONE = PLAIN + pickle.dumps(None, PROTOCOL)


class Written(bytes):
    """A value's payload, made already."""


class _NotPlain(Exception):
    """The value needs cloudpickle."""


class _PlainPickler(pickle.Pickler):
    """Pickles plain data in one pass; stops at the first object that plain pickle would send by reference.

    The C pickler asks `reducer_override` about everything but exact builtin containers and atoms.
    """

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _LEAF_SET or (isinstance(obj, type) and _is_plain_class(obj)):
            return NotImplemented
        if kind.__module__ == "builtins" and isinstance(obj, BaseException):
            return NotImplemented
        named_by = obj if callable(obj) else kind
        module = getattr(named_by, "__module__", None) or ""
        if module == "numpy" or module.startswith("numpy.") or kind is ShellResult:
            return NotImplemented
        raise _NotPlain


def _is_plain_class(cls: type) -> bool:
    return cls in _LEAF_SET or cls is ShellResult or getattr(builtins, cls.__name__, None) is cls


class _CodePickler(cloudpickle.Pickler):
    """cloudpickle that also carries code of the user's own modules: a worker elsewhere has no copy."""

    def __init__(self, file: _Parts, protocol: int) -> None:
        super().__init__(file, protocol)
        self._codes: dict[int, tuple[types.CodeType, types.CodeType]] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (types.FunctionType, types.ModuleType, type)):
            carry_by_value(obj)
        reduced = super().reducer_override(obj)
        if isinstance(obj, types.FunctionType) and isinstance(reduced, tuple):
            make, (code, variables, *rest), *state = reduced
            return make, (self._of_file(code, variables.get("__file__")), variables, *rest), *state
        return reduced

    def _of_file(self, code: types.CodeType, file: object) -> types.CodeType:
        """The code with its file's name as the very object that its module has.

        It is after compiling, but not in a module that comes from `__pycache__`, and pickle writes one object
        and two equal ones differently: the same function would have two hashes. What is shared stays shared.
        """
        if code.co_filename is file or code.co_filename != file:
            return code
        _, known = self._codes.get(id(code), (code, None))
        if known is None:
            known = _renamed(code, file)
            self._codes[id(code)] = code, known  # holds the code, so that its id() stays its own
        return known


def _renamed(code: types.CodeType, file: str) -> types.CodeType:
    """The code, and all code in it, with this file's name."""
    inner = tuple(
        _renamed(each, file) if isinstance(each, types.CodeType) else each for each in code.co_consts
    )
    return code.replace(co_filename=file, co_consts=inner)


def dumps(value: Any, *, carry: bool = True) -> bytes:
    """One value as a payload, with the code of local modules by value if `carry` (as a client sends it).

    Raises SerializationError when the value cannot be pickled.
    """
    kind = type(value)
    if kind in _ATOMS and (kind not in _SIZED or len(value) < _LARGE):
        return NONE if value is None else PLAIN + pickle.dumps(value, PROTOCOL)
    return b"".join(dumps_parts(value, carry=carry))


def dumps_parts(value: Any, *, carry: bool = True) -> list[bytes | memoryview]:
    """`dumps` in parts, of which the large ones are the value's own memory: use them before it changes."""
    out = _Parts(PLAIN)
    try:
        _PlainPickler(out, PROTOCOL).dump(value)
    except Exception:  # not plain, or broken: cloudpickle decides, and explains
        return _code_parts(value, carry)
    return out.parts


def dumps_code(value: Any, *, carry: bool = True) -> bytes:
    """One value, always as `c`. Raises SerializationError."""
    return b"".join(_code_parts(value, carry))


def _code_parts(value: Any, carry: bool) -> list[bytes | memoryview]:
    out = _Parts(CODE)
    pickler = _CodePickler if carry else cloudpickle.Pickler
    try:
        pickler(out, PROTOCOL).dump(value)
    except Exception as error:
        raise SerializationError(_cannot_pickle(value, error)) from error
    return out.parts


class _Parts:
    """A file for a pickler, which hands over bytes and buffers from 64 KiB on as they are, without a copy."""

    def __init__(self, header: bytes) -> None:
        self.parts: list[bytes | memoryview] = [header]

    def write(self, data: Any) -> None:
        if type(data) is pickle.PickleBuffer:
            data = data.raw()
        self.parts.append(data if type(data) is bytes else memoryview(data))  # as a view it cannot be resized


def _cannot_pickle(value: Any, error: Exception) -> str:
    reason = str(error) or type(error).__name__
    return f"A value of type {type(value).__name__} cannot be pickled ({reason}); pass plain data instead."


def dumps_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The arguments of one call: `(args, kwargs)`. Raises SerializationError naming the argument."""
    for value in args:
        kind = type(value)
        if kind not in _ATOMS or (kind in _SIZED and len(value) >= _LARGE):
            break
    else:
        if not kwargs:
            return PLAIN + pickle.dumps((args, kwargs), PROTOCOL)
    try:
        return dumps((args, kwargs))
    except SerializationError as error:
        raise _blame(args, kwargs) or error from error.__cause__


def _blame(args: tuple[Any, ...], kwargs: dict[str, Any]) -> SerializationError | None:
    named = [(f"argument {index} (counted from 0)", value) for index, value in enumerate(args)]
    named += [(f"argument {name}", value) for name, value in kwargs.items()]
    for name, value in named:
        try:
            dumps(value)
        except SerializationError as error:
            reason = str(error.__cause__) or type(error.__cause__).__name__
            return SerializationError(
                f"The {name}, a {type(value).__name__}, cannot be sent: {reason}; pass plain data, "
                "or make the object inside the function."
            )
    return None


def dumps_items(columns: tuple[Any, ...], slice_ns: int) -> bytes:
    """The arguments of one task that calls its function once for each item: item i has `column[i]` of each.

    `slice_ns`: after so long (0: never) the worker leaves what it has not begun. Raises SerializationError.
    """
    return ITEMS + dumps((tuple(map(as_column, columns)), slice_ns))


def as_column(items: Any) -> Any:
    """`items`, or an array of the same if they are numpy's numbers: alone each takes 2 µs to pickle."""
    numpy = sys.modules.get("numpy")
    kind = type(items[0]) if len(items) else None
    if numpy is None or kind is None or kind.__module__ != "numpy" or not issubclass(kind, numpy.generic):
        return items
    if any(type(item) is not kind for item in items):
        return items
    column = numpy.array(items)
    return column if column.dtype.kind in "biufc" else items  # texts and times would lose something


def loads_items(payload: bytes | bytearray) -> tuple[tuple[Any, ...], int]:
    """What `dumps_items` was given."""
    return loads(payload, len(ITEMS))


def loads(payload: bytes | bytearray | memoryview, at: int = 0) -> Any:
    """The value of the payload that begins at `at`.

    Raises DeserializeMismatch, before anything is unpickled, when another Python minor made it.
    """
    if at or len(payload) >= _LARGE:  # below that a copy is made sooner than a view
        payload = memoryview(payload)[at:]
    return loads_parts(payload[:3], payload[3:])


def loads_parts(head: bytes | memoryview, rest: bytes | memoryview) -> Any:
    """`loads` of a payload whose header is apart."""
    if head in (PLAIN, CODE):
        return pickle.loads(rest)
    raise _refusal(bytes(head))


def loads_data(payload: bytes | bytearray) -> Any:
    """Like `loads`, but only plain data, which cannot run code here. Raises SerializationError."""
    if not payload.startswith(PLAIN):
        if not payload.startswith(b"c"):
            raise _refusal(bytes(payload[:3]))
        raise SerializationError(
            "This payload holds more than plain data, which results='data' does not read; "
            "return builtins and numpy arrays, or use results='any' when you trust the endpoint."
        )
    return _DataUnpickler(io.BytesIO(memoryview(payload)[3:])).load()


def _refusal(head: bytes) -> SerializationError:
    if len(head) == 3 and head[:1] == b"c":
        return DeserializeMismatch((head[1], head[2]), (CODE[1], CODE[2]))
    if head == SEALED:
        return SerializationError(
            "This payload is sealed, and not to the key of who reads it; seal it to the endpoint that runs "
            "it (bursa.Client(sealed=True)), which must have its key on all of its nodes."
        )
    return SerializationError(
        f"This payload begins with {head!r}, which is no Bursa header; "
        "update this side to the version of the other."
    )


_NUMPY_NAMES = frozenset({"ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer"})
_NUMPY_MODULES = frozenset(
    {"numpy"} | {f"numpy.{core}.{part}" for core in ("core", "_core") for part in ("multiarray", "numeric")}
)
_DATA_BUILTINS: tuple[type, ...] = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    list,
    tuple,
    dict,
    set,
    frozenset,
    range,
    slice,
)
_DATA_CLASSES = {(cls.__module__, cls.__name__): cls for cls in (*_DATA_BUILTINS, *_LEAVES, ShellResult)}


class _DataUnpickler(pickle.Unpickler):
    """Resolves the names of builtin data types and exceptions and of numpy's arrays; nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        cls = _DATA_CLASSES.get((module, name))
        if cls is not None:
            return cls
        if module == "builtins":
            found = getattr(builtins, name, None)
            if isinstance(found, type) and issubclass(found, BaseException):
                return found
        if module in _NUMPY_MODULES and name in _NUMPY_NAMES:
            return super().find_class(module, name)
        raise SerializationError(
            f"This payload names {module}.{name}, which results='data' does not read; "
            "return builtins and numpy arrays, or use results='any' when you trust the endpoint."
        )


def identity(value: Any) -> Any:
    """`value`. Objects that travel as another one name this function in their `__reduce__`."""
    return value


LOADERS: dict[str, Callable[[Any], Any]] = {"any": loads, "data": loads_data}
"""What `Client(results=…)` may be."""
