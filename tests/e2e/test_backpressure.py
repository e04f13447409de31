"""A service that takes no more for now: it says so, and the SDK waits and goes on by itself."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

from conftest import Stack, running, wait_for


def waits(path):
    import time
    from pathlib import Path

    while not Path(path).exists():
        time.sleep(0.01)


def rest(stack: Stack, method: str, path: str, body: object = None) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def refused(stack: Stack) -> int:
    lines = rest(stack, "GET", "/metrics")[1].splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("bursa_submits_refused_total "))


def test_a_user_at_his_limit_is_told_and_the_sdk_goes_on_by_itself(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running(tmp_path / "home", BURSA_TASKS_PER_USER="50") as stack:
        client = stack.client()
        held = [client.run(waits, str(gate)) for _ in range(60)]
        client.wait_accepted(held)
        more = [client.run(abs, -number) for number in range(2_000)]
        wait_for(lambda: refused(stack), 30, "a refusal of the stream")
        function = client.register(abs)
        task = {"function_id": function, "endpoint_id": stack.endpoint_id, "args": ""}
        answer, text = rest(stack, "POST", "/api/v1/tasks", {"tasks": [task]})
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert "you have 60 tasks that have not ended, and the limit is 50" in text
        assert more[1_000].cancel(), "what the service did not take is cancelled at once"
        gate.touch()
        results = [future.result(60) for future in more if not future.cancelled()]
        assert results == [number for number in range(2_000) if number != 1_000]
        states = {task["state"] for task in client.tasks(held)}
        assert states == {"success"}


def test_a_limit_of_one_is_still_a_service(tmp_path: Path) -> None:
    with running(tmp_path / "home", BURSA_TASKS_PER_USER="1") as stack:
        first, second = stack.client(), stack.client()
        futures = [client.run(abs, -number) for number in range(200) for client in (first, second)]
        assert [future.result(60) for future in futures] == [n for n in range(200) for _ in range(2)]
