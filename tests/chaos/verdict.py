"""What became of every task: asked of the service by a client that submitted none of them."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import bursa
import msgpack
from bursa.websocket import WebSocket
from calls import expected
from journal import Call, Known

ENDED = ("success", "failed", "cancelled")
PAGE = 200


@dataclass
class Verdict:
    """The end of a run."""

    tasks: int = 0
    ended: Counter = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    never_accepted: int = 0
    other: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        return [*self.lost, *self.wrong, *self.duplicated, *self.failed, *self.other]


def judge(client: bursa.Client, known: Known, groups: list[str], patience: float) -> Verdict:
    """Waits until every task has ended, or nothing has ended for `patience` seconds."""
    verdict = Verdict()
    last = time.monotonic()
    left = list(known.calls.values())
    while left and time.monotonic() - last < patience:
        before = len(left)
        left = [call for page in pages(left) for call in still_open(client, page, known, verdict)]
        if len(left) < before:
            last = time.monotonic()
    verdict.lost += [f"{call.task} has not ended" for call in left]
    verdict.tasks = len(known.calls) - verdict.never_accepted
    told(known, verdict)
    streamed_once(client, known, groups, verdict)
    listed_once(client, known, groups, verdict)
    return verdict


def pages(calls: list[Call]) -> list[list[Call]]:
    return [calls[start : start + PAGE] for start in range(0, len(calls), PAGE)]


def still_open(client: bursa.Client, calls: list[Call], known: Known, verdict: Verdict) -> list[Call]:
    try:
        found = client.tasks([call.task for call in calls], wait=5)
    except bursa.NotFound:
        if len(calls) > 1:
            half = len(calls) // 2
            parts = (calls[:half], calls[half:])
            return [call for part in parts for call in still_open(client, part, known, verdict)]
        task = calls[0].task
        if task in known.accepted or task in known.results:
            verdict.lost.append(f"{task} was accepted and is not known")
        else:
            verdict.never_accepted += 1
        return []
    return [call for call, task in zip(calls, found) if not ended(client, call, task, verdict)]


def ended(client: bursa.Client, call: Call, task: dict, verdict: Verdict) -> bool:
    state = task["state"]
    if state not in ENDED:
        return False
    verdict.ended[state] += 1
    if state != "success":
        verdict.failed.append(f"{call.task} is {state}: {task.get('failure')}")
    elif client.loads(task["result"]) != expected(call.number, call.shape):
        verdict.wrong.append(f"{call.task} has another value")
    return True


def told(known: Known, verdict: Verdict) -> None:
    """What clients were told at the time."""
    for task, results in known.results.items():
        verdict.wrong += [f"{task}: a client was told '{r.verdict}'" for r in results if r.verdict != "ok"]


def streamed_once(client: bursa.Client, known: Known, groups: list[str], verdict: Verdict) -> None:
    """A stream from the beginning has each task exactly once."""
    counts: Counter = Counter()
    stream = WebSocket(f"{client.url}/api/v1/stream", client._token)
    newest = receive(stream)["cursor"]
    raw = [uuid.UUID(group).bytes for group in groups]
    stream.send(msgpack.packb({"type": "subscribe", "groups": raw, "cursor": 0}))
    cursor = 0
    while cursor < newest:
        message = receive(stream)
        cursor = message["cursor"]
        ids = message["tasks"]
        counts.update(str(uuid.UUID(bytes=ids[at : at + 16])) for at in range(0, len(ids), 16))
    stream.close()
    verdict.duplicated += [f"{task} was pushed {n} times" for task, n in counts.items() if n > 1]
    missing = sum(verdict.ended.values()) - len(counts)
    if missing:
        verdict.other.append(f"the stream has {missing} results less than there are ended tasks")
    verdict.other += [f"{task} was pushed and never submitted" for task in counts if task not in known.calls]


def receive(stream: WebSocket) -> dict:
    while True:
        data = stream.receive()
        if data is not None:
            return msgpack.unpackb(data, strict_map_key=False)


def listed_once(client: bursa.Client, known: Known, groups: list[str], verdict: Verdict) -> None:
    listed = Counter(
        task["task_id"] for group in groups for task in client._rest.pages("/tasks", "tasks", group_id=group)
    )
    verdict.duplicated += [f"{task} is listed {n} times" for task, n in listed.items() if n > 1]
    if len(listed) != verdict.tasks:
        verdict.other.append(f"{len(listed)} tasks are listed, {verdict.tasks} are known")
