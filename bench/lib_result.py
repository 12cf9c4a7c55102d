"""What a scenario found: its tables, the goals it met or missed, the commands, the noise."""

import os
import re
import shlex
import statistics

from lib_host import BUSY_CORES, BUSY_STEAL, Watch, say

PASS, MISS, UNKNOWN = "pass", "MISS", "not measured"
BESIDE = "no goal"  # Shown beside something else for orientation; counts neither way.


def median(values):
    values = [x for x in values if x is not None]
    return statistics.median(values) if values else None


def ratios(runs, reference):
    """Each round's ratio: what ran right after each other is compared, so that noise which lasts
    longer than a round falls out."""
    return [a / b for a, b in zip(runs, reference) if a is not None and b]


def show(value, unit=""):
    """Three figures are what such a measurement can bear."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value == 0 or isinstance(value, int):
        text = f"{value:,}" if value else "0"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}"
    else:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        text = f"{value:.{3 if abs(value) < 1 else digits}f}"
    return f"{text} {unit}".strip()


def spread(values, unit=""):
    """Median, with the smallest and largest of the rounds."""
    values = [x for x in values if x is not None]
    if not values:
        return "–"
    middle = show(median(values), unit)
    if len(values) == 1:
        return middle
    return f"{middle} ({show(min(values))}…{show(max(values))})"


class Result:
    def __init__(self, name, title, about):
        self.name, self.title, self.about = name, title, about
        self.tables = []  # (header, rows)
        self.checks = []
        self.commands = []
        self.notes = []
        self.runs = []

    def table(self, *header):
        self.tables.append((list(header), []))

    def row(self, *cells):
        self.tables[-1][1].append([show(x) for x in cells])

    def check(self, what, measured, goal, met, reference="", ratio=None):
        """met: True, False, or None when it could not be measured."""
        verdict = UNKNOWN if met is None else PASS if met else MISS
        self.checks.append({
            "what": what, "measured": show(measured), "reference": show(reference),
            "ratio": show(ratio, "×") if ratio is not None else "", "goal": goal, "verdict": verdict,
        })  # fmt: skip

    def beside(self, what, measured, reference="", ratio=None):
        """Shown among the goals, but judged by none."""
        self.check(what, measured, "–", None, reference, ratio)
        self.checks[-1]["verdict"] = BESIDE

    def add_command(self, what, command, server=None):
        """Keeps the first command of its kind, in a form that can be typed in again."""
        if any(x[0] == what for x in self.commands):
            return
        line = shlex.join(os.path.basename(x) if x.startswith("/usr/") else x for x in command)
        if server is not None:
            line = line.replace(server.home.name, "DIR").replace(f":{server.port}", ":PORT")
            line = re.sub(rf"\b{server.port}\b", "PORT", line)
            pids = ",".join(str(x) for x in server.pids()) if server.process.poll() is None else ""
            line = re.sub(rf"(-p|--pid) {pids}\b", r"\1 PID", line) if pids else line
        self.commands.append((what, line))

    def disturbed(self):
        """How many measurements others disturbed. The clock of busy cores is too coarse for one short
        measurement, so those are judged by what others used in all of them."""
        machine = [run["machine"] for run in self.runs]
        seconds = sum(x["seconds"] for x in machine) or 1
        mean = {key: sum(x[key] * x["seconds"] for x in machine) / seconds
                for key in ("others_cores", "steal")}  # fmt: skip
        if mean["others_cores"] > BUSY_CORES or mean["steal"] > BUSY_STEAL:
            return len(machine)
        return sum(1 for x in machine if x["disturbed"])

    def noise(self):
        """One line on how quiet it was."""
        machine = [run["machine"] for run in self.runs]
        if not machine:
            return "Nothing was measured."
        cores = [x["others_cores"] for x in machine]
        line = (
            f"Load average {machine[0]['load_before']} before and {machine[-1]['load_after']} after;"
            f" other programs used {median(cores):.2f} cores (most: {max(cores):.2f}),"
            f" the host took {max(x['steal'] for x in machine):.1%} at most."
        )
        if self.disturbed():
            line = (
                f"**Busy machine:** {self.disturbed()} of {len(machine)} measurements were disturbed"
                f" by other programs; take these figures as a hint only. {line}"
            )
        return line

    def to_json(self):
        return dict(self.__dict__, disturbed=self.disturbed(), noise=self.noise())


class Context:
    """What scenarios share: the generators and programs at hand, and how long to measure."""

    def __init__(self, quick, have, load, bench):
        self.quick, self.have, self.load, self.bench = quick, have, load, bench

    def pick(self, normal, quick):
        return quick if self.quick else normal

    def measure(self, result, make, use, label=None):
        """One measurement: starts a server, uses it, stops it. Returns the figures, or None when it
        failed, which is noted."""
        with Watch() as watch:
            try:
                with make() as server:
                    name = label or server.name
                    figures = use(server)
                    result.add_command(name, server.command(), server)
                    if "command" in figures:
                        result.add_command(f"{name}: load", figures["command"], server)
            except (RuntimeError, OSError, TimeoutError) as error:
                name = label or "a server"
                result.notes.append(f"A measurement of {name} failed: {str(error).splitlines()[0]}")
                say(f"{result.name}: {error}")
                figures = None
        if figures is not None:
            result.runs.append(dict(figures, server=name, machine=watch.note))
        return figures

    def interleave(self, result, makers, rounds, use):
        """A B C, C B A, A B C, …: a fresh server each time, and who is first changes, so that a machine
        that grows slower or faster favours nobody. Returns name -> figures of each round."""
        runs = {name: [] for name in makers}
        for turn in range(rounds):
            say(f"{result.name}: round {turn + 1} of {rounds} ({', '.join(makers)})")
            for name, make in in_turn(list(makers.items()), turn):
                runs[name].append(self.measure(result, make, use, name) or {})
        return runs


def in_turn(items, turn):
    """The order of one round: every second one runs backwards."""
    return items[::-1] if turn % 2 else items


def lost(rounds):
    """Messages that should have come and did not. What was published before the window and arrived in
    it makes a round's balance negative; that is no gain."""
    return sum(max(0, x["expected"] - x["received"]) for x in rounds if x)


def column(runs, name, key):
    """One figure of every round of one server; None where a round failed."""
    return [figures.get(key) for figures in runs.get(name, [])]
