/* fanout pub: publishes from a terminal, over HTTP or Redis. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "proto/url.h"
#include "role/args.h"
#include "role/client_http.h"
#include "role/client_history.h"
#include "role/client_redis.h"
#include "role/lines.h"
#include "role/role.h"
#include "role/schedule.h"
#include "role/term.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "rt/thread.h"

enum {
    KIND_STDIN = CLIENT_KIND_OWNER,
    KIND_SIGNAL = CLIENT_KIND_OWNER + 1,
    REDIS_UNDERWAY_MAX = 1024, /* Publications sent and not answered. */
    ERRORS_SHOWN = 10,
};

struct pub_options {
    const char *url, *redis, *user, *room, *key, *from;
    struct arg_list headers;
    uint64_t count, repeat;
    double rate;
    bool quiet, insecure, history, sharded;
};

struct pub {
    const struct pub_options *options;
    struct bytes channel; /* Ours: "room:lobby". */
    struct bytes target;  /* HTTP: of the request. */
    struct bytes redis_channel;
    bool redis_room;
    const char *payload; /* NULL: lines of stdin. */
    struct client_url url;
    struct loop *loop;
    struct client_hub hub;
    struct client_http http;
    struct client_redis redis;
    bool redis_up;
    struct schedule schedule;
    struct timer due;
    struct lines lines;
    struct bytes headers;
    uint64_t started_ns;
    uint64_t taken;    /* Messages begun. */
    uint64_t answered; /* Of them. */
    uint64_t failed;
    uint64_t receivers; /* As Redis counted them. */
    uint64_t duplicates;
    struct bytes cursor; /* Of the last message. */
    int signal_fd;
    bool stop;
};

#define AT(field) offsetof(struct pub_options, field)
static const struct arg pub_args[] = {
    {.help = "Where to (a channel as the first word, or)"},
    {"user", ARG_TEXT, AT(user), "U", "a user: channel user:U", NULL},
    {"room", ARG_TEXT, AT(room), "R", "a room: channel room:R", NULL},
    {.help = "What"},
    {"repeat", ARG_COUNT, AT(repeat), "N", "publish the payload N times (1)", NULL, 1},
    {"count", ARG_COUNT, AT(count), "N", "stop after N lines of stdin", NULL, 1},
    {"rate", ARG_RATE, AT(rate), "N", "at most N messages a second", NULL, 0.000001},
    {"idempotency-key", ARG_TEXT, AT(key), "KEY",
        "the server drops what comes twice with one key within\n"
        "ten minutes; of several messages, number n gets KEY-n.\n"
        "Gateways of one Redis know each other's keys only in\n"
        "namespaces with history=redis",
        NULL},
    {"from", ARG_TEXT, AT(from), "NAME", "sender's name in a room's envelope (Redis only)", NULL},
    {.help = "Server"},
    {"url", ARG_TEXT, AT(url), "URL", "the gateway (http://127.0.0.1:8084)", NULL},
    {"redis", ARG_TEXT, AT(redis), "URL",
        "publish through Redis instead: workflow:events:U for a\n"
        "user, room:R with its envelope, else fanout:ch:CHANNEL",
        NULL},
    {"history", ARG_FLAG, AT(history), NULL,
        "with --redis: into the history that Redis keeps for\n"
        "gateways (history: redis), so that events get cursors"},
    {"sharded", ARG_FLAG, AT(sharded), NULL,
        "with --redis: by SPUBLISH, for gateways with\n"
        "redis.mode sharded"},
    {"header", ARG_LIST, AT(headers), "LINE", "send this header with every request; repeatable",
        NULL},
    {"insecure", ARG_FLAG, AT(insecure), NULL, "accept any certificate", NULL},
    {"quiet", ARG_FLAG, AT(quiet), NULL, "no summary", NULL},
};

static const char help_head[] =
    "fanout pub: publish events from a terminal\n"
    "\n"
    "usage: fanout pub CHANNEL [PAYLOAD] [flags]\n"
    "       fanout pub --user U|--room R [PAYLOAD] [flags]\n"
    "\n"
    "Without a payload every line of stdin is one message, an empty line too. Payloads are sent\n"
    "byte for byte.\n";
static const char help_tail[] =
    "\n"
    "Examples\n"
    "  fanout pub --user alice '{\"type\":\"test\",\"message\":\"hello\"}'\n"
    "  tail -f events.jsonl | fanout pub run:42\n"
    "  fanout pub room:lobby 'hi' --repeat 100 --rate 10\n"
    "  fanout pub --user alice '{}' --redis redis://:secret@127.0.0.1:6379\n"
    "  fanout pub feed:news '{}' --redis redis://127.0.0.1 --history\n"
    "\n"
    "Exit code: 0 all published; 1 some were not; 2 wrong usage.\n";

static void publish_more(struct pub *pub);

static void show_error(struct pub *pub, const char *why)
{
    pub->failed += 1;
    if (pub->failed > ERRORS_SHOWN) {
        return;
    }
    struct bytes line = {0};
    term_append_safe(&line, why, strlen(why));
    fprintf(stderr, "fanout pub: %.*s%s\n", (int)line.len, (const char *)line.data,
        pub->failed == ERRORS_SHOWN ? " (further errors are only counted)" : "");
    bytes_fini(&line);
}

/* Reads {"results":[{"channel","cursor"|null,"error"?}],"duplicate":bool}. An answer of another
 * shape is fine: its status said yes. */
static void read_answer(struct pub *pub, struct span body)
{
    struct span cursor = {0}, error = {0}, duplicate = {0};
    struct bytes text = {0};

    if (json_pointer(body.data, body.len, span_str("/duplicate"), &duplicate) == 0 &&
        span_equal(duplicate, span_str("true"))) {
        pub->duplicates += 1;
    }
    if (json_pointer(body.data, body.len, span_str("/results/0/error"), &error) == 0) {
        struct span message = error;
        if (json_pointer(body.data, body.len, span_str("/results/0/error/message"), &message)) {
            message = error;
        }
        char why[CLIENT_WHY_MAX];
        bool is_text = json_string_decode(message, &text) == 0;
        snprintf(why, sizeof why, "%.*s", (int)(is_text ? text.len : message.len),
            is_text ? (const char *)text.data : (const char *)message.data);
        show_error(pub, why);
    } else if (json_pointer(body.data, body.len, span_str("/results/0/cursor"), &cursor) == 0 &&
               json_string_decode(cursor, &text) == 0) {
        struct bytes last = pub->cursor;
        pub->cursor = text;
        text = last;
    }
    bytes_fini(&text);
}

static void pub_response(void *ctx, int status, struct span body)
{
    struct pub *pub = ctx;

    pub->answered += 1;
    if (status / 100 == 2) {
        read_answer(pub, body);
    } else {
        char why[CLIENT_WHY_MAX];
        client_error_sentence(status, body, why, sizeof why);
        show_error(pub, why);
    }
    publish_more(pub);
}

/* A server that cannot be reached will not be reached by the next line either. */
static void pub_unreachable(void *ctx, const char *why)
{
    struct pub *pub = ctx;
    char text[CLIENT_WHY_MAX + 320];

    snprintf(text, sizeof text, "%s: %s", pub->url.address, why);
    pub->answered = pub->taken;
    show_error(pub, text);
    pub->stop = true;
}

static void pub_redis_opened(void *ctx)
{
    struct pub *pub = ctx;

    pub->redis_up = true;
    publish_more(pub);
}

static void pub_redis_answered(void *ctx, int64_t receivers, const char *err)
{
    struct pub *pub = ctx;

    pub->answered += 1;
    if (err) {
        show_error(pub, err);
    } else {
        pub->receivers += (uint64_t)receivers;
    }
    publish_more(pub);
}

static void pub_redis_appended(void *ctx, struct span answer, const char *err)
{
    struct pub *pub = ctx;
    struct span cursor;
    bool duplicate;

    pub->answered += 1;
    if (err) {
        show_error(pub, err);
    } else if (client_history_answer(answer, &cursor, &duplicate) != 0) {
        show_error(pub, "Redis answered the script with no cursor");
    } else {
        pub->duplicates += duplicate;
        pub->cursor.len = 0;
        CHECK(bytes_append(&pub->cursor, cursor.data, cursor.len) == 0);
    }
    publish_more(pub);
}

static void pub_redis_closed(void *ctx, const char *why)
{
    struct pub *pub = ctx;
    uint64_t open_count = pub->taken - pub->answered;

    pub_unreachable(pub, why);
    pub->failed += open_count > 1 ? open_count - 1 : 0;
}

static const struct client_http_events http_events = {pub_response, pub_unreachable};
static const struct client_redis_events redis_events = {
    pub_redis_opened, pub_redis_answered, pub_redis_closed, pub_redis_appended};

/* May one more message be handed to the connection? */
static bool connection_free(const struct pub *pub)
{
    if (pub->options->redis) {
        return pub->redis_up && pub->taken - pub->answered < REDIS_UNDERWAY_MAX;
    }
    return !client_http_busy(&pub->http);
}

/* The next message: the payload again, or a line of stdin without its end. *ret_used is what to
 * take off the input afterwards. False when there is none now. */
static bool next_message(struct pub *pub, struct span *ret_message, size_t *ret_used)
{
    *ret_used = 0;
    if (pub->payload) {
        *ret_message = span_str(pub->payload);
        return pub->taken < pub->options->repeat;
    }
    if (pub->options->count && pub->taken == pub->options->count) {
        return false;
    }
    return lines_next(&pub->lines, ret_message, ret_used);
}

static bool input_over(const struct pub *pub)
{
    if (pub->payload) {
        return pub->taken >= pub->options->repeat;
    }
    bool enough = pub->options->count && pub->taken >= pub->options->count;
    return enough || lines_over(&pub->lines);
}

/* The key of this message, of which many may have one each; empty without. */
static int message_key(const struct pub *pub, struct bytes *out)
{
    const char *key = pub->options->key;

    if (!key) {
        return 0;
    }
    return !pub->payload || pub->options->repeat > 1
               ? bytes_appendf(out, "%s-%llu", key, (unsigned long long)pub->taken + 1)
               : bytes_append_str(out, key);
}

static int publish_http(struct pub *pub, struct span message)
{
    struct bytes head = {0}, key = {0};
    int err = bytes_append(&head, pub->headers.data, pub->headers.len);

    err = err ? err : message_key(pub, &key);
    if (key.len) {
        err = err ? err
                  : bytes_appendf(
                        &head, "Idempotency-Key: %.*s\r\n", (int)key.len, (const char *)key.data);
    }
    err = err ? err : bytes_append_byte(&head, 0);
    err = err ? err
              : client_http_post(&pub->http, (const char *)pub->target.data,
                    (const char *)head.data, message.data, message.len);
    bytes_fini(&head);
    bytes_fini(&key);
    return err;
}

/* bare: as others hear it. */
static int append_redis(struct pub *pub, struct span message, struct span bare)
{
    struct bytes key = {0};
    int err = message_key(pub, &key);
    const struct client_append append = {
        .channel = span_of(pub->channel.data, pub->channel.len),
        .payload = message,
        .twin = span_of(pub->redis_channel.data, pub->redis_channel.len),
        .bare = bare,
        .once = span_of(key.data, key.len),
        .sharded = pub->options->sharded,
    };

    err = err ? err : client_redis_append(&pub->redis, &append);
    bytes_fini(&key);
    return err;
}

static int publish_redis(struct pub *pub, struct span message)
{
    struct span bare = message;
    struct bytes envelope = {0};
    int err = 0;

    if (pub->redis_room) {
        size_t prefix = strlen("room:");
        struct span room = span_of(pub->channel.data + prefix, pub->channel.len - prefix);
        const char *from = pub->options->from ? pub->options->from : "";
        err = client_room_envelope(&envelope, room, span_str(from), message);
        bare = span_of(envelope.data, envelope.len);
    }
    if (pub->options->history) {
        err = err ? err : append_redis(pub, message, bare);
    } else {
        err = err ? err
                  : client_redis_publish(&pub->redis,
                        span_of(pub->redis_channel.data, pub->redis_channel.len), bare);
    }
    bytes_fini(&envelope);
    return err;
}

static void due_now(struct timer *timer, void *ctx)
{
    publish_more(ctx);
}

/* Publishes while there is something to publish, a free connection, and the rate allows. */
static void publish_more(struct pub *pub)
{
    struct span message;
    size_t used;

    while (!pub->stop && connection_free(pub)) {
        uint64_t now_ns = clock_now_ns();
        if (pub->schedule.rate_uhz && schedule_due_count(&pub->schedule, now_ns) <= pub->taken) {
            uint64_t wait_ns = schedule_due_ns(&pub->schedule, pub->taken) - now_ns;
            timer_start(pub->loop, &pub->due, wait_ns / 1000000, due_now, pub);
            return;
        }
        if (!next_message(pub, &message, &used)) {
            return;
        }
        int err = pub->options->redis ? publish_redis(pub, message) : publish_http(pub, message);
        pub->taken += 1;
        lines_take(&pub->lines, used);
        if (err) {
            pub_unreachable(
                pub, err == -EILSEQ ? "the room or sender is not UTF-8" : strerror(-err));
        }
    }
}

static void stdin_event(void *ctx, uint64_t id, uint32_t events)
{
    struct pub *pub = ctx;

    lines_read(&pub->lines);
    publish_more(pub);
    lines_settle(&pub->lines);
}

static void signal_event(void *ctx, uint64_t id, uint32_t events)
{
    struct pub *pub = ctx;

    while (signals_take(pub->signal_fd)) {
        pub->stop = true;
    }
}

static void summary(const struct pub *pub)
{
    double seconds = (double)(clock_now_ns() - pub->started_ns) / 1e9;
    uint64_t fine = pub->answered > pub->failed ? pub->answered - pub->failed : 0;
    char count[32];

    if (pub->options->quiet) {
        return;
    }
    fprintf(stderr, "published %s message%s to %.*s", term_count(fine, count), fine == 1 ? "" : "s",
        (int)pub->channel.len, (const char *)pub->channel.data);
    if (pub->failed) {
        fprintf(stderr, ", %s failed", term_count(pub->failed, count));
    }
    if (pub->duplicates) {
        fprintf(stderr, ", %s already known", term_count(pub->duplicates, count));
    }
    if (pub->cursor.len) {
        struct bytes cursor = {0};
        term_append_safe(&cursor, pub->cursor.data, pub->cursor.len);
        fprintf(stderr, ", cursor %.*s", (int)cursor.len, (const char *)cursor.data);
        bytes_fini(&cursor);
    }
    if (pub->options->redis && !pub->options->history && fine && pub->receivers == 0) {
        fprintf(stderr, "; nobody was subscribed in Redis");
    }
    if (fine > 1) {
        fprintf(stderr, " in %.1f s (%.0f/s)", seconds, (double)fine / (seconds > 0 ? seconds : 1));
    }
    fprintf(stderr, "\n");
}

/* Works out the channel and the payload from the words. Returns 0, or -1 with a sentence. */
static int read_words(struct pub *pub, const struct arg_list *rest, char *err)
{
    const struct pub_options *o = pub->options;
    bool named = o->user || o->room;
    size_t words = rest->count, first = named ? 0 : 1;

    if (o->user && o->room) {
        snprintf(err, ARGS_ERR_MAX, "give --user or --room, not both");
        return -1;
    }
    if (words < first) {
        snprintf(err, ARGS_ERR_MAX, "no channel; give one, e.g. room:lobby, or --user or --room");
        return -1;
    }
    if (words > first + 1) {
        snprintf(err, ARGS_ERR_MAX, "unexpected word \"%.60s\"; quote a payload that has spaces",
            rest->items[first + 1]);
        return -1;
    }
    int bad = o->user   ? bytes_appendf(&pub->channel, "user:%s", o->user)
              : o->room ? bytes_appendf(&pub->channel, "room:%s", o->room)
                        : bytes_append_str(&pub->channel, rest->items[0]);
    CHECK(bad == 0);
    pub->payload = words > first ? rest->items[first] : NULL;
    if (o->repeat > 1 && !pub->payload) {
        snprintf(err, ARGS_ERR_MAX, "--repeat needs a payload on the command line");
        return -1;
    }
    const uint8_t *colon = memchr(pub->channel.data, ':', pub->channel.len);
    if (!colon || colon == pub->channel.data || colon + 1 == pub->channel.data + pub->channel.len) {
        snprintf(err, ARGS_ERR_MAX,
            "channel \"%.*s\" has no namespace; expected e.g. room:lobby or user:alice",
            (int)(pub->channel.len < 60 ? pub->channel.len : 60), (const char *)pub->channel.data);
        return -1;
    }
    return 0;
}

/* Where the requests go. Returns 0, or -1 with a sentence. */
static int make_target(struct pub *pub, char *err)
{
    const struct pub_options *o = pub->options;
    char why[CLIENT_URL_ERR_MAX];
    struct span channel = span_of(pub->channel.data, pub->channel.len);
    bool user = channel.len > 5 && memcmp(channel.data, "user:", 5) == 0;
    int bad = 0;

    if (client_url_parse(
            o->redis ? o->redis : o->url, o->redis ? CLIENT_REDIS : CLIENT_HTTP, &pub->url, why)) {
        snprintf(err, ARGS_ERR_MAX, "%.240s", why);
        return -1;
    }
    pub->redis_room = channel.len > 5 && memcmp(channel.data, "room:", 5) == 0;
    if (user) {
        bad = bytes_appendf(&pub->redis_channel, "workflow:events:%.*s", (int)channel.len - 5,
            (const char *)channel.data + 5);
    } else {
        bad = bytes_appendf(&pub->redis_channel, "%s%.*s",
            pub->redis_room ? "" : "fanout:ch:", (int)channel.len, (const char *)channel.data);
    }
    bad = bad ? bad : client_url_join(&pub->target, pub->url.target, "/api/v1/channels/");
    bad = bad ? bad : url_encode(&pub->target, channel);
    bad = bad ? bad : bytes_append_byte(&pub->target, 0);
    for (size_t i = 0; i < o->headers.count; i++) {
        bad = bad ? bad : bytes_appendf(&pub->headers, "%s\r\n", o->headers.items[i]);
        if (!strchr(o->headers.items[i], ':') || strpbrk(o->headers.items[i], "\r\n")) {
            snprintf(err, ARGS_ERR_MAX, "--header is \"%.60s\"; expected \"Name: value\"",
                o->headers.items[i]);
            return -1;
        }
    }
    CHECK(bad == 0);
    if (!o->redis && (o->history || o->sharded)) {
        snprintf(err, ARGS_ERR_MAX, "--%s needs --redis; over HTTP the gateway knows by itself",
            o->history ? "history" : "sharded");
        return -1;
    }
    if (o->key && strpbrk(o->key, "\r\n")) {
        snprintf(err, ARGS_ERR_MAX, "--idempotency-key holds a line end");
        return -1;
    }
    return 0;
}

static int start(struct pub *pub)
{
    int err = signals_open(&pub->signal_fd);

    err = err ? err : loop_create(&pub->loop);
    if (err) {
        return err;
    }
    client_hub_init(&pub->hub, pub->loop, pub->options->insecure);
    loop_handle(pub->loop, KIND_STDIN, stdin_event, pub);
    loop_handle(pub->loop, KIND_SIGNAL, signal_event, pub);
    err = loop_watch(pub->loop, pub->signal_fd, KIND_SIGNAL, 0, LOOP_WATCH_IN);
    if (!err && !pub->payload) {
        lines_open(&pub->lines, pub->loop, KIND_STDIN);
    }
    pub->started_ns = clock_now_ns();
    pub->schedule = schedule_of(pub->started_ns, pub->options->rate);
    if (pub->options->redis) {
        err = err ? err : client_redis_init(&pub->redis, &pub->hub, &pub->url, &redis_events, pub);
        pub->redis.history = pub->options->history;
        pub->redis.sharded = pub->options->sharded;
        return err ? err : client_redis_open(&pub->redis);
    }
    return err ? err : client_http_init(&pub->http, &pub->hub, &pub->url, &http_events, pub);
}

static int run(struct pub *pub)
{
    int err = start(pub);

    if (err) {
        fprintf(stderr, "fanout pub: %s: %s\n", pub->url.address, strerror(-err));
        return 1;
    }
    publish_more(pub);
    while (!pub->stop && !(input_over(pub) && pub->answered == pub->taken)) {
        loop_poll(pub->loop, -1);
    }
    timer_stop(&pub->due);
    if (pub->options->redis) {
        client_redis_fini(&pub->redis);
    } else {
        client_http_fini(&pub->http);
    }
    client_hub_fini(&pub->hub);
    loop_destroy(pub->loop);
    summary(pub);
    return pub->failed || pub->answered != pub->taken ? 1 : 0;
}

int role_pub(int argc, char **argv)
{
    struct pub_options options = {.url = "http://127.0.0.1:8084", .repeat = 1};
    struct arg_list rest = {0};
    char err[ARGS_ERR_MAX];
    enum args_result parsed =
        args_parse(pub_args, COUNT_OF(pub_args), argc, argv, &options, &rest, err);

    if (parsed == ARGS_HELP) {
        fputs(help_head, stdout);
        args_help(stdout, pub_args, COUNT_OF(pub_args));
        fputs(help_tail, stdout);
        return 0;
    }
    struct pub *pub = mem_zalloc(sizeof *pub);
    pub->options = &options;
    int code = 2;
    if (parsed == ARGS_WRONG || read_words(pub, &rest, err) || make_target(pub, err)) {
        fprintf(stderr, "fanout pub: %s\n", err);
    } else {
        code = run(pub);
    }
    bytes_fini(&pub->channel);
    bytes_fini(&pub->target);
    bytes_fini(&pub->redis_channel);
    lines_fini(&pub->lines);
    bytes_fini(&pub->headers);
    bytes_fini(&pub->cursor);
    mem_free(pub);
    return code;
}
