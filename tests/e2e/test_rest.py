"""The REST API as any program sees it: plain HTTP against the real binary."""

from __future__ import annotations

import base64
import http.client
import json
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest
from bursa import serialize
from conftest import Stack

NOBODY = "00000000-0000-7000-8000-000000000000"


def call(stack: Stack, method: str, path: str, body: Any = None, token: str | None = "") -> tuple[int, Any]:
    """One request; the status and the JSON of the answer."""
    connection = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=30)
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token or stack.token}"
    data = body if isinstance(body, bytes) or body is None else json.dumps(body)
    connection.request(method, path, data, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else None


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def function(stack: Stack) -> str:
    body = b64(serialize.dumps_code(lambda x: x + 1))
    status, made = call(stack, "POST", "/api/v1/functions", {"name": "increment", "body": body})
    assert status == 201
    return made["function_id"]


def a_task(stack: Stack, function: str, **changes: Any) -> dict[str, Any]:
    args = b64(serialize.dumps_call((1,), {}))
    return {"function_id": function, "endpoint_id": stack.endpoint_id, "args": args, **changes}


def test_a_call_with_nothing_but_http(stack: Stack, function: str) -> None:
    status, made = call(stack, "POST", "/api/v1/tasks", {"tasks": [a_task(stack, function)]})
    assert status == 200
    (task,) = made["task_ids"]
    status, ended = call(stack, "GET", f"/api/v1/tasks/{task}?wait=30")
    assert (status, ended["state"]) == (200, "success")
    assert serialize.loads(base64.b64decode(ended["result"])) == 2


def test_submitting_again_is_the_same_and_other_bytes_conflict(stack: Stack, function: str) -> None:
    task = a_task(stack, function, task_id=str(uuid.uuid4()))
    batch = {"group_id": str(uuid.uuid4()), "tasks": [task]}
    first = call(stack, "POST", "/api/v1/tasks", batch)
    assert first[0] == 200
    assert call(stack, "POST", "/api/v1/tasks", batch) == first
    call(stack, "GET", f"/api/v1/tasks/{task['task_id']}?wait=30")
    assert call(stack, "POST", "/api/v1/tasks", batch) == first, "also when it has ended"
    task["args"] = b64(serialize.dumps_call((2,), {}))
    status, refused = call(stack, "POST", "/api/v1/tasks", batch)
    assert (status, refused["error"]["code"]) == (409, "conflict")
    assert task["task_id"] in refused["error"]["message"]


def test_open_routes_need_no_token_and_all_others_do(stack: Stack) -> None:
    for path in ["/api/v1/version", "/api/v1/health", "/api/v1/openapi.json"]:
        assert call(stack, "GET", path, token=None)[0] == 200, path
    document = call(stack, "GET", "/api/v1/openapi.json", token=None)[1]
    open_paths = {"/api/v1/version", "/api/v1/health", "/api/v1/openapi.json", "/api/v1/login"}
    open_paths.add("/api/v1/tokens/exchange")  # its body has a token of somebody else's
    for path, methods in document["paths"].items():
        for method in methods:
            if path in open_paths:
                continue
            for token in [None, "wrong"]:
                status, answer = call(stack, method.upper(), path.replace("{id}", NOBODY), token=token)
                assert (status, answer["error"]["code"]) == (401, "unauthorized"), (method, path)


@pytest.mark.parametrize("kind", ["tasks", "functions", "endpoints"])
def test_unknown_and_malformed_ids(stack: Stack, kind: str) -> None:
    status, answer = call(stack, "GET", f"/api/v1/{kind}/{NOBODY}")
    assert (status, answer["error"]["code"]) == (404, "not-found")
    assert NOBODY in answer["error"]["message"]
    status, answer = call(stack, "GET", f"/api/v1/{kind}/not-a-uuid")
    assert status == 400
    assert "not-a-uuid" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("change", "status", "named"),
    [
        ({"function_id": NOBODY}, 404, NOBODY),
        ({"endpoint_id": NOBODY}, 404, NOBODY),
        ({"function_id": "nonsense"}, 422, "function_id"),
        ({"args": 7}, 422, "args"),
        ({"args": "not base64!"}, 422, "args"),
        ({"retries": -1}, 422, "retries"),
        ({"surprise": 1}, 422, "surprise"),
        ({"function_id": None}, 422, "function_id"),
    ],
)
def test_bad_fields_are_named(stack: Stack, function: str, change: dict, status: int, named: str) -> None:
    got, answer = call(stack, "POST", "/api/v1/tasks", {"tasks": [a_task(stack, function, **change)]})
    assert got in {status, 400} if status == 422 else got == status
    assert named in answer["error"]["message"]
    assert set(answer["error"]) >= {"code", "status", "message", "what", "why", "next", "request_id"}


def test_a_missing_field_is_named(stack: Stack, function: str) -> None:
    task = a_task(stack, function)
    del task["endpoint_id"]
    status, answer = call(stack, "POST", "/api/v1/tasks", {"tasks": [task]})
    assert status in {400, 422}
    assert "endpoint_id" in answer["error"]["message"]


def test_broken_json_is_told(stack: Stack) -> None:
    status, answer = call(stack, "POST", "/api/v1/tasks", b'{"tasks": [')
    assert status == 400
    assert "JSON" in answer["error"]["message"]


def test_too_many_tasks_are_refused_with_both_numbers(stack: Stack, function: str) -> None:
    batch = {"tasks": [a_task(stack, function)] * 10_001}
    status, answer = call(stack, "POST", "/api/v1/tasks", batch)
    assert status == 413
    message = answer["error"]["message"].replace(",", "")
    assert "10001" in message and "10000" in message


def test_a_payload_over_the_limit_is_refused_with_both_numbers(stack: Stack, function: str) -> None:
    size = 64 * 1024 * 1024 + 3
    batch = {"tasks": [a_task(stack, function, args=b64(bytes(size)))]}
    status, answer = call(stack, "POST", "/api/v1/tasks", batch)
    assert status == 413
    message = answer["error"]["message"].replace(",", "")
    assert str(size) in message and str(64 * 1024 * 1024) in message


def test_unknown_routes_and_methods(stack: Stack) -> None:
    assert call(stack, "GET", "/api/v1/nothing")[0] == 404
    assert call(stack, "DELETE", "/api/v1/version")[0] == 405


def test_metrics_count(stack: Stack, function: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=30)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {stack.token}"})
    text = connection.getresponse().read().decode()
    connection.close()
    assert "bursa_" in text and "# TYPE" in text
