#include "rt/loop.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/loop_own.h"
#include "rt/sim/world.h"
#include "rt/wheel.h"

enum { EVENTS_MAX = 256 };

static const uint64_t NS_PER_MS = 1000000;

struct handler {
    loop_fn *fn;
    void *ctx;
};

struct told {
    uint64_t id;
    uint32_t events;
    uint8_t kind;
};

struct loop {
    struct sim *sim;
    uint32_t process;
    uint64_t now_ns;
    struct handler handlers[LOOP_KINDS_MAX];
    struct watch **watches, **ready;
    uint32_t watch_count, watch_cap, ready_count, ready_cap;
    bool woken;
    struct resolve *resolves;
    struct wheel wheel;

    sim_turn_fn *turn;
    void *turn_ctx;
    uint64_t wait_until_ns;   /* What the last loop_poll() would have waited for. */
    uint64_t paused_until_ns; /* sim_pause(). */
    struct told told[EVENTS_MAX];
};

/* ---- Vectors of watches ---- */

static void push(struct watch ***items, uint32_t *count, uint32_t *cap, struct watch *watch)
{
    if (*count == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        *items = mem_realloc(*items, *cap * sizeof(**items));
    }
    (*items)[(*count)++] = watch;
}

static void make_ready(struct watch *watch)
{
    struct loop *loop = watch->loop;

    if (watch->ready_index == UINT32_MAX) {
        watch->ready_index = loop->ready_count;
        push(&loop->ready, &loop->ready_count, &loop->ready_cap, watch);
    }
}

static void make_unready(struct watch *watch)
{
    struct loop *loop = watch->loop;

    if (watch->ready_index != UINT32_MAX) {
        struct watch *last = loop->ready[--loop->ready_count];
        loop->ready[watch->ready_index] = last;
        last->ready_index = watch->ready_index;
        watch->ready_index = UINT32_MAX;
    }
}

static void remove_watch(struct watch *watch)
{
    struct loop *loop = watch->loop;
    struct file *file = watch->file;

    make_unready(watch);
    struct watch *last = loop->watches[--loop->watch_count];
    loop->watches[watch->watch_index] = last;
    last->watch_index = watch->watch_index;
    for (uint32_t i = 0; i < file->watch_count; i++) {
        if (file->watches[i] == watch) {
            file->watches[i] = file->watches[--file->watch_count];
            break;
        }
    }
    mem_free(watch);
}

static struct watch *find_watch(const struct loop *loop, const struct file *file)
{
    for (uint32_t i = 0; i < file->watch_count; i++) {
        if (file->watches[i]->loop == loop) {
            return file->watches[i];
        }
    }
    return NULL;
}

/* What of the file's state this watcher would hear: as epoll, a failure always. */
static uint32_t interest(const struct watch *watch, uint32_t events)
{
    uint32_t wanted = 0;

    if (watch->how & LOOP_WATCH_IN) {
        wanted |= LOOP_IN | LOOP_HUP;
    }
    if (watch->how & LOOP_WATCH_OUT) {
        wanted |= LOOP_OUT;
    }
    if (watch->file->kind == FILE_END && watch->file->end->broken) {
        wanted |= LOOP_HUP;
    }
    return events & wanted;
}

void loop_unwatch_file(struct file *file)
{
    while (file->watch_count) {
        remove_watch(file->watches[0]);
    }
}

void file_notify(struct sim *sim, struct file *file, uint32_t events)
{
    uint32_t exclusive_count = 0;

    for (uint32_t i = 0; i < file->watch_count; i++) {
        exclusive_count += (file->watches[i]->how & LOOP_WATCH_EXCLUSIVE) != 0;
    }
    /* One of the exclusive watchers hears it: any. */
    uint64_t chosen = rng_below(&sim->rng, exclusive_count);
    for (uint32_t i = 0; i < file->watch_count; i++) {
        struct watch *watch = file->watches[i];
        if (watch->how & LOOP_WATCH_EXCLUSIVE && chosen-- != 0) {
            continue;
        }
        if (interest(watch, events)) {
            watch->changed = true;
            make_ready(watch);
        }
    }
}

/* ---- loop.h ---- */

int loop_create(struct loop **ret_loop)
{
    struct sim *sim = world();
    struct loop *loop = mem_zalloc(sizeof(*loop));

    loop->sim = sim;
    loop->process = sim->process;
    loop->now_ns = sim->now_ns;
    wheel_init(&loop->wheel, loop->now_ns);
    if (sim->loop_count == sim->loop_cap) {
        sim->loop_cap = sim->loop_cap ? sim->loop_cap * 2 : 8;
        sim->loops = mem_realloc(sim->loops, sim->loop_cap * sizeof(struct loop *));
    }
    sim->loops[sim->loop_count++] = loop;
    *ret_loop = loop;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    if (!loop) {
        return;
    }
    struct sim *sim = loop->sim;
    while (loop->watch_count) {
        remove_watch(loop->watches[0]);
    }
    uint32_t i = 0;
    while (sim->loops[i] != loop) {
        i += 1;
    }
    sim->loop_count -= 1;
    memmove(sim->loops + i, sim->loops + i + 1, (sim->loop_count - i) * sizeof(struct loop *));
    mem_free(loop->watches);
    mem_free(loop->ready);
    mem_free(loop);
}

void loop_handle(struct loop *loop, uint8_t kind, loop_fn *fn, void *ctx)
{
    CHECK(kind < LOOP_KINDS_MAX);
    loop->handlers[kind] = (struct handler){fn, ctx};
}

/* Like epoll, which looks at the state when it is told to watch. */
static void look(struct watch *watch)
{
    if (interest(watch, file_events(watch->file))) {
        watch->changed = true;
        make_ready(watch);
    }
}

int loop_watch(struct loop *loop, int fd, uint8_t kind, uint64_t id, uint32_t how)
{
    CHECK(kind < LOOP_KINDS_MAX && id >> 56 == 0);
    struct file *file = file_of(fd);
    if (!file) {
        return -EBADF;
    }
    if (find_watch(loop, file)) {
        return -EEXIST;
    }
    struct watch *watch = mem_zalloc(sizeof(*watch));
    *watch = (struct watch){.loop = loop,
        .file = file,
        .id = id,
        .how = how,
        .watch_index = loop->watch_count,
        .ready_index = UINT32_MAX,
        .kind = kind};
    push(&loop->watches, &loop->watch_count, &loop->watch_cap, watch);
    push(&file->watches, &file->watch_count, &file->watch_cap, watch);
    look(watch);
    return 0;
}

int loop_rewatch(struct loop *loop, int fd, uint8_t kind, uint64_t id, uint32_t how)
{
    CHECK(kind < LOOP_KINDS_MAX && id >> 56 == 0);
    struct file *file = file_of(fd);
    if (!file) {
        return -EBADF;
    }
    struct watch *watch = find_watch(loop, file);
    if (!watch) {
        return -ENOENT;
    }
    watch->kind = kind;
    watch->id = id;
    watch->how = how;
    look(watch);
    return 0;
}

void loop_unwatch(struct loop *loop, int fd)
{
    struct file *file = file_of(fd);
    struct watch *watch = file ? find_watch(loop, file) : NULL;

    if (watch) {
        remove_watch(watch);
    }
}

static void swap_ready(struct loop *loop, uint32_t a, uint32_t b)
{
    struct watch *watch = loop->ready[a];

    loop->ready[a] = loop->ready[b];
    loop->ready[b] = watch;
    loop->ready[a]->ready_index = a;
    loop->ready[b]->ready_index = b;
}

/* Now and then somebody hears of something that did not happen. */
static void add_spurious(struct loop *loop)
{
    struct sim *sim = loop->sim;

    if (loop->watch_count && chance(sim, sim->options.spurious_ppm)) {
        struct watch *watch = loop->watches[rng_below(&sim->rng, loop->watch_count)];
        watch->spurious = true;
        make_ready(watch);
    }
}

/* What is told this turn, in any order; taken down before anything is called, as epoll_wait() does,
 * so that an event may come late for a descriptor that an earlier call has closed. */
static uint32_t gather(struct loop *loop)
{
    struct sim *sim = loop->sim;
    uint32_t told_count = 0;

    for (uint32_t i = loop->ready_count; i > 1; i--) {
        swap_ready(loop, i - 1, (uint32_t)rng_below(&sim->rng, i));
    }
    for (uint32_t i = loop->ready_count; i-- > 0 && told_count < EVENTS_MAX;) {
        struct watch *watch = loop->ready[i];
        bool by_edge = watch->how & LOOP_WATCH_EDGE;
        uint32_t events = interest(watch, file_events(watch->file));
        if (chance(sim, sim->options.postpone_ppm)) {
            continue;
        }
        if (by_edge && !watch->changed) {
            events = 0;
        }
        if (watch->spurious) {
            events |= interest(watch, LOOP_IN | LOOP_OUT) & ~(uint32_t)LOOP_HUP;
        }
        watch->spurious = false;
        watch->changed = false;
        if (by_edge || !events) {
            make_unready(watch); /* The last one takes place i: it was looked at already. */
        }
        if (events) {
            loop->told[told_count++] = (struct told){watch->id, events, watch->kind};
        }
    }
    return told_count;
}

int loop_poll(struct loop *loop, int timeout_ms)
{
    struct sim *sim = loop->sim;

    CHECK(sim == world());
    sim->now_ns += 1 + rng_below(&sim->rng, sim->options.turn_max_ns);
    loop->now_ns = sim->now_ns;
    loop->woken = false;
    loop->wait_until_ns =
        timeout_ms < 0 ? UINT64_MAX : loop->now_ns + (uint64_t)timeout_ms * NS_PER_MS;
    add_spurious(loop);
    uint32_t told_count = gather(loop);
    for (uint32_t i = 0; i < told_count; i++) {
        struct told *told = &loop->told[i];
        struct handler *handler = &loop->handlers[told->kind];
        trace(sim, "told", told->kind, told->id, told->events);
        CHECK(handler->fn);
        handler->fn(handler->ctx, told->id, told->events);
    }
    wheel_advance(&loop->wheel, loop->now_ns);
    return (int)told_count;
}

uint64_t loop_now_ns(const struct loop *loop)
{
    return loop->now_ns;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ns / NS_PER_MS;
}

void loop_wake(struct loop *loop)
{
    loop->woken = true;
}

struct wheel *loop_wheel(struct loop *loop)
{
    return &loop->wheel;
}

struct resolve **loop_resolves(struct loop *loop)
{
    return &loop->resolves;
}

/* ---- Turns ---- */

void sim_drive(struct loop *loop, sim_turn_fn *turn, void *ctx)
{
    loop->turn = turn;
    loop->turn_ctx = ctx;
    loop->wait_until_ns = 0; /* The first turn is due. */
}

void sim_pause(struct loop *loop, uint64_t ms)
{
    loop->paused_until_ns = loop->sim->now_ns + ms * NS_PER_MS;
}

struct loop_schedule loop_schedule(struct loop *loop)
{
    struct loop_schedule schedule = {.next_ns = UINT64_MAX};
    uint64_t timer_ns = wheel_next_ns(&loop->wheel);

    if (loop->sim->processes[loop->process].killed) {
        return schedule;
    }
    schedule.driven = loop->turn != NULL;
    schedule.next_ns = loop->wait_until_ns < timer_ns ? loop->wait_until_ns : timer_ns;
    if (loop->ready_count || loop->woken) {
        schedule.next_ns = 0;
    }
    if (schedule.next_ns < loop->paused_until_ns) {
        schedule.next_ns = loop->paused_until_ns;
    }
    return schedule;
}

void loop_turn(struct loop *loop)
{
    loop->sim->process = loop->process;
    loop->turn(loop->turn_ctx);
}
