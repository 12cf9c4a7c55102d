#include "tests/unit/store/store_rig.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "rt/clock.h"

const struct store_limits rig_no_limits = {.messages = UINT32_MAX};

static void post(void *ctx, uint16_t shard, struct mail_chain *chain)
{
    struct rig *rig = ctx;

    assert_int_equal(shard, 0);
    mailbox_post(rig->box, chain);
}

static void event(void *ctx, enum store_event what, int err, const char *text)
{
    struct rig *rig = ctx;

    (void)err;
    snprintf(rig->last_event, sizeof(rig->last_event), "%s", text);
    atomic_fetch_add(&rig->events[what], 1);
}

void rig_init(struct rig *rig)
{
    const char *base = getenv("TMPDIR");

    memset(rig, 0, sizeof(*rig));
    snprintf(rig->dir, sizeof(rig->dir), "%s/fanout-store-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(rig->dir));
    assert_int_equal(rmdir(rig->dir), 0); /* The store makes it. */
    rig->options = store_options_default();
    rig->options.dir = rig->dir;
    rig->options.ctx = rig;
    rig->options.post = post;
    rig->options.event = event;
    assert_int_equal(mailbox_create(&rig->box), 0);
}

void rig_fini(struct rig *rig)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
    char path[300];

    rig_close(rig);
    mailbox_destroy(rig->box);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", rig->dir, names[i]);
        unlink(path);
    }
    rmdir(rig->dir);
}

void rig_forked(struct rig *rig)
{
    mailbox_destroy(rig->box);
    assert_int_equal(mailbox_create(&rig->box), 0);
}

int rig_try_open(struct rig *rig)
{
    int r = store_open(&rig->options, &rig->store, rig->why);

    if (r == 0) {
        rig->ports = store_ports(rig->store);
        rig->identity = store_identity(rig->store);
    }
    return r;
}

void rig_open(struct rig *rig)
{
    int r = rig_try_open(rig);

    if (r < 0) {
        print_error("%s\n", rig->why);
    }
    assert_int_equal(r, 0);
}

void rig_close(struct rig *rig)
{
    store_close(rig->store);
    rig->store = NULL;
}

void rig_reopen(struct rig *rig)
{
    rig_close(rig);
    rig_open(rig);
}

uint64_t rig_offset(const struct rig *rig, uint64_t n)
{
    return history_start(rig->identity.generation) + n;
}

struct publication *rig_publication(
    const struct rig *rig, const char *name, uint64_t offset, const void *payload, size_t len)
{
    struct publish_order order = {.name = span_str(name), .payload = span_of(payload, len)};
    struct publication *pub = publication_create(&order, 7, clock_now_ns());

    assert_non_null(pub);
    pub->epoch = history_epoch(rig->identity.store_id, rig->identity.serial);
    pub->offset = offset;
    return pub;
}

struct store_letter *rig_answer(struct rig *rig)
{
    uint64_t end_ns = clock_now_ns() + 10000000000ull;
    struct mail *mail;

    while (!(mail = mailbox_take(rig->box))) {
        struct pollfd pollfd = {.fd = mailbox_wake_fd(rig->box), .events = POLLIN};
        assert_true(clock_now_ns() < end_ns);
        if (mailbox_sleep(rig->box)) {
            poll(&pollfd, 1, 1000);
        }
        mailbox_awake(rig->box);
    }
    return (struct store_letter *)mail;
}

static int send_append(struct rig *rig, struct store_append *letter)
{
    int r = rig->ports.append(rig->ports.ctx, letter);

    if (r == 0) {
        assert_ptr_equal(rig_answer(rig), letter);
        r = letter->letter.err;
    }
    for (uint32_t i = 0; i < letter->count; i++) {
        r = r ? r : letter->entries[i].err;
        publication_unref(letter->entries[i].pub);
    }
    mem_free(letter);
    return r;
}

int rig_append_limited(struct rig *rig, const char *name, uint64_t offset, const char *payload,
    const struct store_limits *limits, uint64_t time_ms)
{
    struct store_append *letter = mem_zalloc(sizeof(*letter));

    letter->time_ms = time_ms;
    letter->count = 1;
    letter->entries[0] =
        (struct store_entry){rig_publication(rig, name, offset, payload, strlen(payload)), *limits};
    return send_append(rig, letter);
}

int rig_append(struct rig *rig, const char *name, uint64_t offset, const char *payload)
{
    return rig_append_limited(
        rig, name, offset, payload, &rig_no_limits, clock_wall_ns() / 1000000);
}

void rig_fill(void *payload, size_t len, uint64_t offset)
{
    struct rng rng;
    uint64_t word = 0;

    rng_init(&rng, offset);
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0) {
            word = rng_next(&rng);
        }
        ((uint8_t *)payload)[i] = (uint8_t)(word >> 8 * (i % 8));
    }
}

int rig_append_many(struct rig *rig, const char *name, uint64_t first, uint32_t count,
    size_t payload_len, const struct store_limits *limits)
{
    uint8_t *payload = mem_alloc(payload_len + 1);
    int r = 0;

    for (uint32_t done = 0; done < count && r == 0;) {
        struct store_append *letter = mem_zalloc(sizeof(*letter));
        letter->time_ms = clock_wall_ns() / 1000000;
        while (letter->count < STORE_APPEND_MAX && done < count) {
            rig_fill(payload, payload_len, first + done);
            letter->entries[letter->count++] = (struct store_entry){
                rig_publication(rig, name, first + done, payload, payload_len), *limits};
            done += 1;
        }
        r = send_append(rig, letter);
    }
    mem_free(payload);
    return r;
}

struct store_read *rig_read(
    struct rig *rig, const char *name, enum store_from from, uint64_t after, uint32_t count_max)
{
    struct store_read *letter = mem_zalloc(sizeof(*letter));

    letter->from = (uint8_t)from;
    letter->after = after;
    letter->count_max = count_max;
    letter->hash = 7;
    letter->name_len = (uint16_t)strlen(name);
    memcpy(letter->name, name, strlen(name));
    assert_int_equal(rig->ports.read(rig->ports.ctx, letter), 0);
    assert_ptr_equal(rig_answer(rig), letter);
    return letter;
}

void rig_read_free(struct store_read *letter)
{
    for (uint32_t i = 0; i < letter->count; i++) {
        publication_unref(letter->pubs[i]);
    }
    mem_free(letter->pubs);
    mem_free(letter);
}
