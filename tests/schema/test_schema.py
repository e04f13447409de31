"""Requests made from the OpenAPI document: answers are as it says, and nothing of one user is another's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import HERE, e2e

# In names, arguments, results and output of what is the owner's; and as base64, wherever it may begin there.
MARKER = "heliotrope-7f3a9c"
CODED = [base64.b64encode(b"\0" * n + MARKER.encode())[4:-4].decode() for n in range(3)]
SEED = os.environ.get("SCHEMA_SEED", "1")
EXAMPLES = os.environ.get("SCHEMA_EXAMPLES", "60")
MOST_S = 90
LEFT_OUT = [
    # A WebSocket, which the document can say no more of than that it opens.
    "/api/v1/stream",
    # Could end the token of the run.
    "/api/v1/tokens/{id}",
    # Could end the access of the run's user: the owner finds himself in the list of users.
    "/api/v1/users/{id}/disable",
    "/api/v1/users/{id}/admin",
]
LEFT_OUT_CHECKS = [
    # Names, keys and words have rules that the schemas do not tell; what breaks them is answered with 400.
    "positive_data_acceptance",
    # Guesses by the names of fields which id is whose, and takes a new user's token for the user.
    "ensure_resource_availability",
]


@dataclass
class World:
    """What the owner has, and who else has a token."""

    stack: e2e.Stack
    stranger: str
    known: dict[str, object]

    def get(self, path: str) -> object:
        head = {"Authorization": f"Bearer {self.stack.token}"}
        with urllib.request.urlopen(urllib.request.Request(self.stack.url + path, headers=head)) as answer:
            return json.load(answer)

    def seen(self) -> dict[str, object]:
        """All that the owner sees of what is his, but for what changes by itself."""
        known = self.known
        paths = [f"/api/v1/shares/{kind}/{one}" for kind, one in known["shares"].items()]
        paths += [
            f"/api/v1/{kind}/{known[kind[:-1] + '_id']}" for kind in ("functions", "containers", "endpoints")
        ]
        paths += [f"/api/v1/tasks?group_id={known['group_id']}", f"/api/v1/groups/{known['user_group']}"]
        paths += [
            "/api/v1/memo",
            "/api/v1/users",
            f"/api/v1/endpoints/{known['endpoint_id']}/allowed-functions",
        ]
        tokens = [one["id"] for one in self.get("/api/v1/tokens")["tokens"]]
        return {**{path: self.get(path) for path in paths}, "tokens": tokens}


def echo(text: str) -> str:
    print(text)
    return text


def cli(stack: e2e.Stack, *arguments: str) -> str:
    done = e2e.run_cli(stack.home, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def world(stack: e2e.Stack) -> World:
    owner = stack.client()
    stranger = cli(stack, "user", "add", "stranger")
    cli(stack, "group", "new", f"{MARKER} group")
    function = owner.register(echo, name=f"{MARKER} function", description=MARKER)
    container = owner.register_container(f"{MARKER}/image", name=f"{MARKER} container", description=MARKER)
    future = owner.submit(function, (MARKER,), endpoint_id=stack.endpoint_id, memoize=True)
    assert future.result(60) == MARKER
    world = World(stack, stranger, {})
    task = world.get(f"/api/v1/tasks/{future.task_id}")
    groups = world.get("/api/v1/groups")["groups"]
    world.known = {
        "user": "stranger",
        "function_id": function,
        "container_id": container,
        "container": container,
        "endpoint_id": stack.endpoint_id,
        "task_id": future.task_id,
        "group_id": task["group_id"],
        "user_group": next(one["group_id"] for one in groups if MARKER in one["name"]),
        "shares": {
            "functions": function,
            "containers": container,
            "endpoints": stack.endpoint_id,
            "task-groups": task["group_id"],
        },
    }
    return world


def explore(program: Path, world: World, user: str, secrets: list[str], home: Path) -> None:
    """Runs Schemathesis as this user. It says what failed, and which command does it again."""
    token, key = {"owner": (world.stack.token, "1" * 40), "stranger": (world.stranger, "2" * 40)}[user]
    command = [str(program), "run", f"{world.stack.url}/api/v1/openapi.json"]
    command += ["--header", f"Authorization: Bearer {token}", "--no-color", "--continue-on-failure"]
    command += [
        "--max-examples",
        EXAMPLES,
        "--seed",
        SEED,
        "--generation-database",
        "none",
        "--warnings",
        "off",
    ]
    command += [word for path in LEFT_OUT for word in ("--exclude-path", path)]
    command += ["--exclude-checks", ",".join(LEFT_OUT_CHECKS)]
    environment = {
        **e2e.environment(world.stack.home),
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(HERE),
        "SCHEMA_KNOWN": json.dumps({**world.known, "public_key": key}),
        "SCHEMA_SECRETS": json.dumps(secrets),
    }
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=MOST_S)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout[-20000:]}\n{done.stderr[-4000:]}"


def test_a_stranger_sees_and_changes_nothing_of_the_owners(
    schemathesis: Path, world: World, tmp_path: Path
) -> None:
    ids = [value for name, value in world.known.items() if name.endswith("_id") or name == "user_group"]
    before = world.seen()
    assert MARKER in json.dumps(before), "or it would not be looked for"
    explore(schemathesis, world, "stranger", [MARKER, *CODED, *ids], tmp_path)
    assert world.seen() == before


# Last: the owner may change all that the other looks for.
def test_answers_to_the_owner_are_as_documented(schemathesis: Path, world: World, tmp_path: Path) -> None:
    explore(schemathesis, world, "owner", [], tmp_path)
    assert world.get("/api/v1/whoami")["name"] == "owner"
