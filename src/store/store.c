#include "store/store.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/clock.h"
#include "store/guard.h"
#include "store/keys.h"
#include "store/own.h"

_Static_assert((int)STORE_WHY_MAX == (int)DB_WHY_MAX, "why is passed on");

struct store_options store_options_default(void)
{
    return (struct store_options){
        .disk_bytes = 4ull << 30,
        .pending_bytes_max = 64ull << 20,
        .pending_reads_max = 4096,
        .reader_count = 2,
    };
}

struct store_identity store_identity_of(const struct format_meta *meta)
{
    return (struct store_identity){
        .store_id = meta->store_id,
        .secret = {meta->secret[0], meta->secret[1]},
        .generation = meta->generation,
        .serial = meta->serial,
    };
}

/* ---- For the threads ---- */

void worker_wait(struct store_worker *worker, uint64_t until_ns)
{
    struct pollfd pollfd = {.fd = mailbox_wake_fd(worker->box), .events = POLLIN};
    uint64_t now_ns = clock_now_ns();
    int timeout_ms = -1;

    if (until_ns != UINT64_MAX) {
        uint64_t left_ms = until_ns > now_ns ? (until_ns - now_ns) / 1000000 + 1 : 0;
        timeout_ms = left_ms < 60000 ? (int)left_ms : 60000;
    }
    if (timeout_ms != 0 && mailbox_sleep(worker->box)) {
        poll(&pollfd, 1, timeout_ms);
    }
    mailbox_awake(worker->box);
}

void worker_answer(struct store_worker *worker, struct store_letter *letter, int err)
{
    CHECK(letter->mail.from < CORE_SHARDS_MAX);
    letter->err = err;
    mail_chain_add(&worker->answers.chains[letter->mail.from], &letter->mail);
}

void worker_post(struct store_worker *worker)
{
    const struct store_options *options = &worker->store->options;

    for (uint16_t shard = 0; shard < CORE_SHARDS_MAX; shard++) {
        struct mail_chain *chain = &worker->answers.chains[shard];
        if (chain->first) {
            options->post(options->ctx, shard, chain);
            *chain = (struct mail_chain){0};
        }
    }
}

void store_tell(const struct store *store, enum store_event event, int err, const char *fmt, ...)
{
    char text[STORE_WHY_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (store->options.event) {
        store->options.event(store->options.ctx, event, err, text);
    }
}

void store_tell_damage(struct store *store, uint64_t count, const char *what)
{
    if (atomic_fetch_add_explicit(&store->counts.damaged, count, memory_order_relaxed) == 0) {
        store_tell(store, STORE_DAMAGED, -EBADMSG,
            "%s: %s cannot be read, the file is damaged; channels that are concerned answer with a "
            "reset or a gap. See to the disk, and restore the directory from a copy",
            store->db.data_path, what);
    }
}

/* ---- The ports; on the shards' threads ---- */

static void give(struct store_worker *worker, struct store_letter *letter, uint8_t request)
{
    struct mail_chain chain = {0};

    letter->request = request;
    mail_chain_add(&chain, &letter->mail);
    mailbox_post(worker->box, &chain);
}

static bool is_closing(const struct store *store)
{
    return atomic_load_explicit(&store->counts.closing, memory_order_relaxed);
}

/* One is taken in any case, however large. */
static int reserve(store_count *pending, uint64_t more, uint64_t max)
{
    uint64_t before = atomic_fetch_add_explicit(pending, more, memory_order_relaxed);

    if (before > 0 && before + more > max) {
        store_sub(pending, more);
        return -EBUSY;
    }
    return 0;
}

static int port_append(void *ctx, struct store_append *letter)
{
    struct store *store = ctx;

    CHECK(letter->count <= STORE_APPEND_MAX);
    letter->bytes = 0;
    for (uint32_t i = 0; i < letter->count; i++) {
        letter->bytes += publication_size(letter->entries[i].pub);
    }
    if (letter->bytes > store->options.disk_bytes / STORE_LETTER_SHARE) {
        return -EMSGSIZE; /* Making room for it would cost everybody's history. */
    }
    int r = is_closing(store) ? -ESHUTDOWN
                              : reserve(&store->counts.pending_bytes, letter->bytes,
                                    store->options.pending_bytes_max);
    if (r == 0) {
        give(&store->writer, &letter->letter, STORE_APPEND);
    }
    return r;
}

static int port_read(void *ctx, struct store_read *letter)
{
    struct store *store = ctx;

    CHECK(letter->name_len <= NAME_MAX_BYTES);
    int r = is_closing(store)
                ? -ESHUTDOWN
                : reserve(&store->counts.pending_reads, 1, store->options.pending_reads_max);
    if (r == 0) {
        give(&store->readers[letter->hash % store->reader_count], &letter->letter, STORE_READ);
    }
    return r;
}

static int port_clear(void *ctx, struct store_clear *letter)
{
    struct store *store = ctx;

    CHECK(letter->name_len > 0 && letter->name_len <= NAME_MAX_BYTES);
    if (is_closing(store)) {
        return -ESHUTDOWN;
    }
    give(&store->writer, &letter->letter, STORE_CLEAR);
    return 0;
}

struct store_ports store_ports(struct store *store)
{
    return (struct store_ports){
        .ctx = store,
        .append = port_append,
        .read = port_read,
        .clear = port_clear,
    };
}

/* ---- Open and close ---- */

static int start(struct store_worker *worker, struct store *store, const char *name, thread_fn *fn)
{
    worker->store = store;
    int r = mailbox_create(&worker->box);
    if (r == 0) {
        r = thread_start(name, -1, fn, worker, &worker->thread);
        if (r < 0) {
            mailbox_destroy(worker->box);
            worker->box = NULL;
        }
    }
    return r;
}

static int start_all(struct store *store)
{
    int r = start(&store->writer, store, "store-write", writer_run);

    for (uint32_t i = 0; i < store->options.reader_count && r == 0; i++) {
        r = start(&store->readers[i], store, "store-read", reader_run);
        store->reader_count += r == 0;
    }
    return r;
}

static void stop(struct store_worker *worker, struct store_letter *letter)
{
    if (worker->thread) {
        give(worker, letter, STORE_STOP);
        thread_join(worker->thread);
        mailbox_destroy(worker->box);
    }
}

void store_close(struct store *store)
{
    if (!store) {
        return;
    }
    atomic_store_explicit(&store->counts.closing, true, memory_order_relaxed);
    stop(&store->writer, &store->stop);
    for (uint32_t i = 0; i < store->reader_count; i++) {
        stop(&store->readers[i], &store->reader_stop[i]);
    }
    db_close(&store->db, store->leave_env);
    guard_remove();
    mem_free(store);
}

/* Opening reads pages too, and a damaged one must not end the process before it said why. */
struct opening {
    struct store *store;
    char *why;
};

static int open_db(void *arg)
{
    struct opening *opening = arg;
    struct store *store = opening->store;

    return db_open(store->options.dir, store->options.disk_bytes, store->options.reader_count,
        &store->db, &store->meta, opening->why);
}

int store_open(
    const struct store_options *options, struct store **ret_store, char why[STORE_WHY_MAX])
{
    if (!options->dir || !options->post || options->disk_bytes < STORE_DISK_BYTES_MIN ||
        options->reader_count < 1 || options->reader_count > STORE_READERS_MAX) {
        snprintf(why, STORE_WHY_MAX, "the history's options are out of their bounds");
        return -EINVAL;
    }
    int r = guard_install();
    if (r < 0) {
        snprintf(why, STORE_WHY_MAX, "the history cannot be guarded: %s", strerror(-r));
        return r;
    }
    struct store *store = mem_zalloc_aligned(sizeof(*store));
    struct opening opening = {store, why};
    store->options = *options;
    r = guard_run(open_db, &opening);
    if (r == -EFAULT) {
        snprintf(why, STORE_WHY_MAX,
            "%s/data.mdb: is damaged: a page that is needed to open it cannot be read; restore the "
            "directory from a copy, or move it away to begin with an empty history",
            options->dir);
        db_close(&store->db, true);
        r = -EBADMSG;
    }
    if (r < 0) {
        guard_remove();
        mem_free(store);
        return r;
    }
    store->identity = store_identity_of(&store->meta);
    r = start_all(store);
    if (r < 0) {
        snprintf(why, STORE_WHY_MAX, "the history's threads cannot be started: %s", strerror(-r));
        store_close(store);
        return r;
    }
    *ret_store = store;
    return 0;
}

uint32_t store_wake_fds(const struct store *store, int out[STORE_READERS_MAX + 1])
{
    uint32_t count = 0;

    out[count++] = mailbox_wake_fd(store->writer.box);
    for (uint32_t i = 0; i < store->reader_count; i++) {
        out[count++] = mailbox_wake_fd(store->readers[i].box);
    }
    return count;
}

struct store_identity store_identity(const struct store *store)
{
    return store->identity;
}

struct each_key {
    const struct db *db;
    store_key_fn *fn;
    void *ctx;
};

static int each_key(void *arg)
{
    struct each_key *each = arg;

    return keys_each(each->db, clock_wall_ns() / 1000000, each->fn, each->ctx);
}

int store_each_key(struct store *store, store_key_fn *fn, void *ctx)
{
    struct each_key each = {&store->db, fn, ctx};

    return guard_run(each_key, &each);
}

void store_stats(const struct store *store, struct store_stats *ret_stats)
{
    const struct store_counts *c = &store->counts;

    *ret_stats = (struct store_stats){
        .records = c->records,
        .commits = c->commits,
        .commit_ns = c->commit_ns,
        .commit_ns_max = c->commit_ns_max,
        .trimmed = c->trimmed,
        .evicted = c->evicted,
        .reads = c->reads,
        .read_records = c->read_records,
        .read_ns = c->read_ns,
        .refused = c->refused,
        .damaged = c->damaged,
        .pending_bytes = c->pending_bytes,
        .pending_reads = c->pending_reads,
        .used_bytes = c->used_bytes,
        .disk_bytes_max = store->db.budget_bytes,
        .failed = c->failed,
        .full = c->full,
    };
}
