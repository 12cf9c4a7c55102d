/* The gateway under all kinds of clients, decided by a seed.
 *
 *   clients [--seed N] [--runs N] [--trace]
 *
 * Each run builds a gateway of one to four shards with drawn settings and lets clients of all kinds
 * join, leave, stall, die and misbehave while they publish; then everybody reads again, and every
 * client must have got, or been told of, all it is owed. A failed check prints the seed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "tests/sim/peer.h"

enum { PEERS_MAX = 40, RUNS_DEFAULT = 500, REPEAT_EVERY = 16 };

static uint64_t seed_now;

/* Over all runs: what has not happened has not been tested. */
static struct {
    uint64_t publications, delivered, dropped[DROP_REASONS], replayed, refused;
    uint64_t handshakes, violations, slow, idle, moves;
} totals;

struct scene {
    struct sim *sim;
    struct gateway gateway;
    struct ledger *ledger;
    struct ws_inflater *inflater;
    struct peer *peers[PEERS_MAX];
};

static void learn_kept(void *ctx, const struct publication *pub)
{
    struct scene *scene = ctx;
    int channel = ledger_channel(publication_name(pub));

    ledger_learn(scene->ledger, channel, pub->offset, ledger_event(publication_payload(pub)));
}

static void pump_all(struct scene *scene)
{
    for (int i = 0; i < PEERS_MAX; i++) {
        if (scene->peers[i]) {
            peer_pump(scene->peers[i]);
        }
    }
}

static void join(struct scene *scene, struct peer **place)
{
    enum peer_kind kind = (enum peer_kind)sim_random(scene->sim, PEER_KINDS);

    *place = peer_create(&scene->gateway, scene->ledger, scene->inflater, kind);
}

static void one_act(struct scene *scene)
{
    struct peer **place = &scene->peers[sim_random(scene->sim, PEERS_MAX)];

    if (!*place) {
        join(scene, place);
    } else if ((*place)->phase == PEER_ENDED && sim_random(scene->sim, 2)) {
        peer_check_rest(*place);
        peer_destroy(*place);
        *place = NULL;
    } else {
        peer_act(*place);
    }
}

/* A thread that does not get its turn: letters to it pile up. */
static void pause_one(struct scene *scene)
{
    uint64_t shard = sim_random(scene->sim, scene->gateway.shard_count);
    sim_pause(scene->gateway.shards[shard].loop, 1 + sim_random(scene->sim, 300));
}

static void move(struct scene *scene)
{
    uint16_t count = (uint16_t)(1 + sim_random(scene->sim, GATEWAY_SHARDS_MAX));
    gateway_move(&scene->gateway, count);
}

static void steps(struct scene *scene, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        sim_step(scene->sim);
    }
}

static void traffic(struct scene *scene)
{
    uint64_t acts = 100 + sim_random(scene->sim, 1500);
    uint64_t pace = 1 + sim_random(scene->sim, sim_random(scene->sim, 2) ? 60 : 4);
    uint64_t pauses = sim_random(scene->sim, 2) * 20;
    uint64_t moves = sim_random(scene->sim, 2) * 20;

    for (uint64_t i = 0; i < acts; i++) {
        one_act(scene);
        if (sim_random(scene->sim, 1000) < pauses) {
            pause_one(scene);
        }
        if (sim_random(scene->sim, 1000) < moves) {
            move(scene);
        }
        steps(scene, sim_random(scene->sim, pace));
        pump_all(scene);
        if (i % 16 == 0) {
            gateway_check_books(&scene->gateway);
            gateway_each_kept(&scene->gateway, learn_kept, scene);
        }
    }
}

/* Everybody reads: within a bounded time all that waits has arrived. */
static void come_to_rest(struct scene *scene)
{
    for (int i = 0; i < PEERS_MAX; i++) {
        if (scene->peers[i] && scene->peers[i]->stalled) {
            scene->peers[i]->stalled = false;
            sim_client_stall(scene->peers[i]->client, false);
        }
    }
    for (int i = 0; i < 60; i++) {
        sim_run_ms(scene->sim, 500);
        pump_all(scene);
    }
    gateway_each_kept(&scene->gateway, learn_kept, scene);
    gateway_check_books(&scene->gateway);
    for (int i = 0; i < PEERS_MAX; i++) {
        if (scene->peers[i]) {
            peer_check_rest(scene->peers[i]);
        }
    }
}

static void drain(struct scene *scene)
{
    gateway_drain(&scene->gateway);
    for (int i = 0; i < 60; i++) {
        sim_run_ms(scene->sim, 500);
        pump_all(scene);
    }
    for (uint16_t i = 0; i < scene->gateway.shard_count; i++) {
        CHECK(conn_server_count(scene->gateway.shards[i].server) == 0);
    }
    for (int i = 0; i < PEERS_MAX; i++) {
        if (scene->peers[i]) {
            peer_check_drained(scene->peers[i]);
        }
    }
}

static void count(struct gateway *gateway)
{
    totals.moves += gateway->moves;
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        const struct shard_stats *core = &gateway->shards[i].server->shard->stats;
        const struct conn_stats *conn = &gateway->shards[i].server->stats;
        totals.publications += core->publications;
        totals.delivered += core->books.delivered;
        for (int reason = 0; reason < DROP_REASONS; reason++) {
            totals.dropped[reason] += core->books.dropped[reason];
        }
        totals.replayed += core->replayed;
        totals.refused += core->refused;
        totals.handshakes += conn->handshakes;
        totals.violations += conn->violations;
        totals.slow += conn->slow_began;
        totals.idle += conn->idle_closed;
    }
}

static void print_totals(void)
{
    printf("publications %llu, refused %llu, delivered %llu, replayed %llu\ndropped:",
        (unsigned long long)totals.publications, (unsigned long long)totals.refused,
        (unsigned long long)totals.delivered, (unsigned long long)totals.replayed);
    for (int reason = 0; reason < DROP_REASONS; reason++) {
        printf(" %s %llu", drop_reason_names[reason], (unsigned long long)totals.dropped[reason]);
    }
    printf("\nupgrades %llu, violations %llu, grew slow %llu, closed silent %llu, moves %llu\n",
        (unsigned long long)totals.handshakes, (unsigned long long)totals.violations,
        (unsigned long long)totals.slow, (unsigned long long)totals.idle,
        (unsigned long long)totals.moves);
}

static uint64_t run(uint64_t seed, bool trace)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));

    seed_now = seed;
    scene->ledger = mem_zalloc(sizeof(*scene->ledger));
    CHECK(ws_inflater_create(&scene->inflater) == 0);
    scene->sim = sim_create(seed);
    sim_enter(scene->sim);
    sim_trace_to(scene->sim, trace ? stderr : NULL);
    gateway_start(&scene->gateway, scene->sim);
    traffic(scene);
    if (sim_random(scene->sim, 4)) {
        come_to_rest(scene);
    }
    if (sim_random(scene->sim, 3) == 0) {
        drain(scene);
    }
    count(&scene->gateway);
    gateway_stop(&scene->gateway);
    for (int i = 0; i < PEERS_MAX; i++) {
        if (scene->peers[i]) {
            peer_destroy(scene->peers[i]);
        }
    }
    uint64_t hash = sim_trace_hash(scene->sim);
    sim_destroy(scene->sim);
    ws_inflater_destroy(scene->inflater);
    mem_free(scene->ledger);
    mem_free(scene);
    return hash;
}

static void tell_seed(void)
{
    fprintf(stderr, "failed with seed %llu; replay: ./dev sim --seed %llu --runs 1\n",
        (unsigned long long)seed_now, (unsigned long long)seed_now);
}

static void on_abort(int signal)
{
    (void)signal;
    tell_seed();
}

/* Called by AddressSanitizer before its report. */
void __asan_on_error(void);
void __asan_on_error(void)
{
    tell_seed();
}

static uint64_t number(const char *text, const char *what)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text ? text : "", &end, 10);
    if (!text || !*text || *end || errno) {
        fprintf(stderr, "clients: %s is \"%s\"; expected a number\n", what, text ? text : "");
        exit(2);
    }
    return value;
}

static void one_seed(uint64_t seed, bool trace)
{
    uint64_t hash = run(seed, trace);

    if (seed % REPEAT_EVERY == 0) {
        CHECK(run(seed, false) == hash); /* One seed is one world. */
    }
}

/* Seeds that once failed, one a line; '#' begins a comment. */
static void replay_known(void)
{
    const char *path = getenv("FANOUT_SIM_SEEDS");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[200];

    while (file && fgets(line, sizeof(line), file)) {
        if (line[0] >= '0' && line[0] <= '9') {
            one_seed(strtoull(line, NULL, 10), false);
        }
    }
    if (file) {
        fclose(file);
    }
}

int main(int argc, char **argv)
{
    uint64_t first = 1, runs = RUNS_DEFAULT;
    bool trace = false, chosen = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) {
            first = number(argv[++i], "--seed");
            runs = chosen ? runs : 1;
        } else if (strcmp(argv[i], "--runs") == 0) {
            runs = number(argv[++i], "--runs");
            chosen = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        }
    }
    log_configure(LOG_OFF, LOG_LOGFMT);
    signal(SIGABRT, on_abort);
    replay_known();
    for (uint64_t seed = first; seed < first + runs; seed++) {
        one_seed(seed, trace);
    }
    print_totals();
    printf("%llu runs from seed %llu\n", (unsigned long long)runs, (unsigned long long)first);
    return 0;
}
