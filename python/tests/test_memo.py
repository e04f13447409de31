"""Memoized calls: who asks for them, what makes them equal, what a future says."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from fake_service import ENDPOINT, TOKEN, FakeService

import bursa
from bursa import run
from bursa.funcx import FuncXClient


def area(width: float = 1, height: float = 1) -> float:
    return width * height


def ended(future: bursa.TaskFuture) -> tuple[Any, str | None]:
    return future.result(10), future.memo


def test_a_future_says_what_it_was(client: bursa.Client) -> None:
    first = client.run(area, 3, 4, memoize=True)
    assert ended(first) == (12, "stored")
    assert ended(client.submit(area, [3, 4], memoize=True)) == (12, "hit")
    assert ended(client.run(area, 3, 4)) == (12, None)
    failed = client.run(area, "3", "4", memoize=True)
    with pytest.raises(TypeError):
        failed.result(10)
    assert failed.memo is None


def test_nothing_is_asked_for_unless_the_call_says_so(client: bursa.Client, service: FakeService) -> None:
    client.submit(area, [1, 2], memoize=False).result(10)
    list(client.map(area, [1, 2]))
    client.run(area, 1, memoize=True).result(10)
    calls = [call for m in service.received if m["type"] == "submit" for call in m["calls"]]
    assert [call.get("memoize") for call in calls] == [None] * (len(calls) - 1) + [True]


def test_the_order_of_keywords_does_not_count(client: bursa.Client) -> None:
    client.submit(area, kwargs={"width": 2, "height": 3}, memoize=True).result(10)
    assert ended(client.run(area, height=3, width=2, memoize=True)) == (6, "hit")
    assert ended(client.run(area, height=2, width=3, memoize=True)) == (6, "stored")


def test_every_way_to_call_finds_the_same_results(client: bursa.Client, service: FakeService) -> None:
    client.run(area, 5, memoize=True).result(10)
    batch = client.batch(memoize=True)
    batch.add(area, 5)
    assert [ended(future) for future in batch.submit()] == [(5, "hit")]
    with bursa.Executor(ENDPOINT, client, memoize=True) as executor:
        assert ended(executor.submit(area, 5)) == (5, "hit")
        assert list(executor.map(area, [5, 6])) == [5, 6]
    remote = bursa.function(memoize=True, client=client)(area)
    assert ended(remote.remote(6)) == (6, "hit")
    fxc = FuncXClient(client=client, memoize=True)
    function = fxc.register_function(area)
    assert fxc.get_result(fxc.run(5, function_id=function), 10) == 5
    ran, service.run = service.run, lambda function, args: pytest.fail("it ran")
    assert list(client.map(area, [5, 6], memoize=True)) == [5, 6]
    assert list(remote.map([6, 5])) == [6, 5]
    service.run = ran
    assert list(client.map(area, range(100), chunk=10, memoize=True)) == list(range(100))
    service.run = lambda function, args: pytest.fail("it ran")
    assert list(client.map(area, range(100), chunk=10, memoize=True)) == list(range(100))


def test_a_registered_function_is_found_by_its_body(client: bursa.Client) -> None:
    client.run(area, 7, memoize=True).result(10)
    again = client.register(area, name="another name")
    assert ended(client.run(again, 7, memoize=True)) == (7, "hit")


SCRIPT = """
    import sys, bursa
    LIMITS = {"low": 1, "high": 5}

    def clipped(value, unit="m"):
        return max(LIMITS["low"], min(LIMITS["high"], value)) if unit in ("m", "km") else None

    with bursa.Client(sys.argv[1], sys.argv[2]) as client:
        future = client.run(clipped, 9, unit="km", memoize=True)
        print(future.result(10), future.memo)
"""


SHAPES = """
    LIMIT = {"least": 3}

    def sizes(size: int, *more, unit="shapes", **rest):
        def inner(value):
            return (lambda other: other + value)(0)

        return [inner(size), LIMIT["least"]]
"""
IMPORTS = """
    import sys, bursa, shapes

    with bursa.Client(sys.argv[1], sys.argv[2]) as client:
        future = client.run(shapes.sizes, 6, memoize=True)
        print(future.result(10), future.memo)
"""


def test_another_process_finds_it(service: FakeService, tmp_path: Path) -> None:
    """Bodies and arguments are the same bytes wherever they are made."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    said = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(script), service.url, TOKEN]
        said.append(subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60))
    assert [(each.stdout, each.stderr) for each in said] == [("5 stored\n", ""), ("5 hit\n", "")]


def test_a_module_from_its_cache_has_the_same_code(service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text(textwrap.dedent(SHAPES))
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(IMPORTS))
    said = []
    for _ in range(2):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, str(script), service.url, TOKEN]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        said.append((done.stdout, done.stderr))
    assert list((tmp_path / "__pycache__").glob("shapes.*")), "the second time it was not compiled"
    assert said == [("[6, 3] stored\n", ""), ("[6, 3] hit\n", "")]


def test_another_state_of_its_globals_is_another_function(client: bursa.Client) -> None:
    """The same function object, as a notebook has it."""
    limits = {"least": 1}

    def clipped(value: int) -> int:
        return max(limits["least"], value)

    assert client.run(clipped, 0, memoize=True).result(10) == 1
    limits["least"] = 2
    again = client.run(clipped, 0, memoize=True)
    assert (again.result(10), again.memo) == (2, "stored")


def test_the_command_takes_the_option(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BURSA_URL", service.url)
    monkeypatch.setenv("BURSA_TOKEN", TOKEN)
    file = tmp_path / "job.py"
    file.write_text("def double(x: int) -> int:\n    return 2 * x\n")
    assert run.main(["--memoize", str(file), "4"]) == 0
    service.run = lambda function, args: (1, b"", {"code": "load-failed", "message": f"it ran: {args!r}"})
    code, said = run.main(["--memoize", "--json", str(file), "4"]), capsys.readouterr()
    assert (code, '"result": 8' in said.out) == (0, True), (said, service.functions, service.memo)
