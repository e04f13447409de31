"""Forks of this process meet no thread in the middle of a log line.

The process pool of `globus-compute-endpoint` forks while other threads log. A worker that was forked during
such a line has the file's lock for ever held and hangs at its own first line: a fault of theirs, rare
enough to look like one of ours.
"""

import logging
import os

held: list[logging.Handler] = []


def hold() -> None:
    held[:] = [handler for reference in logging._handlerList if (handler := reference())]
    for handler in held:
        handler.acquire()


def let_go() -> None:
    for handler in held:
        handler.release()


os.register_at_fork(before=hold, after_in_parent=let_go)
