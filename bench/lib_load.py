"""The load generators, on a core of their own: wsload, which shares no code with any server here, and
`fanout bench`. Both answer with the same figures, so that a scenario runs with either."""

import json
import re
import subprocess

from lib_host import FANOUT, ROOT, TOOLS, cpus

NUMBER = r"(-?[\d.]+)"


def run(command, timeout):
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    return done.stdout, done.stderr


class Wsload:
    name = "wsload"

    def command(self, server, clients, users=False, options=(), publish=None):
        pids = ",".join(str(x) for x in server.pids())
        to = ["-P", publish or server.publish(users)] if publish is not False else []
        return [
            f"{TOOLS}/wsload", "-x", str(cpus()[1]), "-u", server.subscribe(users),
            "-n", str(clients), *to, "-p", pids, *[str(x) for x in options],
        ]  # fmt: skip

    def idle(self, server, clients, users=False, hold=0):
        """Connects, stays idle, leaves."""
        command = self.command(server, clients, users, ["-h", hold], publish=False)
        return self.read(command, *run(command, 180 + hold))

    def steady(self, server, clients, rate, size, seconds, publishers=8, slow=0, publish=None,
               warmup_s=0.5):  # fmt: skip
        """Publishes at the rate and measures what arrives. Without a warm-up every message that was
        ever sent is accounted for, so that what is lost equals what the server says it dropped."""
        options = ["-r", rate, "-s", size, "-d", seconds, "-q", publishers]
        options += ["-k", slow] if slow else []
        options += ["-w", 0] if not warmup_s else []
        command = self.command(server, clients, options=options, publish=publish)
        return self.read(command, *run(command, 180 + seconds))

    @staticmethod
    def read(command, text, errors=""):
        """The figures in what wsload printed."""

        def find(pattern, default=None):
            found = re.search(pattern.replace("#", NUMBER), text)
            return float(found[1]) if found else default

        opened = find(r"opened=#")
        if opened is None:
            raise RuntimeError(f"{' '.join(command)} failed:\n{text}{errors}")
        figures = {
            "command": command,
            "opened": int(opened),
            "failed": int(find(r"failed=#")),
            "connect_s": find(r" in #s "),
            "handshakes_per_s": find(r"\(#/s\) server_cpu"),
            "connect_cpu_s": find(r"server_cpu=#s"),
            "kib_per_conn": find(r"\(\+?#\s*KB/conn"),
        }
        if "published=" in text:
            got, want = re.search(r"delivered=(\d+)/(-?\d+)", text).groups()
            figures |= {
                "published": int(find(r"published=#")),
                "received": int(got),
                "expected": int(want),
                "deliveries_per_s": find(r"lost\) # deliveries/s"),
                "cpu_us_per_delivery": find(r"\(# us/delivery"),
                "rss_mib": find(r"us/delivery\) rss=#MB"),
                "closed": int(find(r"closed_mid=#", 0)),
                "load_cpu_s": find(r"load_cpu=#s"),
            }
            for q in ("p50", "p95", "p99", "p99.9", "max"):
                figures[q] = find(rf"{re.escape(q)}=#ms")
        return figures


class Bench:
    """`fanout bench`. Its latencies here are those from when a message was sent, as wsload's are."""

    name = "fanout bench"

    def command(self, server, clients, users=False, options=()):
        return [
            "taskset", "-c", str(cpus()[1]), FANOUT, "bench", "--subscribe-url",
            server.subscribe(users), "--publish-url", server.publish(users),
            "--mode", "users" if users else "room", "--clients", str(clients),
            "--pid", ",".join(str(x) for x in server.pids()),
            *[str(x) for x in options], "--quiet", "--allow-loss", "--json", "-",
        ]  # fmt: skip

    def idle(self, server, clients, users=False, hold=0):
        options = ["--scenario", "idle-memory", "--hold", f"{max(hold, 0.3)}s"]
        command = self.command(server, clients, users, options)
        return self.read(command, *run(command, 180 + hold))

    def steady(self, server, clients, rate, size, seconds, publishers=8, slow=0, publish=None,
               warmup_s=0.5):  # fmt: skip
        options = ["--rate", rate, "--size", size, "--duration", f"{seconds}s"]
        options += ["--publishers", publishers, "--warmup", f"{warmup_s * 1000:.0f}ms"]
        options += ["--slow", slow] if slow else []
        command = self.command(server, clients, options=options)
        return self.read(command, *run(command, 180 + seconds))

    def room_over_redis(self, server, redis, clients, rate, seconds):
        """PUBLISH room:… with the room envelope, as another gateway would."""
        command = [
            "taskset", "-c", str(cpus()[1]), FANOUT, "bench",
            "--url", f"http://127.0.0.1:{server.port}", "--mode", "room",
            "--publish", "redis", "--redis", f"redis://127.0.0.1:{redis.port}",
            "--clients", str(clients), "--rate", str(rate), "--duration", f"{seconds}s",
            "--pid", ",".join(str(x) for x in server.pids()),
            "--quiet", "--allow-loss", "--json", "-",
        ]  # fmt: skip
        return self.read(command, *run(command, 60 + seconds))

    @staticmethod
    def read(command, text, errors=""):
        try:
            report = json.loads(text)
        except ValueError:
            raise RuntimeError(f"{' '.join(command)} failed:\n{text}{errors}") from None
        connect, server = report["connect"], report.get("server", {})
        figures = {
            "command": command,
            "opened": connect["opened"],
            "failed": connect["failed"],
            "connect_s": connect["seconds"],
            "handshakes_per_s": connect["per_s"],
            "connect_cpu_s": server.get("us_per_handshake", 0) * connect["opened"] / 1e6,
            "kib_per_conn": server.get("rss_bytes_per_connection", 0) / 1024,
        }
        if "deliveries" in report:
            deliveries, latency = report["deliveries"], report["service_ms"]
            figures |= {
                "published": report["publish"]["sent"],
                "received": deliveries["received"],
                "expected": deliveries["expected"],
                "deliveries_per_s": deliveries["per_s"],
                "cpu_us_per_delivery": server.get("us_per_delivery"),
                "rss_mib": server.get("window_end", {}).get("rss_bytes", 0) / 1048576,
                "closed": connect["closed"],
                "load_cpu_s": report["generator"]["cpu_s"],
            }
            figures |= {q: latency[q] for q in ("p50", "p95", "p99", "p99.9", "max")}
        return figures
