"""Programs as functions: a command line that a worker runs, with its output and return code as the result.

Client and worker share this module, so it imports the standard library only, and what runs programs not
before one is run: every worker imports it.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from .errors import Invalid

if TYPE_CHECKING:
    import subprocess

TIMED_OUT = 124
"""The return code of a command that was ended at its walltime, as of timeout(1)."""
ENDED = 128 + signal.SIGTERM
"""The return code of a shell that ended because it was told to."""
SNIPPET_BYTES = 1 << 20
"""At most so much of the end of each stream comes back."""
_SHELL = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"


class ShellResult(NamedTuple):
    """What became of a command. A return code other than 0 is a result, not an exception."""

    cmd: str
    stdout: str
    stderr: str
    returncode: int

    def __str__(self) -> str:
        return self.stdout


class ShellFunction:
    """A command line to run on an endpoint, with the call's keyword arguments in the place of `{name}`.

    They are inserted as they are, so a text with spaces or shell characters needs `quote` at the caller, and
    a brace of the shell's own is doubled: `ShellFunction("awk '{{print $1}}' {path}")`.
    """

    _before = ""
    """What the shell does before the command."""

    def __init__(
        self,
        cmd: str,
        *,
        stdout: str | None = None,
        stderr: str | None = None,
        walltime: float | None = None,
        snippet_lines: int = 1000,
        name: str | None = None,
    ) -> None:
        """`stdout`, `stderr`: files (of the worker's machine) to write to, by default temporary ones;
        `walltime`: seconds after which the command and all that it started is killed; `snippet_lines`: so
        many last lines of each come back, 1 MiB at most. Raises Invalid."""
        if not isinstance(cmd, str) or not cmd.strip():
            raise Invalid(f"cmd is {cmd!r}; give the command line as a text.")
        if walltime is not None and not _is_positive(walltime):
            raise Invalid(f"walltime is {walltime!r}; give a number of seconds above 0.")
        if not isinstance(snippet_lines, Integral) or isinstance(snippet_lines, bool) or snippet_lines < 0:
            raise Invalid(f"snippet_lines is {snippet_lines!r}; give a whole number from 0.")
        self.cmd, self.stdout, self.stderr = cmd, stdout, stderr
        self.walltime, self.snippet_lines = walltime, int(snippet_lines)
        self.__name__ = name or type(self).__name__

    def _options(self) -> dict[str, Any]:
        given = {"cmd": self.cmd, "stdout": self.stdout, "stderr": self.stderr, "walltime": self.walltime}
        return {**given, "snippet_lines": self.snippet_lines, "name": self.__name__}

    def __portable__(self) -> dict[str, Any]:
        """Its source, so to speak: what makes it on any Python."""
        cls, module = type(self).__name__, type(self).__module__
        text = f"from {module} import {cls}\nfunction = {cls}(**{self._options()!r})\n"
        return {"name": "function", "text": text, "postponed": False}

    def __call__(self, **arguments: Any) -> ShellResult:
        """Runs it here. Raises Invalid for a `{name}` without a value."""
        import subprocess

        cmd = self.command(**arguments)
        with _output(self.stdout) as out, _output(self.stderr) as err:
            process = subprocess.Popen(
                [_SHELL, "-c", self._before + cmd],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            code = self._wait(process)
            texts = (_tail(stream, self.snippet_lines) for stream in (out, err))
            return ShellResult(cmd, *texts, code)

    def command(self, **arguments: Any) -> str:
        """The command line of a call. Raises Invalid."""
        try:
            return self.cmd.format(**arguments)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            why = f"{{{error.args[0]}}} has no value" if isinstance(error, KeyError) else str(error)
            raise Invalid(
                f"The command {self.cmd!r} cannot be filled in: {why}; pass it as a keyword argument, "
                "and write {{ and }} for braces of the shell."
            ) from None

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Its return code. The leader is reaped only when nothing kills its group by number any more."""
        if self.walltime is None:
            return process.wait()
        expired = threading.Event()

        def end() -> None:
            expired.set()
            self._end(process.pid)

        timer = threading.Timer(self.walltime, end)
        timer.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        timer.cancel()
        timer.join()
        code = process.wait()
        return TIMED_OUT if expired.is_set() and code in (-signal.SIGKILL, ENDED) else code

    def _end(self, leader: int) -> None:
        """Ends the group of a process that is not reaped yet."""
        os.killpg(leader, signal.SIGKILL)


def quote(value: Any) -> str:
    """`value` as one word of a command line."""
    import shlex

    return shlex.quote(str(value))


def _is_positive(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _output(path: str | None) -> BinaryIO:
    import tempfile

    return tempfile.TemporaryFile() if path is None else open(path, "w+b")  # type: ignore[return-value]


def _tail(stream: BinaryIO, lines: int) -> str:
    """The last lines of what was written: the file is looked at from its end only."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - SNIPPET_BYTES))
    kept = stream.read(SNIPPET_BYTES).splitlines(keepends=True)
    return b"".join(kept[-lines:] if lines else []).decode("utf-8", "replace")
