"""Sealed calls: the service stores and routes what it cannot read."""

from __future__ import annotations

import os
from pathlib import Path

import bursa
import pytest
from bursa import serialize
from bursa.ids import to_text
from conftest import Stack

SECRET = "ceci n'est pas un secret"


def sealed(stack: Stack, home: Path | None = None) -> bursa.Client:
    return bursa.Client(stack.url, stack.token, home=home or stack.home, sealed=True)


def stored(stack: Stack) -> bytes:
    """Everything that the service keeps and logs."""
    places = (stack.home / "service", stack.home / "logs")
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" or "bursa" in path.name for path in files), files
    return b"".join(path.read_bytes() for path in files)


def test_nothing_of_a_sealed_call_is_in_the_service(stack: Stack) -> None:
    def echo(text):
        print("printed:", text)
        return text[::-1] + " backwards"

    def private_fail(text):
        print("printed:", text)
        raise ValueError(f"{text} is refused")

    with sealed(stack) as client:
        assert client.run(echo, SECRET).result(60) == SECRET[::-1] + " backwards"
        future = client.run(private_fail, SECRET)
        with pytest.raises(ValueError, match=f"{SECRET} is refused") as caught:
            future.result(60)
        assert "in private_fail" in str(caught.value.__cause__)
        assert caught.value.__cause__.output == f"printed: {SECRET}\n"
        told = client.task(future)
        assert "sealed" in told["failure"]["message"] and not told.get("output")
        kept = stored(stack)
        for trace in (SECRET, SECRET[::-1], "is refused", "private_fail"):
            assert trace.encode() not in kept, trace
        # The search would find it: an ordinary call leaves both.
        with stack.client() as plain:
            assert plain.run(echo, SECRET).result(60)
        assert SECRET.encode() in stored(stack)


def test_large_ones_many_and_chunks(stack: Stack) -> None:
    with sealed(stack) as client:
        block = os.urandom(3 << 20)
        assert client.run(bytes.__add__, block, b"!").result(120) == block + b"!"
        futures = [client.run(pow, 3, n) for n in range(200)]
        assert [future.result(60) for future in futures] == [3**n for n in range(200)]
        assert list(client.map(abs, range(-50, 50), chunk=7)) == [abs(n) for n in range(-50, 50)]


def test_another_process_of_the_same_home_reads_the_result(stack: Stack) -> None:
    with sealed(stack) as client:
        future = client.run(str.upper, SECRET)
        future.result(60)
    with sealed(stack) as later:
        assert later.result(future.task_id) == SECRET.upper()


def test_another_home_does_not(stack: Stack, tmp_path: Path) -> None:
    with sealed(stack) as client:
        future = client.run(str.upper, SECRET)
        future.result(60)
    with sealed(stack, tmp_path) as stranger:
        with pytest.raises(bursa.SerializationError, match="cannot be opened"):
            stranger.result(future.task_id)
        assert stranger.run(str.lower, "A").result(60) == "a", "it has a key of its own"
        with pytest.raises(bursa.SerializationError, match="for another key"):
            stranger.result(future.task_id)


def test_what_is_sealed_to_another_task_is_not_run(stack: Stack) -> None:
    with sealed(stack) as client:
        client.run(len, b"").result(60)
        route = client._route(len, None).fields
        replayed = client._seals.arguments(serialize.dumps_call((b"abc",), {}), bytes(16), route["endpoint"])
    call = {
        "function_id": to_text(route["function"]),
        "endpoint_id": to_text(route["endpoint"]),
        "args": replayed,
    }
    with stack.client() as plain:
        task = plain._rest.post("/tasks", {"tasks": [call]})["task_ids"][0]
        with pytest.raises(bursa.TaskFailed, match="sealed, and not to the key of who reads it"):
            plain.result(task, 60)


def test_what_cannot_be_combined_is_refused(stack: Stack) -> None:
    with sealed(stack) as client:
        with pytest.raises(bursa.Invalid, match="cannot be memoized"):
            client.submit(abs, (1,), memoize=True)
        with pytest.raises(bursa.Invalid, match="for one endpoint"):
            client.register(abs)


def test_a_key_that_is_not_the_known_one_is_refused(stack: Stack, tmp_path: Path) -> None:
    with stack.client() as plain:
        endpoint = plain.endpoints()[0]["endpoint_id"]
    (tmp_path / "known_endpoints").write_text(f"{endpoint} {'0' * 39}1\n")
    with sealed(stack, tmp_path) as client, pytest.raises(bursa.Invalid, match="ask the endpoint's owner"):
        client.run(abs, 1)
    assert (tmp_path / "sealed.key").stat().st_mode & 0o777 == 0o600
