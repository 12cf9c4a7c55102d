/* A world decided by one seed.
 *
 * What it is for
 *
 * The bugs of a server hide in orders of events that a real network shows once a month: a close
 * that crosses a message, a short write at the wrong byte, a wake-up that was not meant, a
 * descriptor number that already means another connection. Here such orders are the rule, there is
 * one of them per seed, and a seed that fails fails again.
 *
 * How it works
 *
 * A heap holds what is to come (a segment arrives, an acknowledgement, a reset, …), each with its
 * time. sim_step() lets one thing happen: a loop that has something to do gets a turn (which one is
 * drawn), or the earliest event happens, or, when neither is due, time jumps to whatever comes
 * first, a timer included. Nothing waits, nothing runs beside anything else, and every choice comes
 * from one generator, taken in one order; so equal seeds give equal worlds, down to the trace hash.
 * For that, nothing may depend on addresses in memory: all containers are lists and arrays in order
 * of creation.
 *
 * What it does to the program
 *
 *   sends        take fewer bytes than there is room for, then "not now" until LOOP_OUT; a window
 *                per direction fills when the reader stalls, and opens a latency after it reads
 *   arrival      bytes sent together arrive apart, each segment late by a latency of its own, in
 *                order within a direction; one in a hundred is ten times later
 *   reads        give all that has arrived: a short read means "nothing left", as on Linux
 *   ends         half-close, close, reset; closing with unread input resets and destroys what
 *                was still under way, and bytes for a closed end come back as a reset
 *   loops        by edge: once per change, with the state at the time of telling; in any order,
 *                sometimes a turn late, sometimes without cause; an event taken down for a
 *                descriptor that an earlier call of the same turn closed is still told
 *   numbers      the lowest free descriptor is given next, so numbers are reused at once; each
 *                process counts in its own million, so that a mix-up is seen
 *   mail         whole chains in order, but a sender may stop half-way and mend it later
 *   time         moves a little with each turn; a loop may be paused, the wall clock may jump
 *   machines     vanish without a word, addresses are cut off and mended, processes are killed
 *
 * What it is strict about: a call with a descriptor that is not open is our bug and stops the test
 * (with real descriptors it would hit somebody else's connection).
 *
 * What it does not do: losing or reordering segments inside a connection (TCP hides that; it shows
 * as latency), threads, signals, memory running out (mem_fail_after() does that), disks. TLS works
 * over simulated sockets, but OpenSSL draws its own random numbers: such a world is not repeatable.
 */
#include "rt/sim/sim.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/sim/world.h"

static const uint64_t NS_PER_MS = 1000000;
static const uint64_t BORN_NS = 3600ull * 1000000000;
static const uint64_t WALL_NS = 1800000000ull * 1000000000; /* January 2027. */

static _Thread_local struct sim *current_world;

struct sim *world(void)
{
    CHECK(current_world); /* sim_enter() */
    return current_world;
}

/* ---- Chance ---- */

bool chance(struct sim *sim, uint32_t ppm)
{
    return ppm && rng_below(&sim->rng, 1000000) < ppm;
}

uint64_t latency_ns(struct sim *sim)
{
    const struct sim_options *options = &sim->options;
    uint64_t min_ns = options->latency_min_us * 1000ull;
    uint64_t max_ns = options->latency_max_us * 1000ull;
    uint64_t ns = max_ns > min_ns ? min_ns + rng_below(&sim->rng, max_ns - min_ns + 1) : min_ns;

    return max_ns > min_ns && chance(sim, 10000) ? ns * 10 : ns;
}

/* Each disturbance is absent, rare or frequent, each world its own mixture: what hides behind a
 * frequent disturbance shows in a world without it. */
static uint32_t draw_ppm(struct sim *sim, uint32_t rare, uint32_t frequent)
{
    switch (rng_below(&sim->rng, 3)) {
    case 0:
        return 0;
    case 1:
        return rare;
    default:
        return frequent;
    }
}

static void draw_options(struct sim *sim)
{
    static const uint32_t latencies_us[] = {0, 50, 1000, 20000, 100000};
    static const uint32_t windows[] = {4096, 16384, 65536, 1 << 20};
    struct sim_options *options = &sim->options;

    options->latency_max_us = latencies_us[rng_below(&sim->rng, 5)];
    options->latency_min_us = options->latency_max_us / 4;
    options->window_max = windows[rng_below(&sim->rng, 4)];
    options->window_min = options->window_max / 4;
    options->partial_ppm = draw_ppm(sim, 10000, 300000);
    options->split_ppm = draw_ppm(sim, 10000, 500000);
    options->spurious_ppm = draw_ppm(sim, 10000, 200000);
    options->postpone_ppm = draw_ppm(sim, 10000, 200000);
    options->cut_ppm = draw_ppm(sim, 1000, 100000);
    options->turn_max_ns = 50000;
    options->fd_limit = 20000;
}

/* ---- Things to come: a binary heap ---- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->seq < b->seq);
}

static void swap_events(struct sim *sim, size_t a, size_t b)
{
    struct event event = sim->heap[a];

    sim->heap[a] = sim->heap[b];
    sim->heap[b] = event;
}

void event_add(
    struct sim *sim, uint64_t at_ns, enum event_kind kind, void *object, uint8_t side, uint64_t len)
{
    if (sim->event_count == sim->event_cap) {
        sim->event_cap = sim->event_cap ? sim->event_cap * 2 : 256;
        sim->heap = mem_realloc(sim->heap, sim->event_cap * sizeof(*sim->heap));
    }
    size_t i = sim->event_count++;
    sim->heap[i] = (struct event){at_ns, sim->event_seq++, kind, side, object, len};
    while (i && is_before(&sim->heap[i], &sim->heap[(i - 1) / 2])) {
        swap_events(sim, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

static struct event take_event(struct sim *sim)
{
    struct event event = sim->heap[0];
    size_t i = 0;

    sim->heap[0] = sim->heap[--sim->event_count];
    for (;;) {
        size_t first = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++) {
            if (child < sim->event_count && is_before(&sim->heap[child], &sim->heap[first])) {
                first = child;
            }
        }
        if (first == i) {
            return event;
        }
        swap_events(sim, i, first);
        i = first;
    }
}

void event_forget(struct sim *sim, const void *object)
{
    for (size_t i = 0; i < sim->event_count; i++) {
        if (sim->heap[i].object == object) {
            sim->heap[i].kind = EVENT_NONE;
            sim->heap[i].object = NULL;
        }
    }
}

/* ---- The trace ---- */

static void mix(struct sim *sim, uint64_t value)
{
    sim->hash = (sim->hash ^ value) * 0x9e3779b97f4a7c15ull;
    sim->hash ^= sim->hash >> 32;
}

void trace(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    for (const char *at = what; *at; at++) {
        mix(sim, (uint64_t)*at);
    }
    mix(sim, sim->now_ns);
    mix(sim, a);
    mix(sim, b);
    mix(sim, c);
    if (sim->trace_file) {
        fprintf(sim->trace_file,
            "%" PRIu64 ".%06" PRIu64 " %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            sim->now_ns / NS_PER_MS, sim->now_ns % NS_PER_MS, what, a, b, c);
    }
}

/* ---- The world ---- */

struct sim *sim_create(uint64_t seed)
{
    struct sim *sim = mem_zalloc(sizeof(*sim));

    rng_init(&sim->rng, seed);
    sim->now_ns = BORN_NS;
    sim->wall_ns = WALL_NS;
    draw_options(sim);
    mix(sim, seed);
    return sim;
}

void sim_destroy(struct sim *sim)
{
    if (!sim) {
        return;
    }
    struct sim *outer = current_world;
    CHECK(sim->loop_count == 0);
    current_world = sim;
    for (uint32_t i = 0; i < PROCESSES_MAX; i++) {
        sim_process_kill(sim, i);
        mem_free(sim->processes[i].files);
    }
    while (sim->clients) {
        sim_client_free(sim->clients);
    }
    sim->event_count = 0;
    wire_free_all(sim);
    while (sim->places) {
        struct place *place = sim->places;
        sim->places = place->next;
        mem_free(place);
    }
    while (sim->hosts) {
        struct sim_host *host = sim->hosts;
        sim->hosts = host->next;
        mem_free(host->host);
        mem_free(host->numeric);
        mem_free(host);
    }
    current_world = outer == sim ? NULL : outer;
    mem_free(sim->heap);
    mem_free(sim->loops);
    mem_free(sim);
}

void sim_enter(struct sim *sim)
{
    current_world = sim;
}

struct sim_options *sim_options(struct sim *sim)
{
    return &sim->options;
}

uint64_t sim_now_ms(const struct sim *sim)
{
    return (sim->now_ns - BORN_NS) / NS_PER_MS;
}

void sim_wall_jump(struct sim *sim, int64_t by_ms)
{
    sim->wall_ns += (uint64_t)by_ms * NS_PER_MS; /* Modulo 2^64, so back is fine. */
}

uint64_t sim_random(struct sim *sim, uint64_t bound)
{
    return rng_below(&sim->rng, bound);
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->hash;
}

void sim_trace_to(struct sim *sim, FILE *file)
{
    sim->trace_file = file;
}

/* ---- Steps ---- */

static void happen(struct sim *sim)
{
    struct event event = take_event(sim);

    switch (event.kind) {
    case EVENT_NONE:
        break;
    case EVENT_MEND:
        trace(sim, "mend", 0, 0, 0);
        mailbox_mend(event.object);
        break;
    default:
        wire_event(sim, &event);
        break;
    }
}

/* One of the loops that want a turn now, drawn; NULL when there is none. *ret_next_ns: when the
 * earliest of the others will. */
static struct loop *choose_loop(struct sim *sim, uint64_t *ret_next_ns)
{
    struct loop *chosen = NULL;
    uint32_t count = 0;

    *ret_next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < sim->loop_count; i++) {
        struct loop_schedule schedule = loop_schedule(sim->loops[i]);
        if (schedule.next_ns > sim->now_ns) {
            *ret_next_ns = schedule.next_ns < *ret_next_ns ? schedule.next_ns : *ret_next_ns;
        } else if (schedule.driven) {
            count += 1;
            if (rng_below(&sim->rng, count) == 0) {
                chosen = sim->loops[i];
            }
        }
    }
    return chosen;
}

static bool step(struct sim *sim, uint64_t until_ns)
{
    uint64_t next_ns;

    while (sim->now_ns < until_ns) {
        struct loop *loop = choose_loop(sim, &next_ns);
        bool is_due = sim->event_count && sim->heap[0].at_ns <= sim->now_ns;
        if (loop && (!is_due || rng_below(&sim->rng, 2))) {
            loop_turn(loop);
            return true;
        }
        if (is_due) {
            happen(sim);
            return true;
        }
        if (sim->event_count && sim->heap[0].at_ns < next_ns) {
            next_ns = sim->heap[0].at_ns;
        }
        if (next_ns == UINT64_MAX) {
            return false;
        }
        sim->now_ns = next_ns < until_ns ? next_ns : until_ns;
    }
    return false;
}

bool sim_step(struct sim *sim)
{
    return step(sim, UINT64_MAX);
}

void sim_run_ms(struct sim *sim, uint64_t ms)
{
    uint64_t until_ns = sim->now_ns + ms * NS_PER_MS;

    while (step(sim, until_ns)) {
    }
    if (sim->now_ns < until_ns) {
        sim->now_ns = until_ns;
    }
}

/* ---- Processes, partitions, names ---- */

void sim_process(struct sim *sim, uint32_t process)
{
    CHECK(process < PROCESSES_MAX && !sim->processes[process].killed);
    sim->process = process;
}

void sim_process_kill(struct sim *sim, uint32_t process_number)
{
    CHECK(process_number < PROCESSES_MAX);
    struct process *process = &sim->processes[process_number];

    trace(sim, "kill process", process_number, process->file_count, 0);
    for (uint32_t i = 0; i < process->file_cap; i++) {
        if (process->files[i]) {
            file_close(sim, process->files[i]);
        }
    }
    process->killed = true;
}

uint32_t sim_process_fd_count(const struct sim *sim, uint32_t process)
{
    CHECK(process < PROCESSES_MAX);
    return sim->processes[process].file_count;
}

void sim_partition(struct sim *sim, const char *address, bool cut)
{
    char texts[2][ADDRESS_TEXT_MAX];
    int count = address_known(address, texts);

    CHECK(count > 0); /* The test's own address. */
    struct place *place = place_of(sim, texts[0]);
    place->cut = cut;
    trace(sim, "partition", cut, 0, 0);
    if (!cut) {
        wires_thaw(sim, place);
    }
}

void sim_name(struct sim *sim, const char *host_name, const char *numeric)
{
    struct sim_host *host = mem_zalloc(sizeof(*host));

    host->host = mem_strdup(host_name);
    host->numeric = mem_strdup(numeric);
    host->next = sim->hosts;
    sim->hosts = host;
}
