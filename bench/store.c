/* What the durable history takes: build/release/bench/bench_store DIRECTORY [records [payload]]
 *
 * Appends from one thread, as a shard would: letters of up to 64 publications, 1,000 channels at random,
 * so many records under way at a time. Then pages of a channel's last 100, with and without appends
 * beside them, and how long it takes to open what was written. The directory must not exist; it is left
 * behind. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "rt/clock.h"
#include "rt/mailbox.h"
#include "store/store.h"

enum { CHANNELS = 1000, PAGES = 20000 };

struct bench {
    struct store_options options;
    struct store *store;
    struct store_ports ports;
    struct store_identity identity;
    struct mailbox *box;
    struct rng rng;
    size_t payload_len;
    uint8_t *payload;
    uint64_t next[CHANNELS];
};

static void post(void *ctx, uint16_t shard, struct mail_chain *chain)
{
    (void)shard;
    mailbox_post(((struct bench *)ctx)->box, chain);
}

static void event(void *ctx, enum store_event what, int err, const char *text)
{
    (void)ctx;
    (void)what;
    (void)err;
    fprintf(stderr, "%s\n", text);
}

static void open_store(struct bench *bench)
{
    char why[STORE_WHY_MAX];

    if (store_open(&bench->options, &bench->store, why) < 0) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    bench->ports = store_ports(bench->store);
    bench->identity = store_identity(bench->store);
    for (size_t i = 0; i < CHANNELS; i++) {
        bench->next[i] = history_start(bench->identity.generation) + 1;
    }
}

static struct mail *answer(struct bench *bench)
{
    struct mail *mail;

    while (!(mail = mailbox_take(bench->box))) {
        struct pollfd pollfd = {.fd = mailbox_wake_fd(bench->box), .events = POLLIN};
        if (mailbox_sleep(bench->box)) {
            poll(&pollfd, 1, -1);
        }
        mailbox_awake(bench->box);
    }
    return mail;
}

static uint64_t cpu_ns(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void send_letter(struct bench *bench, uint32_t count)
{
    struct store_append *letter = mem_zalloc(sizeof(*letter));
    char name[32];

    letter->time_ms = clock_wall_ns() / 1000000;
    for (uint32_t i = 0; i < count; i++) {
        size_t channel = (size_t)rng_below(&bench->rng, CHANNELS);
        int len = snprintf(name, sizeof(name), "orders:%zu", channel);
        struct publish_order order = {.name = span_of(name, (size_t)len),
            .payload = span_of(bench->payload, bench->payload_len)};
        struct publication *pub = publication_create(&order, channel, 0);
        CHECK(pub);
        pub->epoch = history_epoch(bench->identity.store_id, bench->identity.serial);
        pub->offset = bench->next[channel]++;
        letter->entries[letter->count++] =
            (struct store_entry){pub, {.messages = UINT32_MAX, .age_ms = 86400000}};
    }
    int r = bench->ports.append(bench->ports.ctx, letter);
    CHECK(r == 0);
}

static uint32_t take_letter(struct bench *bench)
{
    struct store_append *letter = (struct store_append *)answer(bench);
    uint32_t count = letter->count;

    if (letter->letter.err) {
        fprintf(stderr, "append: %s\n", strerror(-letter->letter.err));
        exit(1);
    }
    for (uint32_t i = 0; i < count; i++) {
        publication_unref(letter->entries[i].pub);
    }
    mem_free(letter);
    return count;
}

/* `under_way` records at a time, until `records` are durable. */
static void append(struct bench *bench, uint64_t records, uint32_t under_way)
{
    uint32_t per_letter = under_way < STORE_APPEND_MAX ? under_way : STORE_APPEND_MAX;
    uint64_t sent = 0, done = 0, start_ns = clock_now_ns();
    uint64_t all_ns = cpu_ns(RUSAGE_SELF), own_ns = cpu_ns(RUSAGE_THREAD);
    struct store_stats before, after;

    store_stats(bench->store, &before);
    while (done < records) {
        while (sent < records && sent - done + per_letter <= under_way) {
            send_letter(bench, per_letter);
            sent += per_letter;
        }
        done += take_letter(bench);
    }
    uint64_t ns = clock_now_ns() - start_ns;
    uint64_t store_ns = cpu_ns(RUSAGE_SELF) - all_ns - (cpu_ns(RUSAGE_THREAD) - own_ns);
    store_stats(bench->store, &after);
    uint64_t commits = after.commits - before.commits;
    printf(
        "append, %6u under way: %8.0f records/s, %5.0f records a commit, commit %6.2f ms, store's "
        "CPU %.1f us a record\n",
        under_way, (double)done * 1e9 / (double)ns, (double)done / (double)commits,
        (double)(after.commit_ns - before.commit_ns) / (double)commits / 1e6,
        (double)store_ns / 1e3 / (double)done);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void read_pages(struct bench *bench, const char *title, uint32_t pages)
{
    uint64_t *took_ns = mem_alloc(pages * sizeof(*took_ns));
    struct store_stats before, after;
    uint64_t records = 0;

    store_stats(bench->store, &before);
    for (uint32_t i = 0; i < pages; i++) {
        struct store_read letter = {.from = STORE_FROM_LAST, .count_max = 100};
        size_t channel = (size_t)rng_below(&bench->rng, CHANNELS);
        letter.hash = channel;
        letter.name_len =
            (uint16_t)snprintf(letter.name, sizeof(letter.name), "orders:%zu", channel);
        uint64_t start_ns = clock_now_ns();
        int r = bench->ports.read(bench->ports.ctx, &letter);
        CHECK(r == 0 && answer(bench) == &letter.letter.mail && letter.letter.err == 0);
        took_ns[i] = clock_now_ns() - start_ns;
        records += letter.count;
        for (uint32_t k = 0; k < letter.count; k++) {
            publication_unref(letter.pubs[k]);
        }
        mem_free(letter.pubs);
    }
    store_stats(bench->store, &after);
    qsort(took_ns, pages, sizeof(*took_ns), by_value);
    printf(
        "%s: %.0f records, p50 %.0f us, p99 %.0f us with two wake-ups; the reader's part %.0f us\n",
        title, (double)records / pages, (double)took_ns[pages / 2] / 1e3,
        (double)took_ns[pages - pages / 100 - 1] / 1e3,
        (double)(after.read_ns - before.read_ns) / pages / 1e3);
    mem_free(took_ns);
}

static void reopen(struct bench *bench)
{
    char path[4096];
    struct stat st = {0};

    for (int i = 0; i < 5; i++) {
        store_close(bench->store);
        uint64_t start_ns = clock_now_ns();
        open_store(bench);
        printf("open: %.2f ms\n", (double)(clock_now_ns() - start_ns) / 1e6);
    }
    snprintf(path, sizeof(path), "%s/data.mdb", bench->options.dir);
    CHECK(stat(path, &st) == 0);
    printf("file: %.0f MiB\n", (double)st.st_size / (1 << 20));
}

int main(int argc, char **argv)
{
    struct bench bench = {.options = store_options_default()};
    uint64_t records = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_store DIRECTORY [records [payload bytes]]\n");
        return 2;
    }
    bench.payload_len = argc > 3 ? strtoull(argv[3], NULL, 10) : 300;
    bench.payload = mem_zalloc(bench.payload_len + 1);
    bench.options.dir = argv[1];
    bench.options.disk_bytes = 16ull << 30;
    bench.options.ctx = &bench;
    bench.options.post = post;
    bench.options.event = event;
    rng_init(&bench.rng, 1);
    int r = mailbox_create(&bench.box);
    CHECK(r == 0);
    open_store(&bench);
    printf("%zu bytes a payload, %d channels\n", bench.payload_len, CHANNELS);
    append(&bench, 2000, 1);
    append(&bench, records / 20, 128);
    append(&bench, records / 5, 1024);
    append(&bench, records - records / 4, 16384);
    read_pages(&bench, "page of the last 100", PAGES);
    reopen(&bench);
    store_close(bench.store);
    mailbox_destroy(bench.box);
    mem_free(bench.payload);
    return 0;
}
