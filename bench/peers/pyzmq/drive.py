"""A bare broker over ZeroMQ: client, broker, 2 workers, pickle; no encryption, nothing kept or retried.

About the least that can be called remote execution: the floor for what is written in Python.
"""

import pickle
from collections import deque
from multiprocessing import get_context

import zmq
from speak import serve

CREDIT = 64
"""Calls that a worker may hold: it never waits for the next."""


def worker(address):
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(address)
    socket.send(b"")  # here I am
    while True:
        number, call = socket.recv_multipart()
        function, argument = pickle.loads(call)
        socket.send_multipart([number, pickle.dumps(function(argument), 5)])


def broker(ports):
    context = zmq.Context()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    for socket in (front, back):
        socket.set_hwm(0)
    ports.send([f"tcp://127.0.0.1:{s.bind_to_random_port('tcp://127.0.0.1')}" for s in (front, back)])
    poller = zmq.Poller()
    poller.register(front, zmq.POLLIN)
    poller.register(back, zmq.POLLIN)
    waiting, free = deque(), deque()
    while True:
        for socket, _ in poller.poll():
            for parts in drained(socket):
                if socket is front:
                    waiting.append(parts)
                elif len(parts) == 2:
                    free.extend(parts[:1] * CREDIT)
                else:
                    name, client, number, result = parts[0], *pickle.loads(parts[1]), parts[2]
                    free.append(name)
                    front.send_multipart([client, number, result])
        while waiting and free:
            client, number, call = waiting.popleft()
            back.send_multipart([free.popleft(), pickle.dumps((client, number), 5), call])


def drained(socket):
    for _ in range(1000):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


class Client:
    def __init__(self):
        fork = get_context("fork")
        ours, theirs = fork.Pipe()
        self.processes = [fork.Process(target=broker, args=(theirs,), daemon=True)]
        self.processes[0].start()
        front, back = ours.recv()
        self.processes += [fork.Process(target=worker, args=(back,), daemon=True) for _ in range(2)]
        for process in self.processes[1:]:
            process.start()
        self.socket = zmq.Context().socket(zmq.DEALER)
        self.socket.set_hwm(0)
        self.socket.connect(front)

    def one(self, function, argument):
        return self.many(function, [argument])[0]

    def many(self, function, arguments):
        for number, argument in enumerate(arguments):
            self.socket.send_multipart([number.to_bytes(4, "big"), pickle.dumps((function, argument), 5)])
        results = [None] * len(arguments)
        for _ in arguments:
            number, result = self.socket.recv_multipart()
            results[int.from_bytes(number, "big")] = pickle.loads(result)
        return results

    def close(self):
        for process in self.processes:
            process.terminate()


serve(lambda variant: Client())
