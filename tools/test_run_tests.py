"""Proves that the runner counts every single test, and calls a crash a failure."""

import unittest

import run_tests


class TapCounts(unittest.TestCase):
    def test_cases_are_counted_one_by_one(self):
        self.assertEqual(run_tests.tap_counts("1..2\nok 1 - a\nok 2 - b\n"), (2, []))

    def test_several_groups_in_one_program_add_up(self):
        text = "1..1\nok 1 - a\n1..2\nok 1 - b\nnot ok 2 - c\n# x.c:1: error\n# not ok - group\n"
        self.assertEqual(run_tests.tap_counts(text), (2, ["c"]))

    def test_what_a_crash_left_out_has_failed(self):
        passed, failed = run_tests.tap_counts("1..3\nok 1 - a\n")
        self.assertEqual((passed, len(failed)), (1, 2))

    def test_a_skipped_case_has_failed(self):
        passed, failed = run_tests.tap_counts("1..2\nok 1 - a\nnot ok 2 # SKIP b\n")
        self.assertEqual((passed, len(failed)), (1, 1))

    def test_output_without_a_plan_is_not_tap(self):
        self.assertIsNone(run_tests.tap_counts("ok\nall fine\n"))


class MesonEntries(unittest.TestCase):
    def test_a_plain_program_counts_as_one(self):
        self.assertEqual(run_tests.count_meson_entry({"name": "a", "result": "OK", "stdout": "hi"}), (1, []))
        passed, failures = run_tests.count_meson_entry({"name": "a", "result": "TIMEOUT", "stdout": ""})
        self.assertEqual((passed, len(failures)), (0, 1))

    def test_a_leak_after_the_last_case_is_a_failure(self):
        entry = {"name": "a", "result": "FAIL", "stdout": "1..1\nok 1 - a\n", "stderr": "LeakSanitizer"}
        passed, failures = run_tests.count_meson_entry(entry)
        self.assertEqual((passed, len(failures)), (1, 1))
        self.assertIn("LeakSanitizer", failures[0][1])


class Times(unittest.TestCase):
    def test_new_files_and_long_ones_go_first(self):
        files = [run_tests.ROOT / x for x in ("a", "b", "c")]
        order = run_tests.longest_first(files, {"a": 1.0, "b": 20.0})
        self.assertEqual([f.name for f in order], ["c", "b", "a"])

    def test_the_slowest_are_named(self):
        tally = run_tests.Tally()
        tally.times = [(1, "a"), (3, "b"), (2, "c")]
        self.assertEqual(tally.slowest(2), [(3, "b"), (2, "c")])


class Filters(unittest.TestCase):
    def test_a_filter_matches_a_part_of_the_name(self):
        chosen = run_tests.Filter("rooms")
        self.assertTrue(chosen("integration/rooms.test.mjs"))
        self.assertFalse(chosen("integration/users.test.mjs"))
        self.assertTrue(run_tests.Filter(None)("anything"))


if __name__ == "__main__":
    unittest.main()
