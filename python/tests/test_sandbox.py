"""What goes into a sandbox with an interpreter, and how a failure outside of it is explained."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Iterator

import pytest

from bursa.worker import enclose, visible


@pytest.fixture
def known() -> Iterator[None]:
    visible.known = visible.Visible(["/usr", "/data/shared"], ["/data/mine", "/tmp/given"])
    yield
    visible.known = None


def refused(number: int, path: object) -> str:
    return visible.advice(OSError(number, os.strerror(number), path))


def test_without_a_sandbox_nothing_is_explained() -> None:
    assert refused(errno.ENOENT, "/data/other") == ""


@pytest.mark.parametrize(
    ("number", "path", "words"),
    [
        (errno.ENOENT, "/data/other/file", "is outside this endpoint's sandbox"),
        (errno.EROFS, "/out.txt", "is outside this endpoint's sandbox"),
        (errno.ENOENT, "/tmp/other", "is outside"),
        (errno.ENOENT, b"/home/ada/x", "/home/ada/x is outside"),
        (errno.EROFS, "/data/shared/new", "sandbox.write"),
        (errno.EACCES, "/usr/bin/new", "is read-only"),
        (errno.ENOENT, "/usr/bin/none", None),
        (errno.ENOENT, "/data/mine/none", None),
        (errno.ENOENT, "/tmp/given/none", None),
        (errno.ENOENT, "/run/task/none", None),
        (errno.EISDIR, "/data/other", None),
        (errno.ENOENT, 7, None),
    ],
)
def test_a_path_outside_names_the_key(known: None, number: int, path: object, words: str | None) -> None:
    said = refused(number, path)
    assert (words in said) if words else said == ""


def test_the_interpreter_gets_its_directories_and_nothing_that_holds_a_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "venv/lib").mkdir(parents=True)
    (tmp_path / "link").symlink_to(home / "venv")
    paths = [str(home), str(home / "venv/lib"), str(tmp_path / "link"), "/usr/lib", "/no/such", "relative"]
    found = enclose.needs(paths, ["/usr"], ["/", str(home)])
    assert found == [str(tmp_path / "link"), str(home / "venv")]


def test_outer_directories_are_bound_first_and_modules_stay_read_only() -> None:
    granted = [("write", "/data/venv"), ("write", "/data"), ("hide", "/data/u/.bursa")]
    binds = enclose.merged(granted, ["/data/venv"])
    assert binds == [("write", "/data"), ("read", "/data/venv"), ("hide", "/data/u/.bursa")]
    assert enclose.flags_of(binds) == [
        *("--bind", "/data", "/data"),
        *("--ro-bind", "/data/venv", "/data/venv"),
        *("--tmpfs", "/data/u/.bursa"),
        *("--remount-ro", "/data/u/.bursa"),
    ]


def test_what_lies_below_a_workers_own_directories_is_bound_there_again() -> None:
    binds = [("write", "/tmp/a"), ("read", "/tmp/a/b"), ("read", "/data")]
    seen = enclose.seen(binds, ["/usr"])
    assert seen == {"again": ["/tmp/a"], "read": ["/usr", "/tmp/a/b", "/data"], "write": ["/tmp/a"]}
