"""Secrets: calls of granted functions have them, and nothing that is kept or shown does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import bursa
import pytest
from conftest import BINARY, Stack, environment, run_cli, running, wait_for, with_role

VALUE = "correct-horse-battery-staple"


def token(name="TOKEN"):
    import os

    return os.environ.get(name)


def other():
    import os

    return os.environ.get("TOKEN"), os.getpid()


def spill(how):
    import os
    import subprocess
    import sys

    value = os.environ["TOKEN"]
    half = len(value) // 2
    sys.stdout.write(value[:half])
    sys.stdout.write(value[half:] + "\n")
    print("error", value, file=sys.stderr)
    os.write(1, value[:half].encode())
    os.write(1, value[half:].encode() + b"\n")
    subprocess.run("echo child $TOKEN", shell=True, check=True)
    os.environ["TOKEN"] = "changed"
    if how == "raise":
        raise ValueError(f"cannot use {value}")
    if how == "die":
        os.kill(os.getpid(), 11)
    return len(value)


def item(n):
    import os

    if n == 3:
        raise ValueError(os.environ["TOKEN"])
    return n


def wait_and_tell(ready, go):
    import os
    import pathlib
    import time

    with pathlib.Path(ready).open("a") as seen:
        seen.write(os.environ.get("TOKEN", "none")[:2] + "\n")
    while not pathlib.Path(go).exists():
        time.sleep(0.01)
    return os.environ.get("TOKEN")


def kept(home: Path) -> bytes:
    """Everything that service and endpoint keep and log."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files) and any("log" in str(path) for path in files), files
    return b"".join(path.read_bytes() for path in files)


def shell(stack: Stack, *arguments: str, value: str | None = None) -> subprocess.CompletedProcess[str]:
    more = {"BURSA_URL": stack.url, "BURSA_TOKEN": stack.token}
    command = [str(BINARY), *arguments]
    return subprocess.run(
        command, env=environment(stack.home, **more), input=value, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def secret(client: bursa.Client):
    """Set, granted to nothing, and gone afterwards."""
    client.set_secret("TOKEN", VALUE)
    yield "TOKEN"
    client.delete_secret("TOKEN")


def test_a_call_has_it_and_one_of_another_function_has_not(client: bursa.Client, secret: str) -> None:
    assert client.run(token).result(60) is None, "it is granted to nothing yet"
    client.grant_secret(secret, token)
    futures = [(client.run(token), client.run(other)) for _ in range(20)]
    assert {mine.result(60) for mine, _ in futures} == {VALUE}, "a result is not masked"
    assert {theirs.result(60)[0] for _, theirs in futures} == {None}
    client.set_secret(secret, "another-value")
    assert client.run(token).result(60) == "another-value"
    client.revoke_secret(secret, token)
    assert client.run(token).result(60) is None
    client.grant_secret(secret, token)
    client.delete_secret(secret)
    assert client.run(token).result(60) is None
    client.set_secret(secret, VALUE)


def test_what_is_written_and_raised_shows_none_of_it(client: bursa.Client, secret: str) -> None:
    client.grant_secret(secret, spill)
    done = client.run(spill, "return")
    assert done.result(60) == len(VALUE)
    assert client.task(done)["output"] == b"***\nerror ***\n***\nchild ***\n"
    raised = client.run(spill, "raise")
    with pytest.raises(bursa.TaskFailed, match=r"cannot use \*\*\*") as caught:
        raised.result(60)
    assert VALUE not in repr(caught.value) + str(client.task(raised))
    assert "spill" in client.task(raised)["failure"]["traceback"]
    client.grant_secret(secret, item)
    with pytest.raises(bursa.BursaError) as caught:
        list(client.map(item, range(6), chunk=6))
    assert VALUE not in repr(caught.value) + str(caught.value.__cause__)


def test_nothing_that_is_kept_has_it(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack, stack.client() as client:
        client.set_secret("TOKEN", VALUE, functions=[spill])
        assert client.run(spill, "return").result(60) == len(VALUE)
        for how in ("raise", "die"):
            failed = client.submit(spill, (how,), retries=0)
            with pytest.raises(bursa.TaskFailed):
                failed.result(60)
            # Here, since a worker that had a sealed call tells no last words.
            told = client.task(failed)
            assert told["output"].startswith(b"***\nerror ***\n***\nchild ***\n") and VALUE not in str(told)
        assert VALUE.encode() not in kept(stack.home)
        assert (stack.home / "service/secrets.key").stat().st_mode & 0o777 == 0o600
        # The search would find it: what a function returns is kept.
        client.grant_secret("TOKEN", token)
        assert client.run(token).result(60) == VALUE
        assert VALUE.encode() in kept(stack.home)
        audit = json.loads(run_cli(stack.home, "--json", "audit", "search", "--action", "secrets").stdout)
        assert "/api/v1/secrets/{name}" in str(audit) and VALUE not in str(audit)


def test_it_is_given_again_after_everything_was_killed(tmp_path: Path) -> None:
    ready, go = tmp_path / "ready", tmp_path / "go"
    with running(tmp_path / "home", "--write", str(tmp_path)) as stack, stack.client() as client:
        client.set_secret("TOKEN", VALUE, functions=[wait_and_tell])
        future = client.submit(wait_and_tell, (str(ready), str(go)), retries=5)

        def starts() -> list[str]:
            return ready.read_text().split() if ready.exists() else []

        wait_for(starts, 60, "the call")
        # All found first: an executor whose manager is killed is nobody's child here.
        pids = [pid for role in ("service", "manager", "executor") for pid in with_role(stack.pid, role)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(starts()) > 1, 120, "the call, again")
        assert set(starts()) == {VALUE[:2]}
        go.touch()
        assert future.result(120) == VALUE
        assert client.run(token).result(60) is None


def test_others_do_not_get_it(client: bursa.Client, stack: Stack, secret: str) -> None:
    client.grant_secret(secret, token)
    function = client.register(token)
    added = json.loads(shell(stack, "--json", "user", "add", "bea").stdout)
    endpoint = stack.endpoint_id
    for thing in (function, endpoint):
        client.share(thing, users=["bea"])
    with bursa.Client(stack.url, added["token"]) as bea:
        # A shared function carries nobody's secret along.
        assert bea.submit(function, endpoint_id=endpoint).result(60) is None
        # And whose endpoint it is could read hers.
        bea.set_secret("TOKEN", "of bea")
        bea.grant_secret("TOKEN", function)
        assert bea.secrets()[0]["functions"] == [{"function_id": function}]
        with pytest.raises(bursa.BursaError, match="somebody else's, who could read it"):
            bea.submit(function, endpoint_id=endpoint).result(60)
        bea.grant_secret("TOKEN", function, endpoints=[endpoint])
        assert bea.submit(function, endpoint_id=endpoint).result(60) == "of bea"
        with pytest.raises(bursa.NotFound):
            bea.delete_secret("OTHER")
    assert client.submit(function).result(60) == VALUE
    assert [one["name"] for one in client.secrets()] == ["TOKEN"]
    client.unshare(endpoint, users=["bea"])


def test_sealed_calls_have_it_too(stack: Stack, client: bursa.Client, secret: str) -> None:
    with bursa.Client(stack.url, stack.token, home=stack.home, sealed=True) as sealed:
        future = sealed.run(spill, "return")
        with pytest.raises(KeyError, match="TOKEN"):
            future.result(60)
        client.grant_secret(secret, client.task(future)["function_id"])
        again = sealed.run(spill, "return")
        assert again.result(60) == len(VALUE)


def test_the_command(stack: Stack, client: bursa.Client) -> None:
    function = client.register(token)
    made = shell(stack, "secret", "set", "TOKEN", "--function", function, value=VALUE + "\n")
    assert (made.returncode, made.stdout) == (0, "secret TOKEN is set\n"), made.stderr
    assert client.submit(function).result(60) == VALUE, "without the end of its line"
    listed = shell(stack, "secret", "list")
    assert "TOKEN" in listed.stdout and function in listed.stdout and VALUE not in listed.stdout
    (one,) = json.loads(shell(stack, "--json", "secret", "list").stdout)["secrets"]
    assert (one["name"], one["functions"]) == ("TOKEN", [{"function_id": function}])
    assert shell(stack, "secret", "revoke", "TOKEN", "--function", function).returncode == 0
    assert client.submit(function).result(60) is None
    granted = ("secret", "grant", "TOKEN", "--function", function, "--endpoint", stack.endpoint_id)
    assert shell(stack, *granted).returncode == 0
    assert client.submit(function).result(60) == VALUE
    for name in ("PATH", "LD_PRELOAD", "1X"):
        refused = shell(stack, "secret", "set", name, value=VALUE)
        assert refused.returncode != 0 and "name" in refused.stderr and VALUE not in refused.stderr
    assert "TOKEN is deleted" in shell(stack, "secret", "delete", "TOKEN").stdout
    assert "there is no secret" in shell(stack, "secret", "delete", "TOKEN").stderr
