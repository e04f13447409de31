"""The golden frames of the link protocol, read as any msgpack reader would: names and values of all fields.

The files are written by `crates/core/tests/wire/golden.rs`; `worker_frames.json` is the worker socket.
"""

import json
from pathlib import Path

import pytest

msgpack = pytest.importorskip("msgpack")

FILES = sorted(path for path in Path(__file__).parent.glob("*.json") if path.name != "worker_frames.json")

HELLO = "proto_min proto_max software peer connection host python held last complete capacity has"
# What the contract says (docs/protocol.md, FABRIC §2): every field of each kind.
FIELDS = {
    "Hello": HELLO + " have_functions",
    "Welcome": "proto epoch heartbeat_ms threshold_ms result_window",
    "Refused": "reason is_final text other_host seen_generation live",
    "Reset": "reason",
    "Held": "held complete accounted",
    "Capacity": "credit_tasks credit_bytes slots_total slots_free warm degraded",
    "Cancel": "task attempt grace_ms",
    "Locate": "task attempt",
    "Located": "task attempt place",
    "WantFunction": "hash",
    "Function": "hash body",
    "Part": "stream total data",
    "Ping": None,
    "Drain": "grace_ms",
    "Bye": "reason",
}
OPTIONAL = {"degraded"}
# Short items are lists of a number and these; those in brackets may be nil, or be missing at the end.
SHORT = [
    ("Assign", "task attempt args ttl_ms [user] [hash] [container] [timeout_ms]"),
    ("Result", "task attempt outcome begun payload run_ns [timings] [output] [failure]"),
    ("Ack", "task attempt outcome"),
    ("Started", "task attempt worker"),
]


def plain(value):
    """The value as JSON has it: bytes are {"bin": hex}."""
    if isinstance(value, bytes):
        return {"bin": value.hex()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def kind(item):
    """An item is its kind's name, a map of that name to its fields, or short."""
    if isinstance(item, str):
        return item, None
    if isinstance(item, list):
        name, words = SHORT[item[0]]
        values = dict(zip((word.strip("[]") for word in words.split()), item[1:], strict=False))
        return name, {field: value for field, value in values.items() if value is not None}
    ((name, fields),) = item.items()
    return name, fields


def load(path):
    golden = json.loads(path.read_text())
    frames = [bytes.fromhex(frame) for frame in golden["frames"]]
    return golden, msgpack.unpackb(frames[0]), msgpack.unpackb(frames[1]), frames[2:]


def test_there_is_one_file_per_kind():
    kinds = {kind(item)[0] for path in FILES for item in load(path)[2]}
    assert kinds == set(FIELDS) | {name for name, _ in SHORT}
    assert len(FILES) == len(kinds)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_values(path):
    golden, envelope, items, payloads = load(path)
    assert golden["name"] == path.stem
    assert envelope == [2, 0x0123456789ABCDEF, 4, 300], "version, sid, seq, ack"
    frames = [payload.hex() for payload in payloads]
    assert {"envelope": envelope, "items": plain(items), "payloads": frames} == golden["fields"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_names(path):
    for name, fields in map(kind, load(path)[2]):
        if name in dict(SHORT):
            words = dict(SHORT)[name].split()
            assert set(fields) <= {word.strip("[]") for word in words}
            assert {word for word in words if "[" not in word} <= set(fields)
            continue
        if FIELDS[name] is None:
            assert fields is None
            continue
        expected = set(FIELDS[name].split())
        assert set(fields) <= expected
        assert expected - set(fields) <= OPTIONAL


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ids_and_payloads(path):
    for _, fields in map(kind, load(path)[2]):
        fields = fields or {}
        for name, size in [("task", 16), ("user", 16), ("container", 16), ("hash", 32)]:
            if name in fields:
                assert isinstance(fields[name], bytes) and len(fields[name]) == size
        if "attempt" in fields:
            assert fields["attempt"] >> 32 == 2 and fields["attempt"] & 0xFFFFFFFF == 7


def test_a_large_payload_is_a_frame_of_its_own():
    _, _, items, payloads = load(Path(__file__).parent / "function.json")
    assert kind(items[0])[1]["body"] == 0, "the number of its frame"
    assert payloads == [b"\xc3" * 5_000]
    assert kind(items[1])[1]["body"] is None, "gone"
