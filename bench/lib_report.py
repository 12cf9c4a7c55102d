"""The page and the JSON file."""

import json

from lib_result import BESIDE, MISS, PASS, UNKNOWN

INTRO = """# Benchmarks

This page is written by `./dev compare`, which measures on the machine it runs on: every server of a
scenario in the same run, taking turns, so that the ratios hold where the absolute figures do not. A missed
goal says MISS; what has no goal is shown for orientation and counts neither way. Servers are pinned to one
core, the load generator to another; each measurement gets a fresh server; a figure is the median of the
rounds, with the smallest and largest in brackets, and a ratio is the median of each round's own ratio.
"""

KEPT = "## Workflows\n"

REPEAT = """## To repeat it

`./dev compare` does everything (`./dev compare --quick` in a few minutes, with rougher figures), `./dev
compare cpu memory` only what is named. The lines below each table repeat a single measurement by hand:
start the server, then the load beside it. PORT and PID are the server's, DIR holds the nginx.conf that
`bench/lib_servers.py` writes. `build/bench/wsload` and `build/bench/floor` are the independent load
generator and the bare `send()` loop, compiled with `cc -O2 -pthread` from the directory that
`--wsload` or `$WSLOAD_DIR` names; without them `fanout bench` makes the load and the ratios to the bare
loop are missing.
"""

CAUTION = """## What these figures cannot say

- Two cores and loopback: the generator shares the memory, the caches and the kernel's network stack with the
  server. A network card would add its own costs and take away the receiving half of each send.
- A virtual machine's neighbours come and go. The ratios stand up to that better than the figures do, and
  the line under each scenario says how quiet it was: load averages count our own programs too, the cores
  used by *other* programs do not.
- Memory is the server's own (RSS); the kernel's socket buffers come on top for every server alike.
- nchan runs with one worker and its default settings, a shared memory large enough for all channels, and
  no access log.
"""


def markdown_table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(x) for x in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def checks_table(results):
    header = ["what", "measured", "beside it", "ratio", "goal", "verdict"]
    rows = []
    for result in results:
        for c in result["checks"]:
            verdict = f"**{c['verdict']}**" if c["verdict"] == MISS else c["verdict"]
            rows.append([c["what"], c["measured"], c["reference"], c["ratio"], c["goal"], verdict])
    return markdown_table(header, rows)


def tally(results):
    verdicts = [c["verdict"] for result in results for c in result["checks"]]
    return {verdict: verdicts.count(verdict) for verdict in (PASS, MISS, UNKNOWN, BESIDE)}


def tally_line(results):
    count = tally(results)
    line = f"{count[PASS]} goals met, {count[MISS]} missed"
    line += f", {count[UNKNOWN]} not measured" if count[UNKNOWN] else ""
    return line + (f", {count[BESIDE]} shown without a goal" if count[BESIDE] else "")


def machine_table(machine):
    rows = [
        ["date", machine["date"]],
        ["processor", f"{machine['cpu']}, {machine['cores']} cores"],
        ["memory", f"{machine['memory_gib']} GiB"],
        ["system", f"{machine['system']}, kernel {machine['kernel']}"],
        ["descriptors", f"{machine['descriptors']:,} a process"],
        ["fanout", f"{machine['fanout']}, commit {machine['commit'] or 'unknown'}"],
        ["beside it", ", ".join(
            f"{name} {machine[name]}" for name in ("nchan", "nginx", "redis") if machine[name]
        ) or "nothing"],
    ]  # fmt: skip
    return markdown_table(["machine", ""], rows)


def section(result):
    parts = [f"## {result['title']}\n", result["about"] + "\n"]
    parts += [markdown_table(header, rows) for header, rows in result["tables"]]
    parts += [f"- {note}" for note in result["notes"]]
    parts.append(("\n" if result["notes"] else "") + result["noise"] + "\n")
    if result["commands"]:
        lines = "\n".join(f"{line}   # {what}" for what, line in result["commands"])
        parts.append(f"```sh\n{lines}\n```\n")
    return "\n".join(parts)


def markdown(report):
    results = report["results"]
    parts = [INTRO]
    if report["quick"]:
        parts.append("**A quick run**: short and with few rounds; good for a look, not for a claim.\n")
    busy = [x["name"] for x in results if x["disturbed"]]
    if busy:
        parts.append(
            f"**Warning: other programs were busy during {', '.join(busy)}.** Repeat those on a quiet"
            " machine before relying on them.\n"
        )
    parts += [machine_table(report["machine"]), f"## Goals: {tally_line(results)}\n"]
    parts += [checks_table(results), *[section(x) for x in results], REPEAT, CAUTION]
    return "\n".join(parts)


def with_kept(page, old):
    """What others than `./dev compare` wrote into the old page stands, at the end of the new one."""
    at = old.find(KEPT)
    return page if at < 0 else page + "\n" + old[at:]


def to_json(report):
    return json.dumps(report, indent=1, default=str) + "\n"
