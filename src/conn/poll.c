#include "conn/poll.h"

#include <errno.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "conn/positions.h"
#include "conn/server.h"
#include "conn/target.h"
#include "conn/ws.h"
#include "core/books.h"
#include "rt/loop.h"
#include "rt/timer.h"

enum {
    WAIT_DEFAULT_S = 25,
    WAIT_MAX_S = 60,
    ANSWER_EVENTS = 1000, /* At so many events or bytes no further page is asked for. */
    ANSWER_BYTES = 1024 * 1024,
    HOME_MS = 5000,  /* How long home may take when the wait is shorter. */
    PAGES_MS = 1000, /* How long all channels' pages may take when there is no wait. */
    ANSWERS_A_TURN = 256,
};

struct poll {
    struct conn_server *server;
    struct client *client;
    struct poll *due_next, **due_link; /* In server->polls_due; link NULL: not there. */
    struct timer timer;
    struct positions *positions;
    uint64_t begun_ms;
    uint64_t delivered_before; /* The connection's, when it began. */
    uint64_t lost_before;      /* Same. */
    struct bytes body;         /* Events, each with a comma behind it. */
    bool late;                 /* Its time is over. */
    bool gathering; /* … but no channel is left out because another's page came first. */
    bool given_up;  /* … and home has not answered. */
    bool overrun;   /* Events were lost on the way to the answer. */
    bool leaving;   /* It has left its channels: what waits is the rest. */
    /* What the answer will say: up to here nothing is missing. */
    size_t sure_len;
    uint64_t sure_events;
    struct cursor sure[]; /* By channel. */
};

struct positions *poll_positions(const struct client *client)
{
    return client->poll->positions;
}

/* ---- which are due ---- */

static void due(struct poll *poll)
{
    struct conn_server *server = poll->server;

    if (poll->due_link) {
        return;
    }
    poll->due_next = server->polls_due;
    poll->due_link = &server->polls_due;
    if (poll->due_next) {
        poll->due_next->due_link = &poll->due_next;
    }
    server->polls_due = poll;
}

static void not_due(struct poll *poll)
{
    if (poll->due_link) {
        *poll->due_link = poll->due_next;
        if (poll->due_next) {
            poll->due_next->due_link = poll->due_link;
        }
        poll->due_link = NULL;
    }
}

void poll_hurry(struct conn_server *server, struct client *client)
{
    (void)server;
    client->poll->late = true;
    client->poll->gathering = false;
    client->poll->given_up = client->poll->positions->unanswered > 0;
    due(client->poll);
}

void poll_hurry_all(struct conn_server *server)
{
    struct client *client;
    uint32_t slot = 0;

    while ((client = conn_client_next(server, &slot))) {
        if (client->protocol == CLIENT_POLL) {
            poll_hurry(server, client);
        }
    }
}

static void timed_out(struct timer *timer, void *ctx)
{
    struct poll *poll = ctx;
    uint64_t waited_ms = loop_now_ms(poll->server->loop) - poll->begun_ms;

    poll->late = true;
    poll->gathering = false;
    if (poll->positions->unanswered && waited_ms < HOME_MS) {
        timer_start(poll->server->loop, timer, HOME_MS - waited_ms, timed_out, poll);
        return;
    }
    poll->given_up = poll->positions->unanswered > 0;
    due(poll);
}

void poll_wait_no_more(struct conn_server *server, struct client *client)
{
    struct poll *poll = client->poll;

    if (!poll->late) {
        poll->late = true;
        timer_stop(&poll->timer);
        timer_start(server->loop, &poll->timer, HOME_MS, timed_out, poll);
        due(poll);
    }
}

/* ---- what comes ---- */

long poll_capture(struct client *client, const struct iovec *iov, int count)
{
    struct bytes *body = &client->poll->body;
    size_t before = body->len;

    for (int i = 0; i < count; i++) {
        if (bytes_append(body, iov[i].iov_base, iov[i].iov_len) != 0) {
            body->len = before;
            return -ENOMEM;
        }
    }
    return (long)(body->len - before);
}

static uint64_t lost(const struct subscriber *sub)
{
    const uint64_t *dropped = sub->dropped;

    return dropped ? dropped[DROP_SLOW] + dropped[DROP_OVERLOAD] + dropped[DROP_NO_VICTIM] +
                         dropped[DROP_MEMORY]
                   : 0;
}

static bool is_overrun(struct poll *poll)
{
    poll->overrun = poll->overrun || lost(&poll->client->sub) != poll->lost_before;
    return poll->overrun;
}

/* Is there an answer, or no more reason to wait for one? */
static bool is_ready(struct poll *poll)
{
    const struct subscriber *sub = &poll->client->sub;

    if (is_overrun(poll) || poll->given_up) {
        return true;
    }
    if (poll->positions->unanswered) {
        return false;
    }
    if (positions_state(poll->positions) == SUBSCRIBE_RESET) {
        return true;
    }
    if (poll->sure_len == 0) {
        return poll->late && !sub->pending; /* A page that is on its way is worth waiting for. */
    }
    return (poll->late && !poll->gathering) || !sub->pending ||
           poll->sure_events >= ANSWER_EVENTS || poll->sure_len >= ANSWER_BYTES;
}

/* With nothing waiting, all before the positions is in the answer or did not fit the filter: it need not
 * be looked through again by the next poll. Without a filter they stand where the last event does. */
static void move_on(struct conn_server *server, struct poll *poll)
{
    if (poll->overrun || poll->client->sub.outbox) {
        return;
    }
    positions_follow(poll->positions, server->shard, &poll->client->sub);
    for (uint32_t i = 0; i < poll->positions->count; i++) {
        poll->sure[i] = poll->positions->items[i].cursor;
    }
}

/* What is on its way still goes into the answer; when some of it is lost the rest is of no use. */
static void leave_if_ready(struct conn_server *server, struct poll *poll)
{
    if (!poll->leaving && is_ready(poll)) {
        poll->leaving = true;
        move_on(server, poll);
        shard_leave_all(server->shard, &poll->client->sub, !poll->overrun);
    }
}

/* It leaves here already, before the next page is asked for. */
void poll_flushed(struct conn_server *server, struct client *client)
{
    struct poll *poll = client->poll;

    if (!is_overrun(poll)) {
        poll->sure_len = poll->body.len;
        poll->sure_events = client->sub.delivered - poll->delivered_before;
        for (uint32_t i = 0; i < poll->positions->count; i++) {
            poll->sure[i] = poll->positions->items[i].cursor;
        }
    }
    leave_if_ready(server, poll);
    due(poll);
}

void poll_overrun(struct conn_server *server, struct client *client)
{
    (void)server;
    client->poll->overrun = true;
    due(client->poll);
}

static void set(
    struct poll *poll, struct span channel, uint8_t state, struct cursor from, struct cursor to)
{
    const struct position *item = positions_find(poll->positions, channel);

    if (item) {
        poll->sure[item - poll->positions->items] = from;
        positions_set(poll->positions, channel, state, to);
    }
    due(poll);
}

/* The page is queued right behind this, whatever of it passes the filter. */
void poll_subscribed(
    struct conn_server *server, struct client *client, const struct mail_subscribe *answer)
{
    (void)server;
    set(client->poll, span_of(answer->name, answer->name_len), answer->state, answer->from,
        answer->cursor);
}

/* What it got of the former epoch is answered with the cursor of the new one. */
void poll_restarted(
    struct conn_server *server, struct client *client, struct span channel, struct cursor cursor)
{
    (void)server;
    set(client->poll, channel, SUBSCRIBE_RESET, cursor, cursor);
}

/* ---- the answer ---- */

static int append_states(struct bytes *out, const struct positions *positions)
{
    int err = bytes_append_str(out, ",\"states\":{");

    for (uint32_t i = 0; !err && i < positions->count; i++) {
        struct span name = positions_name(positions, i);
        err = i ? bytes_append_byte(out, ',') : 0;
        err = err ? err : json_append_string(out, name.data, name.len);
        err = err ? err : bytes_appendf(out, ":\"%s\"", ws_state_name(positions->items[i].state));
    }
    return err ? err : bytes_append_byte(out, '}');
}

static int append_answer(struct bytes *out, struct poll *poll)
{
    struct positions *positions = poll->positions;
    int err = bytes_append_str(out, "{\"events\":[");

    for (uint32_t i = 0; i < positions->count; i++) {
        positions->items[i].cursor = poll->sure[i];
    }
    if (poll->sure_len) { /* The last comma is one too many. */
        err = err ? err : bytes_append(out, poll->body.data, poll->sure_len - 1);
    }
    err = err ? err : bytes_append_str(out, "],\"cursor\":\"");
    err = err ? err : positions_append(out, positions);
    err =
        err ? err
            : bytes_appendf(out, "\",\"state\":\"%s\"", ws_state_name(positions_state(positions)));
    err = err || positions->count == 1 ? err : append_states(out, positions);
    return err ? err : bytes_append_str(out, "}\n");
}

static void release(struct poll *poll)
{
    timer_stop(&poll->timer);
    not_due(poll);
    positions_free(poll->positions);
    bytes_fini(&poll->body);
    mem_free(poll);
}

/* The connection speaks HTTP again. Gives the poll. */
static struct poll *detach(struct conn_server *server, struct client *client)
{
    struct poll *poll = client->poll;

    client->poll = NULL;
    client->protocol = CLIENT_HTTP;
    server->stats.polls -= 1;
    shard_watch(&client->sub, false);
    return poll;
}

void poll_free(struct conn_server *server, struct client *client)
{
    release(detach(server, client));
}

/* What was pipelined behind it may be a poll again, and begin before this returns. */
static void answer(struct conn_server *server, struct client *client)
{
    static const struct http_header no_store = {
        {(const uint8_t *)"Cache-Control", 13}, {(const uint8_t *)"no-store", 8}};
    struct http_exchange *x = http_session_exchange(client->session);
    struct poll *poll = detach(server, client);
    bool answered = poll->positions->unanswered == 0;
    struct bytes text = {0};
    int err = answered ? append_answer(&text, poll) : 0;

    release(poll);
    client->sub.life_tick = conn_tick_now(server); /* Its silence was ours. */
    server->stats.polls_answered += 1;
    if (server->draining) {
        http_session_last(client->session);
    }
    if (!answered && server->draining) {
        http_reply_error(x, 503, "draining", "this gateway is shutting down; connect again");
    } else if (!answered) {
        http_reply_error(x, 503, "broker", "the broker has not confirmed the channel; ask again");
    } else if (err) {
        http_reply_error(x, 503, "no_memory", "no memory for the answer");
    } else {
        http_reply_with(x, 200, "application/json", &no_store, 1, text.data, text.len);
    }
    bytes_fini(&text);
}

static void look_at(struct conn_server *server, struct poll *poll)
{
    struct client *client = poll->client;

    /* Flushed at the end of this turn, or reaped: then it is due again, or gone. */
    if (client->sub.outbox || (client->sub.flags & SUB_DOOMED)) {
        return;
    }
    leave_if_ready(server, poll);
    if (poll->leaving && !client->sub.outbox && !(client->sub.flags & SUB_DOOMED)) {
        answer(server, client);
    }
}

void poll_turn(struct conn_server *server)
{
    for (int i = 0; i < ANSWERS_A_TURN && server->polls_due; i++) {
        struct poll *poll = server->polls_due;
        not_due(poll);
        look_at(server, poll);
    }
}

/* ---- the request ---- */

/* Whole seconds. */
static bool read_wait(const struct http_exchange *x, uint64_t *ret_wait_ms)
{
    struct bytes text = {0};
    int64_t seconds = WAIT_DEFAULT_S;
    int got = http_query(x, "wait", &text);
    bool good = got == 0 || (got == 1 && json_int64(span_of(text.data, text.len), &seconds) == 0 &&
                                seconds >= 0 && seconds <= WAIT_MAX_S);

    bytes_fini(&text);
    *ret_wait_ms = x->head_only ? 0 : (uint64_t)seconds * 1000;
    return good;
}

static enum client_kind kind_of(const struct target *target)
{
    return target->kind == TARGET_USER   ? CLIENT_USER
           : target->kind == TARGET_ROOM ? CLIENT_ROOM
                                         : CLIENT_CHANNELS;
}

static void begin(struct conn_server *server, struct client *client, struct http_exchange *x,
    struct target *target, uint64_t wait_ms)
{
    struct poll *poll = mem_try_zalloc(sizeof(*poll) + target->count * sizeof(poll->sure[0]));

    if (poll) {
        poll->positions = positions_create(&server->shard->settings->hash_key, target);
    }
    if (!poll || !poll->positions) {
        mem_free(poll);
        http_reply_error(x, 503, "no_memory", "no memory for the request");
        return;
    }
    poll->server = server;
    poll->client = client;
    poll->begun_ms = loop_now_ms(server->loop);
    poll->delivered_before = client->sub.delivered;
    poll->lost_before = lost(&client->sub);
    poll->late = poll->gathering = wait_ms == 0;
    timer_start(server->loop, &poll->timer, wait_ms ? wait_ms : PAGES_MS, timed_out, poll);
    http_await(x);
    client->protocol = CLIENT_POLL;
    client->kind = (uint8_t)kind_of(target);
    client->poll = poll;
    server->stats.polls += 1;
    shard_watch(&client->sub, true);
    target->batch_ms = 0; /* An answer is a bundle already. */
    if (!client_subscribe(server, client, target, FRAMING_POLL)) {
        shard_doom(server->shard, &client->sub);
    }
}

void poll_handler(struct http_exchange *x)
{
    struct conn_server *server = x->app;
    struct client *client = conn_client_find(server, x->peer);
    struct target target = {0};
    uint64_t wait_ms;

    CHECK(client);
    int err = target_read(&target, x->request->query, server->options.subscriptions_max);
    if (err == -EINVAL) {
        http_reply_error(x, 400, target.code, target.why);
    } else if (err) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    } else if (target.kind == TARGET_NONE) {
        http_reply_error(x, 400, "bad_query",
            "username: missing or empty; one of ?username=, ?room= or ?channel= is expected");
    } else if (!read_wait(x, &wait_ms)) {
        http_reply_error(x, 400, "bad_query", "wait: a number of seconds from 0 to 60 is expected");
    } else if (server->draining) {
        http_reply_error(x, 503, "draining", "this gateway is shutting down; connect again");
    } else {
        begin(server, client, x, &target, http_session_at_end(client->session) ? 0 : wait_ms);
    }
    target_fini(&target);
}
