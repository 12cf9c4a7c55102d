#include "role/bench_load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/mem.h"
#include "proto/ws.h"
#include "role/bench_seq.h"
#include "role/bench_stamp.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "rt/sock.h"

enum {
    KIND_CLIENT = 1,
    READ_BYTES = 256 * 1024,
    BUFFER_BYTES_MAX = 32 * 1024 * 1024,
    HEAD_BYTES_MAX = 16 * 1024,
    POLL_MS = 20,
    CPU_EVERY_NS = 50 * 1000 * 1000,
};

enum phase { PHASE_IDLE, PHASE_CONNECTING, PHASE_SHAKING, PHASE_OPEN, PHASE_DONE };

struct load_client {
    int fd;
    uint32_t generation; /* Of the round: late events of an earlier one do not match. */
    uint32_t hint;       /* Where the last message had its stamp. */
    uint8_t phase;
    uint64_t began_ns;
    uint8_t *part; /* Bytes of a frame or head that is not complete; kept to be used again. */
    uint32_t part_len, part_cap;
    struct bench_seq *seqs; /* One for each sender, from the first message on. */
};

struct load {
    const struct bench_plan *plan;
    struct bench_shared *shared;
    struct bench_lane *lane;
    struct loop *loop;
    struct load_client *clients;
    uint64_t first; /* Number of clients[0]. */
    uint64_t count;
    uint64_t next;     /* Clients before it have been started. */
    uint32_t underway; /* Handshakes. */
    uint32_t underway_max;
    uint32_t round;
    char source[24]; /* Address to connect from; "" leaves it to the system. */
    uint8_t *buffer;
    size_t buffer_cap;
    uint64_t cpu_read_ns;
};

static void set_state(struct load *load, struct load_client *c, enum bench_client_state state)
{
    BENCH_SET(load->shared->clients[load->first + (uint64_t)(c - load->clients)], (uint8_t)state);
}

static void remember_why(struct load *load, const char *why)
{
    if (!load->lane->why[0]) {
        snprintf(load->lane->why, sizeof load->lane->why, "%s", why);
    }
}

static void finish(struct load *load, struct load_client *c)
{
    if (c->phase == PHASE_CONNECTING || c->phase == PHASE_SHAKING) {
        load->underway -= 1;
    }
    if (c->fd >= 0) {
        loop_unwatch(load->loop, c->fd);
        sock_close(c->fd);
    }
    c->fd = -1;
    c->phase = PHASE_DONE;
}

/* The client is lost: before its handshake it failed, afterwards the server ended it. */
static void lose(struct load *load, struct load_client *c, const char *why)
{
    bool was_open = c->phase == PHASE_OPEN;

    remember_why(load, why);
    finish(load, c);
    if (was_open) {
        BENCH_ADD(load->lane->closed, 1);
    } else {
        BENCH_ADD(load->lane->failed, 1);
    }
    set_state(load, c, was_open ? BENCH_CLIENT_CLOSED : BENCH_CLIENT_FAILED);
}

static void lose_errno(struct load *load, struct load_client *c, const char *doing, int err)
{
    char why[BENCH_WHY_MAX];

    snprintf(why, sizeof why, "%s: %s", doing, strerror(-err));
    lose(load, c, why);
}

static uint64_t client_id(const struct load *load, const struct load_client *c)
{
    return (uint64_t)(c->generation & 0xffffff) << 32 | (uint64_t)(c - load->clients);
}

static void start_client(struct load *load, struct load_client *c)
{
    c->generation = load->round;
    c->began_ns = clock_now_ns();
    c->phase = PHASE_CONNECTING;
    c->part_len = 0;
    load->underway += 1;
    int err = sock_connect(
        load->plan->subscribe.url.address, load->source[0] ? load->source : NULL, &c->fd);
    if (!err) {
        err = loop_watch(
            load->loop, c->fd, KIND_CLIENT, client_id(load, c), LOOP_WATCH_IN | LOOP_WATCH_OUT);
    } else {
        c->fd = -1;
    }
    if (err) {
        lose_errno(load, c, "connecting", err);
    }
}

static void send_handshake(struct load *load, struct load_client *c)
{
    char path[BENCH_PATH_MAX];
    struct bytes out = {0};
    uint64_t client = load->first + (uint64_t)(c - load->clients);
    const struct arg_list *headers = &load->plan->options->headers;

    int err = bench_expand(load->plan->subscribe.path, bench_plan_channel(load->plan, client),
        client, path, sizeof path);
    CHECK(err >= 0);
    /* The key need not be random: nobody caches between us and what we measure. */
    err = bytes_appendf(&out,
        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ZmFub3V0LWJlbmNoLWtleQ==\r\n",
        path, load->plan->subscribe.url.host_header);
    for (size_t i = 0; i < headers->count; i++) {
        err = err ? err : bytes_appendf(&out, "%s\r\n", headers->items[i]);
    }
    err = err ? err : bytes_append_str(&out, "\r\n");
    CHECK(err == 0);
    long sent = sock_send(c->fd, out.data, out.len);
    if (sent != (long)out.len) {
        lose_errno(load, c, "sending the handshake", sent < 0 ? (int)sent : -EIO);
    }
    bytes_fini(&out);
}

static void client_connected(struct load *load, struct load_client *c)
{
    int err = sock_connect_result(c->fd);

    if (err == -EAGAIN) {
        return;
    }
    c->phase = err ? c->phase : PHASE_SHAKING;
    if (!err) {
        err = loop_rewatch(load->loop, c->fd, KIND_CLIENT, client_id(load, c), LOOP_WATCH_IN);
    }
    if (err) {
        lose_errno(load, c, "connecting", err);
        return;
    }
    send_handshake(load, c);
}

/* Reads the answer to the handshake. Returns the bytes of its head, or 0: not complete, or lost. */
static size_t take_head(
    struct load *load, struct load_client *c, const uint8_t *data, size_t len, uint64_t now_ns)
{
    const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);

    if (!end) {
        if (len > HEAD_BYTES_MAX) {
            lose(load, c, "the answer to the handshake has no end");
        }
        return 0;
    }
    if (len < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0) {
        char why[BENCH_WHY_MAX];
        const uint8_t *line_end = memchr(data, '\r', len);
        snprintf(
            why, sizeof why, "handshake refused: %.*s", (int)(line_end - data), (const char *)data);
        lose(load, c, why);
        return 0;
    }
    uint64_t client = load->first + (uint64_t)(c - load->clients);
    bool slow = client < load->plan->options->slow;
    load->underway -= 1;
    c->phase = PHASE_OPEN;
    hist_record(&load->lane->handshake, now_ns - c->began_ns);
    BENCH_ADD(load->lane->opened, 1);
    set_state(load, c, slow ? BENCH_CLIENT_SLOW : BENCH_CLIENT_OPEN);
    if (slow) {
        loop_unwatch(load->loop, c->fd); /* It never reads again, and never hears of the end. */
    }
    return (size_t)(end - data) + 4;
}

static void take_message(
    struct load *load, struct load_client *c, const uint8_t *data, size_t len, uint64_t now_ns)
{
    const struct bench_shared *shared = load->shared;
    struct bench_lane *lane = load->lane;
    struct bench_stamp stamp;

    if (UNLIKELY(!bench_stamp_read(data, len, &c->hint, &stamp) ||
                 stamp.sender >= load->plan->sender_count)) {
        BENCH_ADD(lane->other, 1);
        return;
    }
    BENCH_ADD(lane->received, 1);
    if (UNLIKELY(!c->seqs)) {
        c->seqs = mem_zalloc(load->plan->sender_count * sizeof *c->seqs);
    }
    switch (bench_seq_take(&c->seqs[stamp.sender], stamp.seq, &lane->missing)) {
    case BENCH_SEQ_TWICE:
        BENCH_ADD(lane->twice, 1);
        return;
    case BENCH_SEQ_LATE:
        BENCH_ADD(lane->late, 1);
        break;
    case BENCH_SEQ_NEW:
        break;
    }
    if (stamp.due_ns >= BENCH_GET(shared->window_start_ns) &&
        stamp.due_ns < BENCH_GET(shared->window_end_ns)) {
        bench_lane_take(lane, shared, now_ns, stamp.due_ns, stamp.late_ns);
    }
}

static void send_pong(struct load_client *c, const uint8_t *data, size_t len)
{
    /* A mask of zeroes is a mask; a pong that does not fit the socket's buffer may be left out. */
    uint8_t frame[WS_HEADER_BYTES_MAX + WS_CONTROL_BYTES_MAX];
    static const uint8_t mask[4];

    if (len <= WS_CONTROL_BYTES_MAX) {
        size_t head = ws_frame_header(frame, WS_PONG | WS_FIN, len, mask);
        memcpy(frame + head, data, len);
        (void)sock_send(c->fd, frame, head + len);
    }
}

static void take_close(struct load *load, struct load_client *c, const uint8_t *data, size_t len)
{
    char why[BENCH_WHY_MAX];
    unsigned code = len >= 2 ? (unsigned)data[0] << 8 | data[1] : WS_CODE_NONE;

    snprintf(why, sizeof why, "closed by the server, code %u%s%.*s", code, len > 2 ? ": " : "",
        len > 2 ? (int)(len - 2) : 0, (const char *)data + 2);
    lose(load, c, why);
}

/* Takes whole frames. Returns the bytes used; *ret_need is the size of the frame that is cut off,
 * 0 when its head is. */
static size_t take_frames(struct load *load, struct load_client *c, const uint8_t *data, size_t len,
    uint64_t now_ns, uint64_t *ret_need)
{
    size_t at = 0;

    *ret_need = 0;
    while (len - at >= 2) {
        const uint8_t *frame = data + at;
        size_t left = len - at, head = 2;
        uint64_t size = frame[1] & 127;
        if (UNLIKELY(frame[1] & 128 || frame[0] & 0x70)) {
            lose(load, c, "the server sent a masked or an extended frame");
            return len;
        }
        if (size == 126) {
            head = 4;
            if (left < head) {
                break;
            }
            size = (uint64_t)frame[2] << 8 | frame[3];
        } else if (size == 127) {
            head = 10;
            if (left < head) {
                break;
            }
            uint64_t big_endian;
            memcpy(&big_endian, frame + 2, sizeof big_endian);
            size = __builtin_bswap64(big_endian);
            if (size > BUFFER_BYTES_MAX / 2) {
                lose(load, c, "the server sent a frame of more than 16 MiB");
                return len;
            }
        }
        if (left < head + size) {
            *ret_need = head + size;
            break;
        }
        switch (frame[0] & 15) {
        case WS_TEXT:
        case WS_BINARY:
            take_message(load, c, frame + head, size, now_ns);
            break;
        case WS_PING:
            send_pong(c, frame + head, size);
            break;
        case WS_CLOSE:
            take_close(load, c, frame + head, size);
            return len;
        default:
            break; /* The rest of a message in fragments; its start had the stamp. */
        }
        at += head + size;
    }
    return at;
}

/* Keeps what is left for the next read. */
static void keep_part(struct load_client *c, const uint8_t *data, size_t len)
{
    if (len > c->part_cap) {
        c->part_cap = (uint32_t)(len < 256 ? 256 : len);
        c->part = mem_realloc(c->part, c->part_cap);
    }
    if (len) {
        memcpy(c->part, data, len);
    }
    c->part_len = (uint32_t)len;
}

static void client_readable(struct load *load, struct load_client *c)
{
    size_t have = c->part_len;

    if (have) {
        memcpy(load->buffer, c->part, have);
    }
    long got = sock_recv(c->fd, load->buffer + have, load->buffer_cap - have);
    if (got == -EAGAIN) {
        return;
    }
    if (got <= 0) {
        if (got < 0) {
            lose_errno(load, c, "reading", (int)got);
        } else {
            lose(load, c, "the server closed the connection");
        }
        return;
    }
    uint64_t now_ns = clock_now_ns(), need = 0;
    size_t len = have + (size_t)got, used = 0;
    BENCH_ADD(load->lane->bytes, (uint64_t)got);
    BENCH_ADD(load->lane->reads, 1);
    if (c->phase == PHASE_SHAKING) {
        used = take_head(load, c, load->buffer, len, now_ns);
    }
    if (c->phase == PHASE_OPEN) {
        used += take_frames(load, c, load->buffer + used, len - used, now_ns, &need);
    }
    if (c->phase == PHASE_DONE) {
        c->part_len = 0;
        return;
    }
    keep_part(c, load->buffer + used, len - used);
    if (UNLIKELY(need + READ_BYTES > load->buffer_cap)) {
        load->buffer_cap = (size_t)need + READ_BYTES;
        load->buffer = mem_realloc(load->buffer, load->buffer_cap);
    }
}

static void client_event(void *ctx, uint64_t id, uint32_t events)
{
    struct load *load = ctx;
    struct load_client *c = &load->clients[id & UINT32_MAX];

    if (c->fd < 0 || id >> 32 != (c->generation & 0xffffff)) {
        return;
    }
    if (c->phase == PHASE_CONNECTING) {
        client_connected(load, c);
    } else {
        client_readable(load, c);
    }
}

/* Source addresses are 127.0.0.2 and up, one a process: each has some 28,000 ports of its own. */
static void choose_source(struct load *load, uint32_t lane_index)
{
    const struct bench_plan *plan = load->plan;
    uint32_t process = lane_index / plan->threads_per_process;

    load->source[0] = 0;
    if (plan->spread && strncmp(plan->subscribe.url.address, "127.", 4) == 0) {
        snprintf(
            load->source, sizeof load->source, "127.0.%u.%u", load->round % 250, 2 + process % 250);
    }
}

/* Connect storm: everybody leaves and comes again. */
static void next_round(struct load *load, uint32_t lane_index)
{
    load->round = BENCH_GET(load->shared->round);
    for (uint64_t i = 0; i < load->count; i++) {
        struct load_client *c = &load->clients[i];
        if (c->fd >= 0) {
            finish(load, c);
        }
        set_state(load, c, BENCH_CLIENT_WAITING);
    }
    load->next = 0;
    choose_source(load, lane_index);
}

static void measure_own_cpu(struct load *load)
{
    struct rusage usage;
    uint64_t now_ns = loop_now_ns(load->loop);

    if (now_ns - load->cpu_read_ns < CPU_EVERY_NS) {
        return;
    }
    load->cpu_read_ns = now_ns;
    getrusage(RUSAGE_THREAD, &usage);
    BENCH_SET(load->lane->cpu_ns,
        (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
            (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u);
}

void bench_load_run(const struct bench_plan *plan, struct bench_shared *shared, uint32_t lane_index)
{
    struct load load = {.plan = plan,
        .shared = shared,
        .lane = &shared->lanes[lane_index],
        .round = BENCH_GET(shared->round),
        .buffer_cap = 2 * READ_BYTES,
        .underway_max = (uint32_t)(plan->options->inflight / plan->lane_count)};
    uint64_t end;

    load.underway_max += load.underway_max == 0;
    bench_plan_span(plan, lane_index, &load.first, &end);
    load.count = end - load.first;
    load.clients = mem_zalloc((load.count + 1) * sizeof *load.clients);
    for (uint64_t i = 0; i < load.count; i++) {
        load.clients[i].fd = -1;
    }
    load.buffer = mem_alloc(load.buffer_cap);
    choose_source(&load, lane_index);
    int err = loop_create(&load.loop);
    if (err) {
        remember_why(&load, strerror(-err));
        BENCH_SET(load.lane->failed, load.count);
    } else {
        loop_handle(load.loop, KIND_CLIENT, client_event, &load);
    }
    while (!err && !BENCH_GET(shared->stop)) {
        if (load.round != BENCH_GET(shared->round)) {
            next_round(&load, lane_index);
        }
        while (load.next < load.count && load.underway < load.underway_max) {
            start_client(&load, &load.clients[load.next++]);
        }
        loop_poll(load.loop, POLL_MS);
        measure_own_cpu(&load);
    }
    for (uint64_t i = 0; i < load.count; i++) {
        if (load.clients[i].fd >= 0) {
            sock_close(load.clients[i].fd);
        }
        mem_free(load.clients[i].part);
        mem_free(load.clients[i].seqs);
    }
    mem_free(load.clients);
    mem_free(load.buffer);
    loop_destroy(load.loop);
}
