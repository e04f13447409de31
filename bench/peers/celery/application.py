"""The Celery application: results in Redis, pickle, nothing beside them."""

import os

import work
from celery import Celery

SOCKET = os.environ["BENCH_REDIS"]
app = Celery("bench", broker=f"redis+socket://{SOCKET}", backend=f"redis+socket://{SOCKET}")
app.conf.update(
    task_serializer="pickle",
    result_serializer="pickle",
    accept_content=["pickle"],
    task_acks_late=False,
    worker_prefetch_multiplier=128,
    worker_send_task_events=False,
    task_send_sent_event=False,
    worker_disable_rate_limits=True,
    broker_pool_limit=1,
    result_expires=None,
)
same = app.task(work.same, name="same")
sleep = app.task(work.sleep, name="sleep")
