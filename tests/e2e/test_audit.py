"""The audit log of the whole product: streams, the command, and a log that somebody changed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from conftest import run_cli, running, with_role


def submits(home: Path, tasks: int) -> list[dict]:
    """Lines of so many tasks: the last are on their way for a moment."""
    end = time.monotonic() + 60
    while True:
        found = run_cli(home, "audit", "search", "--action", "SUBMIT", "--limit", "1000", "--json")
        assert found.returncode == 0, found
        lines = json.loads(found.stdout)["entries"]
        if sum(line["tasks"] for line in lines) >= tasks:
            return lines
        assert time.monotonic() < end, lines


def test_submits_are_one_line_each_and_verify_finds_what_was_changed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as stack:
        kept = stack.client()
        assert kept.run(len, "abc").result(30) == 3
        assert sum(kept.map(len, ["ab"] * 500, chunk=1)) == 1000
        submits(home, 501)
        [pid] = with_role(stack.pid, "service")
        os.kill(pid, signal.SIGKILL)
        assert kept.run(len, "abcd").result(60) == 4
        lines = submits(home, 502)
        assert {line["name"] for line in lines} == {"owner"} and {line["status"] for line in lines} == {200}
        assert all(line["object"] and line["from"] == "127.0.0.1" for line in lines)
        assert "SUBMIT /api/v1/stream" in run_cli(home, "audit", "search", "--user", "owner").stdout

    held = run_cli(home, "audit", "verify")
    assert held.returncode == 0 and "holds" in held.stdout, held
    [path] = (home / "service/audit").glob("*.jsonl")
    text = path.read_text()
    path.write_text(text.replace('"owner"', '"other"', 1))
    changed = run_cli(home, "audit", "verify")
    assert changed.returncode == 1 and f"{path}:" in changed.stderr, changed
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    cut = run_cli(home, "audit", "verify")
    assert cut.returncode == 1 and "the last lines are gone" in cut.stderr, cut
