#include "role/listing.h"

#include <errno.h>

#include "role/gateway.h"
#include "role/listing_part.h"
#include "rt/clock.h"

/* ---- merging what the shards found ---- */

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
static const struct listing_row *next_row(struct merge *merge, const struct listing_part **ret_part)
{
    const struct listing_row *best = NULL;
    uint16_t from = 0;

    for (uint16_t i = 0; i < merge->shard_count; i++) {
        const struct listing_part *part = part_at(merge, i);
        const struct listing_row *row = &part->rows[merge->next_row[i]];
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
    const struct listing_row *row = next_row(merge, &part);
    struct listing_place last = {0};
    uint32_t count = 0;
    char token[LISTING_TOKEN_MAX];
    int err = bytes_append_str(out, "{\"connections\":[");

    for (; !err && row && count < query->limit && out->len <= LISTING_BYTES_MAX;
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

/* ---- the request ---- */

void listing_handler(struct http_exchange *x)
{
    static const struct gather_question question = {
        .part_size = sizeof(struct listing_part),
        .weight = 8,
        .fill = listing_part_fill,
        .answer = answer,
        .part_fini = listing_part_fini,
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
