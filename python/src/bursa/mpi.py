"""MPI programs as functions: a command line that the nodes of a call run, as many times as it asks for."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Mapping

from .errors import Invalid
from .resources import from_specification
from .shell import ENDED, ShellFunction, ShellResult

if TYPE_CHECKING:
    import subprocess

PREFIX = "BURSA_MPI_PREFIX"
"""The variable with what starts a program on the nodes that the call was given."""
GRACE = 1.5
"""Seconds that a launcher has to end its ranks: less than an executor gives a worker that it ends."""


class MPIFunction(ShellFunction):
    """A command line that MPI's launcher starts on whole nodes of an endpoint, which no other call has.

    It runs as `$BURSA_MPI_PREFIX cmd`. On how many nodes, and with how many ranks, says the call's
    `resources`, or else `resource_specification` with `num_nodes`, `ranks_per_node`, `num_ranks`; without
    both it is one rank on one node.
    """

    # The shell outlives its launcher, so that its end is the launcher's.
    _before = f"trap 'exit {ENDED}' TERM; "

    def __init__(
        self, cmd: str, *, resource_specification: Mapping[str, int] | None = None, **options: Any
    ) -> None:
        """`options`: those of ShellFunction; at `walltime` the ranks on all nodes end. Raises Invalid."""
        super().__init__(cmd, **options)
        self.resource_specification = dict(resource_specification or {"num_nodes": 1})
        self.__resources__ = from_specification(self.resource_specification)

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "resource_specification": self.resource_specification}

    def __call__(self, **arguments: Any) -> ShellResult:
        """Runs it on the nodes of this call. Raises Invalid where there are none."""
        if not os.environ.get(PREFIX):
            raise Invalid(
                f"The call of {self.__name__} was given no nodes (${PREFIX} is empty); submit it with "
                "resources={'nodes': 2, 'ranks_per_node': 4}, say."
            )
        return super().__call__(**arguments)

    def command(self, **arguments: Any) -> str:
        """The command line of a call. Raises Invalid."""
        return f"${PREFIX} {super().command(**arguments)}"

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """A launcher that is killed leaves its ranks on other nodes: it is ended before this process ends."""

        def end(number: int, _frame: object) -> None:
            self._end(process.pid)
            os._exit(128 + number)

        try:
            before = signal.signal(signal.SIGTERM, end)
        except ValueError:  # not the main thread
            return super()._wait(process)
        try:
            return super()._wait(process)
        finally:
            signal.signal(signal.SIGTERM, before)

    def _end(self, leader: int) -> None:
        """SIGTERM makes a launcher end its ranks; what is there after the grace is killed."""
        os.killpg(leader, signal.SIGTERM)
        last = threading.Timer(GRACE, os.killpg, (leader, signal.SIGKILL))
        last.start()
        os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
        last.cancel()
        last.join()
