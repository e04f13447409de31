"""Payloads: what travels, in which form, and what is refused before it is unpickled."""

from __future__ import annotations

import datetime
import decimal
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from bursa import errors, serialize

numpy = pytest.importorskip("numpy")

PLAIN = [
    None, True, 1, 2.5, "text", b"bytes", [1, {"a": (2, {3})}], 1j, range(3), slice(1, 2), bytearray(b"x"),
    frozenset({1}), datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), decimal.Decimal("1.5"),
    numpy.float64(2), numpy.int8(1),
]  # fmt: skip


class Local:
    def __eq__(self, other: object) -> bool:
        return type(other).__name__ == "Local"


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_are_readable_by_any_python(value: object) -> None:
    payload = serialize.dumps(value)
    assert payload[:3] == b"p\0\0"
    assert serialize.loads(payload) == value
    assert serialize.loads_data(payload) == value


@pytest.mark.parametrize("value", [b"x" * (1 << 17), "é" * (1 << 17)], ids=["bytes", "text"])
def test_large_values_are_plain_too(value: object) -> None:
    for payload, whole in (
        (serialize.dumps(value), value),
        (serialize.dumps_call((1, value), {}), ((1, value), {})),
    ):
        assert type(payload) is bytes and payload[:3] == b"p\0\0"
        assert serialize.loads(payload) == whole


def test_arrays_are_plain() -> None:
    for array in [
        numpy.arange(6).reshape(2, 3),
        numpy.array([1, "a", None], dtype=object),
        numpy.zeros(2, "f4,i8"),
    ]:
        payload = serialize.dumps({"a": array})
        assert payload[:1] == b"p"
        assert (serialize.loads_data(payload)["a"] == array).all()


@pytest.mark.parametrize("value", [Local(), [Local()], numpy.array([Local()]), lambda: 1, Local, len])
def test_anything_else_carries_its_python(value: object) -> None:
    payload = serialize.dumps(value)
    assert payload[:3] == b"c" + bytes(sys.version_info[:2])
    serialize.loads(payload)
    with pytest.raises(errors.SerializationError, match="results='data'"):
        serialize.loads_data(payload)


def test_cycles_travel() -> None:
    cycle: list = []
    cycle.append(cycle)
    back = serialize.loads(serialize.dumps(cycle))
    assert back[0] is back


def test_builtin_exceptions_are_plain() -> None:
    payload = serialize.dumps(ValueError("x", 1))
    assert payload[:1] == b"p"
    assert serialize.loads_data(payload).args == ("x", 1)


def test_another_minor_is_refused_with_both_versions() -> None:
    major, minor = sys.version_info[:2]
    with pytest.raises(errors.DeserializeMismatch) as caught:
        serialize.loads(b"c" + bytes((major, minor + 1)) + b"not even a pickle")
    assert f"{major}.{minor + 1}" in str(caught.value)
    assert f"{major}.{minor}" in str(caught.value)
    assert caught.value.theirs == (major, minor + 1)


@pytest.mark.parametrize("payload", [b"", b"x", b"c", b"zzz123"])
def test_garbage_is_refused(payload: bytes) -> None:
    for loads in (serialize.loads, serialize.loads_data):
        with pytest.raises(errors.SerializationError):
            loads(payload)


@pytest.mark.parametrize("call", [(eval, ("1",)), (getattr, (1, "real")), (subprocess.getoutput, ("true",))])
def test_data_mode_runs_nothing(call: tuple) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return call

    with pytest.raises(errors.SerializationError, match="does not read"):
        serialize.loads_data(b"p\0\0" + pickle.dumps(Evil(), 5))


def test_an_argument_that_cannot_travel_is_named() -> None:
    with pytest.raises(errors.SerializationError, match=r"argument 1 .*, a generator"):
        serialize.dumps_call((1, (x for x in ())), {})
    with pytest.raises(errors.SerializationError, match="argument guard, a lock"):
        serialize.dumps_call((), {"guard": threading.Lock()})


def test_calls_round_trip() -> None:
    for args, kwargs in [((), {}), ((1, "a"), {}), (([1],), {"k": Local()})]:
        assert serialize.loads(serialize.dumps_call(args, kwargs)) == (args, kwargs)


def test_local_modules_travel_by_value_and_installed_ones_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(
        "BASE = 10\ndef add(x):\n    return x + BASE\nclass Box: pass\n"
    )
    (tmp_path / "make.py").write_text(
        textwrap.dedent("""\
        import json, sys, mine
        from bursa import serialize
        def uses(x):
            return json.loads(str(mine.add(x)))
        for value in (mine.add, uses, mine.Box()):
            sys.stdout.write(serialize.dumps(value).hex() + "\\n")
        """)
    )
    made = subprocess.run(
        [sys.executable, "make.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    add, uses, box = (bytes.fromhex(line) for line in made.stdout.split())
    assert "mine" not in sys.modules
    assert serialize.loads(add)(1) == 11
    assert serialize.loads(uses)(2) == 12
    assert type(serialize.loads(box)).__name__ == "Box"


def test_the_worker_needs_no_client_and_no_packages() -> None:
    source = str(Path(serialize.__file__).parents[1])
    program = (
        f"import sys; sys.path.insert(0, {source!r}); import bursa.worker.zygote; "
        "print(sorted(n for n in sys.modules if n.partition('.')[0] in ('bursa', 'msgpack', 'tqdm')))"
    )
    listed = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program], capture_output=True, text=True, check=True
    )
    modules = {name for name in eval(listed.stdout) if not name.startswith(("bursa.worker", "bursa._vendor"))}
    shared = ("serialize", "errors", "local_code", "shell", "source")
    assert modules == {"bursa", *(f"bursa.{name}" for name in shared)}
