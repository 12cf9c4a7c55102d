/* Results and inputs by their reference, as parsed JSON: most are needed again by the next node. Bounded in bytes of
 * their text; what was not used longest goes first. */
#include <string.h>

#include "base/mem.h"
#include "flow/flow_own.h"

enum {
    VALUE_OVERHEAD = 256
}; /* Of one value, about: tables, and what a parsed value takes more. */

static bool kept_equal(const struct table_item *item, const void *key)
{
    return strcmp(((const struct kept *)item)->ref, key) == 0;
}

static void unlink_kept(struct flow *flow, struct kept *kept)
{
    *(kept->older ? &kept->older->newer : &flow->oldest) = kept->newer;
    *(kept->newer ? &kept->newer->older : &flow->newest) = kept->older;
}

static void link_newest(struct flow *flow, struct kept *kept)
{
    kept->newer = NULL;
    kept->older = flow->newest;
    *(kept->older ? &kept->older->newer : &flow->oldest) = kept;
    flow->newest = kept;
}

static void kept_free(struct flow *flow, struct kept *kept)
{
    unlink_kept(flow, kept);
    table_remove(&flow->values, &kept->item);
    flow->stats.cache_bytes -= kept->size;
    json_decref(kept->value);
    mem_free(kept);
}

json_t *values_find(struct flow *flow, const char *ref)
{
    struct kept *kept = (struct kept *)table_find(
        &flow->values, flow_hash(flow, ref, FLOW_REF_LEN), kept_equal, ref);

    if (!kept) {
        return NULL;
    }
    unlink_kept(flow, kept);
    link_newest(flow, kept);
    return kept->value;
}

void values_keep(struct flow *flow, const char *ref, json_t *value, size_t size)
{
    size = size * 4 + VALUE_OVERHEAD;
    if (size > flow->options.cache_bytes_max / 4 || values_find(flow, ref)) {
        return;
    }
    while (flow->oldest && flow->stats.cache_bytes + size > flow->options.cache_bytes_max) {
        kept_free(flow, flow->oldest);
    }
    struct kept *kept = mem_try_zalloc(sizeof(*kept));
    if (!kept) {
        return;
    }
    kept->item.hash = flow_hash(flow, ref, FLOW_REF_LEN);
    kept->size = size;
    memcpy(kept->ref, ref, FLOW_REF_LEN + 1);
    if (table_add(&flow->values, &kept->item) != 0) {
        mem_free(kept);
        return;
    }
    kept->value = json_incref(value);
    flow->stats.cache_bytes += size;
    link_newest(flow, kept);
}

void values_fini(struct flow *flow)
{
    while (flow->oldest) {
        kept_free(flow, flow->oldest);
    }
    table_fini(&flow->values);
}
