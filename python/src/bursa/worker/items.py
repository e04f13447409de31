"""Many calls of one function in one task: its items in a row, each of which may fail alone."""

from __future__ import annotations

from itertools import islice
from time import perf_counter_ns
from typing import Any, Callable, Iterator, List, NamedTuple, Tuple

from ..serialize import as_column, dumps
from . import frames, report
from .report import Report

BLOCKS = 16
"""The clock is read about so often within one slice."""

Failed = Tuple[int, Report]
"""(index of the item, its failure)"""


class Ran(NamedTuple):
    """What became of the first items; those behind them were not begun."""

    values: List[Any]
    failures: List[Failed]
    took_ns: int


def run_items(
    function: Callable[..., Any],
    inputs: Iterator[Any],
    columns: Tuple[Any, ...],
    slice_ns: int,
    end_child: Callable[[Any], None],
) -> Ran:
    """Calls `function` with the items of the columns; `inputs` iterates over the first of them.

    `end_child` ends this process if the user's code forked it; then nothing may be left in `inputs`.
    """
    calls = map(function, inputs, *columns[1:])
    count = len(columns[0])
    values: List[Any] = []
    failures: List[Failed] = []
    begin, block, took = perf_counter_ns(), 1, 0
    while len(values) < count and (not slice_ns or took < slice_ns):
        expected = min(len(values) + block, count)
        try:
            values.extend(islice(calls, expected - len(values)))  # keeps what came before an exception
            end_child(None)
            if len(values) < expected:  # only an iterator's end looks like this
                raise StopIteration
        except BaseException as error:  # also SystemExit and KeyboardInterrupt, as in a call of its own
            end_child(error)
            failures.append((len(values), report.of_exception(error)))
            values.append(None)
        before, took = took, perf_counter_ns() - begin
        block = 2 * block if BLOCKS * (took - before) < slice_ns or not slice_ns else max(1, block // 2)
    return Ran(values, failures, took)


def sections_of(ran: Ran) -> Tuple[int, Report]:
    """Outcome and sections of the `done` frame. The payload: (how many ran, ns, payload of the values,
    [(index, payload of the exception, class, message, traceback)…])."""
    values, failures, took_ns = ran
    try:
        payload = dumps(as_column(values), carry=False)
    except BaseException:  # some of them: each is tried alone
        payload = _dump_each(values, failures)
    told = [(index, payload, *(text.decode() for text in texts)) for index, (payload, *texts) in failures]
    payload = dumps((len(values), took_ns, payload, told))
    if not failures:
        return frames.SUCCESS, Report(payload, b"", b"", b"")
    index, (_, name, message, traceback) = failures[0]
    if len(values) > 1:
        head = f"{len(failures)} of {len(values)} items failed, the first is item {index} (counted from 0): "
        message = report.cut(head + message.decode(), report.MESSAGE_LIMIT)
    return frames.USER_ERROR, Report(payload, name, message, traceback)


def _dump_each(values: List[Any], failures: List[Failed]) -> bytes:
    """The payload without what cannot be pickled, which is added to the failures."""
    for index, value in enumerate(values):
        try:
            dumps(value, carry=False)
        except BaseException as error:
            failures.append((index, report.of_value(value, error)))
            values[index] = None
    failures.sort(key=_index)
    return dumps(values, carry=False)


def _index(failed: Failed) -> int:
    return failed[0]
