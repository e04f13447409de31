#!/usr/bin/env python3
"""A Kubernetes of one host, as far as `kubectl` shows it: pods are processes that run what a container would.

Of a pod they have its environment and its volumes, and nothing else of the manager: mounts are directories
that take the place of their paths in the command. `hold`, `refuse`, `slow` and `fatal` below $FAKE_SCHEDULER
are as in `fake.py`; what is refused is the first pod, when its secret is there already.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

STATE = Path(os.environ["FAKE_SCHEDULER"])


def pods() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(STATE.glob("*.json"))}


def save(name: str, facts: dict[str, Any]) -> None:
    # By rename: the tests look at pods without the lock.
    fresh = STATE / f"{name}.new"
    fresh.write_text(json.dumps(facts))
    fresh.replace(STATE / f"{name}.json")


def secret(name: str) -> Path:
    return STATE / "secrets" / name


def create() -> None:
    for thing in json.load(sys.stdin)["items"]:
        name = thing["metadata"]["name"]
        if thing["kind"] == "Secret":
            secret(name).mkdir(parents=True)
            for key, text in thing["stringData"].items():
                (secret(name) / key).write_text(text)
        elif (STATE / "refuse").exists():
            sys.exit((STATE / "refuse").read_text())
        else:
            assert f"{name}.json" not in os.listdir(STATE), f"{name} exists already"
            save(name, {"pod": thing, "pid": None, "code": None})
        print(f"{thing['kind'].lower()}/{name}")
    if (STATE / "fatal").exists():
        (STATE / "fatal").unlink()
        os.kill(os.getppid(), signal.SIGKILL)


def mounted(name: str, spec: dict[str, Any]) -> dict[str, str]:
    """The directory that stands for each mount."""
    places = {}
    for volume in spec["volumes"]:
        place = STATE / "pods" / name / volume["name"]
        place.mkdir(parents=True)
        for item in volume.get("secret", {}).get("items", ()):
            shutil.copy(secret(volume["secret"]["secretName"]) / item["key"], place / item["path"])
        places[volume["name"]] = str(place)
    return {mount["mountPath"]: places[mount["name"]] for mount in spec["containers"][0]["volumeMounts"]}


def start(name: str, facts: dict[str, Any]) -> None:
    spec = facts["pod"]["spec"]
    container, mounts = spec["containers"][0], mounted(name, spec)
    path = re.compile("|".join(map(re.escape, mounts)))
    command = [path.sub(lambda found: mounts[found[0]], word) for word in container["command"]]
    environment = {one["name"]: one["value"] for one in container["env"]} | {"PATH": os.environ["POD_PATH"]}
    run = 'setsid "$@"; echo $? >"$0"'
    with (STATE / "pods" / name / "log").open("w") as log:
        child = subprocess.Popen(
            ["setsid", "sh", "-c", run, str(STATE / f"{name}.status"), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
        )
    began = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    save(name, {**facts, "pid": child.pid, "began": began})


def advance() -> None:
    """Starts what may run and notices what ended, as a cluster does."""
    for name, facts in pods().items():
        status = STATE / f"{name}.status"
        if facts["code"] is None and facts["pid"] is not None:
            if status.exists() and status.read_text():
                save(name, {**facts, "code": int(status.read_text())})
        elif facts["code"] is None and not (STATE / "hold").exists():
            start(name, facts)


def status(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    if facts["pid"] is None:
        why = {"reason": "Unschedulable", "message": (STATE / "hold").read_text()}
        return {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **why}]}
    if facts["code"] is None:
        return {"phase": "Running", "startTime": facts["began"]}
    ended: dict[str, Any] = {"exitCode": facts["code"], "reason": "Error" if facts["code"] else "Completed"}
    if facts["code"]:
        ended["message"] = (STATE / "pods" / name / "log").read_text()[-2048:]
    phase = "Failed" if facts["code"] else "Succeeded"
    return {
        "phase": phase,
        "startTime": facts["began"],
        "containerStatuses": [{"state": {"terminated": ended}}],
    }


def get(selector: str) -> None:
    label, value = selector.removeprefix("--selector=").split("=")
    ours = {
        name: facts for name, facts in pods().items() if facts["pod"]["metadata"]["labels"][label] == value
    }
    items = [{**facts["pod"], "status": status(name, facts)} for name, facts in ours.items()]
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def delete_pods(selector: str) -> None:
    if (STATE / "slow").exists():
        time.sleep(float((STATE / "slow").read_text()))
    label, values = re.fullmatch(r"--selector=(\S+) in \((.*)\)", selector).groups()
    for name, facts in pods().items():
        if facts["pod"]["metadata"]["labels"][label] not in values.split(","):
            continue
        (STATE / f"{name}.json").unlink()
        if facts["pid"] is not None and facts["code"] is None:
            children = Path(f"/proc/{facts['pid']}/task/{facts['pid']}/children")
            for child in children.read_text().split() if children.exists() else ():
                os.killpg(int(child), signal.SIGTERM)


def main() -> None:
    words = sys.argv[1:]
    if words[0] == "create":
        assert words[1:] == ["--filename=-", "--output=name"]
        create()
    elif words[:2] == ["get", "pods"]:
        get(words[2])
    elif words[:2] == ["delete", "pods"]:
        delete_pods(words[2])
    elif words[:2] == ["delete", "secrets"]:
        for name in words[2:-2]:
            shutil.rmtree(secret(name), ignore_errors=True)
    elif words[:2] == ["config", "get-contexts"]:
        print("CURRENT  NAME  CLUSTER\n*        lab   lab")
    else:
        sys.exit(f"there is no {words}")


if __name__ == "__main__":
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), False)
        with (STATE / "calls").open("a") as calls:
            calls.write(" ".join(["kubectl", *sys.argv[1:]]) + "\n")
        advance()
        main()
        advance()
