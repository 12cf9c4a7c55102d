#include "conn/pace.h"

#include "conn/server.h"
#include "core/outbox.h"

enum {
    COMMANDS_A_TURN = 128,
    HISTORY_EVENTS_A_TURN = 4000, /* Asked for, of all clients; whoever comes next waits a turn. */
    WAITING_BYTES_MAX = 64 * 1024,
};

/* Others get no answers that could pile up. */
static bool is_paced(const struct client *client)
{
    return client->protocol == CLIENT_WS && client->kind == CLIENT_V1 &&
           client->state == CLIENT_OPEN;
}

static bool at_most_wait(const struct client *client, uint32_t bytes)
{
    const struct outbox *box = client->sub.outbox;

    return !box || (box->large_bytes == 0 && box->control_bytes <= bytes);
}

bool pace_has_room(const struct client *client)
{
    return at_most_wait(client, OUTBOX_CONTROL_BYTES_MAX - OUTBOX_CONTROL_LARGE);
}

bool pace_waits(struct conn_server *server, struct client *client)
{
    if (!is_paced(client)) {
        return false;
    }
    if (client->flags & CLIENT_ASKS) {
        return true;
    }
    if (!at_most_wait(client, WAITING_BYTES_MAX)) {
        client->flags |= CLIENT_HELD;
        return true;
    }
    client->flags &= (uint8_t)~CLIENT_HELD;
    if (server->history_events >= HISTORY_EVENTS_A_TURN) {
        client_read_again(server, client);
        return true;
    }
    return false;
}

bool pace_waits_after(struct conn_server *server, struct client *client, uint32_t frames)
{
    if (pace_waits(server, client)) {
        return true;
    }
    if (frames < COMMANDS_A_TURN || !is_paced(client)) {
        return false;
    }
    client_read_again(server, client);
    return true;
}

void pace_asked(struct conn_server *server, struct client *client, uint32_t limit)
{
    client->flags |= CLIENT_ASKS;
    server->history_events += limit;
}

void pace_answered(struct conn_server *server, struct client *client)
{
    client->flags &= (uint8_t)~CLIENT_ASKS;
    client->sub.life_tick = conn_tick_now(server); /* Its silence was ours. */
    client_read_again(server, client);
}

void pace_let_go(struct conn_server *server, struct client *client)
{
    if (client->flags & (CLIENT_ASKS | CLIENT_HELD)) {
        client->flags &= (uint8_t) ~(CLIENT_ASKS | CLIENT_HELD);
        client_read_again(server, client);
    }
}
