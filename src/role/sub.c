/* fanout sub: watches channels from a terminal, over WebSocket. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "core/name.h"
#include "proto/url.h"
#include "role/args.h"
#include "role/client_ws.h"
#include "role/role.h"
#include "role/sub_print.h"
#include "role/term.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "rt/thread.h"

struct sub_options {
    const char *url, *user, *room, *client_id, *since;
    struct arg_list channels, headers;
    uint64_t count;
    double timeout;
    bool json, insecure, quiet;
};

struct sub {
    const struct sub_options *options;
    struct client_url url;
    struct bytes target; /* Without since. */
    struct bytes since;  /* As asked for; raw sockets learn no cursors. */
    struct bytes
        cursors[ARGS_LIST_MAX]; /* The last cursor of each channel; raw JSON string's text. */
    struct bytes names[ARGS_LIST_MAX]; /* Of the channels, decoded; raw sockets: the one shown. */
    size_t channel_count;              /* 0: a raw socket. */
    struct loop *loop;
    struct client_hub hub;
    struct client_ws ws;
    struct http_header headers[ARGS_LIST_MAX];
    struct timer deadline;
    struct bytes out;
    bool colour;
    bool stopping, done, failed, timed_out;
    bool ever_open;
    uint64_t started_ns;
    uint64_t events, gaps, reconnects, bytes;
    int signal_fd;
};

#define AT(field) offsetof(struct sub_options, field)
static const struct arg sub_args[] = {
    {.help = "What to watch (channels or a whole URL as words, or one of)"},
    {"user", ARG_TEXT, AT(user), "U", "the events of a user", NULL},
    {"room", ARG_TEXT, AT(room), "R", "the messages of a room", NULL},
    {"channel", ARG_LIST, AT(channels), "C", "a channel, with cursors; repeatable", NULL},
    {"client-id", ARG_TEXT, AT(client_id), "ID", "who we are in the room", NULL},
    {"since", ARG_TEXT, AT(since), "CURSOR",
        "begin behind this cursor (several: a comma list);\n\"begin\" is all that is kept", NULL},
    {.help = "Server"},
    {"url", ARG_TEXT, AT(url), "URL", "the gateway (http://127.0.0.1:8084)", NULL},
    {"header", ARG_LIST, AT(headers), "LINE", "send this header with the handshake; repeatable",
        NULL},
    {"insecure", ARG_FLAG, AT(insecure), NULL, "accept any certificate", NULL},
    {.help = "Output"},
    {"json", ARG_FLAG, AT(json), NULL, "one envelope a line, as JSON", NULL},
    {"count", ARG_COUNT, AT(count), "N", "stop after N events", NULL, 1},
    {"timeout", ARG_TIME, AT(timeout), "TIME", "stop after this time (with --count: failed)", NULL,
        0.001},
    {"quiet", ARG_FLAG, AT(quiet), NULL, "nothing on stderr but errors", NULL},
};

static const char help_head[] =
    "fanout sub: watch events from a terminal\n"
    "\n"
    "usage: fanout sub CHANNEL… [flags]\n"
    "       fanout sub --user U|--room R [flags]\n"
    "       fanout sub URL [flags]\n"
    "\n"
    "Payloads are shown byte for byte, but for control bytes: \\n, \\t, \\x1b.\n";
static const char help_tail[] =
    "\n"
    "Examples\n"
    "  fanout sub --user alice\n"
    "  fanout sub orders:42\n"
    "  fanout sub room:lobby run:42 --since begin\n"
    "  fanout sub --room lobby --json | jq .data\n"
    "  fanout sub 'ws://127.0.0.1:8084/ws?username=alice' --count 1 --timeout 5s\n"
    "\n"
    "--user and --room are plain sockets, as applications use them; a channel, user:U and room:R\n"
    "too, comes with cursors. Reconnects by itself, with backoff and jitter, and goes on behind\n"
    "the last cursor.\n"
    "Exit code: 0 done or interrupted; 1 refused, never connected, or --count not reached in\n"
    "time; 2 wrong usage.\n";

static void say(const struct sub *sub, const char *text)
{
    if (!sub->options->quiet) {
        bool colour = term_colour(stderr);
        struct bytes line = {0};
        term_append_safe(&line, text, strlen(text));
        fprintf(stderr, "%s%.*s%s\n", colour ? "\033[2m" : "", (int)line.len,
            (const char *)line.data, colour ? "\033[0m" : "");
        bytes_fini(&line);
    }
}

static void sub_target(void *ctx, struct bytes *target)
{
    struct sub *sub = ctx;
    struct bytes since = {0};
    bool known = false;

    CHECK(bytes_append(target, sub->target.data, sub->target.len) == 0);
    for (size_t i = 0; i < sub->channel_count; i++) {
        const struct bytes *cursor = &sub->cursors[i];
        known = known || cursor->len;
        CHECK(bytes_append_str(&since, i ? "," : "") == 0);
        CHECK(cursor->len ? bytes_append(&since, cursor->data, cursor->len) == 0
                          : bytes_append_byte(&since, '-') == 0);
    }
    if (known) {
        CHECK(client_url_add_param(target, "since", since.data, since.len) == 0);
    } else if (sub->since.len && !sub->ever_open) {
        CHECK(client_url_add_param(target, "since", sub->since.data, sub->since.len) == 0);
    }
    bytes_fini(&since);
}

static void sub_opened(void *ctx, const struct http_response *resp)
{
    struct sub *sub = ctx;
    struct span state = http_response_header(resp, "Fanout-State");
    char text[512];

    snprintf(text, sizeof text, "%s %s%s%.*s",
        sub->ever_open ? "connected again to" : "connected to", sub->url.address,
        state.len ? ", state " : "", (int)state.len, state.len ? (const char *)state.data : "");
    say(sub, text);
    if (sub->ever_open && sub->channel_count == 0) {
        say(sub, "what was published in between may be missing: raw sockets have no cursor");
    }
    sub->ever_open = true;
}

/* Remembers where a channel stands, for the next connection. */
static void remember_cursor(struct sub *sub, const struct sub_item *item)
{
    for (size_t i = 0; i < sub->channel_count; i++) {
        struct bytes *name = &sub->names[i];
        if (item->cursor.data && item->channel.data &&
            json_string_equal(item->channel, span_of(name->data, name->len))) {
            struct bytes text = {0};
            if (json_string_decode(item->cursor, &text) == 0) {
                bytes_fini(&sub->cursors[i]);
                sub->cursors[i] = text;
            } else {
                bytes_fini(&text);
            }
            return;
        }
    }
}

static void finish(struct sub *sub)
{
    if (!sub->stopping) {
        sub->stopping = true;
        /* A server that does not answer the close keeps us no longer than this. */
        timer_start(sub->loop, &sub->deadline, 500, sub->deadline.fn, sub);
        client_ws_close(&sub->ws);
    }
}

static void take_item(void *ctx, const struct sub_item *received)
{
    struct sub *sub = ctx;
    struct sub_item item = *received;

    if (sub->stopping) {
        return;
    }
    if (sub->channel_count == 0 && sub->names[0].len) {
        item.channel = span_of(sub->names[0].data, sub->names[0].len);
    }
    remember_cursor(sub, &item);
    if (sub->options->json) {
        sub_print_json(&sub->out, &item);
    } else {
        sub_print_human(&sub->out, &item, clock_wall_ns(), sub->colour);
    }
    sub->gaps += item.kind == SUB_GAP;
    sub->events += item.kind == SUB_EVENT;
    if (sub->options->count && sub->events == sub->options->count) {
        finish(sub);
    }
}

static void sub_message(void *ctx, bool text, struct span payload)
{
    struct sub *sub = ctx;

    sub->bytes += payload.len;
    if (sub->channel_count == 0) {
        const struct sub_item item = {.raw = true, .data = payload, .whole = payload};
        take_item(sub, &item);
    } else {
        sub_items(payload, take_item, sub);
    }
}

static void sub_down(void *ctx, const char *why, uint64_t retry_ms)
{
    struct sub *sub = ctx;
    char text[CLIENT_WHY_MAX + 64];

    sub->reconnects += 1;
    snprintf(text, sizeof text, "%s; trying again in %.1f s", why, (double)retry_ms / 1e3);
    say(sub, text);
}

static void sub_ended(void *ctx, const char *why)
{
    struct sub *sub = ctx;

    sub->done = true;
    if (!sub->stopping) {
        sub->failed = true;
        struct bytes line = {0};
        term_append_safe(&line, why, strlen(why));
        fprintf(stderr, "fanout sub: %.*s\n", (int)line.len, (const char *)line.data);
        bytes_fini(&line);
    }
}

static const struct client_ws_events sub_events = {
    sub_target, sub_opened, sub_message, sub_down, sub_ended};

static void deadline_passed(struct timer *timer, void *ctx)
{
    struct sub *sub = ctx;

    if (sub->stopping) {
        sub->done = true;
        return;
    }
    sub->timed_out = true;
    finish(sub);
}

static void signal_event(void *ctx, uint64_t id, uint32_t events)
{
    struct sub *sub = ctx;

    while (signals_take(sub->signal_fd)) {
        if (sub->stopping) {
            sub->done = true;
        }
        finish(sub);
    }
}

/* Remembers a channel's name from the URL's query. */
static void add_name(struct sub *sub, const char *prefix, struct span encoded, bool cursors)
{
    size_t index = cursors ? sub->channel_count : 0;

    if (index == ARGS_LIST_MAX || (!cursors && sub->names[0].len)) {
        return;
    }
    struct bytes *name = &sub->names[index];
    CHECK(bytes_append_str(name, prefix) == 0);
    if (url_decode_query(name, encoded)) {
        name->len = 0;
    }
    sub->channel_count += cursors;
}

/* Reads what the target subscribes to, and takes since out of it: that changes as events come. */
static void read_query(struct sub *sub)
{
    struct span path, query, key, value;
    struct bytes kept = {0};
    bool first = true;

    url_split(span_of(sub->target.data, sub->target.len), &path, &query);
    CHECK(bytes_append(&kept, path.data, path.len) == 0);
    while (url_query_next(&query, &key, &value)) {
        if (span_equal(key, span_str("username"))) {
            add_name(sub, "user:", value, false);
        } else if (span_equal(key, span_str("room"))) {
            add_name(sub, "room:", value, false);
        } else if (span_equal(key, span_str("channel"))) {
            add_name(sub, "", value, true);
        } else if (span_equal(key, span_str("since"))) {
            sub->since.len = 0;
            if (url_decode_query(&sub->since, value)) {
                sub->since.len = 0;
            }
            continue;
        }
        CHECK(bytes_appendf(&kept, "%c%.*s=%.*s", first ? '?' : '&', (int)key.len,
                  (const char *)key.data, (int)value.len, (const char *)value.data) == 0);
        first = false;
    }
    bytes_fini(&sub->target);
    sub->target = kept;
}

/* Gives each channel its piece of since, so that it survives a connection that brought nothing.
 * Returns 0, or -1 with a sentence. */
static int spread_since(struct sub *sub, char *err)
{
    struct span rest = span_of(sub->since.data, sub->since.len);
    bool begin = span_equal(rest, span_str("begin"));
    size_t pieces = 0;

    if (rest.len == 0 || sub->channel_count == 0) {
        return 0;
    }
    for (size_t i = 0; begin && i < sub->channel_count; i++) {
        CHECK(bytes_append_str(&sub->cursors[i], "begin") == 0);
    }
    while (!begin && pieces <= sub->channel_count) {
        const uint8_t *comma = rest.len ? memchr(rest.data, ',', rest.len) : NULL;
        size_t len = comma ? (size_t)(comma - rest.data) : rest.len;
        if (pieces < sub->channel_count && !span_equal(span_of(rest.data, len), span_str("-"))) {
            CHECK(bytes_append(&sub->cursors[pieces], rest.data, len) == 0);
        }
        pieces += 1;
        if (!comma) {
            break;
        }
        rest = span_of(comma + 1, rest.len - len - 1);
    }
    if (!begin && pieces != sub->channel_count) {
        snprintf(err, ARGS_ERR_MAX,
            "--since names %zu%s cursors for %zu channels; give one each, \"-\" for none", pieces,
            pieces > sub->channel_count ? " or more" : "", sub->channel_count);
        return -1;
    }
    return 0;
}

/* A whole URL among the words; NULL when all are channels. */
static const char *url_of(const struct arg_list *words)
{
    for (size_t i = 0; i < words->count; i++) {
        if (strstr(words->items[i], "://")) {
            return words->items[i];
        }
    }
    return NULL;
}

/* The words that are no URL are channels, as --channel gives them. Returns 0, or -1 with a sentence
 * in err. */
static int read_words(struct arg_list *channels, const struct arg_list *words, char *err)
{
    for (size_t i = 0; i < words->count; i++) {
        const char *word = words->items[i];
        const char *wrong = name_check(span_str(word));
        if (wrong) {
            snprintf(err, ARGS_ERR_MAX,
                "\"%.60s\": %s; or give a URL, e.g. ws://127.0.0.1:8084/ws?room=lobby", word,
                wrong);
            return -1;
        }
        if (channels->count == ARGS_LIST_MAX) {
            snprintf(err, ARGS_ERR_MAX, "more than %d channels", ARGS_LIST_MAX);
            return -1;
        }
        channels->items[channels->count++] = word;
    }
    return 0;
}

/* What is read as plain HTTP is never answered with a WebSocket. Returns 0, or -1 with a sentence. */
static int check_path(const char *target, char *err)
{
    static const char *const others[] = {"/sse", "/poll"};
    size_t len = strcspn(target, "?#");

    for (size_t i = 0; i < COUNT_OF(others); i++) {
        size_t tail = strlen(others[i]);
        if (len >= tail && memcmp(target + len - tail, others[i], tail) == 0) {
            snprintf(err, ARGS_ERR_MAX,
                "%s is plain HTTP, for curl or a browser; expected a WebSocket's URL, e.g. "
                "ws://127.0.0.1:8084/ws?channel=room:lobby",
                others[i]);
            return -1;
        }
    }
    return 0;
}

/* Builds the target from the flags. Returns 0, or -1 with a sentence in err. */
static int make_target(struct sub *sub, const struct arg_list *rest, char *err)
{
    const struct sub_options *o = sub->options;
    const char *url = url_of(rest), *text = url ? url : o->url;
    struct arg_list channels = o->channels;
    char why[CLIENT_URL_ERR_MAX];

    if (!url && read_words(&channels, rest, err)) {
        return -1;
    }
    int chosen = (o->user != NULL) + (o->room != NULL) + (channels.count > 0) + (url != NULL);
    if (chosen != 1 || (url && rest->count > 1)) {
        snprintf(err, ARGS_ERR_MAX,
            chosen == 0 ? "nothing to watch; give a channel, --user, --room or a URL"
                        : "give only one of a URL, --user, --room and channels");
        return -1;
    }
    if (client_url_parse(text, CLIENT_WS, &sub->url, why)) {
        snprintf(err, ARGS_ERR_MAX, "%.240s", why);
        return -1;
    }
    if (check_path(sub->url.target, err)) {
        return -1;
    }
    int bad = 0;
    if (url && strcspn(sub->url.target, "?") > 1) {
        bad = bytes_append_str(&sub->target, sub->url.target);
    } else if (url) {
        bad = bytes_appendf(&sub->target, "/ws%s",
            sub->url.target[0] == '/' ? sub->url.target + 1 : sub->url.target);
    } else {
        bad = client_url_join(&sub->target, sub->url.target, "/ws");
    }
    struct bytes *target = &sub->target;
    if (o->user) {
        bad = bad ? bad : client_url_add_param(target, "username", o->user, strlen(o->user));
    }
    if (o->room) {
        bad = bad ? bad : client_url_add_param(target, "room", o->room, strlen(o->room));
    }
    if (o->client_id) {
        bad = bad ? bad
                  : client_url_add_param(target, "client_id", o->client_id, strlen(o->client_id));
    }
    for (size_t i = 0; i < channels.count; i++) {
        const char *channel = channels.items[i];
        bad = bad ? bad : client_url_add_param(target, "channel", channel, strlen(channel));
    }
    if (o->since) {
        bad = bad ? bad : client_url_add_param(target, "since", o->since, strlen(o->since));
    }
    CHECK(bad == 0);
    read_query(sub);
    return spread_since(sub, err);
}

static int read_headers(struct sub *sub, char *err)
{
    const struct arg_list *list = &sub->options->headers;

    for (size_t i = 0; i < list->count; i++) {
        const char *colon = strchr(list->items[i], ':');
        if (!colon) {
            snprintf(err, ARGS_ERR_MAX, "--header is \"%.60s\"; expected \"Name: value\"",
                list->items[i]);
            return -1;
        }
        sub->headers[i] =
            (struct http_header){span_of(list->items[i], (size_t)(colon - list->items[i])),
                span_str(colon + 1 + strspn(colon + 1, " "))};
    }
    return 0;
}

static void summary(const struct sub *sub)
{
    char events[32], text[200];
    double seconds = (double)(clock_now_ns() - sub->started_ns) / 1e9;

    snprintf(text, sizeof text, "%s event%s in %.1f s%s", term_count(sub->events, events),
        sub->events == 1 ? "" : "s", seconds, sub->timed_out ? " (time is up)" : "");
    size_t len = strlen(text);
    if (sub->gaps) {
        len += (size_t)snprintf(
            text + len, sizeof text - len, ", %llu gaps", (unsigned long long)sub->gaps);
    }
    if (sub->reconnects) {
        snprintf(text + len, sizeof text - len, ", %llu interruption%s",
            (unsigned long long)sub->reconnects, sub->reconnects == 1 ? "" : "s");
    }
    say(sub, text);
}

/* Writes what has gathered. False when nobody reads our output any more. */
static bool flush_out(struct sub *sub)
{
    bool fine = fwrite(sub->out.data, 1, sub->out.len, stdout) == sub->out.len;

    sub->out.len = 0;
    return fflush(stdout) == 0 && fine;
}

static int run(struct sub *sub)
{
    int err = signals_open(&sub->signal_fd);

    err = err ? err : loop_create(&sub->loop);
    if (!err) {
        client_hub_init(&sub->hub, sub->loop, sub->options->insecure);
        loop_handle(sub->loop, CLIENT_KIND_OWNER, signal_event, sub);
        err = loop_watch(sub->loop, sub->signal_fd, CLIENT_KIND_OWNER, 0, LOOP_WATCH_IN);
    }
    err = err ? err : client_ws_init(&sub->ws, &sub->hub, &sub->url, &sub_events, sub);
    if (err) {
        fprintf(stderr, "fanout sub: starting: %s\n", strerror(-err));
        return 1;
    }
    sub->ws.headers = sub->headers;
    sub->ws.header_count = sub->options->headers.count;
    sub->started_ns = clock_now_ns();
    sub->colour = !sub->options->json && term_colour(stdout);
    sub->deadline.fn = deadline_passed;
    if (sub->options->timeout > 0) {
        timer_start(sub->loop, &sub->deadline, (uint64_t)(sub->options->timeout * 1e3),
            deadline_passed, sub);
    }
    client_ws_start(&sub->ws);
    while (!sub->done) {
        loop_poll(sub->loop, -1);
        if (sub->out.len && !flush_out(sub)) {
            sub->done = true;
        }
    }
    timer_stop(&sub->deadline);
    client_ws_fini(&sub->ws);
    client_hub_fini(&sub->hub);
    loop_destroy(sub->loop);
    summary(sub);
    bool short_of = sub->options->count && sub->timed_out;
    bool never = sub->timed_out && !sub->ever_open;
    return sub->failed || short_of || never ? 1 : 0;
}

int role_sub(int argc, char **argv)
{
    struct sub_options options = {.url = "http://127.0.0.1:8084"};
    struct arg_list rest = {0};
    char err[ARGS_ERR_MAX];
    enum args_result parsed =
        args_parse(sub_args, COUNT_OF(sub_args), argc, argv, &options, &rest, err);

    if (parsed == ARGS_HELP) {
        fputs(help_head, stdout);
        args_help(stdout, sub_args, COUNT_OF(sub_args));
        fputs(help_tail, stdout);
        return 0;
    }
    struct sub *sub = mem_zalloc(sizeof *sub);
    sub->options = &options;
    int code = 2;
    if (parsed == ARGS_WRONG || make_target(sub, &rest, err) || read_headers(sub, err)) {
        fprintf(stderr, "fanout sub: %s\n", err);
    } else {
        code = run(sub);
    }
    for (size_t i = 0; i < ARGS_LIST_MAX; i++) {
        bytes_fini(&sub->cursors[i]);
        bytes_fini(&sub->names[i]);
    }
    bytes_fini(&sub->target);
    bytes_fini(&sub->since);
    bytes_fini(&sub->out);
    mem_free(sub);
    return code;
}
