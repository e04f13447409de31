"""Workers have accelerators and processors of their own, as their calls see: one, or as many as asked for."""

from __future__ import annotations

import os
from pathlib import Path

import bursa
import pytest
from conftest import running

SETTINGS = {
    "BURSA_WORKERS": "2",
    "BURSA_ENDPOINT_ACCELERATORS": "7,9",
    "BURSA_ENDPOINT_CPU_AFFINITY": "alternating",
}


def sees(seconds):
    import os
    import time

    time.sleep(seconds)
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
    return tuple(os.environ[name] for name in names), sorted(os.sched_getaffinity(0))


def dies():
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_two_calls_at_once_have_different_accelerators_and_processors(tmp_path: Path) -> None:
    ours = sorted(os.sched_getaffinity(0))
    with running(tmp_path / "home", **SETTINGS) as stack:
        client = stack.client()

        def pair() -> None:
            seen = dict(future.result(60) for future in [client.run(sees, 1) for _ in range(2)])
            assert set(seen) == {("7",) * 3, ("9",) * 3}
            if len(ours) > 1:
                assert sorted(seen.values()) == [ours[0::2], ours[1::2]]

        pair()
        with pytest.raises(bursa.TaskFailed):
            client.run(dies).result(60)
        pair()


def test_a_call_has_the_accelerators_that_it_asks_for(tmp_path: Path) -> None:
    four = {"BURSA_ENDPOINT_ACCELERATORS": "a,b,c,d"}
    with running(tmp_path / "home", "--workers", "4", **four) as stack:
        client = stack.client()
        calls = [client.submit(sees, (1,), resources={"gpus": 2}), client.run(sees, 1), client.run(sees, 1)]
        (first, *_), (second, *_), (third, *_) = (call.result(60)[0] for call in calls)
        assert len(first.split(",")) == 2
        assert sorted(",".join((first, second, third)).split(",")) == ["a", "b", "c", "d"]
        with pytest.raises(bursa.TaskFailed, match=r"5 GPUs.*4 GPUs"):
            client.submit(sees, (0,), resources={"gpus": 5}).result(30)
