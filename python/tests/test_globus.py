"""Text of Globus Compute's serializers, as their packages wrote it."""

from __future__ import annotations

import base64
import json
import pickle
import sys

import pytest

from bursa import globus
from bursa.errors import DeserializeMismatch, SerializationError
from bursa.serialize import GLOBUS

SOURCE = "def double(x, times=2):\n    return x * times\n"
HERE = b"g" + bytes(sys.version_info[:2])


def pack(*buffers: str) -> str:
    return "".join(f"{len(buffer)}\n{buffer}" for buffer in buffers)


def dilled(value: object) -> str:
    return base64.encodebytes(pickle.dumps(value)).decode()


def call(args: str, kwargs: str, serializers: list[str] | None = None) -> bytes:
    beside = json.dumps({"result_serializers": serializers}).encode() if serializers else b""
    return len(beside).to_bytes(4, "little") + beside + pack(args, kwargs).encode()


def test_values_as_their_clients_send_them() -> None:
    """Captured from globus-compute-sdk 4.19.0: `21` as the only argument."""
    text = b"28\n00\ngASVBQAAAAAAAABLFYWULg==\n12\n00\ngAR9lC4=\n"
    assert globus.loads_call(b"\0\0\0\0" + text) == ((21,), {}, [])


@pytest.mark.parametrize(
    "code",
    [
        "st\ndouble:" + SOURCE,
        "sd\ndouble:" + SOURCE,
        "03\n" + dilled(("double", SOURCE)),
        "04\n" + dilled(("double", SOURCE)),
        "10\n04\n:" + dilled(("double", SOURCE)) + ":01\n:not read",
        "12\n" + pack("st\ndouble:def (", "sd\ndouble:" + SOURCE),
    ],
    ids=["st", "sd", "03", "04", "10", "12"],
)
def test_source_is_read_by_every_python(code: str) -> None:
    function = globus.loads_function(b"g\x03\x07" + pack(code).encode())
    assert function(4) == 8


def test_code_of_another_python_is_refused_before_it_is_read() -> None:
    with pytest.raises(DeserializeMismatch, match=r"3\.7"):
        globus.loads_function(b"g\x03\x07" + pack("01\nnever read").encode())


def test_code_of_this_python_is_read() -> None:
    code = "01\n" + base64.encodebytes(globus.dill().dumps(lambda x: x + 1)).decode()
    assert globus.loads_function(HERE + pack(code).encode())(1) == 2


@pytest.mark.parametrize(
    ("serializer", "expected"),
    [("JSONData", '11\n{"a": 1}'), ("DillDataBase64", "00\n"), ("AllDataStrategies", "13\n")],
)
def test_results_are_written_as_they_were_asked_for(serializer: str, expected: str) -> None:
    wanted = call("11\n[]", "11\n{}", [f"globus_compute_sdk.serialize.concretes.{serializer}"])
    written = globus.run(lambda: {"a": 1}, globus.loads_call(wanted))
    assert written.startswith(GLOBUS)
    assert written[3:].decode().startswith(expected)


def test_the_first_serializer_that_can_writes_the_result() -> None:
    written = globus.dumps_result({1, 2}, ["x.JSONData", "x.DillDataBase64"])
    assert pickle.loads(base64.b64decode(written[3:].decode()[3:])) == {1, 2}


def test_a_result_that_nothing_can_write_says_what_was_tried() -> None:
    with pytest.raises(SerializationError, match=r"JSONData.*Unheard is not known here"):
        globus.dumps_result({1}, ["x.JSONData", "x.Unheard"])


def test_functions_as_results_are_code() -> None:
    written = globus.dumps_result(lambda: 5, [])
    assert written.startswith(GLOBUS + b"01\n")
    assert globus.dill().loads(base64.b64decode(written[6:]))() == 5


def test_lengths_are_counted_in_characters() -> None:
    args, _, _ = globus.loads_call(call('11\n["é漢"]', "11\n{}"))
    assert args == ["é漢"]


@pytest.mark.parametrize("buffer", ["99\nx", "x", ""])
def test_what_is_no_serializer_of_theirs_is_refused(buffer: str) -> None:
    with pytest.raises(SerializationError):
        globus.loads_call(call(buffer, "11\n{}"))
