"""The steps of a long run: what is ahead, how long it takes, how far it is.

A step's time is what it took here the last time, from a file in build/; before that, the guess it came with.
"""

import json
import time


def minutes(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Plan:
    def __init__(self, times_file, clock=time.monotonic):
        """times_file: where the times are kept, or None when this run is not like the others."""
        self.times_file, self.clock = times_file, clock
        self.steps = []  # (name, guessed seconds, function)
        self.times = {}
        try:
            self.times = json.loads(times_file.read_text()) if times_file else {}
        except (OSError, ValueError):
            pass  # The guesses will do.

    def add(self, name, seconds, function):
        self.steps.append((name, seconds, function))

    def expected(self, begin=0):
        """Seconds that the steps from the given one on should take."""
        return sum(self.times.get(name, guess) for name, guess, _ in self.steps[begin:])

    def overview(self):
        lines = [f"== {len(self.steps)} steps, about {minutes(self.expected())}"]
        for i, (name, guess, _) in enumerate(self.steps):
            lines.append(f"   {i + 1:2d}. {name}: {minutes(self.times.get(name, guess))}")
        return "\n".join(lines)

    def run(self, tell):
        """Runs the steps in order; tell(text) hears of each before it begins."""
        began = self.clock()
        for i, (name, _, function) in enumerate(self.steps):
            started = self.clock()
            gone = f"{minutes(started - began)} gone, " if i else ""
            tell(f"-- step {i + 1} of {len(self.steps)}, {gone}about {minutes(self.expected(i))} to go: {name}")
            function()
            self.times[name] = round(self.clock() - started, 1)
        if self.times_file:
            self.times_file.parent.mkdir(parents=True, exist_ok=True)
            self.times_file.write_text(json.dumps(self.times, indent=1) + "\n")
