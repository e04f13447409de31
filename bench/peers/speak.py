"""What a peer's driver says to the harness: a line of JSON for a line of JSON.

A driver is `serve(start)`, where `start(variant)` starts the peer and returns an object with

    one(function, argument) -> result           # waits for it
    many(function, arguments) -> [result, ...]  # the peer's best way to run a batch
    close()

Functions are those of `work`. Runs in the peer's own Python (>= 3.8) with the standard library alone.
"""

import ctypes
import json
import os
import sys
import time
import traceback

import work

MIB = 1 << 20
PR_SET_CHILD_SUBREAPER = 36


def serve(start):
    # Peers print; only we may write to the harness. What they detach stays below us, to be counted and ended.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def say(answer):
        answers.write(json.dumps(answer) + "\n")

    peer = start(sys.argv[1])
    if peer.one(work.same, 1) != 1:
        raise SystemExit("the first call did not give back what it was given")
    say({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say(MEASURES[request.pop("measure")](peer, **request))
        except Exception:
            traceback.print_exc()
            say({"error": traceback.format_exc(limit=0).strip().splitlines()[-1]})
    peer.close()


def noop(peer, n):
    return timed(peer, work.same, list(range(n)))


def sleep(peer, n, seconds):
    return timed(peer, work.sleep, [seconds] * n)


def pipelined(peer, n):
    return timed(peer, work.same, [os.urandom(MIB) for _ in range(n)])


def queue(peer, n, seconds):
    """Both workers sleep while `n` calls wait behind them: what is queued can be weighed from outside."""
    return timed(peer, work.sleep, [seconds] * 2 + [0] * n)


def one(peer, seconds, n):
    return each(peer, [1] * n, seconds)


def echo(peer, seconds, n):
    return each(peer, [os.urandom(MIB) for _ in range(n)], seconds)


def timed(peer, function, arguments):
    """Seconds for all of them."""
    began = time.perf_counter()
    results = peer.many(function, arguments)
    took = time.perf_counter() - began
    checked(arguments, results)
    return {"seconds": took}


def each(peer, arguments, seconds):
    """Milliseconds of each, one after another, for about so many seconds."""
    times, results, until = [], [], time.perf_counter() + seconds
    for argument in arguments:
        began = time.perf_counter()
        results.append(peer.one(work.same, argument))
        ended = time.perf_counter()
        times.append(1000 * (ended - began))
        if ended > until:
            break
    checked(arguments[: len(results)], results)
    return {"ms": times}


def checked(arguments, results):
    if list(results) != list(arguments):
        raise ValueError("a call did not give back what it was given")


MEASURES = {"noop": noop, "one": one, "sleep": sleep, "echo": echo, "pipelined": pipelined, "queue": queue}


class Futures:
    """A peer whose `submit(function, argument)` returns a future."""

    def __init__(self, submit, close):
        self.submit, self.close = submit, close

    def one(self, function, argument):
        return self.submit(function, argument).result()

    def many(self, function, arguments):
        futures = [self.submit(function, argument) for argument in arguments]
        return [future.result() for future in futures]
