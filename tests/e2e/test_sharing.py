"""Several users of one service: what they share, and what stays with each."""

from __future__ import annotations

import json
from pathlib import Path

import bursa
import pytest
from conftest import Stack, run_cli, running


def cli(stack: Stack, *arguments: str, ok: bool = True, **more: str) -> str:
    done = run_cli(stack.home, *arguments, **more)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout.strip() if ok else done.stderr


def remember(value: str) -> list[str]:
    """Leaves something in this worker; what others have left there."""
    import builtins

    left = [getattr(builtins, "left_here", None), getattr(json, "left_here", None)]
    builtins.left_here = json.left_here = value
    Path("left").write_text(value)
    return [one for one in left if one]


def test_a_user_is_added_and_shared_with(stack: Stack) -> None:
    owner = stack.client()
    ann_token = cli(stack, "user", "add", "ann")
    cli(stack, "group", "new", "lab")
    cli(stack, "group", "add", "lab", "ann")
    with bursa.Client(stack.url, ann_token) as ann:
        function = owner.register(abs)
        with pytest.raises(bursa.NotFound):
            ann.run(function, -1, endpoint_id=stack.endpoint_id).result(60)
        owner.share(function, groups=["lab"])
        with pytest.raises(bursa.NotFound):
            ann.run(function, -1, endpoint_id=stack.endpoint_id).result(60)
        cli(stack, "endpoint", "share", "local", "--user", "ann", "--function", function, "--core-hours", "1")
        assert ann.run(function, -7, endpoint_id=stack.endpoint_id).result(60) == 7
        assert [one["endpoint_id"] for one in ann.endpoints(shared=True)] == [stack.endpoint_id]
        assert [one["function_id"] for one in ann.functions(shared=True)] == [function]
        # Her own function is none of those that the share names.
        with pytest.raises(bursa.Forbidden, match="shared with you for 1 functions only"):
            ann.run(len, "x", endpoint_id=stack.endpoint_id).result(60)
        shown = json.loads(cli(stack, "endpoint", "shares", "local", "--json"))["shares"]
        assert [(one["user"], one["core_hours"], one["per"]) for one in shown] == [("ann", 1.0, "week")]
        owner.unshare(stack.endpoint_id, users=["ann"])
        with pytest.raises(bursa.NotFound):
            ann.run(function, -1, endpoint_id=stack.endpoint_id).result(60)
        assert owner.shares(function)[0]["group"] == "lab"
        cli(stack, "user", "disable", "ann")
        with pytest.raises(bursa.Unauthorized):
            ann.functions()


def test_workers_and_what_is_left_in_them_stay_with_one_user(stack: Stack) -> None:
    owner, endpoint = stack.client(), stack.endpoint_id
    mallory_token = cli(stack, "user", "add", "mallory")
    owner.share(endpoint, public=True)
    with bursa.Client(stack.url, mallory_token) as mallory:
        for _ in range(3):
            mallory.run(remember, "mallory's", endpoint_id=endpoint).result(60)
            owner.run(remember, "owner's", endpoint_id=endpoint).result(60)
        left = mallory.run(remember, "mallory's", endpoint_id=endpoint).result(60)
        assert set(left) <= {"mallory's"}, "never the owner's"
        left = owner.run(remember, "owner's", endpoint_id=endpoint).result(60)
        assert set(left) <= {"owner's"}, "never a guest's"


def test_a_token_does_what_its_scopes_say(stack: Stack) -> None:
    made = json.loads(
        cli(stack, "token", "new", "watcher", "--scope", "tasks:read", "--expires", "30d", "--json")
    )
    assert sorted(made) == ["id", "token"]
    refused = cli(stack, "function", "list", ok=False, BURSA_TOKEN=made["token"], BURSA_URL=stack.url)
    assert "functions:read" in refused and "--scope" in refused
    assert json.loads(cli(stack, "task", "list", "--json", BURSA_TOKEN=made["token"], BURSA_URL=stack.url))
    listed = json.loads(cli(stack, "token", "list", "--json"))["tokens"]
    token = next(one for one in listed if one["id"] == made["id"])
    assert token["scopes"] == ["tasks:read"] and token["expires_at"] and token["used_at"]
    cli(stack, "token", "revoke", made["id"])
    refused = cli(stack, "task", "list", ok=False, BURSA_TOKEN=made["token"], BURSA_URL=stack.url)
    assert "revoked" in refused


def test_the_endpoint_itself_runs_only_what_its_configuration_allows(tmp_path: Path) -> None:
    # Whatever the service sends: here its own list says nothing.
    with running(tmp_path / "home", BURSA_ENDPOINT_ALLOWED_FUNCTIONS="0" * 64) as stack:
        with pytest.raises(bursa.TaskFailed, match=r"endpoint\.allowed_functions") as caught:
            stack.client().run(abs, -1).result(60)
        assert caught.value.code == "not-allowed"


def test_without_a_sandbox_an_endpoint_serves_its_owner_only(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--sandbox", "none") as stack:
        token = cli(stack, "user", "add", "ann")
        owner = stack.client()
        owner.share(stack.endpoint_id, public=True)
        assert owner.run(abs, -1).result(60) == 1
        with bursa.Client(stack.url, token) as ann, pytest.raises(bursa.Forbidden, match="its owner only"):
            ann.run(abs, -1, endpoint_id=stack.endpoint_id).result(60)
