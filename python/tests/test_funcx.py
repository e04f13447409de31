"""Programs written for funcX, against a small service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_service import ENDPOINT, TOKEN, FakeService

import bursa
from bursa.funcx import FuncXClient

SHIM = Path(__file__).parents[1] / "funcx-shim" / "src"


@pytest.fixture
def fxc(service: FakeService) -> Iterator[FuncXClient]:
    with bursa.Client(service.url, TOKEN) as client:
        yield FuncXClient(client=client)


def test_the_tutorial(fxc: FuncXClient) -> None:
    def funcx_sum(items):
        return sum(items)

    function = fxc.register_function(funcx_sum, description="A summation function")
    task = fxc.run([1, 2, 3, 4, 5], endpoint_id=ENDPOINT, function_id=function)
    assert isinstance(task, str)
    assert fxc.get_result(task) == 15
    assert fxc.get_result(task) == 15, "reading never deletes"
    seen = fxc.get_task(task)
    assert (seen["pending"], seen["status"], seen["result"]) == (False, "success", 15)


def test_failures_and_pending_tasks(fxc: FuncXClient, service: FakeService) -> None:
    function = fxc.register_function(lambda: 1 / 0)
    task = fxc.run(endpoint_id=ENDPOINT, function_id=function)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as caught:
            fxc.get_result(task)
        assert "Traceback (remote)" in str(caught.value.__cause__)
    assert isinstance(fxc.get_task(task)["exception"], ZeroDivisionError)

    def accept_only(stream, message):
        stream.send({"type": "accepted", "id": message["id"]})
        return True

    service.on_submit = accept_only
    task = fxc.run(endpoint_id=ENDPOINT, function_id=function)
    with pytest.raises(bursa.TaskPending):
        fxc.get_result(task, timeout=0)
    assert fxc.get_task(task) == {"task_id": task, "pending": True, "status": "running"}


def test_batches(fxc: FuncXClient) -> None:
    function = fxc.register_function(lambda x, y=0: x + y)
    batch = fxc.create_batch()
    for number in range(5):
        batch.add(number, y=1, endpoint_id=ENDPOINT, function_id=function)
    tasks = fxc.batch_run(batch)
    assert [fxc.get_result(task) for task in tasks] == [1, 2, 3, 4, 5]
    seen = fxc.get_batch_result(tasks)
    assert [seen[task]["result"] for task in tasks] == [1, 2, 3, 4, 5]
    tasks = fxc.map_run([1, 2], endpoint_id=ENDPOINT, function_id=function)
    assert [fxc.get_result(task) for task in tasks] == [1, 2]


def test_a_function_is_shared_as_it_is_registered(fxc: FuncXClient, service: FakeService) -> None:
    function = fxc.register_function(len, public=True)
    grouped = fxc.register_function(len, group="lab")
    assert service.shares == {
        f"functions/{function}": {"users": [], "groups": [], "public": True, "role": "user"},
        f"functions/{grouped}": {"users": [], "groups": ["lab"], "public": False, "role": "user"},
    }


def test_the_import_names_of_funcx(service: FakeService, tmp_path: Path) -> None:
    program = (
        "from funcx.sdk.client import FuncXClient\n"
        "from funcx import FuncXClient as same\nassert same is FuncXClient\n"
        f"fxc = FuncXClient(funcx_service_address={service.url + '/v2'!r})\n"
        f"task = fxc.run([1, 2], endpoint_id={ENDPOINT!r}, function_id=fxc.register_function(sum))\n"
        "assert fxc.get_result(task) == 3\n"
    )
    source = str(Path(bursa.__file__).parents[1])
    env = {"PYTHONPATH": f"{SHIM}:{source}", "BURSA_TOKEN": TOKEN}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=30)
    real = tmp_path / "funcx-2.4.0.dist-info"
    real.mkdir()
    (real / "METADATA").write_text("Metadata-Version: 2.1\nName: funcx\nVersion: 2.4.0\n")
    env["PYTHONPATH"] += f":{tmp_path}"
    refused = subprocess.run([sys.executable, "-c", "import funcx"], env=env, capture_output=True, text=True)
    assert "funcx 2.4.0 and bursa-funcx are both installed" in refused.stderr
