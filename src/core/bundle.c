#include "core/bundle.h"

#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/channel.h"
#include "core/shard.h"

enum { MS = 1000000 };

struct bundle {
    struct class *class;
    struct bundle *next, *prev; /* In its step's list. */
    uint64_t due_ns;
    uint64_t time_ns; /* Of the first event. */
    uint64_t from, to;
    uint32_t count;
    uint8_t step;
    struct bytes text;
};

static const uint16_t steps[BUNDLE_STEPS] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};

static uint8_t step_of(uint32_t batch_ms)
{
    uint8_t step = 0;

    while (step + 1 < BUNDLE_STEPS && steps[step + 1] <= batch_ms) {
        step += 1;
    }
    return step;
}

uint16_t bundle_step_ms(uint32_t batch_ms)
{
    return batch_ms ? steps[step_of(batch_ms)] : 0;
}

static void unlink_bundle(struct bundles *bundles, struct bundle *bundle)
{
    *(bundle->prev ? &bundle->prev->next : &bundles->first[bundle->step]) = bundle->next;
    *(bundle->next ? &bundle->next->prev : &bundles->last[bundle->step]) = bundle->prev;
    bundles->count -= 1;
}

static void link_bundle(struct bundles *bundles, struct bundle *bundle)
{
    bundle->prev = bundles->last[bundle->step];
    bundle->next = NULL;
    *(bundle->prev ? &bundle->prev->next : &bundles->first[bundle->step]) = bundle;
    bundles->last[bundle->step] = bundle;
    bundles->count += 1;
}

static struct bundle *begin(struct shard *shard, struct class *class, const struct publication *pub)
{
    struct flow *flow = flow_get(shard, class);
    struct bundle *bundle = flow ? mem_try_zalloc(sizeof(*bundle)) : NULL;

    if (!bundle) {
        if (flow) {
            flow_release(shard, flow);
        }
        return NULL;
    }
    uint16_t ms = view_batch_ms(&shard->views, class->view);
    bundle->class = class;
    bundle->step = step_of(ms);
    bundle->due_ns = shard->now_ns + (uint64_t)ms * MS;
    bundle->time_ns = pub->time_ns;
    bundle->from = pub->offset;
    flow->bundle = bundle;
    link_bundle(&shard->bundles, bundle);
    return bundle;
}

/* Takes it from its class and frees it; the flow may go with it. */
static void end(struct shard *shard, struct bundle *bundle)
{
    struct flow *flow = bundle->class->flow;

    unlink_bundle(&shard->bundles, bundle);
    flow->bundle = NULL;
    bytes_fini(&bundle->text);
    mem_free(bundle);
    flow_release(shard, flow);
}

int bundle_append_event(
    struct shard *shard, uint8_t framing, const struct publication *pub, struct bytes *text)
{
    size_t before = text->len;
    int err = before ? bytes_append_byte(text, ',') : 0;

    err = err ? err : shard->ports.encode_event(shard->ports.ctx, framing, pub, text);
    if (err) {
        text->len = before;
    }
    return err;
}

int bundle_add(struct shard *shard, struct class *class, const struct publication *pub)
{
    struct bundle *bundle = class->flow ? class->flow->bundle : NULL;
    bool fresh = !bundle;

    bundle = bundle ? bundle : begin(shard, class, pub);
    int err = bundle ? bundle_append_event(shard, class->framing, pub, &bundle->text) : -ENOMEM;
    if (err) {
        if (bundle && fresh) {
            end(shard, bundle);
        }
        return err;
    }
    bundle->to = pub->offset;
    bundle->count += 1;
    if (bundle->text.len >= BATCH_BYTES_MAX || bundle->count >= BATCH_MESSAGES_MAX) {
        bundle_finish(shard, class);
    }
    return 0;
}

void bundle_finish(struct shard *shard, struct class *class)
{
    struct bundle *bundle = class->flow ? class->flow->bundle : NULL;

    if (bundle) {
        class_append_bundle(shard, class,
            &(struct bundle_message){.events = span_of(bundle->text.data, bundle->text.len),
                .from = bundle->from,
                .to = bundle->to,
                .time_ns = bundle->time_ns});
        end(shard, bundle);
    }
}

void bundle_drop(struct shard *shard, struct class *class)
{
    if (class->flow && class->flow->bundle) {
        end(shard, class->flow->bundle);
    }
}

/* The next that is due, and when. */
static struct bundle *earliest(const struct bundles *bundles)
{
    struct bundle *found = NULL;

    for (int i = 0; i < BUNDLE_STEPS; i++) {
        struct bundle *first = bundles->first[i];
        if (first && (!found || first->due_ns < found->due_ns)) {
            found = first;
        }
    }
    return found;
}

void bundles_run(struct shard *shard)
{
    struct bundles *bundles = &shard->bundles;

    while (bundles->count) {
        struct bundle *bundle = earliest(bundles);
        if (bundle->due_ns > shard->now_ns) {
            if (bundles->wake_ns == 0 || bundle->due_ns < bundles->wake_ns) {
                bundles->wake_ns = bundle->due_ns;
                shard->ports.wake(shard->ports.ctx, (bundle->due_ns - shard->now_ns + MS - 1) / MS);
            }
            return;
        }
        bundle_finish(shard, bundle->class);
    }
}

void bundles_finish_all(struct shard *shard)
{
    while (shard->bundles.count) {
        bundle_finish(shard, earliest(&shard->bundles)->class);
    }
}
