#include "role/gather.h"

#include "base/check.h"
#include "base/mem.h"
#include "conn/server.h"
#include "role/gateway.h"

struct gather {
    struct gateway_shard *gs; /* The asking one. */
    const struct gather_question *question;
    uint64_t peer; /* The connection that asked. */
    uint32_t waiting;
    uint16_t part_count;
    struct gather_part *parts[]; /* By shard. */
};

static void gather_free(struct gather *gather)
{
    for (uint16_t i = 0; i < gather->part_count; i++) {
        struct gather_part *part = gather->parts[i];
        if (part && gather->question->part_fini) {
            gather->question->part_fini(part);
        }
        mem_free(part);
    }
    gather->gs->gather_weight -= gather->question->weight;
    mem_free(gather);
}

static bool make_parts(struct gather *gather, uint64_t shards)
{
    for (uint16_t i = 0; i < gather->part_count; i++) {
        if (!(shards >> i & 1)) {
            continue;
        }
        struct gather_part *part = mem_try_zalloc(gather->question->part_size);
        if (!part) {
            return false;
        }
        part->question = gather->question;
        part->gather = gather;
        part->asker = gather->gs->index;
        part->shard = i;
        gather->parts[i] = part;
        gather->waiting += 1;
    }
    return true;
}

struct gather *gather_create(
    struct http_exchange *x, const struct gather_question *question, uint64_t shards)
{
    struct gateway_shard *gs = gateway_shard_of(x->app);
    uint16_t count = gs->gateway->shard_count;

    if (gs->gather_weight + question->weight > GATHER_WEIGHT_MAX) {
        http_reply_error(x, 503, "busy", "too many such requests are being answered; try again");
        return NULL;
    }
    struct gather *gather = mem_try_zalloc(sizeof(*gather) + count * sizeof(struct gather_part *));
    if (!gather) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
        return NULL;
    }
    gs->gather_weight += question->weight;
    gather->gs = gs;
    gather->question = question;
    gather->peer = x->peer;
    gather->part_count = count;
    if (!make_parts(gather, shards)) {
        gather_free(gather);
        http_reply_error(x, 503, "no_memory", "no memory for the request");
        return NULL;
    }
    return gather;
}

struct gather_part *gather_part(const struct gather *gather, uint16_t shard)
{
    return shard < gather->part_count ? gather->parts[shard] : NULL;
}

static void answer(struct gather *gather)
{
    struct client *client = conn_client_find(gather->gs->server, gather->peer);
    struct http_exchange *x =
        client && client->session ? http_session_exchange(client->session) : NULL;

    if (x) {
        gather->question->answer(gather->gs, x, gather);
    }
    gather_free(gather);
}

/* On the asking shard: a part is back. */
static void hear_part(struct shard *shard, struct mail_call *call)
{
    struct gather *gather = ((struct gather_part *)call)->gather;

    (void)shard;
    CHECK(gather->waiting > 0);
    gather->waiting -= 1;
    if (gather->waiting == 0) {
        answer(gather);
    }
}

/* On the shard asked: a step of the work. */
static void hear_question(struct shard *shard, struct mail_call *call)
{
    struct gateway_shard *gs = gateway_of_shard(shard);
    struct gather_part *part = (struct gather_part *)call;

    if (part->question->fill(gs, part)) {
        gateway_call(gs, part->asker, hear_part, call);
    } else {
        gateway_call_later(gs, hear_question, call);
    }
}

void gather_send(struct gather *gather)
{
    /* The last part may be the end of the gather, but never within this loop: letters are read
     * later, our own too. */
    for (uint16_t i = 0; i < gather->part_count; i++) {
        if (gather->parts[i]) {
            gateway_call(gather->gs, i, hear_question, &gather->parts[i]->call);
        }
    }
    if (gather->waiting == 0) {
        answer(gather);
    }
}
