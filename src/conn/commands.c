#include "conn/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "conn/history.h"
#include "conn/pace.h"
#include "conn/publish.h"
#include "conn/server.h"
#include "conn/ws.h"
#include "core/filter.h"
#include "core/name.h"

enum { ID_MAX = 128 };

enum asked { ASKED_SUBSCRIBE, ASKED_HISTORY, ASKED_HISTORY_HTTP };

/* What waits for a channel's home. */
struct command {
    uint64_t hash;       /* First: this is a struct table_item. The request's id, spread. */
    uint64_t request_id; /* The core's. */
    uint64_t client;     /* conn_client_id() */
    uint8_t asked;       /* enum asked */
    uint32_t id_len;     /* The client's own id, raw JSON. */
    uint8_t id[];
};

static uint64_t spread(uint64_t id)
{
    return id * 0x9e3779b97f4a7c15ull;
}

static bool command_equal(const struct table_item *item, const void *key)
{
    return ((const struct command *)item)->request_id == *(const uint64_t *)key;
}

static bool command_add(struct conn_server *server, uint64_t request_id, uint64_t client,
    enum asked asked, struct span id)
{
    struct command *command = mem_try_alloc(sizeof(*command) + id.len);

    if (!command) {
        return false;
    }
    *command = (struct command){.hash = spread(request_id),
        .request_id = request_id,
        .client = client,
        .asked = (uint8_t)asked,
        .id_len = (uint32_t)id.len};
    if (id.len) {
        memcpy(command->id, id.data, id.len);
    }
    if (table_add(&server->subscribes, (struct table_item *)command) != 0) {
        mem_free(command);
        return false;
    }
    return true;
}

bool commands_wait_http(struct conn_server *server, uint64_t request_id, uint64_t peer)
{
    return command_add(server, request_id, peer, ASKED_HISTORY_HTTP, span_of(NULL, 0));
}

void commands_fini(struct conn_server *server)
{
    size_t cursor = 0;
    struct table_item *item;

    while ((item = table_next(&server->subscribes, &cursor))) {
        mem_free(item);
    }
    table_fini(&server->subscribes);
}

/* ---- answers ---- */

static void send_text(
    struct conn_server *server, struct client *client, struct bytes *text, int err)
{
    if (err || !ws_send_text(server, client, span_of(text->data, text->len))) {
        shard_doom(server->shard, &client->sub);
    }
    bytes_fini(text);
}

static int begin_answer(struct bytes *text, struct span id, const char *kind)
{
    int err = bytes_append_str(text, "{\"id\":");

    err = err ? err : bytes_append(text, id.data, id.len);
    return err ? err : bytes_appendf(text, ",\"%s\":", kind);
}

static void answer_error(struct conn_server *server, struct client *client, struct span id,
    const char *code, const char *message)
{
    struct bytes text = {0};
    int err = begin_answer(&text, id.len ? id : span_str("null"), "error");

    err = err ? err : bytes_append_str(&text, "{\"code\":");
    err = err ? err : json_append_string(&text, code, strlen(code));
    err = err ? err : bytes_append_str(&text, ",\"message\":");
    err = err ? err : json_append_string(&text, message, strlen(message));
    err = err ? err : bytes_append_str(&text, "}}");
    send_text(server, client, &text, err);
}

static void answer_ok(
    struct conn_server *server, struct client *client, struct span id, const char *members)
{
    struct bytes text = {0};
    int err = begin_answer(&text, id, "ok");

    err = err ? err : bytes_appendf(&text, "{%s}}", members);
    send_text(server, client, &text, err);
}

void commands_published(struct conn_server *server, struct client *client, struct span id,
    const struct publish_result *result)
{
    const char *duplicate = result->duplicate ? "true" : "false";
    char cursor[CURSOR_TEXT_MAX], members[CURSOR_TEXT_MAX + 48];

    if (result->err) {
        answer_error(
            server, client, id, publish_error_code(result->err), publish_error_text(result->err));
        return;
    }
    if (result->has_cursor) {
        cursor_format(result->cursor, cursor);
        snprintf(members, sizeof(members), "\"cursor\":\"%s\",\"duplicate\":%s", cursor, duplicate);
    } else {
        snprintf(members, sizeof(members), "\"cursor\":null,\"duplicate\":%s", duplicate);
    }
    answer_ok(server, client, id, members);
}

static void answer_command(struct conn_server *server, struct client *client,
    const struct command *command, const struct mail_subscribe *answer)
{
    struct span id = span_of(command->id, command->id_len);
    struct bytes text = {0};
    int err;

    if (command->asked == ASKED_HISTORY && !pace_has_room(client)) {
        answer_error(server, client, id, "busy",
            "so much waits for this connection that there is no room for the answer");
        return;
    }
    err = begin_answer(&text, id, "ok");
    if (command->asked == ASKED_HISTORY) {
        err = err ? err : history_append(&text, answer);
    } else {
        err = err ? err : ws_append_answer(&text, answer);
    }
    err = err ? err : bytes_append_byte(&text, '}');
    send_text(server, client, &text, err);
}

void commands_subscribed(
    struct conn_server *server, const struct mail_subscribe *answer, bool attached)
{
    struct command *command = (struct command *)table_find(
        &server->subscribes, spread(answer->request_id), command_equal, &answer->request_id);

    if (!command) {
        return;
    }
    table_remove(&server->subscribes, (struct table_item *)command);
    struct client *client = conn_client_find(server, command->client);
    if (client && command->asked == ASKED_HISTORY_HTTP) {
        history_answer_http(client, answer);
    } else if (client && client->state == CLIENT_OPEN && !attached &&
               command->asked == ASKED_SUBSCRIBE) {
        answer_error(server, client, span_of(command->id, command->id_len), "cancelled",
            "unsubscribed before the subscription was in force");
    } else if (client && client->state == CLIENT_OPEN) {
        answer_command(server, client, command, answer);
    }
    if (client && command->asked == ASKED_HISTORY) {
        pace_answered(server, client);
    }
    mem_free(command);
}

/* ---- moving ---- */

void commands_export(
    const struct conn_server *server, const struct client *client, struct pack *out)
{
    uint64_t id = conn_client_id(server, client);
    size_t cursor = 0;
    const struct command *command;

    while ((command = (const struct command *)table_next(&server->subscribes, &cursor))) {
        if (command->client == id) {
            pack_u64(out, command->request_id);
            pack_u8(out, command->asked);
            pack_span(out, span_of(command->id, command->id_len));
        }
    }
}

bool commands_import(struct conn_server *server, const struct client *client, struct span exported,
    uint64_t former_id, uint64_t id)
{
    struct unpack in = {.rest = exported};

    while (in.rest.len && !in.failed) {
        uint64_t request_id = unpack_u64(&in);
        uint8_t asked = unpack_u8(&in);
        struct span text = unpack_span(&in);
        if (!in.failed && request_id == former_id && asked == ASKED_SUBSCRIBE) {
            return command_add(server, id, conn_client_id(server, client), ASKED_SUBSCRIBE, text);
        }
    }
    return true; /* Asked for by the URL: nobody waits for an answer. */
}

/* ---- commands ---- */

struct arguments {
    struct bytes channel;
    struct bytes since;
    struct bytes types; /* A filter's text. */
    struct bytes key;   /* An idempotency key; empty: none. */
    bool durable;       /* Answered once the store has it. */
    int64_t batch_ms;
    struct span data;
    int64_t limit;
};

static void arguments_fini(struct arguments *a)
{
    bytes_fini(&a->channel);
    bytes_fini(&a->since);
    bytes_fini(&a->types);
    bytes_fini(&a->key);
}

/* An array of names becomes the text of a filter. */
static const char *read_types(struct arguments *a, struct span raw)
{
    static const char expected[] = "types: an array of strings is expected";
    struct json_array array;
    struct span element;
    int more = json_array_begin(raw.data, raw.len, &array);

    if (more != 0) {
        return expected;
    }
    while ((more = json_array_next(&array, &element)) > 0) {
        size_t before = a->types.len + (a->types.len != 0);
        int err = before ? bytes_append_byte(&a->types, ',') : 0;
        if (err || json_string_decode(element, &a->types) != 0) {
            return expected;
        }
        size_t len = a->types.len - before;
        if (len == 0 || memchr(a->types.data + before, ',', len)) {
            return "types: a name is not empty and holds no comma";
        }
    }
    return more < 0 ? expected : filter_check(span_of(a->types.data, a->types.len));
}

/* How it is to be published; the same as over HTTP. */
static const char *read_publishing(struct arguments *a, struct span key, struct span ack)
{
    if (key.len && (json_string_decode(key, &a->key) != 0 || !publish_key_ok(a->key.len))) {
        return "idempotency_key: a string of 1 to 255 bytes is expected";
    }
    a->durable = span_equal(ack, span_str("\"durable\""));
    return ack.len && !a->durable ? "ack: \"durable\" is expected, or nothing" : NULL;
}

/* Reads the command's object; NULL or the sentence that says what is wrong. */
static const char *read_arguments(struct arguments *a, struct span object)
{
    enum { CHANNEL, SINCE, DATA, LIMIT, TYPES, BATCH_MS, KEY, ACK, KEYS_OF_COMMAND };
    static const struct span keys[KEYS_OF_COMMAND] = {
        [CHANNEL] = {(const uint8_t *)"channel", 7},
        [SINCE] = {(const uint8_t *)"since", 5},
        [DATA] = {(const uint8_t *)"data", 4},
        [LIMIT] = {(const uint8_t *)"limit", 5},
        [TYPES] = {(const uint8_t *)"types", 5},
        [BATCH_MS] = {(const uint8_t *)"batch_ms", 8},
        [KEY] = {(const uint8_t *)"idempotency_key", 15},
        [ACK] = {(const uint8_t *)"ack", 3},
    };
    struct span members[KEYS_OF_COMMAND] = {{0}};

    if (json_find_members(object.data, object.len, keys, KEYS_OF_COMMAND, members) != 0) {
        return "an object is expected, each member once";
    }
    if (json_string_decode(members[CHANNEL], &a->channel) != 0) {
        return "channel: a string is expected";
    }
    if (members[SINCE].len && json_string_decode(members[SINCE], &a->since) != 0) {
        return "since: a string is expected";
    }
    a->data = members[DATA];
    a->limit = HISTORY_LIMIT;
    if (members[LIMIT].len && (json_int64(members[LIMIT], &a->limit) != 0 || a->limit < 1 ||
                                  a->limit > HISTORY_LIMIT_MAX)) {
        return "limit: a number from 1 to 1000 is expected";
    }
    if (members[BATCH_MS].len && (json_int64(members[BATCH_MS], &a->batch_ms) != 0 ||
                                     a->batch_ms < 0 || a->batch_ms > BATCH_MS_MAX)) {
        return "batch_ms: a number from 0 to 1000 is expected";
    }
    const char *why = members[TYPES].len ? read_types(a, members[TYPES]) : NULL;
    why = why ? why : read_publishing(a, members[KEY], members[ACK]);
    return why ? why : name_check(span_of(a->channel.data, a->channel.len));
}

static void subscribe(
    struct conn_server *server, struct client *client, struct span id, struct arguments *a)
{
    struct since since = since_parse(span_of(a->since.data, a->since.len));
    struct span name = span_of(a->channel.data, a->channel.len);
    uint32_t have = client->sub.subscription_count + client->sub.pending_count;
    uint64_t request_id;

    if (have >= server->options.subscriptions_max) {
        answer_error(server, client, id, "too_many",
            "this connection follows as many channels "
            "as it may");
        return;
    }
    const struct shard_asked asked = {.name = name,
        .framing = ws_framing(client),
        .since = since,
        .types = span_of(a->types.data, a->types.len),
        .batch_ms = (uint16_t)a->batch_ms};
    int err = shard_subscribe_from(server->shard, &client->sub, &asked, &request_id);
    if (err == -EEXIST) {
        answer_error(server, client, id, "exists", "this connection follows the channel already");
    } else if (err || !command_add(server, request_id, conn_client_id(server, client),
                          ASKED_SUBSCRIBE, id)) {
        shard_doom(server->shard, &client->sub);
    }
}

static void unsubscribe(
    struct conn_server *server, struct client *client, struct span id, struct arguments *a)
{
    struct span name = span_of(a->channel.data, a->channel.len);

    if (shard_unsubscribe(server->shard, &client->sub, name, ws_framing(client)) != 0) {
        answer_error(
            server, client, id, "not_found", "this connection does not follow the channel");
    } else {
        answer_ok(server, client, id, "");
    }
}

static void history(
    struct conn_server *server, struct client *client, struct span id, struct arguments *a)
{
    struct since since = since_parse(span_of(a->since.data, a->since.len));
    uint64_t request_id;

    if (!history_ask(server, span_of(a->channel.data, a->channel.len), since, (uint32_t)a->limit,
            &request_id) ||
        !command_add(server, request_id, conn_client_id(server, client), ASKED_HISTORY, id)) {
        shard_doom(server->shard, &client->sub);
        return;
    }
    pace_asked(server, client, (uint32_t)a->limit);
}

static void publish(
    struct conn_server *server, struct client *client, struct span id, struct arguments *a)
{
    if (a->data.len == 0) {
        answer_error(
            server, client, id, "bad_command", "data: missing; any JSON value is expected");
        return;
    }
    const struct publish_asked asked = {.channel = span_of(a->channel.data, a->channel.len),
        .payload = a->data,
        .key = span_of(a->key.data, a->key.len),
        .durable = a->durable};
    publish_command(server, client, id, &asked);
}

static const struct {
    const char *name;
    void (*run)(struct conn_server *, struct client *, struct span id, struct arguments *);
} table[] = {
    {"subscribe", subscribe},
    {"unsubscribe", unsubscribe},
    {"publish", publish},
    {"history", history},
};

enum { COMMANDS = COUNT_OF(table), KEY_ID = COMMANDS, KEY_PING, KEY_REFRESH, KEYS };

/* NULL, or the sentence that says what is wrong. */
static const char *check_id(struct span id)
{
    bool good = id.len && (id.data[0] == '"' || id.data[0] == '-' ||
                              (id.data[0] >= '0' && id.data[0] <= '9'));

    if (!good) {
        return "id: a number or a string is expected";
    }
    return id.len > ID_MAX ? "id: at most 128 bytes, as they stand in the message" : NULL;
}

static void run(struct conn_server *server, struct client *client, struct span id, int which,
    struct span object)
{
    struct arguments a = {0};
    const char *why = read_arguments(&a, object);

    if (why) {
        bool channel = a.channel.len && name_check(span_of(a.channel.data, a.channel.len));
        answer_error(server, client, id, channel ? "bad_channel" : "bad_command", why);
    } else {
        table[which].run(server, client, id, &a);
    }
    arguments_fini(&a);
}

void commands_binary(struct conn_server *server, struct client *client)
{
    answer_error(server, client, span_of(NULL, 0), "bad_command",
        "a command is a text message; this one was binary");
}

void commands_message(struct conn_server *server, struct client *client, struct span text)
{
    struct span keys[KEYS], members[KEYS] = {{0}};
    int found = -1;

    for (int i = 0; i < (int)COMMANDS; i++) {
        keys[i] = span_str(table[i].name);
    }
    keys[KEY_ID] = span_str("id");
    keys[KEY_PING] = span_str("ping");
    keys[KEY_REFRESH] = span_str("refresh");
    if (json_find_members(text.data, text.len, keys, KEYS, members) != 0) {
        answer_error(server, client, span_of(NULL, 0), "bad_json",
            "a command is one JSON object, each member once");
        return;
    }
    struct span id = members[KEY_ID];
    const char *why = check_id(id);
    if (why) {
        answer_error(server, client, span_of(NULL, 0), "bad_command", why);
        return;
    }
    for (int i = 0; i < (int)KEYS; i++) {
        if (i != KEY_ID && members[i].len && found >= 0) {
            answer_error(server, client, id, "bad_command", "one command a message is expected");
            return;
        }
        found = i != KEY_ID && members[i].len ? i : found;
    }
    if (found < 0) {
        answer_error(server, client, id, "bad_command",
            "subscribe, unsubscribe, publish, history, refresh or ping is expected");
    } else if (found == KEY_PING) {
        answer_ok(server, client, id, "");
    } else if (found == KEY_REFRESH) {
        /* "ok" would say that the token was found good. */
        answer_error(server, client, id, "auth_off",
            "this gateway asks for no tokens; there is nothing to refresh");
    } else {
        run(server, client, id, found, members[found]);
    }
}
