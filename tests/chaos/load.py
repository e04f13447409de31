"""One client process: a steady load by the SDK. Killed and started again, it submits its open tasks again."""

from __future__ import annotations

import argparse
import base64
import random
import signal
import threading
import time
import uuid
from pathlib import Path

import bursa
from bursa.future import TaskFuture
from bursa.ids import new_id, to_text
from bursa.serialize import dumps_call
from calls import LARGE_ARGUMENT, LARGE_RESULT, SMALL, expected, payload_of
from journal import Call, Journal, read

RETRIES = 1000
BATCH, PROBE_BATCH = 8, 1
OPEN = 120


class Load:
    """Submits calls in small batches, and writes down what it is told."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.given = arguments
        self.random = random.Random(f"{arguments.seed}/{arguments.name}/{arguments.life}")
        self.batch = PROBE_BATCH if arguments.probe else BATCH
        self.path = Path(arguments.journal)
        self.path.touch()
        self.journal = Journal(self.path)
        self.client = self.connect()
        self.room = threading.Semaphore(OPEN)
        self.over = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self.over.set())

    def connect(self) -> bursa.Client:
        """The service may be down for a while."""
        while True:
            try:
                client = bursa.Client(self.given.url, self.given.token)
                client.endpoint_status(self.given.endpoint)
                client._group = uuid.UUID(self.given.group).bytes
                return client
            except bursa.BursaError:
                time.sleep(0.2)

    def arguments(self, call: Call) -> bytes:
        payload = payload_of(call.number, call.shape)
        return dumps_call((*call, payload, self.given.folder), {})

    # After a restart

    def again(self, calls: list[Call]) -> None:
        """Submits open calls of an earlier life with their own ids, by REST, and asks for their results."""
        for start in range(0, len(calls), 100):
            self.again_some(calls[start : start + 100])

    def again_some(self, calls: list[Call]) -> None:
        tasks = [
            {
                "task_id": call.task,
                "function_id": self.given.function,
                "endpoint_id": self.given.endpoint,
                "args": base64.b64encode(self.arguments(call)).decode(),
                "retries": RETRIES,
            }
            for call in calls
        ]
        self.insist(lambda: self.client._rest.post("/tasks", {"group_id": self.given.group, "tasks": tasks}))
        self.journal.accepted([call.task for call in calls])
        threading.Thread(target=self.ask, args=(calls,), daemon=True).start()

    def ask(self, calls: list[Call]) -> None:
        left = {call.task: call for call in calls}
        while left:
            for task in self.insist(lambda: self.client.tasks(list(left), wait=5)):
                if task["state"] in ("success", "failed", "cancelled"):
                    self.told(left.pop(task["task_id"]), task)

    def told(self, call: Call, task: dict) -> None:
        try:
            value = bursa.client.value_of(
                bursa.client.of_task(task), uuid.UUID(call.task).bytes, self.client.loads
            )
        except Exception as error:
            return self.journal.result(call.task, f"failed {error!r}".replace("\n", " "))
        self.journal.result(call.task, "ok" if value == expected(call.number, call.shape) else "wrong")

    def insist(self, action):
        """Until the service answers; what it refuses is a finding and ends this process."""
        while True:
            try:
                return action()
            except bursa.Unavailable:
                time.sleep(0.2)

    # New load

    def run(self) -> None:
        self.again(read(self.path).open_calls())
        while not self.over.is_set():
            calls = [self.call() for _ in range(self.batch)]
            for _ in calls:
                self.room.acquire()
            self.journal.calls(calls)
            self.submit(calls)
            self.over.wait(self.batch / self.given.rate)
        while self.room._value < OPEN:
            time.sleep(0.05)
        self.client.close()

    def call(self) -> Call:
        if self.given.probe:
            return Call(to_text(new_id()), self.random.randrange(1 << 31), 0.0, SMALL)
        seconds = self.random.choice([0.0, self.random.uniform(0, 0.3), self.random.uniform(0, 0.3)])
        shape = self.random.choices([SMALL, LARGE_ARGUMENT, LARGE_RESULT], [18, 1, 1])[0]
        return Call(to_text(new_id()), self.random.randrange(1 << 31), seconds, shape)

    def submit(self, calls: list[Call]) -> None:
        """By the stream; again with the same ids for as long as the SDK gives up."""
        route = self.client._route(
            self.given.function, self.given.endpoint, (RETRIES, None, None, None, None, None)
        )
        futures = []
        for call in calls:
            future = TaskFuture(uuid.UUID(call.task).bytes, self.client)
            future.add_done_callback(lambda future, call=call: self.ended(future, call))
            futures.append(future)
            self.insist(lambda future=future, call=call: self.send(future, call, route))
        stream = self.client._stream
        if stream.wait_accepted(futures, 3600) and not stream.over:
            self.journal.accepted([call.task for call in calls])

    def send(self, future: TaskFuture, call: Call, route) -> None:
        stream = self.client._stream
        if stream is None or stream.over:
            stream = self.client._connect()
        stream.submit(future, self.arguments(call), route)

    def ended(self, future: TaskFuture, call: Call) -> None:
        try:
            value = future.result()
        except bursa.Unavailable:
            threading.Thread(target=self.again_one, args=(call,), daemon=True).start()
            return
        except Exception as error:
            self.journal.result(call.task, f"failed {error!r}".replace("\n", " "))
        else:
            self.journal.result(call.task, "ok" if value == expected(call.number, call.shape) else "wrong")
        self.room.release()

    def again_one(self, call: Call) -> None:
        self.again_some([call])
        self.room.release()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in [
        "url",
        "token",
        "endpoint",
        "function",
        "group",
        "journal",
        "folder",
        "name",
        "seed",
        "life",
    ]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--probe", action="store_true", help="nothing but small calls, one at a time")
    Load(parser.parse_args()).run()


if __name__ == "__main__":
    main()
