"""The machine under the measurements: what it is, how busy others keep it, what must be installed."""

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FANOUT = "build/release/fanout"
TOOLS = "build/bench"  # wsload and floor, compiled here.
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

# Above these a measurement is called disturbed: cores that strangers used, share the host took away.
BUSY_CORES = 0.15
BUSY_STEAL = 0.02


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def die(text):
    sys.exit(f"compare: {text}")


def find_program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def cpus():
    """The core of the servers and the core of the generator."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def fd_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def raise_limits():
    hard = fd_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# ---- what must be there ----


def install_servers():
    """Installs nchan and Redis when they are missing. Returns whether each is there."""
    missing = []
    if not find_program("nginx") or not NCHAN_MODULE.exists():
        missing += ["nginx", "libnginx-mod-nchan"]
    if not find_program("redis-server"):
        missing.append("redis-server")
    if missing and not find_program("apt-get"):
        say(f"not here and no apt-get to install them: {' '.join(missing)}")
    elif missing:
        apt_install(missing)
    return {
        "nchan": bool(find_program("nginx")) and NCHAN_MODULE.exists(),
        "redis": bool(find_program("redis-server")),
    }


def apt_install(packages):
    root = [] if os.geteuid() == 0 else ["sudo"]
    if root and not find_program("sudo"):
        say(f"installing packages needs root, and there is no sudo: {' '.join(packages)}")
        return
    say(f"installing with apt: {' '.join(packages)} (to measure beside fanout; where systemd runs,")
    say("Debian starts them as services: `systemctl disable --now nginx redis-server` ends that)")
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    subprocess.run([*apt, "update", "-qq"], check=False)
    install = [*apt, "install", "-y", "-qq", "--no-install-recommends", *packages]
    if subprocess.run(install, stdout=sys.stderr, check=False).returncode != 0:
        say("apt could not install them; what needs them is left out")


def build_fanout():
    subprocess.run(["./dev", "build", "--release"], cwd=ROOT, check=True, stdout=sys.stderr)


def build_tools(directory):
    """Compiles the independent load generator and the bare send() loop. Returns whether both are
    there; either may be missing."""
    have = {"wsload": False, "floor": False}
    if directory is None:
        say("no wsload.c and floor.c: neither --wsload, $WSLOAD_DIR nor ../shared/bench names them;")
        say("`fanout bench` alone makes the load, and there is no bare send() loop to compare with")
        return have
    (ROOT / TOOLS).mkdir(parents=True, exist_ok=True)
    for name in have:
        source = Path(directory) / f"{name}.c"
        if not source.exists():
            say(f"{source} is not there; measuring without {name}")
            continue
        command = ["cc", "-O2", "-pthread", "-o", str(ROOT / TOOLS / name), str(source)]
        done = subprocess.run([*command, "-lm"], stderr=subprocess.PIPE, text=True, check=False)
        have[name] = done.returncode == 0
        if not have[name]:
            say(f"{source} does not compile; measuring without it\n{done.stderr}")
    return have


# ---- how busy it is ----


def cpu_ticks():
    """Busy and stolen seconds of all cores since boot."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    hz = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / hz, steal / hz


def own_cpu():
    """CPU seconds of this program and of every process it started and waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in both)


class Watch:
    """Around one measurement, from the server's start to its end: load average before and after, and
    what other programs took meanwhile. The load average counts our own programs too, so the verdict
    rests on the cores that strangers used."""

    def __enter__(self):
        self.load = os.getloadavg()[0]
        self.at = time.monotonic()
        self.busy, self.steal = cpu_ticks()
        self.own = own_cpu()
        return self

    def __exit__(self, *_):
        seconds = max(time.monotonic() - self.at, 0.05)
        busy, steal = cpu_ticks()
        others = (busy - self.busy - (own_cpu() - self.own)) / seconds
        self.note = {
            "load_before": round(self.load, 2),
            "load_after": round(os.getloadavg()[0], 2),
            "seconds": round(seconds, 2),
            "others_cores": round(max(others, 0), 3),
            "steal": round((steal - self.steal) / seconds / (os.cpu_count() or 1), 4),
        }
        # Ticks are 10 ms: a measurement of less than a second cannot tell.
        self.note["disturbed"] = seconds >= 1 and (
            self.note["others_cores"] > BUSY_CORES or self.note["steal"] > BUSY_STEAL
        )


def describe():
    """What a reader needs to know to compare the figures with another machine's."""
    memory = next(x for x in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in x)
    model = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    git = ["git", "describe", "--always", "--dirty"]
    system = "Linux"
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            system = line.split("=", 1)[1].strip('"')
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": model[0].split(":", 1)[1].strip() if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory.split()[1]) / 1024 / 1024, 1),
        "system": system,
        "kernel": platform.release(),
        "descriptors": fd_limit(),
        "fanout": first_line([FANOUT, "--version"]),
        "commit": first_line(git),
        "nchan": package_version("libnginx-mod-nchan"),
        "nginx": package_version("nginx"),
        "redis": package_version("redis-server"),
    }


def first_line(command):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    lines = done.stdout.strip().splitlines() if done.returncode == 0 else []
    return lines[0] if lines else ""


def package_version(name):
    return first_line(["dpkg-query", "-W", "-f=${Version}", name])
