"""Scenarios: what a connection, a handshake and a delivery cost, beside nchan and a bare send() loop."""

import http.client
import time

from lib_host import fd_limit, say
from lib_load import Wsload
from lib_result import Result, column, lost, median, ratios, show, spread
from lib_servers import Fanout, Floor, Nchan

GOAL_KIB = 0.35
GOAL_CPU = 1.05
GOAL_FLOOR, GOAL_NCHAN = 7, 8
GOAL_START_MS = 50


def most_clients(wanted):
    """As many as a process may have descriptors for, the generator's own aside."""
    return min(wanted, fd_limit() - 200)


def makers(ctx, floor=True):
    """The servers that are here, in the order in which they take turns."""
    found = {"floor": Floor} if floor and ctx.have["floor"] else {}
    found["fanout"] = Fanout
    if ctx.have["nchan"]:
        found["nchan"] = Nchan
    return found


def met(value, compare, bound):
    if value is None:
        return None
    return value <= bound if compare == "<=" else value >= bound


def memory(ctx):
    result = Result(
        "memory", "Memory per idle connection",
        "Growth of the server's resident memory (RSS) from before the first connection until all are"
        " open and idle, divided by their number; the kernel's socket buffers are not in it. A fresh"
        " server each time. *One room*: all listen to the same channel. *Distinct users*: a channel"
        " each.",
    )  # fmt: skip
    result.table("connections", "channels", "fanout, KiB", "nchan, KiB", "fanout / nchan")
    for wanted in (1000, ctx.pick(18000, 4000)):
        clients = most_clients(wanted)
        for users in (False, True):
            runs = ctx.interleave(
                result, makers(ctx, floor=False), ctx.pick(3, 1),
                lambda server, n=clients, u=users: ctx.load.idle(server, n, u, hold=1),
            )  # fmt: skip
            ours, theirs = (column(runs, name, "kib_per_conn") for name in ("fanout", "nchan"))
            ratio = median(ratios(ours, theirs))
            kind = "distinct users" if users else "one room"
            result.row(show(clients), kind, spread(ours), spread(theirs), show(ratio, "×"))
            result.check(
                f"memory per idle connection, {clients:,}, {kind}",
                show(median(ours), "KiB"), f"≤ {GOAL_KIB} KiB", met(median(ours), "<=", GOAL_KIB),
                f"nchan {show(median(theirs), 'KiB')}", ratio,
            )  # fmt: skip
            complain_of_failed(result, runs)
    return result


def complain_of_failed(result, runs):
    for name, rounds in runs.items():
        failed = sum(x.get("failed", 0) for x in rounds)
        if failed:
            result.notes.append(f"{name}: {failed} connections failed.")


def delivery_table(result, runs):
    result.table(
        "server", "CPU per delivery, µs", "deliveries/s", "published/s", "messages a write", "lost",
        "p50, ms", "p99, ms",
    )  # fmt: skip
    for name, rounds in runs.items():
        result.row(
            name,
            spread(column(runs, name, "cpu_us_per_delivery")),
            spread(column(runs, name, "deliveries_per_s")),
            spread([x["published"] / x["seconds"] for x in rounds if x]),
            spread(column(runs, name, "per_write")),
            show(lost(rounds)),
            spread(column(runs, name, "p50")),
            spread(column(runs, name, "p99")),
        )
    complain_of_failed(result, runs)


def messages_per_write(server):
    """How many messages one write carried. The floor writes once for each; what fanout's core finds
    waiting for the same client goes out together, and that is where it saves."""
    if isinstance(server, Fanout):
        writes, books = server.metrics().get("fanout_spans_total"), server.books()
        return books["delivered"] / writes if books and writes else None
    return 1.0 if isinstance(server, Floor) else None


def deliveries(ctx, result, rounds, rate, publishers, seconds, servers=None, warmup_s=0.5):
    def use(server):
        figures = ctx.load.steady(server, 1000, rate, 128, seconds, publishers, warmup_s=warmup_s)
        figures |= {"seconds": seconds, "per_write": messages_per_write(server)}
        if isinstance(server, Fanout):
            figures["books"] = server.books()
        return figures

    runs = ctx.interleave(result, servers or makers(ctx), rounds, use)
    delivery_table(result, runs)
    return runs


def cpu(ctx):
    result = Result(
        "cpu", "CPU per delivery",
        "1,000 subscribers of one channel, 100 messages/s of 128 B, so 100,000 deliveries/s offered to"
        " one core that is not saturated. CPU time of the server's threads by the kernel's scheduler"
        " statistics, divided by what the clients received. *floor* is a loop with one `send()` a"
        " delivery and nothing else.",
    )  # fmt: skip
    runs = deliveries(ctx, result, ctx.pick(7, 2), 100, 8, ctx.pick(4, 2))
    ours, floor, nchan = (
        column(runs, name, "cpu_us_per_delivery") for name in ("fanout", "floor", "nchan")
    )
    ratio = median(ratios(ours, floor))
    result.check(
        "CPU per delivery, 1,000 subscribers × 100 msg/s × 128 B", show(median(ours), "µs"),
        f"≤ {GOAL_CPU} × floor", met(ratio, "<=", GOAL_CPU), f"floor {show(median(floor), 'µs')}",
        ratio,
    )  # fmt: skip
    to_nchan = median(ratios(ours, nchan))
    result.check(
        "the same beside nchan", show(median(ours), "µs"), "≤ nchan", met(to_nchan, "<=", 1),
        f"nchan {show(median(nchan), 'µs')}", to_nchan,
    )  # fmt: skip
    if floor:
        result.notes.append(f"Ratio to the floor, round by round: {spread(ratios(ours, floor))}.")
    return result


OFFER, OVERLOAD = 2000, 20000  # Messages/s, to 1,000 subscribers each.
WSLOAD_WAITS_MS = 5000


def saturated(ctx):
    result = Result(
        "saturated", "Deliveries on one saturated core",
        f"1,000 subscribers of one channel; 32 publishers offer messages of 128 B, each with one request"
        f" under way; what arrives counts. First {OFFER:,} messages/s, so {OFFER * 1000:,} deliveries/s"
        f" are offered; that caps the ratio, because fanout delivers all of it. So nchan is judged by the"
        f" second measurement, which offers {OVERLOAD:,} messages/s, more than any of them can take: a"
        f" server then slows its publishers down, or drops and says so. Tables in this order.",
    )  # fmt: skip
    at_offer = deliveries(ctx, result, ctx.pick(5, 1), OFFER, 32, ctx.pick(4, 2))
    both = makers(ctx, floor=False)
    beyond = deliveries(
        ctx, result, ctx.pick(5, 1), OVERLOAD, 32, ctx.pick(4, 2), servers=both, warmup_s=0
    )
    ours, floor, nchan = (
        column(at_offer, name, "deliveries_per_s") for name in ("fanout", "floor", "nchan")
    )
    check_ratio(
        result, f"deliveries/s on one core, {OFFER:,} msg/s offered", ours, "/s", "floor", floor, ">=",
        GOAL_FLOOR,
    )  # fmt: skip
    what = f"deliveries/s on one core, {OFFER:,} msg/s offered: the offer caps the ratio"
    result.beside(
        what, show(median(ours), "/s"), f"nchan {show(median(nchan), '/s')}", median(ratios(ours, nchan))
    )
    ours, nchan = (column(beyond, name, "deliveries_per_s") for name in ("fanout", "nchan"))
    check_ratio(
        result, f"deliveries/s on one core, {OVERLOAD:,} msg/s offered", ours, "/s", "nchan", nchan,
        ">=", GOAL_NCHAN,
    )  # fmt: skip
    for runs, rate in ((at_offer, OFFER), (beyond, OVERLOAD)):
        ours, nchan = (column(runs, name, "cpu_us_per_delivery") for name in ("fanout", "nchan"))
        what = f"CPU per delivery, {rate:,} msg/s offered"
        check_ratio(result, what, ours, "µs", "nchan", nchan, "<=", 1)
    check_drops(ctx, result, beyond)
    return result


def check_ratio(result, what, ours, unit, name, theirs, compare, goal):
    """Judges the median of each round's own ratio."""
    ratio = median(ratios(ours, theirs))
    sign = "≥" if compare == ">=" else "≤"
    result.check(
        f"{what}, beside {name}", show(median(ours), unit), f"{sign} {goal} × {name}",
        met(ratio, compare, goal), f"{name} {show(median(theirs), unit)}", ratio,
    )  # fmt: skip
    if len(ratios(ours, theirs)) > 1:
        result.notes.append(f"{what}, fanout / {name} round by round: {spread(ratios(ours, theirs))}.")


def check_drops(ctx, result, runs):
    """What the clients miss must be what the server says it dropped, message by message."""
    # wsload waits 5 s for what is still on its way; what came to nobody by then may lie in a socket.
    rounds = [x for x in runs["fanout"] if x and x["books"] and x["max"] < WSLOAD_WAITS_MS]
    if len(rounds) < len(runs["fanout"]):
        result.notes.append("Rounds that failed, or that kept a message for 5 s, are not in these counts.")
    missed, dropped = lost(rounds), sum(x["books"]["dropped"] for x in rounds)
    expected = sum(x["expected"] for x in rounds)
    result.table(
        f"{OVERLOAD:,} msg/s, all rounds", "expected", "lost as the clients count",
        "dropped as /metrics says", "share",
    )  # fmt: skip
    result.row(
        "fanout", show(expected), show(missed), show(dropped),
        f"{missed / expected:.2%}" if expected else "–",
    )  # fmt: skip
    if "nchan" in runs:
        theirs, wanted = lost(runs["nchan"]), sum(x.get("expected", 0) for x in runs["nchan"])
        share = f"{theirs / wanted:.2%}" if wanted else "–"
        result.row("nchan", show(wanted), show(theirs), "it has no such counter", share)
    if not isinstance(ctx.load, Wsload):
        result.notes.append("Lost and dropped are compared only where wsload counts what is lost.")
        return
    result.check(
        "every message that a client misses is counted as dropped", show(dropped),
        "what the clients miss", None if not rounds else dropped == missed, f"missed {show(missed)}",
    )  # fmt: skip


def handshakes(ctx):
    clients = most_clients(ctx.pick(5000, 2000))
    result = Result(
        "handshakes", "Handshakes",
        f"{clients:,} WebSockets connect as fast as they are let, 128 under way at a time; fanout and"
        " nchan take turns, each with its defaults: fanout accepts a connection when its first bytes are"
        " there (`tcp.defer_accept`), nginx at once (its `deferred` is off).",
    )  # fmt: skip
    runs = ctx.interleave(
        result, makers(ctx, floor=False), ctx.pick(11, 2),
        lambda server: ctx.load.idle(server, clients),
    )  # fmt: skip
    result.table("server", "handshakes/s", "CPU per handshake, µs", "its core was busy")
    cost = {}
    for name, rounds in runs.items():
        done = [x for x in rounds if x]
        opened, spent = (sum(x[k] for x in done) for k in ("opened", "connect_cpu_s"))
        cost[name] = spent / opened * 1e6 if opened else None
        busy = spent / sum(x["connect_s"] for x in done) if done else 0
        rate = spread(column(runs, name, "handshakes_per_s"))
        result.row(name, rate, show(cost[name]), f"{min(busy, 1):.0%}")
    complain_of_failed(result, runs)
    ours, theirs = (column(runs, name, "handshakes_per_s") for name in ("fanout", "nchan"))
    ratio = median(ratios(ours, theirs))
    result.check(
        "handshakes/s on one core", show(median(ours), "/s"), "≥ nchan", met(ratio, ">=", 1),
        f"nchan {show(median(theirs), '/s')}", ratio,
    )  # fmt: skip
    both = cost.get("fanout") and cost.get("nchan")
    ratio = cost["fanout"] / cost["nchan"] if both else None
    result.check(
        "CPU per handshake", show(cost.get("fanout"), "µs"), "≤ nchan", met(ratio, "<=", 1),
        f"nchan {show(cost.get('nchan'), 'µs')}", ratio,
    )  # fmt: skip
    result.notes.append(f"fanout / nchan round by round: {spread(ratios(ours, theirs))}.")
    result.notes.append(
        "Where the server's core was not busy all the time, the generator on the other core set the"
        " pace; CPU per handshake is then the better figure. CPU is summed over all rounds."
    )
    return result


class Starting(Fanout):
    """Asks for /ready without pause, so that the time to it is exact."""

    def wait_ready(self):
        while self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            try:
                connection.request("GET", "/ready")
                if connection.getresponse().status == 200:
                    self.ready_at = time.perf_counter()
                    return
            except OSError:
                time.sleep(0.0002)
            finally:
                connection.close()
        raise RuntimeError(f"fanout ended at its start:\n{self.log.read_text()[-2000:]}")


def start(ctx):
    result = Result(
        "start", "From start to ready",
        "From before fork and exec until `/ready` answers 200, embedded broker, one thread per core;"
        " the measuring program's own time to start a process is in it.",
    )  # fmt: skip
    took = []
    rounds = ctx.pick(20, 5)
    say(f"start: {rounds} starts")
    for _ in range(rounds):
        before = [0.0]

        def make():
            server = Starting("--broker", "embedded", shards=0, pinned=False)
            before[0] = time.perf_counter()
            return server

        figures = ctx.measure(
            result, make, lambda server: {"ready_ms": (server.ready_at - before[0]) * 1000}, "fanout"
        )
        took.append(figures and figures["ready_ms"])
    result.table("starts", "median, ms", "least, ms", "most, ms")
    done = [x for x in took if x is not None]
    if done:
        result.row(show(len(done)), show(median(done)), show(min(done)), show(max(done)))
    result.check(
        "start to ready, embedded", show(median(done), "ms"), f"≤ {GOAL_START_MS} ms",
        met(median(done), "<=", GOAL_START_MS),
    )  # fmt: skip
    return result
