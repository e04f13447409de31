"""What `map` sends: the items in chunks, each the arguments of one task, and what comes back of them."""

from __future__ import annotations

from itertools import islice
from typing import Any, Iterable, Iterator, NamedTuple, Sequence, Tuple, Union

from .errors import BursaError, Invalid, SerializationError, TooLarge
from .ids import to_text
from .options import is_whole
from .outcome import Loads, Outcome, error_of, value_of
from .serialize import LIMIT, dumps_call, dumps_items, loads_items

CHUNK_NS = 10_000_000
"""Work that a chunk should hold: a task costs some 50 µs over all processes, half a percent of this."""

CHUNK_BYTES = 48 << 10
"""Bytes that a chunk's arguments and results should not exceed: so small they need no files of their own."""

CHUNK_ITEMS = 16_384
"""No more items in a chunk, however quick they are."""

GROWTH = 4
"""A chunk is so many times as large as an earlier one at most: the first few show what an item takes."""

SLICE_NS = 100_000_000
"""A worker hands the rest of a chunk back after so long: items that turn out slow go to other workers too."""

SLICE_TIMEOUT = 1.0
"""Seconds that a chunk may take beyond the timeout of one item: one slice, generously."""

SPLIT = frozenset({"worker-died", "timeout", "walltime-exceeded", "executor-lost", "result-too-large"})
"""Failures of a chunk of which one of its items may be the cause: its halves are run again."""

Columns = Tuple[Sequence[Any], ...]
"""The items of a chunk: for each argument of the function one sequence, all equally long."""

Piece = Union["list[Any]", Exception]
"""Values of items in a row, or the exception of one item."""


class Inputs:
    """The items of one or several iterables, drawn when they are wanted."""

    def __init__(self, iterables: tuple[Iterable[Any], ...]) -> None:
        first = iterables[0] if iterables else ()
        self._is_single = len(iterables) == 1
        self._whole = first if self._is_single and _slices_well(first) else None
        self._at = 0
        self._rows: Iterator[Any] = iter(first) if self._is_single else zip(*iterables)
        self.error: Exception | None = None
        """What an iterable raised: the end, after all items before it."""

    def take(self, count: int) -> Columns | None:
        """The next `count` items, fewer at the end; None when there are no more."""
        if self._whole is not None:
            column = self._whole[self._at : self._at + count]
            self._at += len(column)
            return (column,) if len(column) else None
        rows: list[Any] = []
        if self.error is None:
            try:
                rows.extend(islice(self._rows, count))  # keeps what came before an exception
            except Exception as error:
                self.error = error
        if not rows:
            return None
        return (rows,) if self._is_single else tuple(zip(*rows))


def _slices_well(items: Any) -> bool:
    """Whether a slice of it is less to send than a list of its items: three numbers, or a block of memory."""
    kind = type(items)
    return kind is range or (kind.__module__ == "numpy" and kind.__name__ == "ndarray" and items.ndim > 0)


def fixed_size(chunk: int | str) -> int | None:
    """What `chunk=` means; None: "auto". Raises Invalid."""
    if chunk == "auto":
        return None
    if is_whole(chunk, 1):
        return int(chunk)
    raise Invalid(f"chunk is {chunk!r}; give a whole number of items, at least 1, or 'auto'.")


class Plan:
    """How many items the next chunk gets, and how long a chunk may run."""

    def __init__(self, fixed: int | None, timeout: float | None) -> None:
        """`fixed` None: what the chunks so far suggest. `timeout`: of one item, in seconds."""
        self._fixed, self._timeout = fixed, timeout
        self.size = fixed or 1
        self.slice_ns = 0 if fixed else SLICE_NS

    def learn(self, count: int, took_ns: int, size: int) -> None:
        """`count` items took `took_ns`; `size` bytes are the larger of their arguments and results."""
        if self._fixed is None:
            fit = int(count * min(CHUNK_NS / max(1, took_ns), CHUNK_BYTES / size))
            grown = min(fit, GROWTH * count, CHUNK_ITEMS)
            self.size = max(1, fit if fit < self.size else max(self.size, grown))

    def is_alone(self, count: int, again: bool) -> bool:
        """Whether an item goes as an ordinary call: where nothing is learnt from what it takes."""
        return count == 1 and (again or self._fixed is not None)

    def timeout(self, count: int) -> float | None:
        """Seconds that a chunk of `count` items may run."""
        if self._timeout is None or count == 1:
            return self._timeout
        return self._timeout * count if self._fixed else self._timeout + SLICE_TIMEOUT


class Ran(NamedTuple):
    """The first `count` items of a chunk ran; `values` is the payload of their results."""

    count: int
    took_ns: int
    values: bytes
    failures: list[tuple[int, bytes, str, str, str]]
    output: bytes
    task: bytes

    def pieces(self, loads: Loads) -> list[Piece]:
        """What became of the items, in order."""
        try:
            pieces = self._pieces(loads)
            if sum(len(piece) if isinstance(piece, list) else 1 for piece in pieces) == self.count:
                return pieces
            raise SerializationError(_garbled(self.task))
        except BursaError as error:
            return [error] * self.count
        except Exception:  # failures that are none
            return [SerializationError(_garbled(self.task))] * self.count

    def _pieces(self, loads: Loads) -> list[Piece]:
        values = list(value_of(self.values, self.task, loads))
        pieces: list[Piece] = []
        at = 0
        for index, payload, name, message, traceback in self.failures:
            failure = {"code": "user-error", "class": name, "message": message, "traceback": traceback}
            error = error_of(payload, failure, self.output, to_text(self.task), loads)
            pieces += [values[at:index], error]
            at = index + 1
        return [*pieces, values[at:]]


class Whole(NamedTuple):
    """A chunk of `count` items ended as one: an item that was alone, or a failure."""

    count: int
    outcome: Outcome
    task: bytes = bytes(16)

    @property
    def is_to_split(self) -> bool:
        """Whether one of several items may be the cause."""
        return self.count > 1 and isinstance(self.outcome, tuple) and self.outcome[1].get("code") in SPLIT

    def pieces(self, loads: Loads) -> list[Piece]:
        """What became of the items, in order."""
        try:
            return [[value_of(self.outcome, self.task, loads)]]
        except Exception as error:
            return [error] * self.count


class Chunk:
    """Items on their way to the endpoint, and their end."""

    __slots__ = ("after", "count", "end", "is_alone", "payload", "size")

    def __init__(self, count: int, is_alone: bool = False) -> None:
        """`is_alone`: its item is an ordinary call."""
        self.count = count
        self.is_alone = is_alone
        self.payload = b""
        self.size = 0
        """Bytes held: of its arguments, then of its results."""
        self.end: Ran | Whole | None = None
        self.after: list[Chunk] = []
        """Chunks with those of its items that it did not run."""

    def pack(self, columns: Columns, slice_ns: int) -> None:
        """Makes the payload. Raises SerializationError or TooLarge."""
        try:
            payload = _packed_call(columns) if self.is_alone else dumps_items(columns, slice_ns)
        except SerializationError:
            if self.count == 1:
                _packed_call(columns)  # raises the same, naming the argument
            raise
        if len(payload) > LIMIT:
            raise TooLarge(
                f"The argument is {len(payload)} bytes, which is over the limit of {LIMIT}; "
                "pass less, or write it to a file that the endpoint can read."
            )
        self.payload, self.size = payload, len(payload)

    def take(self, outcome: Outcome, task: bytes, loads: Loads) -> Ran | Whole:
        """Its end, from how its task ended."""
        self.end = _end(self, outcome, task, loads)
        result = self.end.values if isinstance(self.end, Ran) else outcome
        self.size = len(result) if isinstance(result, bytes) else 0
        return self.end

    def left(self) -> list[Columns]:
        """Its items that are to run in other chunks: what the worker handed back, or both halves if one item
        may have been the end of all. Raises SerializationError."""
        if isinstance(self.end, Ran) and self.end.count < self.count:
            return [_cut(self._columns(), self.end.count, self.count)]
        if isinstance(self.end, Whole) and self.end.is_to_split:
            return list(halves(self._columns()))
        return []

    def pieces(self, loads: Loads) -> list[Piece]:
        """What became of its items, in order; nothing of those that are in other chunks."""
        if self.end is None or (self.after and isinstance(self.end, Whole)):
            return []
        return self.end.pieces(loads)

    def _columns(self) -> Columns:
        try:
            return loads_items(self.payload)[0]
        except Exception as error:
            raise SerializationError(
                f"Items that are to run again cannot be read here ({type(error).__name__}: {error}); "
                "map them again with chunk=1."
            ) from error


def _end(chunk: Chunk, outcome: Outcome, task: bytes, loads: Loads) -> Ran | Whole:
    told, output = (outcome, b"") if isinstance(outcome, bytes) else (b"", b"")
    if isinstance(outcome, tuple) and outcome[1].get("code") == "user-error":
        told, _, output = outcome
    if chunk.is_alone or not told:
        return Whole(chunk.count, outcome, task)
    try:
        count, took_ns, values, failures = loads(told)
        if 0 < count <= chunk.count:
            return Ran(count, int(took_ns), values, failures, output, task)
    except Exception:  # such as an older worker's, or what is no result at all
        pass
    return Whole(chunk.count, SerializationError(_garbled(task)), task)


def _packed_call(columns: Columns) -> bytes:
    return dumps_call(tuple(column[0] for column in columns), {})


def _garbled(task: bytes) -> str:
    return (
        f"The result of task {to_text(task)} is not what a chunk of items gives; "
        "update Bursa at the endpoint to the version that is here."
    )


def halves(columns: Columns) -> tuple[Columns, Columns]:
    count = len(columns[0])
    return _cut(columns, 0, count // 2), _cut(columns, count // 2, count)


def _cut(columns: Columns, start: int, stop: int) -> Columns:
    return tuple(column[start:stop] for column in columns)
