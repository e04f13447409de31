"""A plain HTTP function: uvicorn with uvloop and httptools, 2 processes, keep-alive connections, no disk."""

import pickle
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from speak import serve

CONNECTIONS = 32
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 16)

    def send(self, function, argument):
        body = pickle.dumps((function, argument), 5)
        self.socket.sendall(HEAD % len(body) + body)

    def receive(self):
        length = 0
        while (line := self.file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return pickle.loads(self.file.read(length))


class Client:
    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--workers", "2"]
        command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        self.process = subprocess.Popen([*command, "--app-dir", str(Path(__file__).parent)])
        self.connections = []
        while len(self.connections) < CONNECTIONS:
            try:
                self.connections.append(Connection(port))
            except ConnectionRefusedError:
                time.sleep(0.01)  # it is still starting

    def one(self, function, argument):
        self.connections[0].send(function, argument)
        return self.connections[0].receive()

    def many(self, function, arguments):
        results = [None] * len(arguments)
        left = iter(enumerate(arguments))
        busy = {}
        poll = select.epoll()
        for connection in self.connections:
            self.next(connection, function, left, busy, poll)
        while busy:
            for descriptor, _ in poll.poll():
                connection, number = busy.pop(descriptor)
                results[number] = connection.receive()
                poll.unregister(descriptor)
                self.next(connection, function, left, busy, poll)
        return results

    def next(self, connection, function, left, busy, poll):
        number, argument = next(left, (None, None))
        if number is None:
            return
        busy[connection.socket.fileno()] = (connection, number)
        poll.register(connection.socket.fileno(), select.EPOLLIN)
        connection.send(function, argument)

    def close(self):
        self.process.terminate()
        self.process.wait()


serve(lambda variant: Client())
