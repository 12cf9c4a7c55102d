#include "core/run_index.h"

#include <string.h>

#include "base/json.h"
#include "core/name.h"
#include "core/shard.h"

static const char prefix[] = "run:";

bool run_id_check(struct span id)
{
    uint8_t name[sizeof(prefix) - 1 + RUN_ID_MAX];

    if (id.len == 0 || id.len > RUN_ID_MAX) {
        return false;
    }
    memcpy(name, prefix, sizeof(prefix) - 1);
    memcpy(name + sizeof(prefix) - 1, id.data, id.len);
    return name_check(span_of(name, sizeof(prefix) - 1 + id.len)) == NULL;
}

/* The raw string without its quotes; empty when there is none, or when it is no plain text. */
static struct span run_id_of(struct span payload)
{
    const struct span key = span_str("run_id");
    struct span raw;

    if (json_find_members(payload.data, payload.len, &key, 1, &raw) != 0 || raw.len < 3 ||
        raw.data[0] != '"' || memchr(raw.data, '\\', raw.len)) {
        return span_of(NULL, 0);
    }
    return span_of(raw.data + 1, raw.len - 2);
}

void run_index(struct shard *shard, const struct publication *pub)
{
    struct span ns = name_namespace(publication_name(pub)), payload = publication_payload(pub);
    uint8_t name[sizeof(prefix) - 1 + RUN_ID_MAX];

    if (span_equal(ns, span_str("run"))) {
        return;
    }
    struct span id = run_id_of(payload);
    if (!run_id_check(id)) {
        return;
    }
    memcpy(name, prefix, sizeof(prefix) - 1);
    memcpy(name + sizeof(prefix) - 1, id.data, id.len);
    const struct publish_order order = {
        .name = span_of(name, sizeof(prefix) - 1 + id.len),
        .payload = payload,
        .flags = pub->flags & PUBLICATION_UTF8,
    };
    if (shard_publish(shard, &order) != 0) {
        shard->stats.index_failed += 1;
        return;
    }
    /* Whoever waits for this event's answer before the run's next one may publish that in another channel,
     * on the run's own shard: this one has to be there by then. */
    uint16_t run_home = shard_home_of(shard, shard_hash(shard, order.name));
    if (run_home != shard->index && shard->ports.post_now) {
        shard->ports.post_now(shard->ports.ctx, run_home);
    }
}
