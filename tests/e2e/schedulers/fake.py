#!/usr/bin/env python3
"""A batch scheduler of one host: the commands of PBS and LSF, by the name this file is called by.

Jobs are JSON files below $FAKE_SCHEDULER. While a file `hold` is there jobs wait, and its text is the
reason; a file `refuse` makes submitting fail with its text; a file `slow` has the seconds that ending a job
takes; a file `fatal` is removed by the submit that kills the manager which asked for it, after the job is
there and before its number is told. Every command is a line in `calls`.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_SCHEDULER"])
KIND = {"q": "pbs", "b": "lsf"}[Path(sys.argv[0]).name[0]]


def jobs() -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(STATE.glob("*.json"))}


def save(job: str, facts: dict) -> None:
    # By rename: the tests look at jobs without the lock.
    fresh = STATE / f"{job}.new"
    fresh.write_text(json.dumps(facts))
    fresh.replace(STATE / f"{job}.json")


def submit(name_option: str) -> str:
    script = sys.stdin.read()
    if (STATE / "refuse").exists():
        sys.exit((STATE / "refuse").read_text())
    job = str(len(jobs()) + 1)
    name = re.search(rf"^#\w+ {name_option} (\S+)$", script, re.M)[1]
    (STATE / f"{job}.sh").write_text(script)
    save(job, {"name": name, "pid": None, "code": None})
    if (STATE / "fatal").exists():
        (STATE / "fatal").unlink()
        os.kill(os.getppid(), signal.SIGKILL)
    return job


def advance() -> None:
    """Starts what may run and notices what ended, as a scheduler's daemon does."""
    for job, facts in jobs().items():
        if facts["code"] is None and facts["pid"] is not None:
            status = STATE / f"{job}.status"
            if status.exists() and status.read_text():
                save(job, {**facts, "code": int(status.read_text())})
        elif facts["code"] is None and not (STATE / "hold").exists():
            run = 'setsid sh "$1"; echo $? >"$2"'
            child = subprocess.Popen(
                ["setsid", "sh", "-c", run, "sh", str(STATE / f"{job}.sh"), str(STATE / f"{job}.status")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
            )
            save(job, {**facts, "pid": child.pid})


def delete(job: str) -> None:
    if (STATE / "slow").exists():
        time.sleep(float((STATE / "slow").read_text()))
    facts = jobs()[job]
    if facts["code"] is not None:
        sys.exit(f"{sys.argv[0]}: job {job} has finished")
    if facts["pid"] is not None:
        for child in Path(f"/proc/{facts['pid']}/task/{facts['pid']}/children").read_text().split():
            os.killpg(int(child), signal.SIGTERM)
    save(job, {**facts, "code": 271})


def reason() -> str:
    hold = STATE / "hold"
    return hold.read_text() if hold.exists() else ""


def pbs(command: str, arguments: list[str]) -> None:
    alive = {job: facts for job, facts in jobs().items() if facts["code"] is None}
    if command == "qsub":
        print(submit("-N") + ".fake")
    elif command == "qselect":
        by_name = arguments[1] if arguments[0] == "-N" else None
        print(
            "".join(f"{job}.fake\n" for job, facts in alive.items() if by_name in (None, facts["name"])),
            end="",
        )
    elif command == "qdel":
        for job in arguments:
            delete(job.removesuffix(".fake"))
    elif command == "qstat" and arguments[0] == "-Q":
        print("Queue  Max  Tot\nworkq  0  0")
    elif command == "qstat":
        for job in (job.removesuffix(".fake") for job in arguments[1:]):
            if job not in alive:
                sys.exit(153)
            name, running = alive[job]["name"], alive[job]["pid"] is not None
            print(f"Job Id: {job}.fake\n    Job_Name = {name}\n    job_state = {'R' if running else 'Q'}")
            print("    Resource_List.walltime = 01:00:00")
            print("" if running else f"    comment = Not Running: {reason()}\n")


def lsf(command: str, arguments: list[str]) -> None:
    if command == "bsub":
        print(f"Job <{submit('-J')}> is submitted to default queue <normal>.")
    elif command == "bqueues":
        print("QUEUE_NAME PRIO STATUS\nnormal 30 Open:Active")
    elif command == "bkill":
        named = [job for job, facts in jobs().items() if facts["name"] == arguments[-1]]
        for job in named or arguments:
            delete(job)
    elif not jobs():
        print("No job found", file=sys.stderr)
        sys.exit(255)
    else:
        for job, facts in jobs().items():
            if facts["code"] is not None:
                print(f"{job}|{facts['name']}|EXIT|-|{facts['code']}|-")
            elif facts["pid"] is not None:
                print(f"{job}|{facts['name']}|RUN|0:59 L|-|-")
            else:
                print(f"{job}|{facts['name']}|PEND|-|-|{reason()}")


if __name__ == "__main__":
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), False)
        name = Path(sys.argv[0]).name
        with (STATE / "calls").open("a") as calls:
            calls.write(" ".join([name, *sys.argv[1:]]).replace("\n", " ") + "\n")
        advance()
        {"pbs": pbs, "lsf": lsf}[KIND](name, sys.argv[1:])
        advance()
