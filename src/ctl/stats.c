#include "ctl/stats.h"

#include <inttypes.h>

static int append_head(struct bytes *out, const struct figures *f)
{
    return bytes_appendf(out,
        "{\"connections\":%" PRIu64 ",\"users\":%" PRIu64 ",\"rooms\":%" PRIu64
        ",\"channels\":%" PRIu64 ",\"subscriptions\":%" PRIu64 ",\"connections_max\":%u"
        ",\"slow\":%" PRIu64 ",\"version\":\"%s\",\"role\":\"%s\",\"uptime_seconds\":%.3f"
        ",\"cpu_seconds\":%.3f,\"memory_bytes\":%" PRIu64,
        figures_clients(f), f->users, f->rooms, f->listened_channels, f->core.subscriptions,
        f->connections_max, f->slow_now, f->version, f->role, f->uptime_seconds,
        f->process.cpu_seconds, f->process.resident_bytes);
}

static int append_books(struct bytes *out, const struct figures *f)
{
    const struct books *books = &f->core.books;
    int err = bytes_appendf(out,
        ",\"publications\":%" PRIu64 ",\"books\":{\"accepted\":%" PRIu64 ",\"delivered\":%" PRIu64
        ",\"dropped\":{",
        f->core.publications, books->accepted, books->delivered);

    for (int i = 0; !err && i < DROP_REASONS; i++) {
        err = bytes_appendf(
            out, "%s\"%s\":%" PRIu64, i ? "," : "", drop_reason_names[i], books->dropped[i]);
    }
    return err ? err
               : bytes_appendf(out,
                     "},\"queued\":%" PRIu64 ",\"pending\":%" PRIu64 ",\"difference\":%" PRId64 "}",
                     books->queued, books->pending, books_difference(books));
}

static int append_broker(struct bytes *out, const struct figures_broker *b)
{
    int err = bytes_appendf(out, ",\"broker\":{\"type\":\"%s\",\"up\":%s",
        b->redis ? "redis" : "embedded", b->up ? "true" : "false");

    if (!err && b->redis) {
        err = bytes_appendf(out,
            ",\"reconnects\":%" PRIu64 ",\"outage_seconds\":%.3f,\"messages\":%" PRIu64
            ",\"dropped\":%" PRIu64 ",\"malformed\":%" PRIu64
            ",\"delivery_path_age_seconds\":%.3f,\"queue_bytes\":%" PRIu64
            ",\"queue_bytes_max\":%" PRIu64,
            b->reconnects, b->outage_seconds, b->messages,
            b->dropped_full + b->dropped_channel + b->dropped_large + b->dropped_lost,
            b->dropped_malformed, b->path_age_seconds, b->queue_bytes, b->queue_bytes_max);
    }
    return err ? err : bytes_append_byte(out, '}');
}

static int append_shards(struct bytes *out, const struct figures *f)
{
    int err = bytes_append_str(out, ",\"shards\":[");

    for (uint32_t i = 0; !err && i < f->shard_count; i++) {
        const struct figures_shard *shard = &f->shards[i];
        err =
            bytes_appendf(out, "%s{\"connections\":%u,\"turns\":%" PRIu64 ",\"busy_seconds\":%.3f}",
                i ? "," : "", shard->connections, shard->turns, shard->busy_seconds);
    }
    return err ? err : bytes_append_str(out, "]}\n");
}

int stats_append(struct bytes *out, const struct figures *figures)
{
    int err = append_head(out, figures);

    err = err ? err : append_books(out, figures);
    err = err ? err : append_broker(out, &figures->broker);
    return err ? err : append_shards(out, figures);
}
