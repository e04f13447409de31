"""The programs in `examples/`, on their real inputs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Stack, environment, running


def example(stack: Stack, name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, env=environment(stack.home), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_metadata_of_every_file_of_the_repository(stack: Stack) -> None:
    found = example(stack, "metadata.py", str(ROOT / "docs"))
    files = sum(1 for path in (ROOT / "docs").rglob("*") if path.is_file())
    assert found.startswith(f"{files} files in ")
    assert "text/markdown" in found


def test_digits_are_recognized(stack: Stack) -> None:
    found = re.search(r"(\d+) digits in (\d+) batched calls: ([\d.]+)% right", example(stack, "digits.py"))
    assert found and int(found[1]) == 899 and float(found[3]) > 90


def test_image_quality_ranks_the_bundled_images(stack: Stack) -> None:
    rows = example(stack, "image_quality.py").splitlines()
    names = {row.split()[0] for row in rows[1:]}
    assert {"camera.png", "moon.png"} <= names
    sharpness = [float(row.split()[1]) for row in rows[1:]]
    assert sharpness == sorted(sharpness, reverse=True)


def test_percolation_is_measured_until_it_is_good_enough(stack: Stack) -> None:
    found = re.search(
        r"(\d+) experiments: .* at ([\d.]+) ± ([\d.]+) of", example(stack, "percolation.py", "0.002")
    )
    assert found and 0.57 < float(found[2]) < 0.61 and float(found[3]) <= 0.002


def test_the_tutorial_example(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--tutorial") as stack:
        assert example(stack, "tutorial.py").strip() == "the sum of [1, 2, 3, 4, 5] is 15"
