"""What tests share: a small service and its client, a real zygote and a worker of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import zygote as harness
from fake_service import TOKEN, FakeService, fake_service
from zygote import Worker, Zygote

import bursa


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


@pytest.fixture
def client(service: FakeService) -> Iterator[bursa.Client]:
    with bursa.Client(service.url, TOKEN) as made:
        yield made


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with harness.zygote() as running:
        yield running


@pytest.fixture
def worker(zygote: Zygote) -> Iterator[Worker]:
    spawned = zygote.spawn()
    assert spawned.wire.frame() == ("ready", (spawned.pid, *sys.version_info[:2]))
    yield spawned
    spawned.wire.sock.close()
    os.close(spawned.pipe)
    os.close(spawned.memfd)
