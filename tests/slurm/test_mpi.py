"""MPI calls on a block that one executor commands: whole nodes, each call's own, beside ordinary calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bursa
import pytest
from conftest import Cluster, e2e

MPI = {"launcher": "single", "nodes_per_block": 4, "idle_ms": 600_000}
# Each rank says where it is, and stays until the test lets all go.
HOLD = (
    "sh -c 'touch {dir}/$SLURMD_NODENAME.$SLURM_PROCID; while [ ! -e {go} ]; do sleep 0.05; done; hostname'"
)


def where(directory: Path) -> set[str]:
    """The nodes on which a call's ranks said that they are."""
    return {path.name.split(".")[0] for path in directory.iterdir()}


def ranks(directory: Path) -> int:
    return len(list(directory.iterdir()))


class Call:
    """A call that holds its nodes until it is let go."""

    def __init__(self, client: bursa.Client, tmp_path: Path, name: str, **asks: int) -> None:
        self.dir, self.go = tmp_path / name, tmp_path / f"{name}.go"
        self.dir.mkdir()
        hold = bursa.MPIFunction(HOLD, resource_specification=asks)
        self.ranks = asks.get("num_ranks", asks["num_nodes"] * asks.get("ranks_per_node", 1))
        self.future = client.run(hold, dir=str(self.dir), go=str(self.go))

    def holds(self) -> set[str]:
        """Its nodes, once all its ranks run."""

        def all_run() -> bool:
            assert not self.future.done(), self.future.result()
            return ranks(self.dir) == self.ranks

        e2e.wait_for(all_run, 60, f"{self.ranks} ranks")
        return where(self.dir)

    def ends(self) -> None:
        self.go.touch()
        result = self.future.result(60)
        assert result.returncode == 0, result
        assert len(result.stdout.splitlines()) == self.ranks


@pytest.fixture
def client(cluster: Cluster, start: Callable[..., Any]) -> bursa.Client:
    # As root: Slurm knows nobody by the number that root has in the sandbox.
    return start({"BURSA_SANDBOX_RUNTIME": "none"}, **MPI).client()


def test_calls_of_several_sizes_have_nodes_of_their_own(client: bursa.Client, tmp_path: Path) -> None:
    two = Call(client, tmp_path, "two", num_nodes=2, ranks_per_node=2)
    one = Call(client, tmp_path, "one", num_nodes=1)
    first, second = two.holds(), one.holds()
    assert (len(first), len(second)) == (2, 1) and not first & second
    assert client.run(abs, -1).result(60) == 1, "beside calls that ask for nothing"
    four = Call(client, tmp_path, "four", num_nodes=4)
    said = e2e.wait_for(lambda: waits(client, four.future), 60, "that it waits")
    assert "4 nodes" in said, said
    assert ranks(four.dir) == 0
    two.ends()
    one.ends()
    assert four.holds() == {"n1", "n2", "n3", "n4"}
    four.ends()


def waits(client: bursa.Client, future: bursa.TaskFuture) -> str | None:
    said = client.explain(future)
    return said["message"] if said["reason"] == "no-worker" else None


def test_two_at_once_see_disjoint_nodes(client: bursa.Client, tmp_path: Path) -> None:
    calls = [Call(client, tmp_path, f"call{n}", num_nodes=2) for n in range(2)]
    nodes = [call.holds() for call in calls]
    assert sorted(nodes[0] | nodes[1]) == ["n1", "n2", "n3", "n4"]
    for call in calls:
        call.ends()


def test_one_larger_than_any_block_is_refused_before_there_is_one(
    client: bursa.Client, cluster: Cluster
) -> None:
    future = client.run(bursa.MPIFunction("true", resource_specification={"num_nodes": 5}))
    with pytest.raises(bursa.TaskFailed, match=r"5 nodes.*at most 4 nodes"):
        future.result(60)
    assert cluster.jobs() == {}, "no block was asked for"


def test_a_walltime_ends_the_ranks_on_every_node(
    client: bursa.Client, cluster: Cluster, tmp_path: Path
) -> None:
    command = "sh -c 'touch {dir}/$SLURM_PROCID; exec sleep 600'"
    program = bursa.MPIFunction(command, resource_specification={"num_nodes": 3}, walltime=5)
    result = client.run(program, dir=str(tmp_path)).result(90)
    assert result.returncode == 124, result
    e2e.wait_for(lambda: steps(cluster) == [], 30, "the end of its ranks")
    again = client.run(bursa.MPIFunction("hostname", resource_specification={"num_nodes": 4}))
    assert len(again.result(60).stdout.splitlines()) == 4


def test_a_cancelled_call_ends_its_ranks(client: bursa.Client, cluster: Cluster, tmp_path: Path) -> None:
    call = Call(client, tmp_path, "call", num_nodes=4)
    call.holds()
    assert len(steps(cluster)) == 1
    assert call.future.cancel()
    with pytest.raises(bursa.TaskCancelled):
        call.future.result(60)
    e2e.wait_for(lambda: steps(cluster) == [], 30, "the end of its ranks")


def steps(cluster: Cluster) -> list[str]:
    """Steps of jobs that run, but for the scripts."""
    lines = cluster.run("squeue", "-h", "-s", "-o", "%i").split()
    return [line for line in lines if not line.endswith((".batch", ".extern"))]


def test_a_function_starts_programs_on_its_nodes_itself(client: bursa.Client) -> None:
    def work() -> tuple[str, str]:
        import os
        import subprocess

        shown = subprocess.run(f"{os.environ['BURSA_MPI_PREFIX']} hostname", shell=True, capture_output=True)
        return os.environ["BURSA_NODES"], shown.stdout.decode() + shown.stderr.decode()

    nodes, shown = client.submit(work, resources={"nodes": 2, "ranks_per_node": 2}).result(90)
    assert len(nodes.split(",")) == 2
    assert len(shown.splitlines()) == 4, shown
