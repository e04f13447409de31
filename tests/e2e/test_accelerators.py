"""Each worker has an accelerator and processors of its own, as its calls see; after one was killed too."""

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
