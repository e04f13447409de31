"""Running one call: load the function, read the arguments, call, pickle. However it ends: an Outcome."""

from __future__ import annotations

import os
import sys
import traceback
from collections import OrderedDict, deque
from pickle import dumps as pickle
from pickle import loads as unpickle
from time import perf_counter_ns
from typing import Any, Callable, Iterator, List, Tuple

from ..errors import DeserializeMismatch
from ..serialize import GLOBUS, ITEMS, LIMIT, NONE, PLAIN, PROTOCOL, Written, dumps_parts, loads, loads_parts
from ..source import loads_function
from . import frames, report, secrets
from .frames import BUFFER
from .items import Ran, run_items, sections_of

FUNCTIONS = 256
"""How many functions stay here; the least recently used goes, and is asked for again when needed."""

SECRETS = secrets.MARK
_SMALL = frozenset({bool, int, float})
_NO_TEXTS = (b"", b"", b"")
_NONE = (NONE, *_NO_TEXTS)

Sections = Tuple[bytes, bytes, bytes, bytes]
"""As in `Report`."""

Parts = List["bytes | memoryview"]
"""A payload, to be sent before what it shows changes."""

Outcome = Tuple[int, int, int, "Sections | Parts"]
"""(outcome of the `done` frame, ns to load, ns to run, sections; parts of the payload if it is LARGE)"""


class Functions:
    """Function objects by the 32-byte hash of their bodies, bounded."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[bytes, bytes] = OrderedDict()
        self._loaded: dict[bytes, Callable[..., Any]] = {}

    def add(self, body_hash: bytes, body: bytes) -> None:
        """Keeps the body only: loading can fail, and that belongs to the first call."""
        self._bodies[body_hash] = body
        if len(self._bodies) > FUNCTIONS:
            oldest, _ = self._bodies.popitem(last=False)
            self._loaded.pop(oldest, None)

    def __contains__(self, body_hash: bytes) -> bool:
        return body_hash in self._bodies

    def get(self, body_hash: bytes) -> Callable[..., Any]:
        """The function, loaded now if need be; whatever loading raises is raised here."""
        function = self._loaded.get(body_hash)
        self._bodies.move_to_end(body_hash)
        if function is None:
            function = self._loaded[body_hash] = self._load(self._bodies[body_hash])
        return function

    def _load(self, body: bytes) -> Callable[..., Any]:
        try:
            return loads_function(body)
        except DeserializeMismatch as error:
            raise error.of("function") from None


class Runner:
    """Runs calls in this process. A child that the user's code forked never comes out of `run`."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self.newest = b""
        self._function: Callable[..., Any] = abs
        self._forked = False
        self._inputs: Iterator[Any] = iter(())
        os.register_at_fork(after_in_child=self._note_fork)

    def _note_fork(self) -> None:
        self._forked = True
        deque(self._inputs, 0)  # of many items a child leaves the rest to its parent

    def run(self, body_hash: bytes, head: bytes, rest: bytes | memoryview, begin: int) -> Outcome:
        """Run a call, whose arguments are the payload `head` + `rest`. `begin` is now.

        What most calls are is written out here: to call a function costs two percent of a no-op.
        """
        try:
            if body_hash != self.newest:
                if head == SECRETS:  # the function's own imports see them too
                    return self._run_lent(body_hash, rest, begin)
                self._function = self._functions.get(body_hash)
                self.newest = body_hash
            function = self._function
            if head == PLAIN:
                args, kwargs = unpickle(rest)
            elif head == ITEMS:
                args, kwargs = (function, *loads(rest)), {}
                function = self._run_items
            elif head == GLOBUS:
                from .. import globus  # few need it

                args, kwargs = (function, globus.loads_call(rest)), {}
                function = globus.run
            elif head == SECRETS:
                return self._run_lent(body_hash, rest, begin)
            else:
                args, kwargs = loads_parts(head, rest)
        except BaseException as error:  # import code of the user's modules runs here
            self._end_child(error)
            return _load_failed(error, perf_counter_ns() - begin)
        loaded = perf_counter_ns()
        try:
            value = function(*args, **kwargs)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt: the worker outlives them
            took = perf_counter_ns() - loaded
            self._end_child(error)
            return frames.USER_ERROR, loaded - begin, took, report.of_exception(error)
        took = perf_counter_ns() - loaded
        if self._forked:
            self._end_child(None)
        if value is None:
            return frames.SUCCESS, loaded - begin, took, _NONE
        if type(value) in _SMALL:
            payload = PLAIN + pickle(value, PROTOCOL)
            if len(payload) <= LIMIT:
                return frames.SUCCESS, loaded - begin, took, (payload, b"", b"", b"")
        return _result(value, loaded - begin, took)

    def _run_lent(self, body_hash: bytes, rest: bytes | memoryview, begin: int) -> Outcome:
        lent, head, rest = secrets.lent(rest)
        with lent:
            return self.run(body_hash, head, rest, begin)

    def _run_items(self, function: Callable[..., Any], columns: Tuple[Any, ...], slice_ns: int) -> Ran:
        self._inputs = iter(columns[0])
        try:
            return run_items(function, self._inputs, columns, slice_ns, self._end_child)
        finally:
            self._inputs = iter(())

    def _end_child(self, error: BaseException | None) -> None:
        """Ends this process if the user's code forked it: the worker's socket belongs to the parent."""
        if not self._forked:
            return
        status = 0
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            traceback.print_exception(type(error), error, error.__traceback__)
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 0xFF)


def _load_failed(error: BaseException, load: int) -> Outcome:
    if isinstance(error, DeserializeMismatch):
        error = error.of("argument") if error.what == "payload" else error
        return frames.MISMATCH, load, 0, report.of_failure(error, str(error))
    if isinstance(error, ModuleNotFoundError) and error.name:
        message = (
            f"The function needs the module {error.name}, which the endpoint's Python ({sys.executable}) "
            f"does not have; install {error.name.partition('.')[0]} there and submit again."
        )
    else:
        message = (
            f"The function or its arguments could not be loaded ({type(error).__name__}: {error}); "
            "check that the endpoint has the same package versions as the client."
        )
    return frames.LOAD_FAILED, load, 0, report.of_failure(error, message)


def _result(value: Any, load: int, took: int) -> Outcome:
    outcome, texts = frames.SUCCESS, _NO_TEXTS
    try:
        if type(value) is Ran:
            outcome, (payload, *texts) = sections_of(value)
            parts = [payload]
        elif type(value) is Written:
            parts = [value]
        else:
            parts = dumps_parts(value, carry=False)
    except BaseException as error:
        return frames.USER_ERROR, load, took, report.of_value(value, error)
    size = sum(map(len, parts))
    if size > LIMIT:
        message = (
            f"The result is {size} bytes, which is over the limit of {LIMIT}; "
            "return less, or write it to a file and return its path."
        )
        return frames.TOO_LARGE, load, took, (b"", b"", message.encode(), b"")
    if size >= BUFFER and outcome == frames.SUCCESS:
        return frames.LARGE, load, took, parts
    return outcome, load, took, (b"".join(parts), *texts)
