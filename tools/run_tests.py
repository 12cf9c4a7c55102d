#!/usr/bin/env python3
"""Runs every check of the project, or one kind of them, and counts each single test.

Called by ./dev, which has installed what is needed. Prints what each part does, the log of whatever
failed, and as its very last line `N passed, N failed`. Exits with 1 on any failure and when nothing
ran. A tool that is missing is a failure, never a skip.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from plan import Plan

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LOG_LINES_MAX = 120  # Of one failed test; the whole log stays in build/.
FILE_TIMES = BUILD / "test-times-files.json"
CORES = len(os.sched_getaffinity(0))
MEMORY_FOLDER_BYTES_MIN = 2 << 30
SLOWEST_SHOWN = 10
SIM_RUNS_LONG = int(os.environ.get("FANOUT_SIM_RUNS", "4000"))  # Seeds no run had before.
SIM_SLICE_RUNS = 250  # Of one process: short enough to show how far a long simulation is.
FUZZ_SECONDS = int(os.environ.get("FANOUT_FUZZ_SECONDS", "120"))  # Of each target, in the long tier.

# The first line of defence is that a sanitizer's finding ends the program.
SANITIZER_ENV = {
    "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=0:detect_leaks=1:strict_string_checks=1"
    ":detect_stack_use_after_return=1:check_initialization_order=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Tally:
    """What passed and what failed, with the log of each failure, and how long each part took."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.times = []  # (seconds, name)

    def add(self, passed, failures):
        """failures: (name, log) pairs."""
        self.passed += passed
        self.failed += len(failures)
        for name, log in failures:
            lines = log.rstrip().splitlines()
            print(f"  FAILED {name}")
            if len(lines) > LOG_LINES_MAX:
                print(f"    ... {len(lines) - LOG_LINES_MAX} lines before these")
            for line in lines[-LOG_LINES_MAX:]:
                print(f"    {line}")
            sys.stdout.flush()


    def slowest(self, count):
        return sorted(self.times, reverse=True)[:count]


def part(text):
    print(f"== {text}", flush=True)


def part_of_plan(text):
    print(text, flush=True)


def run(command, **options):
    """Runs a command to its end; returns (status, output)."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        **options,
    )
    return done.returncode, done.stdout


def sanitizer_prefix():
    """gcc 12's sanitizers need less address randomisation than newer kernels use by default."""
    try:
        bits = int(Path("/proc/sys/vm/mmap_rnd_bits").read_text())
    except (OSError, ValueError):
        bits = 28
    return ["setarch", "-R"] if bits > 28 else []


def build(tally, name):
    """Builds through ./dev; a build that fails is one failed test."""
    status, output = run([ROOT / "dev", "internal-build", name])
    if status != 0:
        tally.add(0, [(f"build {name}", output)])
    return status == 0


# --- checks of the source -----------------------------------------------------------------------


def check_tools(tally, chosen):
    """The unit tests of tools/ themselves."""
    sys.path.insert(0, str(ROOT / "tools"))
    suite = unittest.defaultTestLoader.discover(str(ROOT / "tools"), pattern="test_*.py")
    tests = [t for t in each_test(suite) if chosen(t.id())]
    if not tests:
        return
    part(f"tools: {len(tests)} tests of the checks themselves")
    result = unittest.TestResult()
    unittest.TestSuite(tests).run(result)
    bad = result.failures + result.errors
    tally.add(result.testsRun - len(bad), [(test.id(), log) for test, log in bad])


def each_test(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from each_test(item)
        else:
            yield item


def check_source(tally, chosen):
    for name, what, command in (
        ("layers", "layers: the arrows between src/'s folders point down", ["tools/check_layers.py"]),
        ("errors", "errors: docs/errors.md lists the codes that are answered", ["tools/check_errors.py"]),
        ("format", "format: clang-format 14 has nothing to change", ["./dev", "format", "--check"]),
        ("web", "page: types and lint of web/", ["./dev", "internal-page-check"]),
    ):
        if not chosen(name):
            continue
        part(what)
        status, output = run(command)
        tally.add(int(status == 0), [] if status == 0 else [(name, output)])


# --- C tests through meson ----------------------------------------------------------------------


def tap_counts(output):
    """(passed, [names that failed]) of TAP output, or None when there is no plan in it.

    cmocka prints one plan per group. What a plan promised and nobody reported crashed on the way.
    """
    planned, passed, failed, current = 0, 0, [], ""
    seen_plan = False
    for line in output.splitlines():
        plan = re.fullmatch(r"1\.\.(\d+)", line.strip())
        if plan:
            seen_plan = True
            planned += int(plan.group(1))
        elif re.match(r"not ok \d+ # SKIP", line):
            failed.append(line[7:] + " (a skipped test proves nothing)")
        elif re.match(r"ok \d+\b", line):
            passed += 1
        elif re.match(r"not ok \d+\b", line):
            current = re.sub(r"^not ok \d+( - )?", "", line)
            failed.append(current)
    if not seen_plan:
        return None
    missing = planned - passed - len(failed)
    failed += ["(crashed before its end, or never ran)"] * max(missing, 0)
    return passed, failed


def meson_tests(folder):
    status, output = run(["meson", "introspect", "--tests", folder])
    if status != 0:
        raise RuntimeError(output)
    return json.loads(output)


def meson_tests_of(name, suite):
    tests = meson_tests(BUILD / name)
    return [t for t in tests if suite in {s.rsplit(":", 1)[-1] for s in t["suite"]}]


def count_meson_entry(entry):
    """(passed, failures) of one line of meson's testlog.json."""
    output = (entry.get("stdout") or "") + (entry.get("stderr") or "")
    fine = entry.get("result") in ("OK", "EXPECTEDFAIL")
    counts = tap_counts(entry.get("stdout") or "")
    name = entry["name"]
    if counts is None:
        return (1, []) if fine else (0, [(f"{name} ({entry.get('result')})", output)])
    passed, failed = counts
    failures = [(f"{name}: {case}", "" if i else output) for i, case in enumerate(failed)]
    if not fine and not failures:
        # Every case was fine and the program was not: a leak, a data race, a crash at exit.
        failures = [(f"{name} ({entry.get('result')} after its last case)", output)]
    return passed, failures


def quick_folder():
    """Where the store's tests keep their files: in memory where that is large enough. They open a damaged
    history in a process of its own a hundred times over and kill writers; waiting for a disk proves
    nothing more and took ten times as long."""
    memory = Path("/dev/shm")
    try:
        if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= MEMORY_FOLDER_BYTES_MIN:
            return memory
    except OSError:
        pass
    return None


def run_meson(tally, name, what, chosen, suites=(), without=(), extra_args="", all_tiers=False):
    """Builds build/NAME and runs its tests: all, or those of the named suites."""
    part(what)
    if not build(tally, name):
        return
    folder = BUILD / name
    started = time.monotonic()
    tests = []
    for test in meson_tests(folder):
        in_suites = {s.rsplit(":", 1)[-1] for s in test["suite"]}
        if (not suites or in_suites & set(suites)) and not in_suites & set(without):
            if chosen(test["name"]):
                tests.append(test)
    if not tests:
        if chosen.everything:
            tally.add(0, [(f"{name}: no test", f"meson knows no test of suites {suites or 'any'}")])
        return
    log = folder / "meson-logs" / f"{name}.json"
    log.unlink(missing_ok=True)
    command = sanitizer_prefix() + [
        "meson", "test", "-C", folder, "--no-rebuild", "--logbase", name, "--quiet",
        "--timeout-multiplier", "60" if all_tiers else "4",
    ]
    for suite in suites:
        command += ["--suite", suite]
    for suite in without:
        command += ["--no-suite", suite]
    if extra_args:
        command += ["--test-args", extra_args]
    if not chosen.everything:
        command += sorted({test["name"] for test in tests})
    env = {**os.environ, **SANITIZER_ENV, "CMOCKA_MESSAGE_OUTPUT": "TAP"}
    if all_tiers:
        env["FANOUT_TEST_ALL"] = "1"
    with tempfile.TemporaryDirectory(prefix="fanout-test-", dir=quick_folder()) as folder_name:
        status, output = run(command, env={**env, "TMPDIR": folder_name})
    entries = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    passed, failures = 0, []
    for entry in entries:
        tally.times.append((entry.get("duration") or 0, f"{name} {entry['name'].rsplit(' / ', 1)[-1]}"))
        ok, bad = count_meson_entry(entry)
        passed += ok
        failures += bad
    if status != 0 and not failures or not entries:
        failures.append((f"{name}: meson test", output))
    tally.add(passed, failures)
    print(f"   {passed} passed, {len(failures)} failed in {time.monotonic() - started:.0f} s", flush=True)


# --- node tests ---------------------------------------------------------------------------------


def build_client(tally):
    """Builds the client library; a type error is one failed test, a clean build one that passed."""
    status, output = run([ROOT / "dev", "internal-client"])
    tally.add(int(status == 0), [] if status == 0 else [("clients/js: build and types", output)])
    return status == 0


def run_client(tally, chosen):
    """The unit tests of clients/js, on what it publishes. tests/*/client*.test.mjs use the same build."""
    files = sorted((ROOT / "clients" / "js" / "test").glob("*.test.mjs"))
    files = [f for f in files if chosen(f"clients/js/test/{f.name}")]
    users = (ROOT / "tests").glob("*/client*.test.mjs")
    if not files and not any(chosen(f"{f.parent.name}/{f.name}") for f in users):
        return
    part("client library: clients/js, types and unit tests")
    if build_client(tally) and files:
        run_node_files(tally, "clients/js", files, dict(os.environ), "2")


def run_node(tally, kind, what, chosen, binary, all_tiers):
    files = sorted((ROOT / "tests" / kind).glob("*.test.mjs"))
    files = [f for f in files if chosen(f"{kind}/{f.name}")]
    if not files:
        if chosen.everything:
            tally.add(0, [(kind, f"tests/{kind} holds no *.test.mjs")])
        return
    part(what)
    program = BUILD / binary / "fanout"
    if not build(tally, binary): # Never a stale program.
        return
    if not program.exists():
        tally.add(0, [(kind, f"{program.relative_to(ROOT)} is not there: the build made no fanout")])
        return
    env = {**os.environ, **SANITIZER_ENV, "FANOUT_BIN": str(program), "FANOUT_BUILD": binary}
    if all_tiers:
        env["FANOUT_TEST_ALL"] = "1"
        env.setdefault("FANOUT_TEST_FILE_TIMEOUT_MS", "7200000")
        if binary != "asan": # One build has all the seeds of the client library's chaos, each over a minute.
            env.setdefault("FANOUT_CHAOS_SEEDS", "4")
    # Two files at a time keep two cores busy; a browser is a crowd of its own.
    run_node_files(tally, f"tests/{kind}", files, env, "1" if kind == "browser" else "2")


def file_times():
    """How long each file took the last time: its name -> seconds."""
    try:
        return json.loads(FILE_TIMES.read_text())
    except (OSError, ValueError):
        return {}


def longest_first(files, times):
    """A long file that begins last would run alone at the end; a new one may be long."""
    return sorted(files, key=lambda f: -times.get(os.path.relpath(f, ROOT), 1e9))


def run_node_files(tally, where, files, env, concurrency):
    started = time.monotonic()
    files = longest_first(files, file_times())
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        command = sanitizer_prefix() + ["node", "tests/support/run.mjs", result.name, concurrency]
        done = subprocess.run(command + [str(f) for f in files], cwd=ROOT, env=env, check=False)
        text = Path(result.name).read_text()
    if done.returncode != 0 or not text:
        tally.add(0, [(where, f"the runner of {where} ended with status {done.returncode}")])
        return
    passed, failed = 0, 0
    books = json.loads(text)
    times = {os.path.relpath(book["file"], ROOT): round(book["seconds"], 1) for book in books}
    FILE_TIMES.parent.mkdir(exist_ok=True)
    FILE_TIMES.write_text(json.dumps(file_times() | times, indent=1) + "\n")
    for book in books:
        name = os.path.relpath(book["file"], ROOT)
        tally.times.append((book["seconds"], f"{env.get('FANOUT_BUILD', '')} {name}".strip()))
        failures = [(f"{name}: {bad['name']}", bad["why"]) for bad in book["failed"]]
        failures += [(f"{name}: {s['name']}", f"skipped: {s['why']}") for s in book["skipped"]]
        if failures and book["output"].strip():
            failures[-1] = (failures[-1][0], f"{failures[-1][1]}\n--- output of {name}\n{book['output']}")
        tally.add(book["passed"], failures)
        passed += book["passed"]
        failed += len(failures)
    print(f"   {passed} passed, {failed} failed in {time.monotonic() - started:.0f} s", flush=True)


# --- the long tier ------------------------------------------------------------------------------


def fuzz_targets():
    return sorted(p.stem.removeprefix("fuzz_") for p in (ROOT / "fuzz").glob("fuzz_*.c"))


def run_fuzz(tally, chosen, seconds):
    targets = [t for t in fuzz_targets() if chosen(f"fuzz_{t}")]
    if not targets:
        return
    part(f"fuzz: {len(targets)} targets for {seconds} s each, {CORES} at a time; findings: build/fuzz/findings")
    if not build(tally, "fuzz"):
        return

    def fuzz_one(target):
        status, output = run(["./dev", "internal-fuzz", target, seconds])
        print(f"   {target}: {'no finding' if status == 0 else 'FOUND SOMETHING'}", flush=True)
        return target, status, output

    with ThreadPoolExecutor(CORES) as pool:
        for target, status, output in pool.map(fuzz_one, targets):
            tally.add(int(status == 0), [] if status == 0 else [(f"fuzz {target}", output)])


def run_autobahn(tally, chosen):
    """Counts as one test; where there is no Python 2.7 it says so and counts as none."""
    if not chosen("conformance/autobahn"):
        return
    part("autobahn: the WebSocket suite, sections 1-7, 9, 10, 12, 13")
    status, output = run([ROOT / "dev", "autobahn"])
    print("   " + (output.strip().splitlines() or ["no output"])[-1], flush=True)
    if status != 3:
        tally.add(int(status == 0), [] if status == 0 else [("autobahn", output)])


def run_sim(tally, chosen, seed, runs):
    """The simulations alone: each program of suite 'sim' takes --seed N and --runs N."""
    words = []
    if seed is not None:
        words += ["--seed", str(seed)]
    if runs is not None:
        words += ["--runs", str(runs)]
    run_meson(
        tally, "asan", f"simulations {' '.join(words)}".rstrip(), chosen,
        suites=("sim",), extra_args=" ".join(words),
    )


def run_sim_long(tally, chosen, first, runs):
    """The simulations with seeds that no run before had, a process a slice, on all cores."""
    programs = [t for t in meson_tests_of("asan", "sim") if chosen(t["name"])] if build(tally, "asan") else []
    if not programs:
        return
    part(f"simulations: {runs} runs from seed {first}; a failure names its seed")
    slices = [(t, seed) for t in programs for seed in range(first, first + runs, SIM_SLICE_RUNS)]
    done, failures = 0, {t["name"]: [] for t in programs}

    def run_slice(work):
        test, seed = work
        command = sanitizer_prefix() + test["cmd"] + ["--seed", seed, "--runs", SIM_SLICE_RUNS]
        return test["name"], seed, *run(command, env={**os.environ, **SANITIZER_ENV})

    with ThreadPoolExecutor(CORES) as pool:
        for name, seed, status, output in pool.map(run_slice, slices):
            if status != 0:
                failures[name].append((f"{name} in the runs from seed {seed}", output))
            done += SIM_SLICE_RUNS
            if done % (4 * SIM_SLICE_RUNS) == 0:
                print(f"   {done} of {runs * len(programs)} runs", flush=True)
    for bad in failures.values():
        tally.add(int(not bad), bad)


# --- the door -----------------------------------------------------------------------------------


class Filter:
    """Chooses tests whose name contains the text; chooses everything without one."""

    def __init__(self, text):
        self.text = text
        self.everything = text is None

    def __call__(self, name):
        return self.everything or self.text in name


def everything(tally, chosen, all_tiers):
    """The plan of all checks. Guessed times are those of two cores."""
    times = BUILD / ("test-times-all.json" if all_tiers else "test-times.json")
    plan = Plan(times if chosen.everything else None)

    def node(kind, binary, what, seconds):
        plan.add(f"{kind}, {binary}", seconds, lambda: run_node(tally, kind, what, chosen, binary, all_tiers))

    plan.add("sources", 10, lambda: (check_tools(tally, chosen), check_source(tally, chosen)))
    plan.add("C tests, asan", 400 if all_tiers else 100, lambda: run_meson(
        tally, "asan", "C tests: unit, simulation, fuzz regressions; AddressSanitizer and UBSan", chosen,
        all_tiers=all_tiers,
    ))  # fmt: skip
    plan.add("client library", 10, lambda: run_client(tally, chosen))
    plan.add("C tests, tsan", 60, lambda: run_meson(
        tally, "tsan", "C tests: the threaded parts under ThreadSanitizer", chosen, suites=("tsan",)
    ))  # fmt: skip
    what = "integration: the contracts, with real Redis and real clients"
    node("integration", "asan", what, 1800 if all_tiers else 90)
    node("conformance", "asan", "conformance: WebSocket and HTTP, byte by byte", 15)
    node("browser", "asan", "browser: Chromium's own WebSocket and the page", 50)
    if all_tiers:
        plan.add("simulations", 500, lambda: run_sim_long(tally, chosen, int(time.time()), SIM_RUNS_LONG))
        plan.add("autobahn", 60, lambda: run_autobahn(tally, chosen))
        node("integration", "release", "integration once more: the release build, as it is shipped", 400)
        node("conformance", "release", "conformance once more: the release build, as it is shipped", 15)
        node("integration", "tsan", "integration once more: ThreadSanitizer, several shards racing", 500)
        node("conformance", "tsan", "conformance once more: ThreadSanitizer", 20)
        fuzz_s = len(fuzz_targets()) * FUZZ_SECONDS / CORES
        plan.add(f"fuzz, {FUZZ_SECONDS} s each", fuzz_s, lambda: run_fuzz(tally, chosen, FUZZ_SECONDS))
    return plan


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--filter")
    parser.add_argument("--only", choices=("asan", "tsan", "sim"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--runs", type=int)
    args = parser.parse_args()
    tally, chosen = Tally(), Filter(args.filter)
    if args.all:
        os.environ["FANOUT_TEST_ALL"] = "1"  # More rounds, in C as in node.
    started = time.monotonic()
    if args.only == "sim":
        run_sim(tally, chosen, args.seed, args.runs)
    elif args.only:
        run_meson(tally, args.only, f"C tests in build/{args.only}", chosen)
    else:
        plan = everything(tally, chosen, args.all)
        if chosen.everything:
            print(plan.overview(), flush=True)
        plan.run(part_of_plan if chosen.everything else lambda _: None)
    if len(tally.times) > SLOWEST_SHOWN:
        slowest = [f"{name} {seconds:.0f} s" for seconds, name in tally.slowest(SLOWEST_SHOWN)]
        print(f"   slowest: {', '.join(slowest)}")
    print(f"   took {time.monotonic() - started:.0f} s")
    if tally.passed + tally.failed == 0:
        print("   nothing ran" + (f": no test's name contains '{args.filter}'" if args.filter else ""))
    print(f"{tally.passed} passed, {tally.failed} failed", flush=True)
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
