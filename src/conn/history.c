#include "conn/history.h"

#include "base/json.h"
#include "conn/commands.h"
#include "conn/framing.h"
#include "conn/server.h"
#include "conn/ws.h"
#include "core/name.h"
#include "proto/url.h"

enum { HISTORY_BYTES_MAX = 1024 * 1024 }; /* Of publications in one answer; `more` says the rest. */

bool history_ask(struct conn_server *server, struct span channel, struct since since,
    uint32_t limit, uint64_t *ret_request_id)
{
    since.kind = since.kind == SINCE_NONE ? SINCE_BEGIN : since.kind;
    return shard_history(server->shard, channel, since, limit, HISTORY_BYTES_MAX, ret_request_id) ==
           0;
}

int history_append(struct bytes *out, const struct mail_subscribe *answer)
{
    char cursor[CURSOR_TEXT_MAX];
    int err = bytes_append_str(out, "{\"channel\":");

    err = err ? err : json_append_string(out, answer->name, answer->name_len);
    err = err ? err : bytes_append_str(out, ",\"events\":[");
    for (uint32_t i = 0; !err && i < answer->replay_count; i++) {
        const struct publication *pub = answer->replay[i];
        cursor_format((struct cursor){pub->epoch, pub->offset}, cursor);
        err = bytes_appendf(out, "%s{\"cursor\":\"%s\",", i ? "," : "", cursor);
        err = err ? err : framing_append_data(out, publication_payload(pub));
        err = err ? err : bytes_append_byte(out, '}');
    }
    cursor_format(answer->cursor, cursor);
    return err ? err
               : bytes_appendf(out, "],\"cursor\":\"%s\",\"state\":\"%s\",\"more\":%s}", cursor,
                     ws_state_name(answer->state), answer->more ? "true" : "false");
}

void history_answer_http(struct client *client, const struct mail_subscribe *answer)
{
    struct http_exchange *x = client->session ? http_session_exchange(client->session) : NULL;
    struct bytes text = {0};

    if (!x) {
        return;
    }
    if (history_append(&text, answer) != 0 || bytes_append_byte(&text, '\n') != 0) {
        http_reply_error(x, 503, "no_memory", "no memory for the answer");
    } else {
        http_reply(x, 200, "application/json", text.data, text.len);
    }
    bytes_fini(&text);
}

static bool read_limit(struct http_exchange *x, uint32_t *ret_limit)
{
    struct bytes text = {0};
    int64_t limit = HISTORY_LIMIT;
    int got = http_query(x, "limit", &text);
    bool good = got == 0 || (got == 1 && json_int64(span_of(text.data, text.len), &limit) == 0 &&
                                limit >= 1 && limit <= HISTORY_LIMIT_MAX);

    bytes_fini(&text);
    *ret_limit = (uint32_t)limit;
    return good;
}

void history_handler(struct http_exchange *x)
{
    struct conn_server *server = x->app;
    struct bytes name = {0}, since_text = {0};
    uint32_t limit;
    uint64_t request_id;
    int err = url_decode_path(&name, x->params[0]);
    const char *why =
        err ? "a '%' must be followed by two hex digits" : name_check(span_of(name.data, name.len));

    if (why) {
        http_reply_error(x, 400, "bad_channel", why);
    } else if (!read_limit(x, &limit)) {
        http_reply_error(x, 400, "bad_query", "limit: a number from 1 to 1000 is expected");
    } else if (http_query(x, "since", &since_text) < 0) {
        http_reply_error(x, 400, "bad_query", "since: a '%' must be followed by two hex digits");
    } else {
        struct since since = since_parse(span_of(since_text.data, since_text.len));
        if (!history_ask(server, span_of(name.data, name.len), since, limit, &request_id) ||
            !commands_wait_http(server, request_id, x->peer)) {
            http_reply_error(x, 503, "no_memory", "no memory for the request");
        }
    }
    bytes_fini(&name);
    bytes_fini(&since_text);
}
