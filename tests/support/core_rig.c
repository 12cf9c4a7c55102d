#include "tests/support/core_rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/channel.h"
#include "core/outbox.h"
#include "core/snapshot.h"
#include "tests/support/unit.h"

/* ---- ports ---- */

static int encode(void *ctx, uint8_t framing, const struct publication *pub, struct bytes *out)
{
    struct span payload = publication_payload(pub);
    size_t before = out->len;
    int err = 0;

    (void)ctx;
    if (framing == RIG_TOLD) {
        err = bytes_appendf(out, "%llu=", (unsigned long long)pub->offset);
    }
    err = err ? err : bytes_append(out, payload.data, payload.len);
    err = err ? err : bytes_append_byte(out, ';');
    if (err) {
        out->len = before;
    }
    return err;
}

static int encode_event(
    void *ctx, uint8_t framing, const struct publication *pub, struct bytes *out)
{
    struct span payload = publication_payload(pub);

    (void)ctx;
    (void)framing;
    return bytes_appendf(out, "%llu=%.*s", (unsigned long long)pub->offset, (int)payload.len,
        (const char *)payload.data);
}

static int encode_events(void *ctx, uint8_t framing, struct span events, struct bytes *out)
{
    (void)ctx;
    (void)framing;
    return bytes_appendf(out, "[%.*s];", (int)events.len, (const char *)events.data);
}

static void wake(void *ctx, uint64_t ms)
{
    ((struct rig_shard *)ctx)->rig->wake_ms = ms;
}

static int encode_gap(void *ctx, const struct gap *gap, struct bytes *out)
{
    (void)ctx;
    if (gap->framing != RIG_TOLD) {
        return 0;
    }
    return bytes_appendf(out, "!%.*s %llu-%llu %s;", (int)gap->channel->name_len,
        gap->channel->name, (unsigned long long)gap->from, (unsigned long long)gap->to,
        drop_reason_names[gap->reason]);
}

static bool wants_gaps(void *ctx, uint8_t framing)
{
    (void)ctx;
    return framing == RIG_TOLD;
}

static struct rig_client *client_of_sub(struct subscriber *sub)
{
    return (struct rig_client *)sub;
}

static long put(struct rig_client *client, const void *data, size_t len)
{
    client->writes += 1;
    if (client->error) {
        return client->error;
    }
    size_t take = client->room < 0 || (size_t)client->room > len ? len : (size_t)client->room;
    if (take == 0 && len) {
        return -EAGAIN;
    }
    uint8_t *copy = mem_realloc(client->sent.data, client->sent.len + take + 1);
    client->sent.data = copy; /* Not bytes_append(): the test's own memory never runs out. */
    memcpy(copy + client->sent.len, data, take);
    client->sent.len += take;
    copy[client->sent.len] = 0;
    client->room -= client->room < 0 ? 0 : (long)take;
    return (long)take;
}

static long write_spans(void *ctx, struct subscriber *sub, const struct iovec *iov, int count)
{
    long sum = 0;

    (void)ctx;
    for (int i = 0; i < count; i++) {
        long took = put(client_of_sub(sub), iov[i].iov_base, iov[i].iov_len);
        if (took < 0) {
            return sum ? sum : took;
        }
        sum += took;
        if ((size_t)took < iov[i].iov_len) {
            break;
        }
    }
    return sum;
}

static void deliver(void *ctx, struct slice *slice)
{
    struct rig_shard *rs = ctx;
    struct batch *batch = slice->batch;

    for (uint32_t i = 0; i < slice->count; i++) {
        struct subscriber *sub = shard_subscriber(rs->shard, slice->entries[i].slot);
        uint32_t first = slice_first(batch, &slice->entries[i]);
        uint32_t count = batch->count - first;
        if (count == 0) {
            continue;
        }
        slice->taken += count;
        if (!(sub->flags & SUB_DIRECT)) {
            shard_deliver_queued(rs->shard, sub, batch, first);
            continue;
        }
        uint32_t start = batch_start(batch, first);
        long want = (long)(batch->data.len - start);
        long sent = put(client_of_sub(sub), batch->data.data + start, (size_t)want);
        if (sent == want) {
            sub->delivered += count;
            slice->delivered += count;
            if (first == 0) {
                slice->whole += 1;
            } else {
                shard_count_latency(rs->shard, batch, first, count);
            }
        } else {
            shard_deliver_partial(rs->shard, sub, batch, first, sent, slice);
        }
    }
    slice->now_ns = rs->rig->now_ns;
}

static void keep_history(struct rig *rig, const struct mail_subscribe *answer)
{
    rig->history_answers += 1;
    rig->history_more = answer->more;
    rig->history_state = answer->state;
    rig->history_cursor = answer->cursor;
    rig->history.len = 0;
    for (uint32_t i = 0; i < answer->replay_count; i++) {
        struct span payload = publication_payload(answer->replay[i]);
        if (bytes_appendf(&rig->history, "%llu=%.*s;",
                (unsigned long long)answer->replay[i]->offset, (int)payload.len,
                (const char *)payload.data) != 0) {
            return; /* A test of memory running out. */
        }
    }
}

static void subscribed(void *ctx, struct subscriber *sub, const struct mail_subscribe *answer)
{
    struct rig_shard *rs = ctx;

    if (!sub) {
        keep_history(rs->rig, answer);
        return;
    }
    client_of_sub(sub)->answers += 1;
    client_of_sub(sub)->state = answer->state;
    client_of_sub(sub)->cursor = answer->cursor;
}

static void restarted(
    void *ctx, struct subscriber *sub, uint8_t framing, struct span channel, struct cursor cursor)
{
    (void)ctx;
    (void)framing;
    (void)channel;
    client_of_sub(sub)->restarts += 1;
    client_of_sub(sub)->cursor = cursor;
}

static void published(void *ctx, const struct publish_result *result)
{
    struct rig *rig = ((struct rig_shard *)ctx)->rig;

    assert_true(rig->result_count < RIG_RESULTS_MAX);
    rig->results[rig->result_count++] = *result;
}

static void slow(void *ctx, struct subscriber *sub, bool dropping)
{
    (void)ctx;
    client_of_sub(sub)->slow_began += dropping;
    client_of_sub(sub)->slow_ended += !dropping;
}

static void flushed(void *ctx, struct subscriber *sub)
{
    (void)ctx;
    client_of_sub(sub)->flushed += 1;
}

static void doomed(void *ctx, struct subscriber *sub)
{
    struct rig_client *client = client_of_sub(sub);
    const char *words = client->last_words;

    if (words && (sub->flags & SUB_DOOMED_SLOW)) {
        client->last_words = NULL;
        shard_reprieve(((struct rig_shard *)ctx)->shard, sub);
        assert_int_equal(
            shard_control(((struct rig_shard *)ctx)->shard, sub, words, strlen(words)), 0);
    } else {
        rig_close(client);
    }
}

static bool interest(void *ctx, struct span name, bool wanted)
{
    struct rig *rig = ((struct rig_shard *)ctx)->rig;

    (void)name;
    rig->wanted += wanted;
    rig->unwanted += !wanted;
    return !rig->closed_channels;
}

static void post(void *ctx, uint16_t shard, struct mail *mail)
{
    mail_chain_add(&((struct rig_shard *)ctx)->rig->shards[shard].in, mail);
}

/* ---- life ---- */

void rig_init(struct rig *rig, uint16_t shard_count)
{
    memset(rig, 0, sizeof(*rig));
    rig->now_ns = 3600ull * 1000000000;
    rig->settings = (struct core_settings){
        .shard_count = shard_count,
        .store_id = 42,
        .hash_key = {1, 2},
        .history_bytes_total = 1 << 30,
        .overload_bytes = 1 << 30,
        .replay_page_bytes = REPLAY_PAGE_BYTES,
        .ns_count = 1,
    };
    rig->settings.ns[0] = (struct ns_settings){
        .outbox_messages = 1000000,
        .outbox_bytes = 1 << 30,
        .history_messages = 100,
        .history_bytes = 1 << 30,
        .history_age_ms = 600000,
    };
}

static void store_post(void *ctx, uint16_t shard, struct mail *mail)
{
    mail_chain_add(&((struct rig *)ctx)->shards[shard].in, mail);
}

void rig_start(struct rig *rig)
{
    for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
        struct rig_shard *rs = &rig->shards[i];
        const struct core_ports ports = {
            .ctx = rs,
            .encode = encode,
            .encode_event = encode_event,
            .encode_events = encode_events,
            .wake = wake,
            .encode_gap = encode_gap,
            .wants_gaps = wants_gaps,
            .deliver = deliver,
            .write = write_spans,
            .subscribed = subscribed,
            .restarted = restarted,
            .published = published,
            .slow = slow,
            .flushed = flushed,
            .doomed = doomed,
            .interest = interest,
            .post = post,
        };
        rs->rig = rig;
        slab_init(&rs->clients, sizeof(struct rig_client));
        assert_int_equal(shard_create(i, &rig->settings, &ports, &rs->clients, &rs->shard), 0);
        if (rig->store) {
            rig->store->ctx = rig;
            rig->store->post = store_post;
            durable_open(rs->shard, &rig->store->ports, rig->store->identity);
        }
        shard_begin_turn(rs->shard, rig->now_ns);
    }
}

void rig_fini(struct rig *rig)
{
    for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
        struct rig_shard *rs = &rig->shards[i];
        for (uint32_t slot = 0; slot < rs->clients.high_count; slot++) {
            rig_close(slab_at(&rs->clients, slot));
        }
    }
    rig_run(rig);
    for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
        struct rig_shard *rs = &rig->shards[i];
        rig->now_ns += 1000000000ull * 3600 * 24 * 365;
        shard_begin_turn(rs->shard, rig->now_ns);
        for (int tick = 0; tick < 50; tick++) {
            home_tick(rs->shard);
        }
        assert_int_equal(rs->shard->stats.channels, 0);
        if (!rig->store) { /* Numbers of a durable channel are remembered. */
            assert_int_equal(rs->shard->stats.homes, 0);
        }
        assert_int_equal(rs->shard->stats.subscriptions, 0);
        assert_int_equal(rs->shard->stats.history_bytes, 0);
        assert_int_equal(rs->shard->unswept_bytes, 0);
        for (uint16_t to = 0; to < rig->settings.shard_count; to++) {
            assert_int_equal(rs->shard->peers[to].in_flight, 0);
            assert_int_equal(rs->shard->peers[to].behind.count, 0);
            assert_int_equal(rs->shard->ingest_in_flight[to], 0);
        }
        shard_destroy(rs->shard);
        for (uint32_t slot = 0; slot < rs->clients.high_count; slot++) {
            bytes_fini(&((struct rig_client *)slab_at(&rs->clients, slot))->sent);
        }
        slab_fini(&rs->clients);
    }
    bytes_fini(&rig->history);
}

struct rig_client *rig_client(struct rig *rig, uint16_t shard)
{
    struct rig_shard *rs = &rig->shards[shard];
    uint32_t slot = slab_alloc(&rs->clients);

    assert_int_not_equal(slot, SLAB_NONE);
    struct rig_client *client = slab_at(&rs->clients, slot);
    client->rig = rig;
    client->shard = shard;
    client->room = -1;
    shard_adopt(rs->shard, &client->sub, slot, 1, (int32_t)slot, true);
    return client;
}

static struct shard *shard_of(struct rig_client *client)
{
    return client->rig->shards[client->shard].shard;
}

/* The slot is kept, so that the test can still look at it. */
void rig_close(struct rig_client *client)
{
    if (!client->closed) {
        client->closed = true;
        shard_close(shard_of(client), &client->sub);
    }
}

/* ---- doing things ---- */

int rig_ask(struct rig_client *client, const char *channel, uint8_t framing, const char *since)
{
    uint64_t id;
    return shard_subscribe(shard_of(client), &client->sub, span_str(channel), framing,
        since_parse(span_str(since)), &id);
}

void rig_subscribe(
    struct rig_client *client, const char *channel, uint8_t framing, const char *since)
{
    uint32_t before = client->answers;

    assert_int_equal(rig_ask(client, channel, framing, since), 0);
    rig_run(client->rig);
    assert_int_equal(client->answers, before + 1);
}

int rig_order(struct rig *rig, uint16_t shard, struct publish_order order)
{
    return shard_publish(rig->shards[shard].shard, &order);
}

int rig_publish_keyed(
    struct rig *rig, uint16_t shard, const char *channel, const char *payload, uint32_t key)
{
    return rig_order(rig, shard,
        (struct publish_order){
            .name = span_str(channel), .payload = span_str(payload), .key = key});
}

int rig_publish(struct rig *rig, uint16_t shard, const char *channel, const char *payload)
{
    return rig_publish_keyed(rig, shard, channel, payload, 0);
}

const char *rig_name_at(struct rig *rig, uint16_t shard, uint32_t n)
{
    static char names[8][32];
    static uint32_t next;
    char *name = names[next++ % 8];

    for (uint32_t i = n * 1000;; i++) {
        snprintf(name, sizeof(names[0]), "room:%u", i);
        uint64_t hash = hash_bytes(&rig->settings.hash_key, name, strlen(name));
        if ((uint16_t)(((hash >> 32) * rig->settings.shard_count) >> 32) == shard) {
            return name;
        }
    }
}

void rig_receive(struct rig *rig, uint16_t shard)
{
    struct rig_shard *rs = &rig->shards[shard];
    struct mail *mail = rs->in.first;

    shard_begin_turn(rs->shard, rig->now_ns);
    rs->in = (struct mail_chain){0};
    while (mail) {
        struct mail *next = mail->next;
        shard_receive(rs->shard, mail);
        mail = next;
    }
    shard_drain(rs->shard);
}

bool rig_sweep(struct rig *rig, uint16_t shard)
{
    return shard_sweep(rig->shards[shard].shard);
}

static bool moves(const struct rig *rig)
{
    bool more = false;

    for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
        more = more || rig->shards[i].in.first || rig->shards[i].shard->self.first;
    }
    return more;
}

void rig_turn(struct rig *rig)
{
    for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
        rig_receive(rig, i);
        rig_sweep(rig, i);
    }
}

static bool step_store(struct rig *rig)
{
    bool more = false;

    while (rig->store && !rig->store_waits && store_model_step(rig->store)) {
        more = true;
    }
    return more;
}

void rig_run(struct rig *rig)
{
    bool more = true;

    for (int turns = 0; more; turns++) {
        assert_true(turns < 100000);
        more = false;
        for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
            rig_receive(rig, i);
            more = rig_sweep(rig, i) || more;
        }
        rig_check_books(rig);
        more = step_store(rig) || more || moves(rig);
    }
}

void rig_writable(struct rig_client *client, long room)
{
    client->room = room;
    shard_writable(shard_of(client), &client->sub);
    rig_run(client->rig);
}

const char *rig_sent(struct rig_client *client)
{
    return client->sent.data ? (const char *)client->sent.data : "";
}

void rig_forget(struct rig_client *client)
{
    client->sent.len = 0;
    if (client->sent.data) {
        client->sent.data[0] = 0;
    }
}

/* ---- moving ---- */

static void asked_anew(void *ctx, uint64_t former_id, uint64_t id)
{
    (void)ctx;
    assert_true(former_id && id);
}

/* Letters only, no sweep: what a gateway does before it starts. */
static void deliver_letters(struct rig *rig)
{
    while (moves(rig)) {
        for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
            rig_receive(rig, i);
        }
    }
}

static void end_shards(struct rig *rig)
{
    rig_run(rig);
    for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
        shard_destroy(rig->shards[i].shard);
        slab_fini(&rig->shards[i].clients);
    }
    memset(rig->shards, 0, sizeof(rig->shards));
}

static struct rig_client *take_up(
    struct rig *rig, uint16_t shard, const struct rig_client *former, struct unpack *in)
{
    struct rig_client *client = rig_client(rig, shard);
    struct subscriber sub = client->sub;

    *client = *former;
    client->sub = sub;
    client->shard = shard;
    if (client->closed) {
        client->sub.accepted = former->sub.accepted;
        client->sub.delivered = former->sub.delivered;
    } else {
        assert_int_equal(snapshot_import_subscriber(
                             rig->shards[shard].shard, &client->sub, in, asked_anew, NULL),
            0);
    }
    return client;
}

void rig_transfer(
    struct rig *rig, uint16_t shard_count, struct rig_client **clients, uint32_t count)
{
    struct bytes bytes = {0};
    struct pack out = {.out = &bytes};
    uint16_t former_count = rig->settings.shard_count;
    struct rig_client *copies = mem_zalloc((count + 1) * sizeof(*copies));

    for (uint16_t i = 0; i < former_count; i++) {
        bundles_finish_all(rig->shards[i].shard);
        rig_sweep(rig, i);
    }
    for (uint16_t i = 0; i < former_count; i++) {
        snapshot_export_shard(rig->shards[i].shard, &out);
    }
    size_t shard_bytes = bytes.len;
    for (uint32_t i = 0; i < count; i++) {
        if (!clients[i]->closed) {
            snapshot_export_subscriber(shard_of(clients[i]), &clients[i]->sub, &out);
        }
        copies[i] = *clients[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        rig_close(clients[i]);
    }
    assert_int_equal(out.err, 0);
    end_shards(rig);
    rig->settings.shard_count = shard_count;
    rig->moved = true;
    rig_start(rig);
    for (uint16_t i = 0; i < shard_count; i++) {
        struct unpack in = {span_of(bytes.data, shard_bytes), false};
        for (uint16_t k = 0; k < former_count; k++) {
            assert_int_equal(
                snapshot_import_shard(rig->shards[i].shard, &in, k % shard_count == i), 0);
        }
        assert_int_equal(in.rest.len, 0);
    }
    struct unpack in = {span_of(bytes.data + shard_bytes, bytes.len - shard_bytes), false};
    for (uint32_t i = 0; i < count; i++) {
        clients[i] = take_up(rig, (uint16_t)(i % shard_count), &copies[i], &in);
    }
    assert_int_equal(in.rest.len, 0);
    deliver_letters(rig);
    mem_free(copies);
    bytes_fini(&bytes);
}

/* ---- books ---- */

struct books rig_books(struct rig_client *client)
{
    return subscriber_books(shard_of(client), &client->sub);
}

static struct books add_books(struct books a, const struct books *b)
{
    a.accepted += b->accepted;
    a.delivered += b->delivered;
    a.queued += b->queued;
    a.pending += b->pending;
    return a;
}

static void assert_same_books(const struct books *a, const struct books *b)
{
    assert_int_equal(a->accepted, b->accepted);
    assert_int_equal(a->delivered, b->delivered);
    assert_int_equal(a->queued, b->queued);
    assert_int_equal(a->pending, b->pending);
}

/* After a move what is over and done is counted by any shard. */
void rig_check_books(struct rig *rig)
{
    struct books all_clients = {0}, all_shards = {0};

    for (uint16_t i = 0; i < rig->settings.shard_count; i++) {
        struct rig_shard *rs = &rig->shards[i];
        struct books sum = {0};
        for (uint32_t slot = 0; slot < rs->clients.high_count; slot++) {
            struct rig_client *client = slab_at(&rs->clients, slot);
            struct books books = rig_books(client);
            if (!client->closed) {
                assert_int_equal(books_difference(&books), 0);
            }
            sum = add_books(sum, &books);
        }
        assert_int_equal(books_difference(&rs->shard->stats.books), 0);
        if (!rig->moved) {
            assert_same_books(&sum, &rs->shard->stats.books);
        }
        assert_int_equal(sum.queued, rs->shard->stats.books.queued);
        assert_int_equal(sum.pending, rs->shard->stats.books.pending);
        all_clients = add_books(all_clients, &sum);
        all_shards = add_books(all_shards, &rs->shard->stats.books);
    }
    assert_same_books(&all_clients, &all_shards);
}
