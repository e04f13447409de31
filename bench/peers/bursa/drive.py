"""Bursa itself: `bursa up` with its defaults, 2 workers; durability FULL, encryption and tokens on."""

import json
import os
import signal
import subprocess
import sys

import bursa
from speak import Futures, serve


def start(variant):
    command = [os.environ["BURSA_BIN"], "up", "--json", "--home", os.path.join(os.getcwd(), "home")]
    command += ["--http", "127.0.0.1:0", "--zmq", "127.0.0.1:0", "--workers", "2", "--python", sys.executable]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    ready = json.loads(process.stdout.readline())
    client = bursa.Client(ready["url"], ready["token"])

    def close():
        client.close()
        process.send_signal(signal.SIGTERM)
        process.wait()

    return Futures(client.run, close)


serve(start)
