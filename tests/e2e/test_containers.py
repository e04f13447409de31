"""Containers on the real binary: registered, named by functions and calls, and told when they cannot run."""

from __future__ import annotations

import uuid

import bursa
import pytest
from conftest import Stack


def double(x: int) -> int:
    return 2 * x


def test_register_list_show_delete(stack: Stack, client: bursa.Client) -> None:
    name = f"py-{uuid.uuid4()}"
    made = client.register_container("python:3.11", type="docker", name=name, description="plain")
    shown = client.container(made)
    assert (shown["type"], shown["location"], shown["description"]) == ("docker", "python:3.11", "plain")
    assert [found["container_id"] for found in client.containers(search=name)] == [made]
    client.delete_container(made)
    assert client.containers(search=name) == []
    with pytest.raises(bursa.NotFound, match=made):
        client.submit(double, [1], endpoint_id=stack.endpoint_id, container=made).result(30)
    with pytest.raises(bursa.Invalid, match="use one of docker, podman"):
        client.register_container("x", type="lxc")
    with pytest.raises(bursa.Invalid, match=r"or bursa\.RAW"):
        client.submit(double, [1], container="python:3.11")


def test_an_endpoint_says_what_it_cannot_run_and_runs_the_rest(stack: Stack, client: bursa.Client) -> None:
    container = client.register_container("python:3.11", type="shifter")
    function = client.register(double, container=container)
    where = {"endpoint_id": stack.endpoint_id}
    with pytest.raises(bursa.TaskFailed, match=r"shifter (does not isolate|is not installed)") as failed:
        client.submit(function, [4], **where).result(60)
    assert failed.value.code == "environment-failed"
    assert client.task(failed.value.task_id)["container"] == container
    assert client.submit(function, [4], container=bursa.RAW, **where).result(60) == 8
    futures = [client.submit(double, [n], container=container, **where) for n in range(20)]
    assert client.submit(double, [5], **where).result(60) == 10, "others are not held up"
    assert {future.exception(60).code for future in futures} == {"environment-failed"}
    assert client.endpoint_status(stack.endpoint_id).get("degraded") is None


def test_memoized_results_are_of_one_container(stack: Stack, client: bursa.Client) -> None:
    container = client.register_container("python:3.11", type="shifter")
    call = {"args": [uuid.uuid4().int], "endpoint_id": stack.endpoint_id, "memoize": True}
    first = client.submit(double, **call)
    assert (first.result(60), first.memo) == (2 * call["args"][0], "stored")
    with pytest.raises(bursa.TaskFailed, match="shifter"):
        client.submit(double, container=container, **call).result(60)
    again = client.submit(double, container=bursa.RAW, **call)
    assert (again.result(60), again.memo) == (first.result(), "hit")
