#include "role/listing_part.h"

#include <errno.h>

#include "base/mem.h"
#include "role/gateway.h"
#include "role/listing_row.h"

/* ---- the first `limit` in the order ---- */

static void swap(struct listing_row *a, struct listing_row *b)
{
    struct listing_row row = *a;
    *a = *b;
    *b = row;
}

static void sift_down(struct listing_row *rows, uint32_t count, uint32_t at)
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

static void sift_up(struct listing_row *rows, uint32_t at)
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
        struct listing_row *row = &part->rows[part->written++];
        struct client *client = conn_client_find(server, row->place.id);
        row->start = (uint32_t)part->text.len;
        if (client && listing_matches(&open, client)) {
            part->err = listing_append_row(&part->text, server, client, part->boot_ms);
        }
        row->len = (uint32_t)part->text.len - row->start;
        if (part->text.len > LISTING_BYTES_MAX && part->written < part->count) {
            part->count = part->written;
            part->more = true;
        }
    }
    return part->written == part->count;
}

bool listing_part_fill(struct gateway_shard *gs, struct gather_part *base)
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

void listing_part_fini(struct gather_part *base)
{
    struct listing_part *part = (struct listing_part *)base;

    mem_free(part->rows);
    bytes_fini(&part->text);
}
