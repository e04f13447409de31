"""A real zygote and its workers, driven as an executor drives them."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import zygote as harness
from zygote import Done, Worker, Zygote, gone, read_to_end

from bursa import serialize
from bursa.worker.frames import BUFFER

SUCCESS, USER_ERROR, LOAD_FAILED, MISMATCH, TOO_LARGE = range(5)
HASH = b"h" * 32


def call(worker: Worker, function: object, *args: object) -> Done:
    body = serialize.dumps_code(function)
    body_hash = struct.pack("<Q", random.getrandbits(64)) * 4
    worker.wire.load(body_hash, body)
    worker.wire.run(b"t" * 16, body_hash, serialize.dumps_call(args, {}))
    return worker.wire.done()


def value(done: Done) -> object:
    assert done.outcome == SUCCESS, done
    return serialize.loads(done.payload)


def test_hello(zygote: Zygote) -> None:
    assert zygote.hello == {"pid": zygote.process.pid, "python": list(sys.version_info[:2])}


def test_a_call_is_announced_and_answered(worker: Worker) -> None:
    worker.wire.load(HASH, serialize.dumps_code(lambda x: x + 1))
    worker.wire.run(b"1" * 16, HASH, serialize.dumps_call((41,), {}), attempt=9)
    assert worker.wire.frame() == ("started", (b"1" * 16, 9))
    kind, done = worker.wire.frame()
    assert (kind, done.task, done.attempt, done.outcome, serialize.loads(done.payload)) == (
        "done",
        b"1" * 16,
        9,
        0,
        42,
    )
    assert 0 < done.run_ns < 10**9
    assert (done.name, done.message, done.traceback, done.output) == ("", "", "", b"")


def test_a_body_that_is_missing_is_asked_for(worker: Worker) -> None:
    args = serialize.dumps_call((), {})
    worker.wire.run(b"1" * 16, HASH, args)
    worker.wire.run(b"2" * 16, HASH, args)
    assert worker.wire.frame() == ("need", HASH)
    worker.wire.load(HASH, serialize.dumps_code(lambda: "here"))
    assert [worker.wire.done().task for _ in range(2)] == [b"1" * 16, b"2" * 16]


def test_a_burst_costs_few_frames_and_keeps_its_order(worker: Worker) -> None:
    worker.wire.load(HASH, serialize.dumps_code(lambda x: x))
    frames = b""
    for number in range(500):
        frame = worker.wire.run_frame(
            struct.pack("<QQ", number, 0), HASH, serialize.dumps_call((number,), {})
        )
        frames += struct.pack("<I", len(frame)) + frame
    worker.wire.sock.sendall(frames)
    seen, extra = [], 0
    while len(seen) < 500:
        kind, fields = worker.wire.frame()
        if kind == "done":
            seen.append(serialize.loads(fields.payload))
        else:
            extra += 1
    assert seen == list(range(500))
    assert extra < 250


def test_a_marked_call_is_announced_after_what_is_finished(worker: Worker) -> None:
    worker.wire.load(HASH, serialize.dumps_code(time.sleep))
    frames = b""
    for number, flags in ((1, 0), (2, 1), (3, 0)):
        frame = worker.wire.run_frame(bytes([number]) * 16, HASH, serialize.dumps_call((0,), {}), flags=flags)
        frames += struct.pack("<I", len(frame)) + frame
    worker.wire.sock.sendall(frames)
    order = []
    while len(order) < 3 or order[-1] != ("done", 3):
        kind, fields = worker.wire.frame()
        order.append((kind, fields[0][0]))
    assert order.index(("done", 1)) < order.index(("started", 2)) < order.index(("done", 2))


def test_the_first_call_after_a_pause_is_announced(worker: Worker) -> None:
    assert value(call(worker, time.sleep, 0)) is None
    time.sleep(0.01)
    worker.wire.load(HASH, serialize.dumps_code(time.sleep))
    frames = b""
    for number in (1, 2, 3):
        frame = worker.wire.run_frame(bytes([number]) * 16, HASH, serialize.dumps_call((0,), {}))
        frames += struct.pack("<I", len(frame)) + frame
    worker.wire.sock.sendall(frames)
    assert worker.wire.frame() == ("started", (b"\1" * 16, 1))


def test_the_calls_that_began_are_counted_for_who_looks_when_it_is_dead(worker: Worker) -> None:
    before = worker.begun()
    assert value(call(worker, lambda: 1)) == 1
    worker.wire.load(HASH, serialize.dumps_code(lambda: os._exit(3)))
    with suppress(BrokenPipeError):  # it may be dead before it is given all
        for number in (1, 2, 3):
            worker.wire.run(bytes([number]) * 16, HASH, serialize.dumps_call((), {}))
    with pytest.raises((EOFError, ConnectionResetError)):  # reset: it left calls unread
        while True:
            worker.wire.frame()
    assert worker.begun() == before + 2


@pytest.mark.parametrize("printed", ["", "x" * 40_000])
def test_what_ended_before_a_long_call_is_there_for_who_looks(
    worker: Worker, tmp_path: Path, printed: str
) -> None:
    first, long = tmp_path / "first", tmp_path / "long"
    os.mkfifo(first)
    os.mkfifo(long)

    def quick(path: str) -> None:
        print(end=printed)
        path and Path(path).read_text()  # until the other end is closed

    worker.wire.load(HASH, serialize.dumps_code(quick))
    for number, path in enumerate([str(first), "", "", "", str(long), ""]):
        worker.wire.run(bytes([number]) * 16, HASH, serialize.dumps_call((path,), {}))
    for gate in (first, long):  # opened when the call opens it
        opened = os.open(gate, os.O_WRONLY)
        if gate == long:
            waiting = [done.task for kind, done in worker.unsent() if kind == "done"]
            assert worker.begun() == 5
        os.close(opened)
    done = [worker.wire.done() for _ in range(6)]
    assert [each.task[0] for each in done] == [0, 1, 2, 3, 4, 5]
    assert all(each.output == printed.encode() for each in done)
    sent = 4 - len(waiting)
    assert waiting == [each.task for each in done[sent:4]], "the last of those before it"
    worker.wire.run(b"6" * 16, HASH, serialize.dumps_call(("",), {}))
    assert worker.wire.done().task == b"6" * 16


def test_a_withheld_call_is_passed_over_and_told_and_later_ones_run(worker: Worker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    worker.wire.load(HASH, serialize.dumps_code(lambda path: path and Path(path).read_text()))
    worker.wire.run(b"1" * 16, HASH, serialize.dumps_call((str(gate),), {}), flags=1)
    worker.wire.run(b"2" * 16, b"no body " * 4, serialize.dumps_call(("",), {}))
    assert worker.wire.frame() == ("started", (b"1" * 16, 1))
    worker.withhold(2)
    assert worker.begun() == 1
    gate.write_text("open")
    assert worker.wire.done().task == b"1" * 16
    assert worker.wire.frame() == ("skipped", (2,)), "and its body is not asked for"
    worker.wire.run(b"2" * 16, HASH, serialize.dumps_call(("",), {}))
    assert (worker.wire.done().task, worker.begun()) == (b"2" * 16, 3)


def test_large_payloads(worker: Worker) -> None:
    data = os.urandom(20_000_000)
    assert value(call(worker, lambda d: d[::-1], data)) == data[::-1]
    assert value(call(worker, lambda: "small again")) == "small again"


def test_large_and_small_calls_keep_their_order_and_output(worker: Worker) -> None:
    def echo(data: bytes) -> bytes:
        print(len(data))
        return data

    for size in (0, BUFFER - 70, BUFFER - 61, BUFFER, 3 * BUFFER + 1, 5):
        data = os.urandom(size)
        done = call(worker, echo, data)
        assert value(done) == data
        assert done.output == b"%d\n" % size


def test_large_results_of_every_kind(worker: Worker) -> None:
    numpy = pytest.importorskip("numpy")
    grid = numpy.arange(40_000, dtype="f8").reshape(200, 200)
    for result in (
        bytearray(range(256)) * 400,
        "ä" * 100_000,
        [bytes([number % 256]) * 66_000 for number in range(520)],
    ):
        assert value(call(worker, lambda result: result, result)) == result
    for array in (grid, grid.T, grid[::2, ::2], grid.reshape(20, 20, 100)):
        once, more = value(call(worker, lambda array: (array, array + 1), array))
        assert numpy.array_equal(once, array) and numpy.array_equal(more, array + 1)


def test_a_large_call_takes_no_new_pages(worker: Worker) -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("another C library")

    def faults(_: bytes) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    data = os.urandom(1 << 20)
    counts = [value(call(worker, faults, data)) for _ in range(20)]
    assert counts[-1] - counts[9] < 10 * 100  # of 256 pages each


def test_the_users_exception(worker: Worker) -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise KeyError("no such key")
        deep(n - 1)

    done = call(worker, deep, 3)
    assert (done.outcome, done.name, done.message) == (USER_ERROR, "KeyError", "'no such key'")
    assert done.traceback.count(", in deep") == 4
    assert "bursa/" not in done.traceback.replace(__file__, "")
    assert serialize.loads(done.payload).args == ("no such key",)


def test_an_exception_without_a_message(worker: Worker) -> None:
    def fail() -> None:
        raise ValueError

    done = call(worker, fail)
    assert (done.outcome, done.name, done.message) == (USER_ERROR, "ValueError", "")
    assert "ValueError" in done.traceback


def test_exceptions_that_misbehave(worker: Worker) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        def __reduce__(self) -> tuple:
            raise TypeError("no pickle")

    def odd() -> None:
        raise Odd

    done = call(worker, odd)
    assert (done.outcome, done.payload) == (USER_ERROR, b"")
    assert "Odd" in done.name
    assert "RuntimeError" in done.message

    def long() -> None:
        raise ValueError("x" * 1_000_000)

    done = call(worker, long)
    assert len(done.message) < 40_000
    assert len(done.traceback) <= 128 << 10
    assert "bytes cut" in done.traceback


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_exceptions_that_end_programs_do_not_end_the_worker(worker: Worker, kind: type) -> None:
    def leave() -> None:
        raise kind(3)

    done = call(worker, leave)
    assert (done.outcome, done.name) == (USER_ERROR, kind.__name__)
    assert value(call(worker, lambda: 1)) == 1


def test_recursion_without_end(worker: Worker) -> None:
    def forever() -> None:
        forever()

    assert call(worker, forever).name == "RecursionError"
    assert value(call(worker, lambda: 1)) == 1


def test_results_that_cannot_travel(worker: Worker) -> None:
    done = call(worker, lambda: (x for x in ()))
    assert (done.outcome, done.name, done.payload) == (USER_ERROR, "TypeError", b"")
    assert "returned a generator" in done.message
    done = call(worker, lambda: bytes(65 << 20))
    assert (done.outcome, done.payload) == (TOO_LARGE, b"")
    assert str(64 << 20) in done.message


def test_what_cannot_be_loaded(worker: Worker) -> None:
    minor = sys.version_info[1] + 1
    worker.wire.load(HASH, b"c" + bytes((3, minor)) + b"anything")
    worker.wire.run(b"t" * 16, HASH, serialize.dumps_call((), {}))
    done = worker.wire.done()
    assert done.outcome == MISMATCH
    assert f"3.{minor}" in done.message
    worker.wire.load(b"i" * 32, b"c" + bytes(sys.version_info[:2]) + b"\x80\x05cno_such_module.part\nname\n.")
    worker.wire.run(b"t" * 16, b"i" * 32, serialize.dumps_call((), {}))
    done = worker.wire.done()
    assert done.outcome == LOAD_FAILED
    assert "install no_such_module" in done.message
    worker.wire.load(b"j" * 32, b"rubbish")
    worker.wire.run(b"t" * 16, b"j" * 32, serialize.dumps_call((), {}))
    assert worker.wire.done().outcome == LOAD_FAILED


def test_output_is_kept_in_order_and_starts_anew(worker: Worker) -> None:
    def speak() -> None:
        import logging

        print("one")
        print("two", file=sys.stderr)
        sys.stdout.buffer.write(b"three\n")
        logging.warning("four")
        sys.stdout.close()
        sys.stdout = None

    assert call(worker, speak).output == b"one\ntwo\nthree\nWARNING:root:four\n"
    assert call(worker, lambda: print("again")).output == b"again\n"
    assert call(worker, lambda: None).output == b""


def test_a_million_lines_leave_the_last_64_kib(worker: Worker) -> None:
    def loud() -> None:
        for number in range(1_000_000):
            print(number)

    done = call(worker, loud)
    expected = "".join(f"{number}\n" for number in range(980_000, 1_000_000)).encode()[-65536:]
    assert done.output == expected == worker.tail()


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
def test_the_ring_at_its_edges(worker: Worker, size: int) -> None:
    def write(size: int) -> None:
        text = "".join(chr(65 + n % 26) for n in range(size))
        sys.stdout.write(text[:100])
        sys.stdout.write(text[100:])

    expected = "".join(chr(65 + n % 26) for n in range(size)).encode()[-65536:]
    assert call(worker, write, size).output == expected


def test_death_is_reported_with_the_last_words(zygote: Zygote, worker: Worker) -> None:
    def leave() -> None:
        print("last words")
        os._exit(7)

    with pytest.raises(EOFError):
        call(worker, leave)
    exited = zygote.expect("exited", worker.number)
    assert os.waitstatus_to_exitcode(exited["status"]) == 7
    assert exited["maxrss_kb"] > 1000
    assert worker.tail() == b"last words\n"


def test_a_segfault_shows_where(zygote: Zygote, worker: Worker) -> None:
    with pytest.raises(EOFError):
        call(worker, ctypes.string_at, 0)
    status = zygote.expect("exited", worker.number)["status"]
    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert b"Fatal Python error: Segmentation fault" in read_to_end(worker.pipe)


def test_signals(zygote: Zygote, worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGINT)
    assert value(call(worker, lambda: 1)) == 1
    os.kill(worker.pid, signal.SIGTERM)
    assert os.WTERMSIG(zygote.expect("exited", worker.number)["status"]) == signal.SIGTERM


def test_a_forked_child_of_the_user_never_becomes_a_worker(worker: Worker) -> None:
    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            print("in the child")
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert value(call(worker, fork)) == 0

    def fork_and_raise() -> int:
        pid = os.fork()
        if pid == 0:
            sys.exit(5)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    done = call(worker, fork_and_raise)
    assert value(done) == 5
    assert done.output == b""
    assert os.read(worker.pipe, 100) == b"in the child\n"


def test_multiprocessing_works(worker: Worker) -> None:
    def pool() -> list:
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as workers:
            return workers.map(abs, [-1, -2, -3])

    assert value(call(worker, pool)) == [1, 2, 3]


def test_what_a_worker_inherits(worker: Worker, zygote: Zygote) -> None:
    def look() -> tuple:
        import random

        links = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]
        return links[0], links[1] == links[2], os.getpgrp() == os.getpid(), sys.stdin.read(), random.random()

    null, same, leader, stdin, drawn = value(call(worker, look))
    assert (null, same, leader, stdin) == ("/dev/null", True, True, "")
    other = zygote.spawn()
    assert value_of_second(other, look)[-1] != drawn
    other.wire.sock.close()


def value_of_second(worker: Worker, function: object) -> tuple:
    assert worker.wire.frame()[0] == "ready"
    return value(call(worker, function))


def test_no_descriptor_of_another_worker_leaks(worker: Worker) -> None:
    def sockets() -> int:
        listed = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
        return sum(os.path.lexists(fd) and os.readlink(fd).startswith("socket:") for fd in listed)

    assert value(call(worker, sockets)) == 1


def test_the_working_directory(zygote: Zygote, tmp_path: Path) -> None:
    worker = zygote.spawn(str(tmp_path))
    assert worker.wire.frame()[0] == "ready"
    assert value(call(worker, os.getcwd)) == str(tmp_path)
    lost = zygote.spawn(str(tmp_path / "nowhere"))
    assert os.waitstatus_to_exitcode(zygote.expect("exited", lost.number)["status"]) == 1
    assert b"nowhere" in read_to_end(lost.pipe)
    worker.wire.sock.close()


def test_stop_finishes_what_is_in_the_pipe(zygote: Zygote, worker: Worker) -> None:
    worker.wire.load(HASH, serialize.dumps_code(lambda: 1))
    for _ in range(3):
        worker.wire.run(b"t" * 16, HASH, serialize.dumps_call((), {}))
    worker.wire.stop()
    assert [worker.wire.done().outcome for _ in range(3)] == [0, 0, 0]
    with pytest.raises(EOFError):
        worker.wire.frame()
    assert zygote.expect("exited", worker.number)["status"] == 0


def test_an_alarm_does_not_outlive_its_call(worker: Worker) -> None:
    def set_alarm() -> None:
        def ring(*_: object) -> None:
            raise TimeoutError

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    assert value(call(worker, set_alarm)) is None
    assert value(call(worker, time.sleep, 0.1)) is None


def test_workers_die_with_their_zygote() -> None:
    with harness.zygote() as zygote:
        workers = [zygote.spawn() for _ in range(2)]
        assert all(worker.wire.frame()[0] == "ready" for worker in workers)

        def with_child() -> int:
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
            return pid

        child = value(call(workers[0], with_child))
    assert zygote.process.returncode == 0
    assert all(gone(pid) for pid in (workers[0].pid, workers[1].pid, child))


def test_workers_die_with_a_killed_zygote() -> None:
    zygote = Zygote()
    worker = zygote.spawn()
    assert worker.wire.frame()[0] == "ready"
    zygote.process.kill()
    zygote.close()
    assert gone(worker.pid)
