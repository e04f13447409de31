"""Reads results as the `Executor` does, by pika alone: what is redelivered, shared, and refused."""

import json
import os
import socket
import sys
import time
import urllib.request
import uuid

import pika

endpoint = sys.argv[1]
URL, TOKEN = os.environ["BURSA_URL"], os.environ["BURSA_TOKEN"]
SOURCE = "def f(x):\n    return x\n"


def rest(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers)) as answer:
        return json.load(answer)


def connect():
    told = rest("/v2/get_amqp_result_connection_url")
    return told["queue_prefix"], pika.BlockingConnection(pika.URLParameters(told["connection_url"]))


def submit(count, group=None):
    function = rest("/v3/functions", {"function_name": "f", "function_code": SOURCE, "serialized": False})
    pack = "6\n11\n[1]5\n11\n{}"
    body = {"create_queue": True, "tasks": {function["function_uuid"]: [pack] * count}}
    if group:
        body["task_group_id"] = group
    answer = rest(f"/v3/endpoints/{endpoint}/submit", body)
    return answer["task_group_id"], sorted(answer["tasks"][function["function_uuid"]])


def read(channel, queue, count, ack=True):
    """The ids of so many results."""
    ids, last = [], 0
    for method, properties, body in channel.consume(queue, inactivity_timeout=30):
        assert method is not None, f"{len(ids)} of {count} results came"
        assert body[:1] == b"\x01" and properties.timestamp
        ids.append(json.loads(body[1:])["data"]["task_id"])
        last = method.delivery_tag
        if len(ids) == count:
            break
    if ack:
        channel.basic_ack(last, multiple=True)
    return sorted(ids)


def say(**what):
    print(json.dumps(what))


prefix, first = connect()
group, tasks = submit(20)
queue = prefix + group
channel = first.channel()
say(all=read(channel, queue, 20, ack=False) == tasks)

# It breaks off without a word: what was not acknowledged comes again, and only that.
first._impl._transport._sock.shutdown(socket.SHUT_RDWR) if hasattr(first._impl, "_transport") else os._exit(1)
_, second = connect()
channel = second.channel()
say(again=read(channel, queue, 20) == tasks)
channel.cancel()
second.close()
_, third = connect()
channel = third.channel()
_, more = submit(3, group)
say(only_new=read(channel, queue, 3) == more)

# Two consumers of a group both get everything.
_, fourth = connect()
other = fourth.channel()
other.basic_consume(queue, lambda *_: None, auto_ack=True)
seen = []
other.basic_cancel(other.consumer_tags[0])
other.basic_consume(
    queue, lambda c, m, p, body: seen.append(json.loads(body[1:])["data"]["task_id"]), auto_ack=True
)
_, more = submit(3, group)
mine = read(channel, queue, 3)
end = time.monotonic() + 30
while len(seen) < 3 and time.monotonic() < end:
    fourth.process_data_events(time_limit=0.1)
say(both=sorted(seen) == mine == more)

# What a client refuses does not come again.
_, refused = submit(1, group)
method, _, _ = next(channel.consume(queue, inactivity_timeout=30))
channel.basic_nack(method.delivery_tag, requeue=True)
say(refused_once=next(channel.consume(queue, inactivity_timeout=1))[0] is None)
channel.cancel()

try:
    fourth.channel().basic_consume(prefix + str(uuid.uuid4()), lambda *_: None)
except pika.exceptions.ChannelClosedByBroker as error:
    say(unknown=error.reply_code)
try:
    fourth.channel().queue_declare("mine")
except pika.exceptions.ChannelClosedByBroker as error:
    say(declare=error.reply_code)
try:
    address = pika.URLParameters(rest("/v2/get_amqp_result_connection_url")["connection_url"])
    address.credentials = pika.PlainCredentials("alice", "wrong")
    pika.BlockingConnection(address)
except pika.exceptions.AMQPConnectionError as error:
    say(wrong_password=type(error).__name__)
