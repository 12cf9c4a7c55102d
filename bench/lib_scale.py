"""Scenarios: a room over Redis, clients that never read, very many connections in one process, and
whether the two load generators agree."""

import http.client
import json
import re
import subprocess
import threading
import time

from lib_cost import GOAL_KIB, complain_of_failed, met, most_clients
from lib_host import ROOT, fd_limit, say
from lib_load import Wsload
from lib_result import Result, column, in_turn, lost, median, ratios, show, spread
from lib_servers import Fanout, Redis

PUBLISHED = {"deliveries_per_s": 3992, "p50": 0.6, "p95": 0.9, "p99": 1.5}
LATENCIES = ("p50", "p95", "p99")


# ---- one room over Redis ----


def room(ctx):
    result = Result(
        "room", "One room over Redis",
        "The setting of the room service whose figures were published from a laptop (200 clients in one"
        " room, 20 messages/s over Redis: 3,992 deliveries/s, p50 0.6 ms, p95 0.9 ms, p99 1.5 ms)."
        " *Redis PUBLISH*: the room envelope is published to Redis, as another gateway would. *Room"
        " client*: a member sends, the gateway publishes to Redis and hears it back. Redis shares the"
        " gateway's core.",
    )  # fmt: skip
    if not ctx.have["redis"]:
        result.notes.append("redis-server is not here: nothing was measured.")
        result.check("room over Redis: messages lost", None, "0", None)
        return result
    seconds = ctx.pick(8, 3)
    with Redis() as redis:
        options = ["--redis-addr", f"127.0.0.1:{redis.port}"]

        def by_redis(server):
            return ctx.bench.room_over_redis(server, redis, 200, 20, seconds)

        def by_client(server):
            url = f"ws://127.0.0.1:{server.port}/ws?room=r&client_id=publisher"
            return ctx.load.steady(server, 200, 20, 128, seconds, publish=url)

        ways = {"Redis PUBLISH": by_redis}
        if isinstance(ctx.load, Wsload):
            ways["room client"] = by_client
        runs = {way: [] for way in ways}
        for turn in range(ctx.pick(3, 1)):
            say(f"room: round {turn + 1}")
            for way, use in ways.items():
                runs[way].append(ctx.measure(result, lambda: Fanout(*options), use, way) or {})
        result.add_command("redis", redis.command())
        result.commands = [
            (what, line.replace(str(redis.port), "REDIS_PORT").replace(redis.home.name, "DIR"))
            for what, line in result.commands
        ]
    result.table("published by", "generator", "deliveries/s", "lost", *(f"{q}, ms" for q in LATENCIES))
    result.row("published figures", "its own", show(3992), "–", "0.6", "0.9", "1.5")
    for way, rounds in runs.items():
        generator = ctx.bench.name if way == "Redis PUBLISH" else ctx.load.name
        cells = [spread(column(runs, way, key)) for key in LATENCIES]
        result.row(way, generator, spread(column(runs, way, "deliveries_per_s")), show(lost(rounds)), *cells)
        for q in LATENCIES:
            value = median(column(runs, way, q))
            result.beside(
                f"room over Redis, 200 × 20 msg/s by {way}, {q}", show(value, "ms"),
                f"published {PUBLISHED[q]} ms", value / PUBLISHED[q] if value else None,
            )  # fmt: skip
    misses = lost([x for rounds in runs.values() for x in rounds])
    measured = any(x for rounds in runs.values() for x in rounds)
    result.check(
        "room over Redis: messages lost", show(misses), "0", met(misses, "<=", 0) if measured else None
    )
    complain_of_failed(result, runs)
    result.notes.append(
        "The published figures come from another machine: they are shown for orientation, and being"
        " slower or faster than they are is neither a goal met nor one missed."
    )
    return result


# ---- clients that never read ----

SLOW_OUTBOX, SLOW_SIZE, SLOW_RATE = 16, 4096, 4


class Sampler:
    """Looks at a server's books while it works: they must add up at every moment, not only at rest."""

    def __init__(self, server):
        self.server, self.samples, self.ended = server, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.wait(2):
            books = self.server.books()
            if books:
                self.samples.append(books)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def slow(ctx):
    clients = most_clients(ctx.pick(18000, 2000))
    stuck = clients // 100
    seconds = 18
    result = Result(
        "slow", "Clients that never read",
        f"{clients:,} connections in one room, {SLOW_RATE} messages/s of {SLOW_SIZE:,} B; {stuck} of"
        " them (1 %) never read. The run with them and the run without take turns. Some 170 KB a"
        f" connection vanish in the kernel's buffers first, then an outbox of {SLOW_OUTBOX} messages"
        " (set low so that it fills in this short run) has to give way.",
    )  # fmt: skip

    def use(server, k):
        with Sampler(server) as sampler:
            options = dict(size=SLOW_SIZE, seconds=seconds, slow=k)
            figures = ctx.load.steady(server, clients, SLOW_RATE, **options)
        time.sleep(0.5)
        books = [*sampler.samples, server.books()]
        named = re.findall(r"ev=conn\.slow .*?conn=(\w+)", server.log.read_text())
        return dict(
            figures, books=books[-1], peak_mib=server.rss_kib("VmHWM") / 1024,
            wrong_books=sum(1 for x in books if x is None or x["difference"]), looks=len(books),
            named=len(set(named)), lines=len(named),
        )  # fmt: skip

    def make():
        return Fanout("--namespace", f"room:outbox_messages={SLOW_OUTBOX}")

    runs = {"without": [], "with": []}
    for turn in range(ctx.pick(2, 1)):
        say(f"slow: round {turn + 1}, without and with")
        for label, k in (("without", 0), ("with", stuck)):
            figures = ctx.measure(result, make, lambda server, k=k: use(server, k), label)
            runs[label].append(figures or {})

    result.table("slow ones", "p50, ms", "p99, ms", "lost by others", "peak RSS, MiB", "named in the log")
    for label, rounds in runs.items():
        result.row(
            label, *[spread(column(runs, label, key)) for key in ("p50", "p99")],
            show(lost(rounds)),
            spread(column(runs, label, "peak_mib")), spread(column(runs, label, "named")),
        )  # fmt: skip
    done = [x for x in runs["with"] + runs["without"] if x]
    names = ("accepted", "delivered", "dropped", "queued", "pending", "difference")
    result.table("books after the run", *names, "looks while it ran", "of them wrong")
    for label in runs:
        for x in runs[label]:
            if x and x["books"]:
                figures = [show(x["books"][name]) for name in names]
                result.row(label, *figures, show(x["looks"]), show(x["wrong_books"]))
    check_slow(result, runs, done, stuck)
    complain_of_failed(result, runs)
    return result


def check_slow(result, runs, done, stuck):
    p99, beside = (column(runs, label, "p99") for label in ("with", "without"))
    ratio = median(ratios(p99, beside))
    result.check(
        f"{stuck} of the connections never read: p99 of the others", show(median(p99), "ms"),
        "≤ 2 × the run without", met(ratio, "<=", 2), f"without {show(median(beside), 'ms')}", ratio,
    )  # fmt: skip
    slow_runs = [x for x in runs["with"] if x]
    wrong = sum(x["wrong_books"] for x in done) if done else None
    result.check(
        "accepted = delivered + dropped + queued + pending, at every look",
        f"{wrong} wrong of {sum(x['looks'] for x in done)}", "0 wrong", met(wrong, "<=", 0),
    )  # fmt: skip
    bound = stuck * SLOW_OUTBOX * SLOW_SIZE / 1048576
    grown = median([
        a - b for a, b in zip(column(runs, "with", "peak_mib"), column(runs, "without", "peak_mib"))
        if a is not None and b is not None
    ])  # fmt: skip
    result.check(
        "peak memory more than without slow clients", show(grown, "MiB"),
        f"≤ {bound:.1f} MiB, all their outboxes full", met(grown, "<=", bound),
    )  # fmt: skip
    named = min((x["named"] for x in slow_runs), default=None)
    result.check(
        "slow connections named in the log", show(named), f"all {stuck}", met(named, ">=", stuck),
        f"{sum(x['lines'] for x in slow_runs) / max(1, len(slow_runs)):.0f} lines a run",
    )  # fmt: skip
    dropped = min((x["books"]["dropped"] for x in slow_runs if x["books"]), default=None)
    result.check("their messages dropped and counted", show(dropped), "> 0", met(dropped, ">=", 1))


# ---- very many ----

WINDOW = 30  # Seconds a load process listens after its last connection.


def many(ctx):
    each = min(ctx.pick(18000, 1000), fd_limit() - 200)
    total = 5 * each
    result = Result(
        "many", f"{total:,} connections in one process",
        f"`--fd-tables` gives each of six shards a descriptor table of its own, so that one process"
        f" may hold six times the limit of {fd_limit():,}. Five load processes of {each:,} clients"
        " connect to 127.0.0.11 to 127.0.0.15, as one pair of addresses would run out of ports. Then"
        " one message is published, and each client has to get it.",
    )  # fmt: skip
    if not isinstance(ctx.load, Wsload):
        result.notes.append("This scenario needs wsload.c: nothing was measured.")
        result.check(f"{total:,} connections in one process", None, f"{total:,}", None)
        return result
    say(f"many: {total:,} connections")
    figures = ctx.measure(
        result, lambda: Fanout("--fd-tables", shards=6, listen=":{port}"),
        lambda server: five_processes(result, server, each, ctx.pick(WINDOW, 10)), "fanout",
    )  # fmt: skip
    x = figures or {}
    result.table("connections", "failed", "seconds", "RSS, KiB each", "delivered", "p50, ms", "last, ms")
    result.row(*[x.get(key) for key in ("opened", "failed", "connect_s", "kib_per_conn", "received",
                                        "p50", "max")])  # fmt: skip
    opened, received = x.get("opened"), x.get("received")
    result.check("connections in one process", show(opened), f"{total:,}", met(opened, ">=", total))
    result.check(
        "one message delivered to all of them", show(received), f"{total:,}",
        None if received is None else received == total,
    )  # fmt: skip
    kib = x.get("kib_per_conn")
    result.check(
        f"memory per connection, {total:,} in one room", show(kib, "KiB"), f"≤ {GOAL_KIB} KiB",
        met(kib, "<=", GOAL_KIB),
    )  # fmt: skip
    books = x.get("books")
    result.check(
        "books of six shards", show(books["difference"]) if books else None, "0 difference",
        met(abs(books["difference"]), "<=", 0) if books else None,
    )  # fmt: skip
    return result


def five_processes(result, server, each, window):
    """The processes only listen: they publish nothing within their window. One message is posted when
    all are connected, stamped as theirs would be."""
    load, processes = Wsload(), []
    before = server.rss_kib()
    began = time.monotonic()
    try:
        for i in range(5):
            host = f"127.0.0.{11 + i}"
            command = load.command(
                server, each, publish=f"http://{host}:{server.port}/api/v1/channels/room:nobody",
                options=["-r", "0.001", "-d", window, "-w", "0"],
            )  # fmt: skip
            url = command.index("-u") + 1
            command[url] = command[url].replace("127.0.0.1:", f"{host}:")
            pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            processes.append((command, subprocess.Popen(command, cwd=ROOT, **pipe)))
            result.add_command("the first of five loads", command, server)
        heads = [process.stdout.readline() for _, process in processes]
        connected = time.monotonic() - began
        kib = (server.rss_kib() - before) / max(1, sum(int(x.split()[1][7:]) for x in heads))
        time.sleep(1.5)  # The last of them opens its window 0.6 s after its last connection.
        post_stamped(server)
        time.sleep(0.5)  # Half a second is what they drain after their window.
        if any(process.poll() is not None for _, process in processes):
            raise RuntimeError("a load process stopped listening before all were connected")
        texts = [h + p.communicate(timeout=window + 60)[0] for h, (_, p) in zip(heads, processes)]
    finally:
        for _, process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
    parts = [Wsload.read(c, text) for (c, _), text in zip(processes, texts)]
    return {
        **{key: sum(x[key] for x in parts) for key in ("opened", "failed", "received")},
        "connect_s": connected,
        "kib_per_conn": kib,
        "p50": median([x["p50"] for x in parts]),
        "max": max(x["max"] for x in parts),
        "books": server.books(),
    }


def post_stamped(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.connect()
    body = json.dumps({"ts": time.monotonic_ns(), "pad": "x" * 80}, separators=(",", ":"))
    connection.request("POST", "/api/v1/channels/room:r", body, {"Content-Type": "application/json"})
    connection.getresponse().read()
    connection.close()


# ---- do the generators agree ----


STEADY_PAIRS = 31


def bench_agreement(ctx):
    result = Result(
        "bench-agreement", "`fanout bench` beside wsload",
        "The two generators share no code. They take turns on the same server, with the same numbers;"
        " both latencies run from when a message was sent. A p99 of 100,000 deliveries/s is made by the"
        " few worst moments of a round, so there are many short rounds, each with a ratio of its own.",
    )  # fmt: skip
    settings = {
        "steady": ((100, 8), ("deliveries_per_s", "p50", "p99", "cpu_us_per_delivery")),
        "saturated": ((2000, 32), ("deliveries_per_s", "cpu_us_per_delivery")),
    }
    names = {"deliveries_per_s": "deliveries/s", "cpu_us_per_delivery": "CPU/delivery, µs"}
    if not isinstance(ctx.load, Wsload):
        result.notes.append("Without wsload.c there is nothing to agree with.")
        result.check("bench agrees with wsload", None, "within 10 %", None)
        return result
    result.table("setting", "figure", "wsload", "fanout bench", "bench / wsload")
    seconds = 2
    for setting, ((rate, publishers), keys) in settings.items():
        runs = {"wsload": [], "bench": []}

        def pair(server, turn, setting=setting, rate=rate, publishers=publishers, runs=runs):
            both = {}
            for label, load in in_turn([("wsload", ctx.load), ("bench", ctx.bench)], turn):
                both[label] = load.steady(server, 1000, rate, 128, seconds, publishers)
                result.add_command(f"{label}, {setting}", both[label]["command"], server)
                time.sleep(0.3)
            for label, figures in both.items():
                runs[label].append(figures)
            return both

        rounds = ctx.pick(STEADY_PAIRS if setting == "steady" else 5, 1)
        for turn in range(rounds):
            say(f"bench-agreement: {setting}, pair {turn + 1} of {rounds}")
            ctx.measure(result, Fanout, lambda server, turn=turn: pair(server, turn), "fanout")
        for key in keys:
            ours, theirs = column(runs, "bench", key), column(runs, "wsload", key)
            each = ratios(ours, theirs)
            ratio = median(each)
            name = names.get(key, f"{key}, ms")
            result.row(setting, name, spread(theirs), spread(ours), spread(each))
            result.check(
                f"bench agrees with wsload, {setting}: {name}", show(median(ours)), "within 10 %",
                None if ratio is None else 0.9 <= ratio <= 1.1, f"wsload {show(median(theirs))}",
                ratio,
            )  # fmt: skip
    return result
