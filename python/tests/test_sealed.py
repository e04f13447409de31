"""Keys as text, and what a home keeps of sealed calls."""

from __future__ import annotations

from pathlib import Path

import pytest

import bursa
from bursa import serialize, z85
from bursa.sealed import Seals

ENDPOINT, TASK = bytes(range(16)), bytes(range(16, 32))


def seals(home: Path, key: str | None = "0" * 40) -> Seals:
    return Seals(home, lambda endpoint: {} if key is None else {"public_key": key})


def test_z85_is_that_of_the_rfc() -> None:
    key = bytes.fromhex("864fd26fb559f75b" * 4)
    assert z85.encoded(key) == "HelloWorld" * 4
    assert z85.decoded("HelloWorld" * 4) == key


@pytest.mark.parametrize("text", ["", "0" * 39, "0" * 41, "~" * 40, "#" * 40, "é" * 40])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="40 characters"):
        z85.decoded(text)


def test_each_payload_looks_different_and_shows_nothing(tmp_path: Path) -> None:
    some = seals(tmp_path, z85.encoded(b"\x09" + bytes(31)))
    one, other = (some.arguments(b"secret", TASK, ENDPOINT) for _ in range(2))
    assert one != other and one[:35] == other[:35], "sealed, by the same client"
    assert one.startswith(serialize.SEALED) and b"secret" not in one


def test_the_home_has_one_key_and_one_line_for_each_endpoint(tmp_path: Path) -> None:
    key = z85.encoded(b"\x09" + bytes(31))
    for _ in range(3):
        seals(tmp_path, key).function(b"", ENDPOINT)
    assert (tmp_path / "known_endpoints").read_text().split()[1:] == [key]
    assert len((tmp_path / "sealed.key").read_text()) == 41
    assert sorted(path.name for path in tmp_path.iterdir()) == ["known_endpoints", "sealed.key"]


def test_damaged_files_are_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "sealed.key").write_text("short\n")
    with pytest.raises(bursa.Invalid, match=r"sealed\.key has no key"):
        seals(tmp_path)
    (tmp_path / "sealed.key").unlink()
    (tmp_path / "known_endpoints").write_text("# mine\nid short\n")
    with pytest.raises(bursa.Invalid, match="known_endpoints:2: a key is"):
        seals(tmp_path)


def test_nothing_is_sealed_to_a_revoked_key(tmp_path: Path) -> None:
    with pytest.raises(bursa.Invalid, match="has no key"):
        seals(tmp_path, None).arguments(b"", TASK, ENDPOINT)
