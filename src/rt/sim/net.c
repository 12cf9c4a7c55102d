/* Wires: two pipes and two ends. How they differ from real ones is in the essay of sim.c. */
#include "rt/sim/world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/loop.h"

enum {
    CONNECT_RETRY_MS = 1000,
    CONNECT_TIMEOUT_MS = 127000,      /* tcp_syn_retries = 6. */
    USER_TIMEOUT_DEFAULT_MS = 924600, /* tcp_retries2 = 15. */
};

static const uint64_t NS_PER_MS = 1000000;

/* ---- Pipes ---- */

static void pipe_append(struct pipe *pipe, const void *data, size_t len)
{
    if (pipe->head + pipe->len + len > pipe->cap) {
        if (pipe->head) {
            memmove(pipe->data, pipe->data + pipe->head, pipe->len);
            pipe->head = 0;
        }
        if (pipe->len + len > pipe->cap) {
            pipe->cap = (pipe->len + len) * 2;
            pipe->data = mem_realloc(pipe->data, pipe->cap);
        }
    }
    memcpy(pipe->data + pipe->head + pipe->len, data, len);
    pipe->len += len;
}

static size_t pipe_space(const struct pipe *pipe)
{
    size_t used = pipe->len + pipe->unacked;

    return used < pipe->window ? pipe->window - used : 0;
}

/* Like the kernel, which wakes a writer when a third is free rather than for each byte. */
static bool pipe_writable(const struct pipe *pipe)
{
    return !pipe->choked && pipe_space(pipe) * 3 >= pipe->window;
}

static size_t pipe_under_way(const struct pipe *pipe)
{
    return pipe->len - pipe->arrived;
}

static void pipe_drop_under_way(struct pipe *pipe)
{
    pipe->len = pipe->arrived;
    pipe->dead = true;
}

/* ---- Events of a wire ---- */

static void wire_event_add(
    struct wire *wire, uint64_t at_ns, enum event_kind kind, uint8_t side, uint64_t len)
{
    wire->event_count += 1;
    event_add(wire->sim, at_ns, kind, wire, side, len);
}

/* In order behind what `side` has sent before. */
static void send_in_order(struct wire *wire, uint8_t side, enum event_kind kind, uint64_t len)
{
    struct pipe *pipe = &wire->pipes[side];
    uint64_t at_ns = wire->sim->now_ns + latency_ns(wire->sim);

    pipe->last_ns = at_ns > pipe->last_ns ? at_ns : pipe->last_ns;
    wire_event_add(wire, pipe->last_ns, kind, side, len);
}

static void send_reset(struct wire *wire, uint8_t to_side)
{
    wire_event_add(wire, wire->sim->now_ns + latency_ns(wire->sim), EVENT_RESET, to_side, 0);
}

static bool is_cut(const struct wire *wire)
{
    return wire->frozen || wire->place->cut;
}

static void maybe_free(struct wire *wire)
{
    if (wire->ends[0].open || wire->ends[1].open || wire->event_count) {
        return;
    }
    if (wire->parked_count && !wire->frozen) {
        return; /* Mended one day; then the other end must hear. */
    }
    *wire->link = wire->next;
    if (wire->next) {
        wire->next->link = wire->link;
    }
    for (int side = 0; side < 2; side++) {
        mem_free(wire->pipes[side].data);
    }
    mem_free(wire->parked);
    mem_free(wire);
}

static void notify(struct end *end, uint32_t events)
{
    if (!end->open) {
        return;
    }
    if (end->client) {
        client_notify(end->client);
    } else if (end->file) {
        file_notify(end->wire->sim, end->file, events);
    }
}

static void fail(struct end *end, int error)
{
    struct wire *wire = end->wire;

    if (end->broken) {
        return;
    }
    end->broken = true;
    end->error = error;
    /* What has arrived can still be read; what is under way, either way, is lost. */
    pipe_drop_under_way(&wire->pipes[!end->side]);
    wire->pipes[end->side].dead = true;
    notify(end, LOOP_IN | LOOP_OUT | LOOP_HUP);
}

struct place *place_of(struct sim *sim, const char *text)
{
    struct place *place = sim->places;

    while (place && strcmp(place->text, text) != 0) {
        place = place->next;
    }
    if (!place) {
        place = mem_zalloc(sizeof(*place));
        snprintf(place->text, sizeof(place->text), "%s", text);
        place->next = sim->places;
        sim->places = place;
    }
    return place;
}

/* ---- Connecting ---- */

int wire_connect(struct sim *sim, const char *address, struct end **ret_end)
{
    char texts[2][ADDRESS_TEXT_MAX];

    if (address_known(address, texts) <= 0) {
        return -EINVAL;
    }
    struct wire *wire = mem_zalloc(sizeof(*wire));
    wire->sim = sim;
    wire->id = sim->wire_id++;
    wire->place = place_of(sim, texts[0]);
    for (uint8_t side = 0; side < 2; side++) {
        const struct sim_options *options = &sim->options;
        wire->ends[side].wire = wire;
        wire->ends[side].side = side;
        wire->pipes[side].window =
            options->window_min +
            rng_below(&sim->rng, options->window_max - options->window_min + 1);
    }
    wire->next = sim->wires;
    wire->link = &sim->wires;
    if (wire->next) {
        wire->next->link = &wire->next;
    }
    sim->wires = wire;

    struct end *end = &wire->ends[0];
    end->open = true;
    snprintf(wire->ends[1].name, sizeof(wire->ends[1].name), "%s", texts[0]);
    if (strncmp(texts[0], "unix:", 5) == 0) {
        snprintf(wire->ends[0].name, sizeof(wire->ends[0].name), "unix");
        snprintf(wire->ends[1].name, sizeof(wire->ends[1].name), "unix");
    } else {
        uint32_t number = ++sim->client_number;
        snprintf(wire->ends[0].name, sizeof(wire->ends[0].name), "10.%u.%u.%u:%u",
            number >> 16 & 0xff, number >> 8 & 0xff, number & 0xff, 32768 + number % 28000);
    }
    trace(sim, "connect", wire->id, wire->pipes[0].window, wire->pipes[1].window);
    wire_event_add(wire, sim->now_ns + latency_ns(sim), EVENT_CONNECT, 0, 0);
    *ret_end = end;
    return 0;
}

/* A listener for the wire's address: any of those that share the port. */
static struct file *find_listener(struct wire *wire)
{
    struct file *candidates[64];
    uint32_t count = 0;
    const char *colon = strrchr(wire->place->text, ':');
    unsigned port = 0;

    if (strncmp(wire->place->text, "unix:", 5) != 0) {
        sscanf(colon + 1, "%u", &port);
    }
    for (struct file *file = wire->sim->listeners; file && count < 64; file = file->next_listener) {
        if (file->place == wire->place || (port && file->any_host && file->port == port)) {
            candidates[count++] = file;
        }
    }
    return count ? candidates[rng_below(&wire->sim->rng, count)] : NULL;
}

static void connect_arrives(struct wire *wire, uint64_t waited_ms)
{
    struct sim *sim = wire->sim;
    struct end *end = &wire->ends[0];

    if (!end->open || end->broken) {
        return;
    }
    struct file *listener = is_cut(wire) ? NULL : find_listener(wire);
    if (!listener && !is_cut(wire)) {
        fail(end, ECONNREFUSED);
        return;
    }
    if (!listener || listener->waiting_count >= listener->backlog) {
        if (waited_ms >= CONNECT_TIMEOUT_MS) {
            fail(end, ETIMEDOUT);
            return;
        }
        wire_event_add(wire, sim->now_ns + CONNECT_RETRY_MS * NS_PER_MS, EVENT_CONNECT, 0,
            waited_ms + CONNECT_RETRY_MS);
        return;
    }
    struct end *far = &wire->ends[1];
    far->open = true;
    far->established = true;
    far->user_timeout_ms = listener->user_timeout_ms;
    if (listener->waiting_last) {
        listener->waiting_last->next_waiting = far;
    } else {
        listener->waiting_first = far;
    }
    listener->waiting_last = far;
    listener->waiting_count += 1;
    send_in_order(wire, 1, EVENT_ESTABLISHED, 0);
    file_notify(sim, listener, LOOP_IN);
}

/* ---- Arrivals ---- */

static void segment_arrives(struct wire *wire, uint8_t side, size_t len)
{
    struct pipe *pipe = &wire->pipes[side];
    struct end *to = &wire->ends[!side];

    if (pipe->dead) {
        return;
    }
    if (chance(wire->sim, wire->sim->options.reset_ppm)) {
        trace(wire->sim, "broken by chance", wire->id, 0, 0);
        send_reset(wire, 0);
        send_reset(wire, 1);
        return;
    }
    CHECK(pipe_under_way(pipe) >= len);
    pipe->arrived += len;
    if (!to->open) {
        /* Nobody is there to read it: the answer is a reset. */
        pipe->arrived = pipe->len = 0;
        pipe->dead = true;
        send_reset(wire, side);
        return;
    }
    notify(to, LOOP_IN);
}

static void tell_of_room(struct wire *wire, uint8_t side)
{
    struct pipe *pipe = &wire->pipes[side];

    if (pipe->nospace && pipe_writable(pipe)) {
        pipe->nospace = false;
        notify(&wire->ends[side], LOOP_OUT);
    }
}

/* Cut off: keeps it for later, and lets the sender's patience run. */
static void park(struct wire *wire, const struct event *event)
{
    uint8_t side = event->side;

    if (wire->parked_count == wire->parked_cap) {
        wire->parked_cap = wire->parked_cap ? wire->parked_cap * 2 : 8;
        wire->parked = mem_realloc(wire->parked, wire->parked_cap * sizeof(*wire->parked));
    }
    wire->parked[wire->parked_count++] = *event;
    if (event->kind == EVENT_SEGMENT && !wire->pipes[side].timing) {
        uint32_t timeout_ms = wire->ends[side].user_timeout_ms;
        wire->pipes[side].timing = true;
        wire_event_add(wire,
            wire->sim->now_ns + (timeout_ms ? timeout_ms : USER_TIMEOUT_DEFAULT_MS) * NS_PER_MS,
            EVENT_TIMEOUT, side, 0);
    }
}

void wires_thaw(struct sim *sim, const struct place *place)
{
    for (struct wire *wire = sim->wires; wire; wire = wire->next) {
        if (wire->place != place || is_cut(wire)) {
            continue;
        }
        for (size_t i = 0; i < wire->parked_count; i++) {
            struct event *event = &wire->parked[i];
            uint8_t side = event->kind == EVENT_ACK ? !event->side : event->side;
            struct pipe *pipe = &wire->pipes[side];
            uint64_t at_ns = sim->now_ns + latency_ns(sim);
            pipe->last_ns = at_ns > pipe->last_ns ? at_ns : pipe->last_ns;
            wire_event_add(wire, pipe->last_ns, event->kind, event->side, event->len);
        }
        wire->parked_count = 0;
    }
}

static void happen(struct wire *wire, const struct event *event)
{
    uint8_t side = event->side;
    struct pipe *pipe = &wire->pipes[side];

    switch (event->kind) {
    case EVENT_CONNECT:
        connect_arrives(wire, event->len);
        break;
    case EVENT_ESTABLISHED:
        if (!wire->ends[0].broken) {
            wire->ends[0].established = true;
            notify(&wire->ends[0], LOOP_OUT);
        }
        break;
    case EVENT_SEGMENT:
        segment_arrives(wire, side, event->len);
        break;
    case EVENT_ACK:
        CHECK(pipe->unacked >= event->len);
        pipe->unacked -= event->len;
        tell_of_room(wire, side);
        break;
    case EVENT_FIN:
        if (!pipe->dead) {
            pipe->fin_arrived = true;
            notify(&wire->ends[!side], LOOP_IN | LOOP_HUP);
        }
        break;
    case EVENT_RESET:
        fail(&wire->ends[side], ECONNRESET);
        break;
    case EVENT_TIMEOUT:
        pipe->timing = false;
        if (is_cut(wire) && pipe_under_way(pipe)) {
            fail(&wire->ends[side], ETIMEDOUT);
        }
        break;
    case EVENT_UNCHOKE:
        pipe->choked = false;
        tell_of_room(wire, side);
        break;
    default:
        CHECK(!"an event of no wire");
    }
}

void wire_event(struct sim *sim, const struct event *event)
{
    static const char *const names[] = {[EVENT_CONNECT] = "connect arrives",
        [EVENT_ESTABLISHED] = "established",
        [EVENT_SEGMENT] = "segment",
        [EVENT_ACK] = "ack",
        [EVENT_FIN] = "fin",
        [EVENT_RESET] = "reset",
        [EVENT_TIMEOUT] = "timeout",
        [EVENT_UNCHOKE] = "unchoke"};
    struct wire *wire = event->object;

    trace(sim, names[event->kind], wire->id, event->side, event->len);
    wire->event_count -= 1;
    bool is_local = event->kind == EVENT_CONNECT || event->kind == EVENT_TIMEOUT ||
                    event->kind == EVENT_UNCHOKE;
    if (is_cut(wire) && !is_local) {
        park(wire, event);
    } else {
        happen(wire, event);
    }
    maybe_free(wire);
}

/* The world ends: nothing is to come any more. */
void wire_free_all(struct sim *sim)
{
    while (sim->wires) {
        struct wire *wire = sim->wires;
        wire->frozen = true;
        wire->event_count = 0;
        wire->ends[0].open = false;
        wire->ends[1].open = false;
        maybe_free(wire);
    }
}

/* ---- Ends: what the system calls do ---- */

/* The error, once. */
static int take_error(struct end *end)
{
    int error = end->error;

    end->error = 0;
    return -error;
}

long end_send(struct end *end, const void *data, size_t len)
{
    struct wire *wire = end->wire;
    struct sim *sim = wire->sim;
    struct pipe *pipe = &wire->pipes[end->side];

    if (end->error) {
        return take_error(end);
    }
    if (end->broken || pipe->fin_sent) {
        return -EPIPE;
    }
    size_t space = pipe_space(pipe);
    if (!end->established || pipe->choked || space == 0) {
        pipe->nospace = true;
        return -EAGAIN;
    }
    size_t taken = len;
    if (taken > space) {
        taken = space;
        pipe->nospace = true;
    } else if (taken > 1 && chance(sim, sim->options.partial_ppm)) {
        taken = 1 + rng_below(&sim->rng, taken - 1);
        pipe->nospace = true;
        pipe->choked = true;
        wire_event_add(wire, sim->now_ns + latency_ns(sim), EVENT_UNCHOKE, end->side, 0);
    }
    trace(sim, "send", wire->id, end->side, taken);
    if (pipe->dead) {
        return (long)taken; /* Into the void; the reset is on its way. */
    }
    pipe_append(pipe, data, taken);
    for (size_t left = taken; left;) {
        size_t segment =
            chance(sim, sim->options.split_ppm) ? 1 + rng_below(&sim->rng, left) : left;
        send_in_order(wire, end->side, EVENT_SEGMENT, segment);
        left -= segment;
    }
    return (long)taken;
}

long end_recv(struct end *end, void *buf, size_t len)
{
    struct wire *wire = end->wire;
    struct sim *sim = wire->sim;
    struct pipe *pipe = &wire->pipes[!end->side];

    if (pipe->arrived) {
        size_t n = pipe->arrived < len ? pipe->arrived : len;
        memcpy(buf, pipe->data + pipe->head, n);
        pipe->head += n;
        pipe->len -= n;
        pipe->arrived -= n;
        pipe->unacked += n;
        trace(sim, "recv", wire->id, end->side, n);
        wire_event_add(wire, sim->now_ns + latency_ns(sim), EVENT_ACK, !end->side, n);
        return (long)n;
    }
    if (end->error) {
        return take_error(end);
    }
    return pipe->fin_arrived || end->broken ? 0 : -EAGAIN;
}

void end_shutdown(struct end *end)
{
    struct pipe *pipe = &end->wire->pipes[end->side];

    if (!pipe->fin_sent && !end->broken) {
        pipe->fin_sent = true;
        send_in_order(end->wire, end->side, EVENT_FIN, 0);
    }
}

void end_reset(struct end *end)
{
    struct wire *wire = end->wire;

    trace(wire->sim, "end reset", wire->id, end->side, 0);
    end->open = false;
    end->file = NULL;
    end->client = NULL;
    if (!end->broken) {
        end->broken = true;
        pipe_drop_under_way(&wire->pipes[end->side]);
        wire->pipes[!end->side].dead = true;
        send_reset(wire, !end->side);
    }
    maybe_free(wire);
}

void end_close(struct end *end)
{
    struct wire *wire = end->wire;

    if (wire->pipes[!end->side].arrived && !end->broken) {
        /* Closing with unread input resets, and takes what we sent last with it. */
        end_reset(end);
        return;
    }
    trace(wire->sim, "end close", wire->id, end->side, 0);
    end_shutdown(end);
    end->open = false;
    end->file = NULL;
    end->client = NULL;
    maybe_free(wire);
}

uint32_t end_events(const struct end *end)
{
    const struct pipe *in = &end->wire->pipes[!end->side];
    const struct pipe *out = &end->wire->pipes[end->side];
    uint32_t events = 0;

    if (end->broken) {
        return LOOP_IN | LOOP_OUT | LOOP_HUP;
    }
    if (in->arrived || in->fin_arrived) {
        events |= LOOP_IN;
    }
    if (in->fin_arrived) {
        events |= LOOP_HUP;
    }
    if (end->established && (out->fin_sent || pipe_writable(out))) {
        events |= LOOP_OUT;
    }
    return events;
}
