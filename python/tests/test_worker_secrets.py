"""Secrets in the environment of a worker's calls: each call its own, and nothing of them in how it failed."""

from __future__ import annotations

import os
import random
import struct

import pytest
from test_worker import LOAD_FAILED, USER_ERROR, value
from zygote import Done, Worker

from bursa import serialize
from bursa.worker import report, secrets
from bursa.worker.frames import BUFFER


def arguments(env: dict[str, str], payload: bytes) -> bytes:
    block = b"".join(f"{name}={value}\0".encode() for name, value in env.items())
    return secrets.MARK + struct.pack("<I", len(block)) + block + payload


def begin(worker: Worker, function: object, env: dict[str, str] | None, payload: bytes) -> None:
    body_hash = struct.pack("<Q", random.getrandbits(64)) * 4
    worker.wire.load(body_hash, serialize.dumps_code(function))
    worker.wire.run(b"t" * 16, body_hash, payload if env is None else arguments(env, payload))


def call(worker: Worker, function: object, env: dict[str, str] | None, *args: object) -> Done:
    begin(worker, function, env, serialize.dumps_call(args, {}))
    return worker.wire.done()


def look(*names):
    import os

    return [os.environ.get(name) for name in names]


def test_each_call_in_the_pipe_has_its_own_and_what_was_there_comes_back(worker: Worker) -> None:
    before = value(call(worker, look, None, "PATH"))
    for env in ({"A": "first"}, {"A": "second", "PATH": "/x"}, None, {"B": "third=3"}):
        begin(worker, look, env, serialize.dumps_call(("A", "B", "PATH"), {}))
    (path,) = before
    expected = [["first", None, path], ["second", None, "/x"], [None, None, path], [None, "third=3", path]]
    assert [value(worker.wire.done()) for _ in expected] == expected


def test_whatever_a_call_does_to_them_is_undone(worker: Worker) -> None:
    def change(how):
        import os

        if how == "delete":
            del os.environ["TOKEN"], os.environ["PATH"]
        elif how == "putenv":
            os.environ.pop("TOKEN")
            os.putenv("TOKEN", "changed")
        elif how == "clear":
            os.environ.clear()
        elif how == "replace":
            os.environ = {}  # noqa: B003
        elif how == "exit":
            os.environ["PATH"] = "changed"
            raise SystemExit(how)

    def children_see():
        import subprocess

        return subprocess.run("echo $TOKEN,$PATH", shell=True, capture_output=True, text=True).stdout

    before = value(call(worker, children_see, None))
    for how in ("delete", "putenv", "exit", "clear", "replace"):
        call(worker, change, {"TOKEN": "s3cr3t", "PATH": os.environ["PATH"]}, how)
        assert value(call(worker, children_see, None)) == before, how


def test_the_functions_own_imports_and_large_arguments(worker: Worker) -> None:
    class AtLoad:
        def __reduce__(self):
            return os.getenv, ("TOKEN",)

    seen = AtLoad()

    def tell(data):
        return seen, len(data)

    data = bytes(3 * BUFFER)
    assert value(call(worker, tell, {"TOKEN": "s3cr3t"}, data)) == ("s3cr3t", len(data))


@pytest.mark.parametrize("what", [b"", b"\x10\0\0\0", struct.pack("<I", 1 << 31) + b"TOKEN=x\0p\0\0"])
def test_what_is_no_secrets_ends_its_call_only(worker: Worker, what: bytes) -> None:
    begin(worker, look, None, secrets.MARK + what)
    assert worker.wire.done().outcome == LOAD_FAILED
    assert value(call(worker, look, None, "TOKEN")) == [None]


def test_a_failure_shows_none_of_them(worker: Worker) -> None:
    def fail(before, value):
        raise ValueError(before + value + "y" * 200_000)

    def unpicklable(before, value):
        class Odd:
            def __reduce__(self):
                raise TypeError(value)

        return Odd()

    # Where a long message is cut amid a value, if it is cut first.
    long = "x" * (report.MESSAGE_LIMIT // 2 - 32 - len("s3cr3t"))
    for function, before in ((fail, long), (fail, ""), (unpicklable, "")):
        done = call(worker, function, {"TOKEN": "s3cr3t-value"}, before, "s3cr3t-value")
        assert (done.outcome, done.payload) == (USER_ERROR, b"")
        assert "***" in done.message and "s3cr3t" not in done.message + done.traceback
    assert "***" in call(worker, fail, None, "", "s3cr3t-value").message, "what an earlier call had, too"
    assert call(worker, fail, None, "", "other").payload, "what holds none travels"


def test_lines_are_masked_and_short_values_are_not() -> None:
    with secrets.Lent(b"KEY=-----BEGIN-----\nAAAABBBB\nxy\0SHORT=abc\0"):
        assert os.environ["KEY"].endswith("xy") and os.environ["SHORT"] == "abc"
        assert report.cut("a -----BEGIN-----\\nAAAABBBB\\nxy abc", 1000) == b"a ***\\n***\\nxy abc"
    assert "KEY" not in os.environ and "SHORT" not in os.environ


def test_what_is_masked_is_bounded() -> None:
    for n in range(40):
        with secrets.Lent(b"KEY=%d%s\0" % (n, b"v" * 30_000)):
            pass
    assert sum(map(len, secrets._hidden)) <= secrets.MOST
    assert secrets.masked(b"39" + b"v" * 30_000) == b"***"
