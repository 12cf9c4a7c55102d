#include "role/client_redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/json.h"

/* hiredis would buffer without end. */
enum { ANSWER_BYTES_MAX = 1024 * 1024 };

/* Appends one command; arguments are bytes, never a format. */
static int append_command(struct bytes *out, const struct span *words, size_t word_count)
{
    const char *argv[4];
    size_t lens[4];
    char *command = NULL;

    CHECK(word_count <= COUNT_OF(argv));
    for (size_t i = 0; i < word_count; i++) {
        argv[i] = (const char *)words[i].data;
        lens[i] = words[i].len;
    }
    int len = redisFormatCommandArgv(&command, (int)word_count, argv, lens);
    if (len < 0) {
        return -ENOMEM;
    }
    int err = bytes_append(out, command, (size_t)len);
    redisFreeCommand(command);
    return err;
}

int client_redis_encode(struct bytes *out, bool sharded, struct span channel, struct span payload)
{
    const struct span words[] = {span_str(sharded ? "SPUBLISH" : "PUBLISH"), channel, payload};
    return append_command(out, words, COUNT_OF(words));
}

int client_redis_publish(struct client_redis *redis, struct span channel, struct span payload)
{
    struct bytes out = {0};
    int err = client_redis_encode(&out, redis->sharded, channel, payload);

    CHECK(redis->up);
    if (!err) {
        client_conn_send(&redis->conn, out.data, out.len);
    }
    bytes_fini(&out);
    return err;
}

int client_redis_append(struct client_redis *redis, const struct client_append *append)
{
    struct bytes out = {0};
    int err = client_history_append(&out, append);

    CHECK(redis->up);
    if (!err) {
        client_conn_send(&redis->conn, out.data, out.len);
    }
    bytes_fini(&out);
    return err;
}

int client_room_envelope(struct bytes *out, struct span room, struct span from, struct span data)
{
    size_t before = out->len;
    bool base64 = false;
    int err = bytes_append_str(out, "{\"room\":");

    err = err ? err : json_append_string(out, room.data, room.len);
    err = err ? err : bytes_append_str(out, ",\"from\":");
    err = err ? err : json_append_string(out, from.data, from.len);
    err = err ? err : bytes_append_str(out, ",\"data\":");
    if (!err) {
        err = json_append_string(out, data.data, data.len);
        if (err == -EILSEQ) {
            base64 = true;
            err = bytes_append_byte(out, '"');
            err = err ? err : base64_encode(out, data.data, data.len);
            err = err ? err : bytes_append_byte(out, '"');
        }
    }
    err = err ? err : bytes_append_str(out, base64 ? ",\"enc\":\"base64\"}" : "}");
    if (err) {
        out->len = before;
    }
    return err;
}

/* What a history needs: Pub/Sub has no databases, keys do. The script comes last. */
static int prepare_history(struct client_redis *redis, struct bytes *out)
{
    const char *db = redis->url->target[0] == '/' ? redis->url->target + 1 : "";
    int err = 0;

    if (db[0]) {
        const struct span words[] = {span_str("SELECT"), span_str(db)};
        err = append_command(out, words, COUNT_OF(words));
        redis->greetings += 1;
    }
    redis->greetings += 1;
    return err ? err : client_history_load(out);
}

/* AUTH, as the URL asks. */
static void redis_opened(void *ctx)
{
    struct client_redis *redis = ctx;
    const struct client_url *url = redis->url;
    struct bytes out = {0};
    int err = 0;

    redis->greetings = 0;
    if (url->password[0]) {
        struct span words[] = {span_str("AUTH"), span_str(url->user), span_str(url->password)};
        if (!url->user[0]) {
            words[1] = words[2];
        }
        err = append_command(&out, words, url->user[0] ? 3 : 2);
        redis->greetings += 1;
    }
    /* PING tells whether the server lets us in at all. */
    const struct span ping = span_str("PING");
    err = err ? err : append_command(&out, &ping, 1);
    redis->greetings += 1;
    if (redis->history) {
        err = err ? err : prepare_history(redis, &out);
    }
    CHECK(err == 0);
    client_conn_send(&redis->conn, out.data, out.len);
    bytes_fini(&out);
}

static void redis_lost(struct client_redis *redis, const char *why)
{
    redis->up = false;
    client_conn_close(&redis->conn);
    redis->events->closed(redis->ctx, why);
}

/* What a script says. A script that Redis has forgotten is not loaded again: what was under way is lost
 * with it, as it is with a connection. */
static bool take_appended(struct client_redis *redis, const redisReply *reply, const char *refused)
{
    bool is_text = reply->type == REDIS_REPLY_STRING;

    if (refused && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        redis_lost(redis, "Redis has forgotten the script that keeps histories (SCRIPT FLUSH?)");
        return false;
    }
    redis->events->appended(
        redis->ctx, is_text ? span_of(reply->str, reply->len) : span_of(NULL, 0), refused);
    return redis->conn.state == CLIENT_UP;
}

/* Returns false when the connection is no longer ours. */
static bool take_reply(struct client_redis *redis, const redisReply *reply)
{
    char text[320];
    bool refused = reply->type == REDIS_REPLY_ERROR;
    bool loading = redis->history && redis->greetings == 1;

    snprintf(text, sizeof text, "Redis: %.*s%s",
        refused ? (int)(reply->len < 140 ? reply->len : 140) : 0, refused ? reply->str : "",
        loading ? "; --history needs SCRIPT LOAD and EVALSHA. Without it events are published all "
                  "the same, but get no cursor"
                : "");
    if (redis->history && !redis->greetings) {
        return take_appended(redis, reply, refused ? text : NULL);
    }
    if (redis->greetings) {
        redis->greetings -= 1;
        if (refused) {
            redis_lost(redis, text);
            return false;
        }
        if (redis->greetings == 0) {
            redis->up = true;
            redis->events->opened(redis->ctx);
        }
    } else {
        bool counted = reply->type == REDIS_REPLY_INTEGER;
        redis->events->answered(redis->ctx, counted ? reply->integer : -1,
            refused   ? text
            : counted ? NULL
                      : "Redis answered PUBLISH with no number");
    }
    return redis->conn.state == CLIENT_UP;
}

static size_t redis_bytes(void *ctx, const uint8_t *data, size_t len)
{
    struct client_redis *redis = ctx;
    void *reply = NULL;

    redisReaderFeed(redis->reader, (const char *)data, len);
    if (redis->reader->len > ANSWER_BYTES_MAX) {
        redis_lost(redis, "Redis sent an answer of more than 1 MiB");
        return len;
    }
    for (;;) {
        if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK) {
            redis_lost(redis, "the answer is no Redis protocol");
            return len;
        }
        if (!reply) {
            return len;
        }
        bool on = take_reply(redis, reply);
        freeReplyObject(reply);
        if (!on) {
            return len;
        }
    }
}

static void redis_closed(void *ctx, const char *why)
{
    struct client_redis *redis = ctx;

    redis->up = false;
    redis->events->closed(redis->ctx, why);
}

static const struct client_conn_events conn_events = {redis_opened, redis_bytes, redis_closed};

int client_redis_init(struct client_redis *redis, struct client_hub *hub,
    const struct client_url *url, const struct client_redis_events *events, void *ctx)
{
    *redis = (struct client_redis){.url = url, .events = events, .ctx = ctx};
    client_conn_init(&redis->conn, hub, &conn_events, redis);
    return 0;
}

void client_redis_fini(struct client_redis *redis)
{
    client_conn_fini(&redis->conn);
    if (redis->reader) {
        redisReaderFree(redis->reader);
        redis->reader = NULL;
    }
}

int client_redis_open(struct client_redis *redis)
{
    /* A reader that met an error is dead, and half an answer of the last connection is garbage. */
    if (redis->reader) {
        redisReaderFree(redis->reader);
    }
    redis->reader = redisReaderCreate();
    if (!redis->reader) {
        return -ENOMEM;
    }
    return client_conn_open(&redis->conn, redis->url->address, redis->url->tls, redis->url->host);
}
