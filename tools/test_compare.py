"""Proves that bench/compare reads the generators right, pairs rounds, and never hides a miss."""

import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))

import lib_report
from lib_load import Bench, Wsload
from lib_cost import check_drops, check_ratio
from lib_result import BESIDE, MISS, PASS, UNKNOWN, Context, Result
from lib_result import in_turn, lost, median, ratios, show, spread

CONNECTED = (
    "clients opened=1000 failed=2 in 0.11s (9090/s) server_cpu=0.04s rss=5.1MB (+0.12 KB/conn)"
    " pss=2.5MB threads=1\n"
)
PUBLISHED = (
    "published=59 (4/s, asked 4) delivered=58900/59000 (0.1695% lost) 3900 deliveries/s (3895 in"
    " window) p50=1.500ms p95=2.500ms p99=3.500ms p99.9=4.500ms max=5.500ms\n"
    "server cpu=0.60s (10.452 us/delivery) rss=5.7MB closed_mid=3 load_cpu=3.34s bytes_in=4.1MB\n"
)


class Reading(unittest.TestCase):
    def test_wsload_idle(self):
        figures = Wsload.read(["wsload"], CONNECTED)
        self.assertEqual((figures["opened"], figures["failed"]), (1000, 2))
        self.assertEqual(figures["handshakes_per_s"], 9090)
        self.assertEqual(figures["kib_per_conn"], 0.12)
        self.assertNotIn("received", figures)

    def test_wsload_memory_that_shrank(self):
        figures = Wsload.read(["wsload"], CONNECTED.replace("+0.12", "+-0.02"))
        self.assertEqual(figures["kib_per_conn"], -0.02)

    def test_wsload_deliveries(self):
        figures = Wsload.read(["wsload"], CONNECTED + PUBLISHED)
        self.assertEqual((figures["received"], figures["expected"]), (58900, 59000))
        self.assertEqual((figures["deliveries_per_s"], figures["cpu_us_per_delivery"]), (3900, 10.452))
        self.assertEqual((figures["p99"], figures["p99.9"], figures["rss_mib"]), (3.5, 4.5, 5.7))

    def test_a_generator_that_fails_is_an_error(self):
        for generator in (Wsload, Bench):
            with self.assertRaises(RuntimeError):
                generator.read(["x"], "", "publisher: Connection refused")

    def test_fanout_bench_latency_runs_from_sending(self):
        times = {"p50": 1, "p95": 2, "p99": 3, "p99.9": 4, "max": 5}
        report = {
            "connect": {"opened": 10, "failed": 0, "closed": 0, "seconds": 0.1, "per_s": 100},
            "server": {"rss_bytes_per_connection": 512, "us_per_handshake": 20},
            "deliveries": {"received": 5, "expected": 5, "per_s": 50},
            "publish": {"sent": 1}, "generator": {"cpu_s": 0.1},
            "service_ms": times, "latency_ms": {},
        }  # fmt: skip
        figures = Bench.read(["bench"], json.dumps(report))
        self.assertEqual((figures["kib_per_conn"], figures["p99"]), (0.5, 3))


class Figures(unittest.TestCase):
    def test_ratios_are_of_the_same_round_and_leave_out_failed_ones(self):
        self.assertEqual(ratios([2, None, 9], [1, 1, 3]), [2, 3])
        self.assertEqual(median(ratios([], [])), None)

    def test_figures_are_readable(self):
        self.assertEqual([show(x) for x in (None, 0, 7, 0.14, 3.456, 23.45, 1234.5)],
                         ["–", "0", "7", "0.140", "3.46", "23.4", "1,234"])  # fmt: skip
        self.assertEqual(spread([3.0, 1.0, 2.0, None]), "2.00 (1.00…3.00)")

    def test_late_arrivals_of_the_warm_up_do_not_hide_a_loss(self):
        rounds = [{"expected": 10, "received": 20}, {"expected": 10, "received": 7}, {}]
        self.assertEqual(lost(rounds), 3)


class Rounds(unittest.TestCase):
    def test_every_second_round_runs_backwards(self):
        self.assertEqual([in_turn([1, 2, 3], turn) for turn in (0, 1, 2)],
                         [[1, 2, 3], [3, 2, 1], [1, 2, 3]])  # fmt: skip

    def test_a_ratio_is_judged_by_the_median_round_not_by_the_median_figures(self):
        result = Result("x", "X", "")
        check_ratio(result, "rate", [80, 8, 90], "/s", "nchan", [10, 10, 10], ">=", 8)
        check_ratio(result, "rate", [79, 8, 90], "/s", "nchan", [10, 10, 10], ">=", 8)
        self.assertEqual([x["verdict"] for x in result.checks], [PASS, MISS])
        self.assertIn("8.00 (0.800…9.00)", result.notes[0])

    def drops(self, dropped, max_ms=80):
        result = Result("x", "X", "")
        books = [{"expected": 10, "received": 7, "max": max_ms, "books": {"dropped": x}} for x in dropped]
        check_drops(Context(False, {}, Wsload(), None), result, {"fanout": books})
        return result.checks[0]["verdict"]

    def test_a_message_that_is_missed_and_not_counted_as_dropped_is_a_miss(self):
        self.assertEqual(self.drops([3, 3]), PASS)
        self.assertEqual(self.drops([3, 2]), MISS)
        self.assertEqual(self.drops([]), UNKNOWN)
        self.assertEqual(self.drops([3, 2], max_ms=5100), UNKNOWN)


class Verdicts(unittest.TestCase):
    def report(self, machine=None):
        result = Result("cpu", "CPU", "About.")
        result.check("a", 1.0, "≤ 2", True)
        result.check("b", 3.0, "≤ 2", False)
        result.check("c", None, "≤ 2", None)
        result.beside("d", 4.0, "another machine", 2.0)
        if machine:
            result.runs.append({"machine": machine})
        about = dict.fromkeys(
            ("date", "cpu", "system", "kernel", "fanout", "commit", "nchan", "nginx", "redis"), "x"
        )
        about |= {"cores": 2, "memory_gib": 1, "descriptors": 20000}
        return {"machine": about, "quick": False, "results": [result.to_json()]}

    def test_a_miss_stands_on_the_page(self):
        report = self.report()
        self.assertEqual(lib_report.tally(report["results"]), {PASS: 1, MISS: 1, UNKNOWN: 1, BESIDE: 1})
        self.assertIn("| b | 3.00 |  |  | ≤ 2 | **MISS** |", lib_report.markdown(report))

    def test_what_has_no_goal_counts_neither_way_and_says_so(self):
        report = self.report()
        self.assertIn("| d | 4.00 | another machine | 2.00 × | – | no goal |", lib_report.markdown(report))
        self.assertEqual(
            lib_report.tally_line(report["results"]),
            "1 goals met, 1 missed, 1 not measured, 1 shown without a goal",
        )

    def test_a_busy_machine_is_told(self):
        note = {"load_before": 1, "load_after": 2, "seconds": 0.5, "others_cores": 1.0, "steal": 0,
                "disturbed": False}  # fmt: skip
        page = lib_report.markdown(self.report(note))
        self.assertIn("**Warning: other programs were busy during cpu.**", page)
        quiet = dict(note, others_cores=0.01)
        self.assertNotIn("Warning", lib_report.markdown(self.report(quiet)))
