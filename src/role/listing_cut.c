/* DELETE /api/v1/connections/{id}. */
#include "conn/poll.h"
#include "conn/report.h"
#include "conn/sse.h"
#include "conn/ws.h"
#include "role/gateway.h"
#include "role/gather.h"
#include "role/listing.h"
#include "role/listing_query.h"

struct cut_part {
    struct gather_part part;
    uint64_t id;
    bool done;
};

static void end(struct conn_server *server, struct client *client)
{
    static const char reason[] = "cut by an operator";

    switch ((enum client_protocol)client->protocol) {
    case CLIENT_WS:
        ws_close(server, client, WS_CODE_POLICY, reason);
        break;
    case CLIENT_SSE:
        sse_end(server, client, reason, 0);
        break;
    case CLIENT_POLL:
        http_session_last(client->session);
        poll_hurry(server, client);
        break;
    case CLIENT_HTTP:
    case CLIENT_PROTOCOLS:
        break;
    }
}

static bool cut(struct gateway_shard *gs, struct gather_part *base)
{
    struct cut_part *part = (struct cut_part *)base;
    struct client *client = conn_client_find(gs->server, part->id);

    if (client && client_transport(client) && client->state == CLIENT_OPEN) {
        gs->server->stats.cut_operator += 1;
        report_cut(gs->server, client, "an operator");
        end(gs->server, client);
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
