"""The listing of the funcX paper and tutorial, verbatim, against `bursa up --tutorial`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import environment, running

LISTING = """\
def funcx_sum(items):
    return sum(items)

from funcx.sdk.client import FuncXClient
fxc = FuncXClient()
func_uuid = fxc.register_function(funcx_sum, description="A summation function")
endpoint_uuid = '4b116d3c-1703-4f8f-9f6f-39921e5864df'
items = [1, 2, 3, 4, 5]
res = fxc.run(items, endpoint_id=endpoint_uuid, function_id=func_uuid)
fxc.get_result(res)     # 15
"""


def test_the_tutorial_runs_verbatim(tmp_path: Path) -> None:
    program = tmp_path / "tutorial.py"
    program.write_text(LISTING.replace("fxc.get_result(res)", "assert fxc.get_result(res) == 15"))
    with running(tmp_path / "home", "--tutorial") as stack:
        assert stack.endpoint_id == "4b116d3c-1703-4f8f-9f6f-39921e5864df"
        command = [sys.executable, str(program)]
        subprocess.run(command, env=environment(stack.home), check=True, timeout=60)


def test_the_listing_works_in_an_interpreter_session(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--tutorial") as stack:
        session = subprocess.run(
            [sys.executable, "-i", "-q"],
            input=LISTING.replace("sum(items)\n\nfrom", "sum(items)\n\n\nfrom"),
            env=environment(stack.home),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert session.stdout.strip().endswith("15"), session.stderr
