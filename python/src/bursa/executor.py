"""A `concurrent.futures.Executor` whose workers are an endpoint's."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from typing import Any, Callable, Iterable, Iterator

from .chunks import Inputs, Plan
from .client import Client
from .containers import Container
from .future import TaskFuture
from .map import Calls, Results
from .options import is_whole
from .resources import Resources, from_specification, frozen


class Executor(concurrent.futures.Executor):
    """`submit`, `map` and `shutdown` as usual; also a context manager."""

    def __init__(
        self,
        endpoint_id: str | None = None,
        client: Client | None = None,
        memoize: bool = False,
        container: Container | None = None,
        resources: Resources | None = None,
        resource_specification: dict[str, int] | None = None,
    ) -> None:
        """Without `client` it makes its own, and closes it at shutdown.

        `memoize`, `container` and `resources` as of `Client.submit`; `resource_specification` is Globus
        Compute's word for the nodes and ranks among them, and may be set between calls.
        """
        self._own = client is None
        self._client = client if client is not None else Client()
        self._endpoint_id, self._memoize, self._container = endpoint_id, memoize, container
        self.resources, self.resource_specification = resources, resource_specification
        self._futures: list[TaskFuture] = []
        self._prune_at = 1024
        self._lock = threading.Lock()
        self._down = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:  # type: ignore[override]
        """Raises RuntimeError after `shutdown`."""
        if self._down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        where = {"endpoint_id": self._endpoint_id, "container": self._container, "resources": self._asked()}
        future = self._client.submit(fn, args, kwargs, memoize=self._memoize, **where)
        self._note(future)
        return future

    def map(  # type: ignore[override]
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Results in order; each task has `chunksize` items. Submits all at once.

        Tasks left when the iterator ends early are cancelled.
        """
        if self._down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if not is_whole(chunksize, 1):
            raise ValueError(f"chunksize is {chunksize!r}; give a whole number of items, at least 1.")
        if chunksize == 1:
            futures = [self.submit(fn, *args) for args in zip(*iterables)]
            return self._results(futures, None if timeout is None else time.monotonic() + timeout)
        options = (None, None, None, self._memoize or None, self._container, frozen(self._asked()))
        calls = Calls(self._client, fn, self._endpoint_id, options, note=self._note)
        plan = Plan(int(chunksize), None)
        return _read(Results(calls, Inputs(iterables), plan, is_eager=True, timeout=timeout))

    def _asked(self) -> Resources | None:
        return self.resources or from_specification(self.resource_specification)

    def _results(self, futures: list[TaskFuture], until: float | None) -> Iterator[Any]:
        futures.reverse()
        try:
            while futures:
                yield futures.pop().result(None if until is None else until - time.monotonic())
        finally:
            left = [future for future in futures if not future.done()]
            if left:
                self._client.cancel(*left)

    def _note(self, future: TaskFuture) -> None:
        self._futures.append(future)
        if len(self._futures) >= self._prune_at:
            self._prune()

    def _prune(self) -> None:
        with self._lock:
            live = [future for future in self._futures[: self._prune_at] if not future.done()]
            self._futures[: self._prune_at] = live
            self._prune_at = max(1024, 2 * len(self._futures))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """`cancel_futures` cancels at the service what has not ended; `wait` waits for what has not."""
        self._down = True
        live = [future for future in self._futures if not future.done()]
        if cancel_futures and live:
            self._client.cancel(*live)
        if wait:
            concurrent.futures.wait(live)
        if self._own:
            self._client.close()


def _read(results: Results) -> Iterator[Any]:
    """As of other executors: an exception, or nobody reading on, ends it; nobody reading at all does not."""
    try:
        yield from results
    finally:
        results.cancel()
