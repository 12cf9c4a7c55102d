#include "role/listing.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "conn/report.h"
#include "conn/ws.h"
#include "proto/url.h"
#include "role/gateway.h"
#include "role/gather.h"
#include "role/listing_row.h"
#include "rt/clock.h"

/* Rows of one shard: 1000 ordinary ones fit several times over. */
enum { PART_BYTES_MAX = 1024 * 1024 };

struct row {
    struct listing_place place;
    uint32_t start, len; /* In text; len 0: the connection went before its row was written. */
};

struct listing_part {
    struct gather_part part;
    struct listing_query query;
    int64_t boot_ms;
    uint32_t slot;    /* Next one to look at. */
    uint32_t written; /* Rows. */
    uint32_t count;   /* Rows; a heap, the last in the order on top, until all slots are seen. */
    bool sorted;
    bool more; /* There are others behind the last row. */
    int err;
    struct row *rows; /* query.limit of them. */
    struct bytes text;
};

/* ---- on each shard: the first `limit` in the order ---- */

static void swap(struct row *a, struct row *b)
{
    struct row row = *a;
    *a = *b;
    *b = row;
}

static void sift_down(struct row *rows, uint32_t count, uint32_t at)
{
    for (;;) {
        uint32_t most = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            most = listing_before(rows[most].place, rows[child].place) ? child : most;
        }
        if (most == at) {
            return;
        }
        swap(&rows[most], &rows[at]);
        at = most;
    }
}

static void sift_up(struct row *rows, uint32_t at)
{
    while (at && listing_before(rows[(at - 1) / 2].place, rows[at].place)) {
        swap(&rows[(at - 1) / 2], &rows[at]);
        at = (at - 1) / 2;
    }
}

static void consider(struct listing_part *part, struct listing_place place)
{
    if (part->query.has_after && !listing_before(part->query.after, place)) {
        return;
    }
    if (part->count < part->query.limit) {
        part->rows[part->count].place = place;
        sift_up(part->rows, part->count++);
        return;
    }
    part->more = true;
    if (listing_before(place, part->rows[0].place)) {
        part->rows[0].place = place;
        sift_down(part->rows, part->count, 0);
    }
}

/* True when every slot has been looked at. */
static bool look(struct conn_server *server, struct listing_part *part)
{
    struct listing_filter filter = listing_filter_make(server, &part->query);
    uint32_t end = part->slot + LISTING_SLOTS_A_TURN;
    struct client *client;

    if (filter.nobody) {
        return true;
    }
    while (part->slot < end) {
        uint32_t slot = part->slot;
        client = conn_client_next(server, &slot);
        part->slot = slot;
        if (!client) {
            return true;
        }
        if (listing_matches(&filter, client)) {
            consider(part, listing_place_of(server, client, part->query.sort));
        }
    }
    return false;
}

static void sort(struct listing_part *part)
{
    for (uint32_t left = part->count; left > 1; left--) {
        swap(&part->rows[0], &part->rows[left - 1]);
        sift_down(part->rows, left - 1, 0);
    }
    part->sorted = true;
}

/* True when all rows are written. */
static bool write_rows(struct conn_server *server, struct listing_part *part)
{
    const struct listing_query any = {0};
    const struct listing_filter open = {.query = &any};

    for (uint32_t i = 0; i < LISTING_ROWS_A_TURN; i++) {
        if (part->written == part->count || part->err) {
            return true;
        }
        struct row *row = &part->rows[part->written++];
        struct client *client = conn_client_find(server, row->place.id);
        row->start = (uint32_t)part->text.len;
        if (client && listing_matches(&open, client)) {
            part->err = listing_append_row(&part->text, server, client, part->boot_ms);
        }
        row->len = (uint32_t)part->text.len - row->start;
        if (part->text.len > PART_BYTES_MAX && part->written < part->count) {
            part->count = part->written;
            part->more = true;
        }
    }
    return part->written == part->count;
}

static bool fill(struct gateway_shard *gs, struct gather_part *base)
{
    struct listing_part *part = (struct listing_part *)base;

    if (!part->rows) {
        part->rows = mem_try_zalloc(part->query.limit * sizeof(*part->rows));
    }
    if (!part->rows) {
        part->err = -ENOMEM;
        return true;
    }
    if (!part->sorted) {
        if (!look(gs->server, part)) {
            return false;
        }
        sort(part);
    }
    return write_rows(gs->server, part);
}

static void part_fini(struct gather_part *base)
{
    struct listing_part *part = (struct listing_part *)base;

    mem_free(part->rows);
    bytes_fini(&part->text);
}

/* ---- on the asking shard: merging ---- */

struct merge {
    struct gather *gather;
    uint16_t shard_count;
    uint32_t next_row[CORE_SHARDS_MAX];
    bool bounded; /* Behind `bound` some shard may have rows it did not send. */
    struct listing_place bound;
};

static struct listing_part *part_at(const struct merge *merge, uint16_t shard)
{
    return (struct listing_part *)gather_part(merge->gather, shard);
}

static int begin_merge(struct merge *merge)
{
    for (uint16_t i = 0; i < merge->shard_count; i++) {
        const struct listing_part *part = part_at(merge, i);
        if (part->err) {
            return part->err;
        }
        if (!part->more) {
            continue;
        }
        struct listing_place last = part->rows[part->count - 1].place;
        if (!merge->bounded || listing_before(last, merge->bound)) {
            merge->bound = last;
        }
        merge->bounded = true;
    }
    return 0;
}

/* The next row of all shards; NULL at the end or past the bound. */
static const struct row *next_row(struct merge *merge, const struct listing_part **ret_part)
{
    const struct row *best = NULL;
    uint16_t from = 0;

    for (uint16_t i = 0; i < merge->shard_count; i++) {
        const struct listing_part *part = part_at(merge, i);
        const struct row *row = &part->rows[merge->next_row[i]];
        if (merge->next_row[i] < part->count &&
            (!best || listing_before(row->place, best->place))) {
            best = row;
            from = i;
        }
    }
    if (!best || (merge->bounded && listing_before(merge->bound, best->place))) {
        return NULL;
    }
    merge->next_row[from] += 1;
    *ret_part = part_at(merge, from);
    return best;
}

static int append_page(struct bytes *out, struct merge *merge, const struct listing_query *query)
{
    const struct listing_part *part = NULL;
    const struct row *row = next_row(merge, &part);
    struct listing_place last = {0};
    uint32_t count = 0;
    char token[LISTING_TOKEN_MAX];
    int err = bytes_append_str(out, "{\"connections\":[");

    for (; !err && row && count < query->limit && out->len <= PART_BYTES_MAX;
         row = next_row(merge, &part)) {
        last = row->place;
        if (row->len) {
            err = count++ ? bytes_append_byte(out, ',') : 0;
            err = err ? err : bytes_append(out, part->text.data + row->start, row->len);
        }
    }
    if (err || (!row && !merge->bounded)) {
        return err ? err : bytes_append_str(out, "],\"next\":null}\n");
    }
    listing_token(query->sort, row ? last : merge->bound, token);
    return bytes_appendf(out, "],\"next\":\"%s\"}\n", token);
}

static void answer(struct gateway_shard *gs, struct http_exchange *x, struct gather *gather)
{
    struct merge merge = {.gather = gather, .shard_count = gs->gateway->shard_count};
    struct bytes out = {0};
    int err = begin_merge(&merge);

    err = err ? err : append_page(&out, &merge, &part_at(&merge, 0)->query);
    if (err) {
        http_reply_error(x, 503, "no_memory", "no memory for the answer");
    } else {
        http_reply(x, 200, "application/json", out.data, out.len);
    }
    bytes_fini(&out);
}

void listing_handler(struct http_exchange *x)
{
    static const struct gather_question question = {
        .part_size = sizeof(struct listing_part),
        .weight = 8,
        .fill = fill,
        .answer = answer,
        .part_fini = part_fini,
    };
    struct listing_query query;
    char why[120];
    int err = listing_query_read(&query, x, why, sizeof(why));

    if (err) {
        http_reply_error(x, err == -EINVAL ? 400 : 503, err == -EINVAL ? "bad_query" : "no_memory",
            err == -EINVAL ? why : "no memory for the request");
        return;
    }
    struct gather *gather = gather_create(x, &question, GATHER_ALL);
    if (!gather) {
        return;
    }
    int64_t boot_ms = (int64_t)(clock_wall_ns() / 1000000) - (int64_t)(clock_now_ns() / 1000000);
    for (uint16_t i = 0; i < gateway_shard_of(x->app)->gateway->shard_count; i++) {
        struct listing_part *part = (struct listing_part *)gather_part(gather, i);
        part->query = query;
        part->boot_ms = boot_ms;
    }
    gather_send(gather);
}

/* ---- DELETE ---- */

struct cut_part {
    struct gather_part part;
    uint64_t id;
    bool done;
};

static bool cut(struct gateway_shard *gs, struct gather_part *base)
{
    struct cut_part *part = (struct cut_part *)base;
    struct client *client = conn_client_find(gs->server, part->id);

    if (client && client->protocol == CLIENT_WS && client->state == CLIENT_OPEN) {
        gs->server->stats.cut_operator += 1;
        report_cut(gs->server, client, "an operator");
        ws_close(gs->server, client, WS_CODE_POLICY, "cut by an operator");
        part->done = true;
    }
    return true;
}

static void reply_unknown(struct http_exchange *x)
{
    http_reply_error(x, 404, "no_connection",
        "id: no open connection of this gateway has it; GET /api/v1/connections lists them");
}

static void answer_cut(struct gateway_shard *gs, struct http_exchange *x, struct gather *gather)
{
    bool done = false;

    for (uint16_t i = 0; i < gs->gateway->shard_count; i++) {
        const struct cut_part *part = (const struct cut_part *)gather_part(gather, i);
        done = done || (part && part->done);
    }
    if (done) {
        http_reply(x, 204, NULL, NULL, 0);
    } else {
        reply_unknown(x);
    }
}

void listing_cut(struct http_exchange *x)
{
    static const struct gather_question question = {
        .part_size = sizeof(struct cut_part), .weight = 1, .fill = cut, .answer = answer_cut};
    uint64_t id;

    /* What cannot be an id is the id of nobody. */
    if (!listing_hex(x->params[0], &id) ||
        id >> 56 >= gateway_shard_of(x->app)->gateway->shard_count) {
        reply_unknown(x);
        return;
    }
    struct gather *gather = gather_create(x, &question, 1ull << (id >> 56));
    if (gather) {
        ((struct cut_part *)gather_part(gather, (uint16_t)(id >> 56)))->id = id;
        gather_send(gather);
    }
}
