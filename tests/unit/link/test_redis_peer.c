/* The link against a peer that misbehaves in ways a real Redis cannot be brought to. */
#include "tests/support/unit.h"
#include "tests/unit/link/redis_fixture.h"

#include <errno.h>
#include <stdio.h>

#include "link/redis_resp.h"
#include "rt/loop.h"
#include "rt/sock.h"

enum { LISTEN_KIND = 5, CLIENT_KIND = 6, CLIENTS_MAX = 64 };

/* Answers like Redis as far as it is told to; lives on the link's own loop. */
struct peer {
    struct loop *loop;
    int listen_fd;
    uint16_t port;
    const char *version;
    const char *greeting; /* Sent to whoever connects; then it is deaf. NULL: none. */
    bool deaf;            /* Delivers nothing. */
    bool unsubscribes;    /* Ends a subscription by itself after confirming it. */
    const char *ends;     /* The same for this one alone; NULL: none. */
    const char *junk;     /* Sent instead of the first delivery. */
    int clients[CLIENTS_MAX];
    size_t client_count;
    int subscriber_fd;
    uint64_t accepted;
};

static void send_text(int fd, const char *text)
{
    /* The link may have hung up already; it will say so by itself. */
    (void)!sock_send(fd, text, strlen(text));
}

static void send_format(int fd, const char *format, struct span a, struct span b)
{
    char text[512];

    snprintf(text, sizeof(text), format, a.len, (int)a.len, a.data, b.len, (int)b.len, b.data);
    send_text(fd, text);
}

static void subscribe(struct peer *peer, int fd, const struct span *args, int count)
{
    struct span word = span_equal(args[0], span_str("PSUBSCRIBE")) ? span_str("psubscribe")
                                                                   : span_str("subscribe");

    peer->subscriber_fd = fd;
    for (int i = 1; i < count; i++) {
        send_format(fd, "*3\r\n$%zu\r\n%.*s\r\n$%zu\r\n%.*s\r\n:1\r\n", word, args[i]);
        if (peer->unsubscribes || (peer->ends && span_equal(args[i], span_str(peer->ends)))) {
            send_format(fd, "*3\r\n$%zu\r\n%.*s\r\n$%zu\r\n%.*s\r\n:0\r\n", span_str("unsubscribe"),
                args[i]);
        }
    }
}

static void publish(struct peer *peer, int fd, const struct span *args)
{
    send_text(fd, ":1\r\n");
    if (peer->junk) {
        send_text(peer->subscriber_fd, peer->junk);
    } else if (!peer->deaf) {
        send_format(peer->subscriber_fd, "*3\r\n$7\r\nmessage\r\n$%zu\r\n%.*s\r\n$%zu\r\n%.*s\r\n",
            args[1], args[2]);
    }
}

static void obey(struct peer *peer, int fd, struct span command)
{
    struct span args[16];
    int count = resp_flat(command, args, COUNT_OF(args));

    assert_true(count > 0);
    if (span_equal(args[0], span_str("INFO"))) {
        char info[64], reply[128];
        snprintf(info, sizeof(info), "redis_version:%s\r\n", peer->version);
        snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(info), info);
        send_text(fd, reply);
    } else if (span_equal(args[0], span_str("CLIENT"))) {
        send_text(fd, "+OK\r\n");
    } else if (!memmem(args[0].data, args[0].len, "SUBSCRIBE", 9) &&
               !span_equal(args[0], span_str("PUBLISH"))) { /* Whatever a script may need. */
        send_text(fd, "+OK\r\n");
    } else if (span_equal(args[0], span_str("PUBLISH"))) {
        publish(peer, fd, args);
    } else {
        subscribe(peer, fd, args, count);
    }
}

static void client_event(void *ctx, uint64_t id, uint32_t events)
{
    struct peer *peer = ctx;
    uint8_t buf[65536];
    size_t at = 0;

    (void)events;
    long n = sock_recv((int)id, buf, sizeof(buf));
    if (n <= 0) {
        loop_unwatch(peer->loop, (int)id); /* Closed with the others at the end. */
        return;
    }
    while (!peer->greeting && at < (size_t)n) {
        struct resp_scan scan = {0};
        size_t used;
        assert_int_equal(resp_scan(&scan, span_of(buf + at, (size_t)n - at), &used), 1);
        obey(peer, (int)id, span_of(buf + at, used));
        at += used;
    }
}

static void listen_event(void *ctx, uint64_t id, uint32_t events)
{
    struct peer *peer = ctx;

    (void)id;
    (void)events;
    int fd = sock_accept(peer->listen_fd);
    assert_true(fd >= 0 && peer->client_count < CLIENTS_MAX);
    peer->clients[peer->client_count++] = fd;
    peer->accepted += 1;
    assert_int_equal(loop_watch(peer->loop, fd, CLIENT_KIND, (uint64_t)fd, LOOP_WATCH_IN), 0);
    if (peer->greeting) {
        send_text(fd, peer->greeting);
    }
}

static void peer_open(struct peer *peer)
{
    const struct sock_listen_options options = {.backlog = 16};

    assert_int_equal(sock_listen("127.0.0.1:0", &options, &peer->listen_fd, NULL), 0);
    peer->port = sock_local_port(peer->listen_fd);
}

/* A link to the peer, in exact mode: messages then are of one shape. */
static void start(struct fixture *fixture, struct peer *peer, enum redis_mode mode)
{
    struct redis_options options = redis_options_default();

    peer_open(peer);
    options.host = "127.0.0.1";
    options.port = peer->port;
    options.mode = mode;
    options.history = true;
    options.canary_interval_ms = 200;
    options.connect_timeout_ms = 500;
    fixture_start(fixture, &options);
    peer->loop = fixture->loop;
    loop_handle(fixture->loop, LISTEN_KIND, listen_event, peer);
    loop_handle(fixture->loop, CLIENT_KIND, client_event, peer);
    assert_int_equal(loop_watch(fixture->loop, peer->listen_fd, LISTEN_KIND, 0, LOOP_WATCH_IN), 0);
}

static void stop(struct fixture *fixture, struct peer *peer)
{
    for (size_t i = 0; i < peer->client_count; i++) {
        sock_close(peer->clients[i]);
    }
    sock_close(peer->listen_fd);
    fixture_stop(fixture);
}

static void says(const struct fixture *fixture, const char *words)
{
    if (!strstr(fixture->sentence, words)) {
        fail_msg("\"%s\" does not say \"%s\"", fixture->sentence, words);
    }
}

static void the_peer_itself_is_good_enough(void **state)
{
    (void)state;
    struct fixture fixture;
    struct peer peer = {.version = "6.2.0"};

    start(&fixture, &peer, REDIS_MODE_EXACT);
    assert_true(fixture_wait_state(&fixture, REDIS_UP, 2000));
    assert_int_equal(redis_link_want(fixture.link, span_str("user:a"), false), 0);
    assert_true(fixture_wait_count(&fixture, &fixture.live_count, 1, 2000));
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("user:a"), span_str(""), span_str("hi"), 1), 0);
    assert_true(fixture_wait_count(&fixture, &fixture.message_count, 1, 2000));
    stop(&fixture, &peer);
}

static void a_server_too_old_is_refused_and_left_alone(void **state)
{
    (void)state;
    const struct {
        const char *version;
        enum redis_mode mode;
        const char *words;
    } cases[] = {
        {"6.0.16", REDIS_MODE_PATTERN, "is Redis 6.0.16; fanout needs 6.2 or newer"},
        {"6.2.14", REDIS_MODE_SHARDED, "redis.mode=sharded needs 7.0 or newer"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture fixture;
        struct peer peer = {.version = cases[i].version};
        start(&fixture, &peer, cases[i].mode);
        assert_true(fixture_wait_state(&fixture, REDIS_REFUSED, 2000));
        says(&fixture, cases[i].words);
        fixture_run_ms(&fixture, 500);
        assert_int_equal(peer.accepted, 2);
        assert_int_equal(
            redis_link_publish(fixture.link, span_str("user:a"), span_str(""), span_str("x"), 1),
            -ENOTCONN);
        stop(&fixture, &peer);
    }
}

/* Open sockets and confirmed subscriptions prove nothing. */
static void a_server_that_confirms_and_never_delivers_is_never_up(void **state)
{
    (void)state;
    struct fixture fixture;
    struct peer peer = {.version = "7.0.0", .deaf = true};

    start(&fixture, &peer, REDIS_MODE_EXACT);
    fixture_run_ms(&fixture, 3000);
    assert_int_equal(fixture.state, REDIS_DOWN);
    says(&fixture, "no canary came back");
    assert_true(peer.accepted >= 4);
    stop(&fixture, &peer);
}

static void a_lost_subscription_does_not_stay_green(void **state)
{
    (void)state;
    struct fixture fixture;
    struct peer peer = {.version = "7.0.0"};

    start(&fixture, &peer, REDIS_MODE_EXACT);
    assert_true(fixture_wait_state(&fixture, REDIS_UP, 2000));
    peer.deaf = true; /* Publications are still answered. */
    uint64_t lost_ms = now_ms();
    assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 3000));
    assert_true(now_ms() - lost_ms < 3000);
    peer.deaf = false;
    assert_true(fixture_wait_state(&fixture, REDIS_UP, 2000));
    stop(&fixture, &peer);
}

static void a_subscription_ended_by_the_server_is_noticed(void **state)
{
    (void)state;
    struct fixture fixture;
    struct peer peer = {.version = "7.0.0", .unsubscribes = true};

    start(&fixture, &peer, REDIS_MODE_EXACT);
    fixture_run_ms(&fixture, 300);
    assert_int_equal(fixture.state, REDIS_DOWN);
    says(&fixture, "ended a subscription");
    stop(&fixture, &peer);
}

/* It has two names, and goes on only while both are there. */
static void a_channel_with_half_its_subscription_is_none(void **state)
{
    (void)state;
    struct fixture fixture;
    struct peer peer = {.version = "7.0.0", .ends = "fanout:pub:{user:a%7D}"};

    start(&fixture, &peer, REDIS_MODE_EXACT);
    assert_true(fixture_wait_state(&fixture, REDIS_UP, 2000));
    assert_int_equal(redis_link_want(fixture.link, span_str("user:b}"), true), 0);
    assert_true(fixture_wait_count(&fixture, &fixture.live_count, 1, 2000));
    assert_int_equal(fixture.state, REDIS_UP);
    assert_int_equal(redis_link_want(fixture.link, span_str("user:a}"), true), 0);
    assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 2000));
    says(&fixture, "ended a subscription");
    peer.ends = NULL;
    assert_true(fixture_wait_count(&fixture, &fixture.live_count, 3, 5000));
    assert_true(fixture_wait_state(&fixture, REDIS_UP, 2000));
    stop(&fixture, &peer);
}

static void whoever_is_not_redis_is_told_apart(void **state)
{
    (void)state;
    const struct {
        const char *greeting, *words;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the Redis protocol"},
        {"*1048577\r\n", "beyond every limit"},
        {":1\r\n", "a way Redis never does"},
        {"-DENIED Redis is running in protected mode because\r\n", "protected mode"},
        {"", "no answer to the greeting"},
        {"+OK\r\n$5\r\nhello\r\n", "does not confirm"},
        {"+OK\r\n$5\r\nhello\r\n+OK\r\n", "Redis says something"},
        {"+OK\r\n$5\r\nhello\r\n*1\r\n*1\r\n:1\r\n", "Redis says something"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture fixture;
        struct peer peer = {.greeting = cases[i].greeting};
        start(&fixture, &peer, REDIS_MODE_PATTERN);
        bool slow = strcmp(cases[i].words, "does not confirm") == 0;
        fixture_run_ms(&fixture, slow ? 3200 : 700);
        assert_int_equal(fixture.state, REDIS_DOWN);
        says(&fixture, cases[i].words);
        stop(&fixture, &peer);
    }
}

static void junk_on_a_working_connection_ends_it(void **state)
{
    (void)state;
    static const char *const junk[] = {"\r\n", "*3\r\n$7\r\nmessage\r\n:1\r\n", "-ERR what\r\n",
        "*2\r\n$7\r\nmessage\r\n$1\r\nx\r\n", "$-5\r\n"};

    for (size_t i = 0; i < COUNT_OF(junk); i++) {
        struct fixture fixture;
        struct peer peer = {.version = "7.0.0"};
        start(&fixture, &peer, REDIS_MODE_EXACT);
        assert_true(fixture_wait_state(&fixture, REDIS_UP, 2000));
        peer.junk = junk[i];
        assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 4000));
        peer.junk = NULL;
        assert_true(fixture_wait_state(&fixture, REDIS_UP, 4000));
        stop(&fixture, &peer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_peer_itself_is_good_enough),
        cmocka_unit_test(a_server_too_old_is_refused_and_left_alone),
        cmocka_unit_test(a_server_that_confirms_and_never_delivers_is_never_up),
        cmocka_unit_test(a_lost_subscription_does_not_stay_green),
        cmocka_unit_test(a_subscription_ended_by_the_server_is_noticed),
        cmocka_unit_test(a_channel_with_half_its_subscription_is_none),
        cmocka_unit_test(whoever_is_not_redis_is_told_apart),
        cmocka_unit_test(junk_on_a_working_connection_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
