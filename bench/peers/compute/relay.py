"""In the place of the hosted service, between Globus Compute's `Executor` and a RabbitMQ.

relay.py ADDRESS ENDPOINT

It does less than any service must, in favour of what is measured: it keeps nothing, knows no users, waits for
no confirmation, and results go from the endpoint to the client by the broker alone.
"""

import json
import socket
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pika

ADDRESS, ENDPOINT = sys.argv[1:]
TASKS = f"{ENDPOINT}.tasks"
AUTH = "auth.globus.org"


class Broker:
    def __init__(self):
        url = pika.URLParameters(ADDRESS)
        url.heartbeat = 0  # nobody looks at the connection between two submits
        self.channel = pika.BlockingConnection(url).channel()
        for name in ("tasks", "results", "heartbeats"):
            self.channel.exchange_declare(name, "topic", durable=True)
        for name in ("results", "heartbeats"):
            self.channel.queue_declare(name, durable=True)
        self.channel.queue_bind("heartbeats", "heartbeats", "#")
        self.channel.queue_declare(TASKS, durable=True)
        self.lock = threading.Lock()
        self.groups = set()

    def submit(self, group, tasks):
        """`tasks`: (id, function, buffer) of each."""
        with self.lock:
            if group not in self.groups:
                self.groups.add(group)
                self.channel.queue_declare(f"results.{group}", durable=True)
                self.channel.queue_bind(f"results.{group}", "results", "#")
            for task, function, buffer in tasks:
                data = {"task_id": task, "container_id": None, "container": None, "task_buffer": buffer}
                body = b"\1" + json.dumps({"message_type": "task", "data": data}).encode()
                headers = {"task_uuid": task, "function_uuid": function}
                properties = pika.BasicProperties(delivery_mode=2, headers=headers)
                self.channel.basic_publish("", TASKS, body, properties)


BROKER = Broker()
CODE = {}


def version(_):
    return {"api": "1.40.0", "min_sdk_version": "0.0.2", "min_ep_version": "0.0.2"}


def token(body):
    asked = parse_qs(body.decode())["scope"][0].split()
    parts = {"funcx_service": [s for s in asked if "openid" not in s and AUTH + "/scopes/facd" in s]}
    parts[AUTH] = [scope for scope in asked if scope not in parts["funcx_service"]]
    first, *others = [
        {
            "access_token": "token",
            "scope": " ".join(scopes),
            "expires_in": 172_800,
            "token_type": "Bearer",
            "resource_server": server,
        }
        for server, scopes in parts.items()
        if scopes
    ]
    return {**first, "other_tokens": others}


def register(body):
    function = str(uuid.uuid4())
    CODE[function] = json.loads(body)["function_code"]
    return {"function_uuid": function}


def submit(body):
    asked = json.loads(body)
    group = asked.get("task_group_id") or str(uuid.uuid4())
    made = {name: [str(uuid.uuid4()) for _ in payloads] for name, payloads in asked["tasks"].items()}
    BROKER.submit(
        group,
        [
            (task, name, CODE[name] + payload)
            for name, payloads in asked["tasks"].items()
            for task, payload in zip(made[name], payloads)
        ],
    )
    return {
        "request_id": str(uuid.uuid4()),
        "task_group_id": group,
        "endpoint_id": ENDPOINT,
        "tasks": made,
    }


def results(_):
    return {"queue_prefix": "results.", "connection_url": ADDRESS}


ROUTES = {
    "/v2/version": version,
    "/v2/oauth2/token": token,
    "/v3/functions": register,
    "/v2/functions": register,
    f"/v3/endpoints/{ENDPOINT}/submit": submit,
    "/v2/get_amqp_result_connection_url": results,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def parse_request(self):
        # The body is held back until the head is acknowledged, as to any proxy.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().parse_request()

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = json.dumps(ROUTES[urlsplit(self.path).path](body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
