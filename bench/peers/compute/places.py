"""Where calls of Globus Compute's `Executor` can run: each yields (endpoint's id, environment)."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

BINARY = os.environ["BURSA_BIN"]
PROGRAM = str(Path(sys.executable).with_name("globus-compute-endpoint"))
ENGINES = {
    "default": """
engine:
  type: GlobusComputeEngine
  address: 127.0.0.1
  max_workers_per_node: 2
  provider:
    type: LocalProvider
    init_blocks: 1
    min_blocks: 1
    max_blocks: 1
""",
    "processpool": """
engine:
  type: ProcessPoolEngine
  max_workers: 2
""",
}
# Root's endpoints map users to accounts: this one is to be somebody else's.
UNPRIVILEGED = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []


@contextmanager
def program(command, **options):
    """A process that is ended; its standard output is kept to be read."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def read_on(process):
    """What it says from now on is of no interest, and must not fill its pipe."""
    threading.Thread(target=process.stdout.read, daemon=True).start()


@contextmanager
def bursa(*arguments):
    """`bursa` with these arguments on a new home: what it said, and what clients set."""
    home = os.path.join(os.getcwd(), "home")
    zero = "127.0.0.1:0"
    command = [BINARY, *arguments, "--json", "--home", home, "--http", zero, "--zmq", zero]
    with program(command, env={**os.environ, "BURSA_AMQP": zero}) as process:
        ready = json.loads(process.stdout.readline())
        printed = subprocess.run(
            [BINARY, "env", "globus-compute", "--json", "--home", home], check=True, stdout=subprocess.PIPE
        )
        yield ready, json.loads(printed.stdout)


@contextmanager
def ours(_engine):
    """An endpoint of Bursa's: `bursa up` with its defaults, 2 workers."""
    with bursa("up", "--workers", "2", "--python", sys.executable) as (ready, environment):
        yield ready["endpoint_id"], environment


@contextmanager
def gateway(engine):
    """The official endpoint, through Bursa's own AMQP."""
    with bursa("serve") as (_, environment):
        environment = {**os.environ, **environment, "PATH": f"{Path(PROGRAM).parent}:/usr/bin:/bin"}
        command = [*UNPRIVILEGED, PROGRAM]
        quiet = {"env": environment, "stdout": subprocess.DEVNULL}
        subprocess.run([*command, "configure", "site"], check=True, **quiet)
        folder = Path(os.environ["HOME"]) / ".globus_compute/site"
        (folder / "config.yaml").write_text("display_name: site\n")
        (folder / "user_config_template.yaml.j2").write_text(ENGINES[engine])
        (folder / "user_config_schema.json").unlink()
        with program([*command, "start", "site"], env=environment) as process:
            read_on(process)
            while not (folder / "endpoint.json").exists():
                time.sleep(0.05)  # it is still registering
            yield json.loads((folder / "endpoint.json").read_text())["endpoint_id"], environment


@contextmanager
def rabbitmq(engine):
    """The official endpoint on a RabbitMQ, and a relay in the place of the hosted service."""
    endpoint = str(uuid.uuid4())
    with broker() as address:
        relay = [sys.executable, str(Path(__file__).with_name("relay.py")), address, endpoint]
        with program(relay) as process:
            port = process.stdout.readline().strip()
            folder = Path(os.environ["HOME"]) / ".globus_compute/site"
            folder.mkdir(parents=True)
            told = {"amqp_creds": queues(address, endpoint), "config": ENGINES[engine], "ep_info": {}}
            with program([PROGRAM, "_start-user-endpoint", "site"], stdin=subprocess.PIPE) as site:
                site.stdin.write(json.dumps(told))
                site.stdin.close()
                read_on(site)
                yield endpoint, {"http_proxy": f"http://127.0.0.1:{port}", **CREDENTIALS}


CREDENTIALS = {
    "GLOBUS_SDK_ENVIRONMENT": "local",
    "GLOBUS_SDK_SERVICE_URL_AUTH": "http://localhost:5000/",
    "GLOBUS_COMPUTE_CLIENT_ID": str(uuid.UUID(int=1)),
    "GLOBUS_COMPUTE_CLIENT_SECRET": "secret",
}


@contextmanager
def broker():
    """A RabbitMQ with its defaults, on ports and in a folder of its own; its address."""
    folder = Path(os.getcwd()) / "rabbit"
    folder.mkdir()
    port, distribution, names = free_ports(3)
    environment = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
    }
    with program(["/usr/lib/rabbitmq/bin/rabbitmq-server"], env=environment) as process:
        for line in process.stdout:
            if "completed with" in line:
                break
        else:
            raise SystemExit("RabbitMQ did not start; the package rabbitmq-server has it")
        read_on(process)
        yield f"amqp://guest:guest@127.0.0.1:{port}/%2F"


def free_ports(count):
    import socket

    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def queues(address, endpoint):
    """What a user endpoint is told."""

    def publish(name):
        return {
            "connection_url": address,
            "exchange": name,
            "queue": name,
            "queue_publish_kwargs": {
                "exchange": name,
                "routing_key": f"{endpoint}.{name}",
                "mandatory": True,
                "properties": {"delivery_mode": 2},
            },
        }

    return {
        "endpoint_id": endpoint,
        "task_queue_info": {"connection_url": address, "exchange": "tasks", "queue": f"{endpoint}.tasks"},
        "result_queue_info": publish("results"),
        "heartbeat_queue_info": publish("heartbeats"),
    }


PLACES = {"ours": ours, "gateway": gateway, "rabbitmq": rabbitmq}
