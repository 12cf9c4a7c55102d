"""The servers to measure: each one process group of ours, on a free port of 127.0.0.1, on one core,
ended by its process id."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from lib_host import FANOUT, NCHAN_MODULE, ROOT, TOOLS, cpus, fd_limit, find_program

FIRST_PORT = 31000  # Below the ports that Linux gives to outgoing connections.
_next_port = FIRST_PORT


def free_port():
    """A port nobody listens on; a new one every time, as old ones may linger."""
    global _next_port
    while True:
        _next_port = _next_port + 1 if _next_port < 32700 else FIRST_PORT
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", _next_port))
                return _next_port
            except OSError:
                continue


class Server:
    """A running server. Use it with `with`. Subclasses say how it starts and what it is called by."""

    name = ""
    ready_path = None  # Ready once this answers 200; without one, once the port is open.

    def __init__(self, pinned=True):
        self.port = free_port()
        self.home = tempfile.TemporaryDirectory(prefix="fanout-compare-")
        self.log = Path(self.home.name) / "log"
        self.pinned = pinned
        self.process = None

    def argv(self):
        raise NotImplementedError

    def command(self):
        return (["taskset", "-c", str(cpus()[0])] if self.pinned else []) + self.argv()

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.home.cleanup()

    def wait_ready(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start:\n{self.log.read_text()[-2000:]}")
            if self.answers():
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} was not ready in 20 s:\n{self.log.read_text()[-2000:]}")

    def answers(self):
        if self.ready_path:
            return self.get(self.ready_path) is not None
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
                return reply.read().decode()
        except OSError:
            return None

    def pids(self):
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid] + [int(x) for x in children]

    def rss_kib(self, field="VmRSS"):
        total = 0
        for pid in self.pids():
            status = Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(rf"{field}:\s+(\d+)", status)[1])
        return total

    def subscribe(self, users=False):
        """Where WebSocket clients connect; %d is the client's number."""
        raise NotImplementedError

    def publish(self, users=False):
        """Where messages are posted."""
        raise NotImplementedError


class Fanout(Server):
    name = "fanout"
    ready_path = "/ready"

    def __init__(self, *options, shards=1, listen="127.0.0.1:{port}", pinned=True):
        super().__init__(pinned)
        self.options = list(options)
        self.shards = shards
        self.listen = listen.format(port=self.port)

    def argv(self):
        shards = ["--shards", str(self.shards)] if self.shards else []
        return [FANOUT, "serve", "--listen", self.listen, *shards, *self.options]

    def subscribe(self, users=False):
        return f"ws://127.0.0.1:{self.port}/ws?" + ("username=u%d" if users else "room=r")

    def publish(self, users=False):
        channel = "user:u%d" if users else "room:r"
        return f"http://127.0.0.1:{self.port}/api/v1/channels/{channel}"

    def metrics(self):
        """Name with labels -> value; empty when the server does not answer."""
        lines = (self.get("/metrics") or "").splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def books(self):
        """The accounts of all namespaces together, and whether they add up exactly."""
        sums = {}
        for name, value in self.metrics().items():
            base = name.split("{")[0]
            sums[base] = sums.get(base, 0) + int(value)
        if not sums:
            return None
        books = {
            "accepted": sums["fanout_deliveries_accepted_total"],
            "delivered": sums["fanout_deliveries_delivered_total"],
            "dropped": sums["fanout_deliveries_dropped_total"],
            "queued": sums["fanout_queued_messages"],
            "pending": sums["fanout_pending_messages"],
        }
        books["difference"] = books["accepted"] - sum(list(books.values())[1:])
        return books


class Nchan(Server):
    """nginx with one worker and Debian's nchan module, its own settings left at their defaults."""

    name = "nchan"

    def argv(self):
        home = self.home.name
        paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        config = Path(home) / "nginx.conf"
        config.write_text(
            f"load_module {NCHAN_MODULE};\n"
            + ("user root;\n" if os.geteuid() == 0 else "")
            + f"""daemon off; worker_processes 1; pid {home}/pid; error_log stderr error;
worker_rlimit_nofile {fd_limit()};
events {{ worker_connections {fd_limit() - 100}; }}
http {{
  access_log off; keepalive_requests 1000000000; nchan_shared_memory_size 512M;
  {' '.join(f'{x}_temp_path {home}/{x};' for x in paths)}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location = /sub {{ nchan_subscriber websocket; nchan_channel_id $arg_id; }}
    location = /pub {{ nchan_publisher http; nchan_channel_id $arg_id; }}
  }}
}}
"""
        )
        return [find_program("nginx"), "-e", "stderr", "-p", home, "-c", str(config)]

    def wait_ready(self):
        super().wait_ready()
        while len(self.pids()) < 2:  # The master listens before the worker is there.
            time.sleep(0.02)
        time.sleep(0.1)

    def subscribe(self, users=False):
        return f"ws://127.0.0.1:{self.port}/sub?id=" + ("u%d" if users else "r")

    def publish(self, users=False):
        return f"http://127.0.0.1:{self.port}/pub?id=" + ("u%d" if users else "r")


class Floor(Server):
    """The bare send() loop: the least that one send() a delivery can cost."""

    name = "floor"

    def argv(self):
        return [f"{TOOLS}/floor", str(self.port)]

    def subscribe(self, users=False):
        return f"ws://127.0.0.1:{self.port}/ws"

    def publish(self, users=False):
        return f"http://127.0.0.1:{self.port}/pub"


class Redis(Server):
    name = "redis"

    def argv(self):
        return [
            find_program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
            "--save", "", "--appendonly", "no", "--dir", self.home.name,
        ]  # fmt: skip
