"""Proves that a long run says truly what is ahead."""

import json
import tempfile
import unittest
from pathlib import Path

from plan import Plan


class Steps(unittest.TestCase):
    def setUp(self):
        self.now = 0.0
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)
        self.file = Path(self.home.name) / "build" / "times.json"

    def plan(self, file):
        plan = Plan(file, clock=lambda: self.now)
        plan.add("short", 10, lambda: self.spend(30))
        plan.add("long", 600, lambda: self.spend(1200))
        return plan

    def spend(self, seconds):
        self.now += seconds

    def test_the_first_run_goes_by_guesses_and_the_second_by_what_it_took(self):
        first = self.plan(self.file)
        self.assertEqual(first.expected(), 610)
        first.run(lambda _: None)
        self.assertEqual(self.plan(self.file).expected(), 1230)
        self.assertIn("2 steps, about 20 min", self.plan(self.file).overview())

    def test_each_step_is_told_with_what_is_gone_and_what_is_left(self):
        told = []
        self.plan(None).run(told.append)
        self.assertEqual(told, [
            "-- step 1 of 2, about 10 min to go: short",
            "-- step 2 of 2, 30 s gone, about 10 min to go: long",
        ])  # fmt: skip

    def test_a_run_that_is_not_like_the_others_leaves_no_times(self):
        self.plan(None).run(lambda _: None)
        self.assertFalse(self.file.exists())

    def test_times_that_cannot_be_read_are_no_harm(self):
        self.file.parent.mkdir()
        self.file.write_text("{")
        self.assertEqual(self.plan(self.file).expected(), 610)
        self.file.write_text(json.dumps({"short": 20}))
        self.assertEqual(self.plan(self.file).expected(), 620)


if __name__ == "__main__":
    unittest.main()
