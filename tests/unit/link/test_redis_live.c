/* The link against a real redis-server: what arrives, what is subscribed, how it fails and heals.
 */
#include "tests/support/unit.h"
#include "tests/unit/link/redis_fixture.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { UP_MS = 10000 };

static void publish(struct server *server, const char *channel, struct span payload)
{
    const char *argv[] = {"PUBLISH", channel, (const char *)payload.data};
    const size_t lens[] = {7, strlen(channel), payload.len};

    freeReplyObject(server_ask(server, 3, argv, lens));
}

static void arrives(struct fixture *fixture, const char *channel, struct span payload)
{
    uint64_t expected = fixture->message_count + 1;

    if (!fixture_wait_count(fixture, &fixture->message_count, expected, 5000)) {
        fail_msg("nothing on %s", channel);
    }
    assert_int_equal(fixture->message_count, expected);
    assert_true(
        span_equal(span_of(fixture->channel.data, fixture->channel.len), span_str(channel)));
    assert_true(span_equal(span_of(fixture->payload.data, fixture->payload.len), payload));
}

static void up(struct fixture *fixture)
{
    if (!fixture_wait_state(fixture, REDIS_UP, UP_MS)) {
        fail_msg("not up: %s", fixture->sentence);
    }
}

static void says(const struct fixture *fixture, const char *words)
{
    if (!strstr(fixture->sentence, words)) {
        fail_msg("\"%s\" does not say \"%s\"", fixture->sentence, words);
    }
}

static struct redis_stats stats_of(const struct fixture *fixture)
{
    struct redis_stats stats;

    redis_link_stats(fixture->link, &stats);
    return stats;
}

static void a_publish_arrives_byte_for_byte(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;
    uint8_t all[256 + 1024];
    const struct redis_mapping mapping = {"orders:*", "order:{1}", REDIS_MAP_RAW};

    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (uint8_t)i;
    }
    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.mappings = &mapping;
    options.mapping_count = 1;
    fixture_start(&fixture, &options);
    up(&fixture);
    assert_int_equal(server_do(&server, "PUBSUB NUMPAT"), 4);

    struct span text = span_str("{\"type\":\"test\",\"message\":\"hello from redis\"}");
    publish(&server, "workflow:events:test-user", text);
    arrives(&fixture, "user:test-user", text);
    publish(&server, "workflow:events:bob@example.com", span_of(all, sizeof(all)));
    arrives(&fixture, "user:bob@example.com", span_of(all, sizeof(all)));
    publish(&server, "fanout:ch:run:1", span_of("", 0));
    arrives(&fixture, "run:1", span_of("", 0));
    publish(&server, "orders:17", text);
    arrives(&fixture, "order:17", text);
    publish(&server, "room:42", span_str("{\"room\":\"42\",\"from\":\"a\",\"data\":\"h\\u0069\"}"));
    arrives(&fixture, "room:42", span_str("hi"));

    publish(&server, "room:42", span_str("no envelope"));
    publish(&server, "room:42", span_str("{\"data\":5}"));
    publish(&server, "workflow:events:", text);
    publish(&server, "workflow:events:fanout-canary:somebody-else", span_str("1"));
    publish(&server, "workflow:events:last", text);
    arrives(&fixture, "user:last", text);
    assert_int_equal(stats_of(&fixture).dropped_malformed, 2);
    assert_int_equal(stats_of(&fixture).dropped_channel, 1);
    assert_int_equal(stats_of(&fixture).messages, 6);

    fixture_stop(&fixture);
    server_stop(&server);
}

static void a_message_of_many_megabytes_arrives_and_one_beyond_the_buffer_passes_by(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;
    size_t len = 3 * 1024 * 1024;
    uint8_t *large = calloc(1, 2 * len);

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.buffer_bytes = 4 * 1024 * 1024;
    fixture_start(&fixture, &options);
    up(&fixture);
    publish(&server, "workflow:events:x", span_of(large, len));
    arrives(&fixture, "user:x", span_of(large, len));
    publish(&server, "workflow:events:x", span_of(large, 2 * len));
    publish(&server, "workflow:events:x", span_str("after"));
    arrives(&fixture, "user:x", span_str("after"));
    assert_int_equal(stats_of(&fixture).dropped_large, 1);
    assert_int_equal(fixture.state_changes, 1);

    free(large);
    fixture_stop(&fixture);
    server_stop(&server);
}

static void what_we_publish_is_answered_and_comes_back(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;
    struct span from = span_str("alice");

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.unix_path = server.unix_path;
    options.publish_bytes = 256 * 1024;
    fixture_start(&fixture, &options);
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("user:a"), from, span_str("x"), 1), -ENOTCONN);
    up(&fixture);

    assert_int_equal(
        redis_link_publish(fixture.link, span_str("user:a"), from, span_str("x"), 7), 0);
    arrives(&fixture, "user:a", span_str("x"));
    assert_true(fixture_wait_count(&fixture, &fixture.published_count, 1, 5000));
    assert_int_equal(fixture.published_id, 7);
    assert_int_equal(fixture.published_err, 0);
    assert_int_equal(fixture.published_receivers, 1);

    const struct span binary = span_of("\xff\x00", 2);
    assert_int_equal(redis_link_publish(fixture.link, span_str("room:1"), from, binary, 8), 0);
    arrives(&fixture, "room:1", binary);
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("room:1"), span_str("\xff"), binary, 9), -EINVAL);
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("nocolon"), from, binary, 9), -EINVAL);

    char *large = calloc(1, 512 * 1024);
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("user:a"), from, span_of(large, 512 * 1024), 9),
        -EMSGSIZE);
    int r = 0, accepted = 0;
    while ((r = redis_link_publish(
                fixture.link, span_str("user:b"), from, span_of(large, 50000), 10)) == 0) {
        accepted += 1;
    }
    assert_int_equal(r, -EBUSY);
    assert_int_equal(accepted, 5);
    free(large);
    assert_true(fixture_wait_count(&fixture, &fixture.published_count, 7, 5000));
    assert_int_equal(stats_of(&fixture).published, 7);
    assert_int_equal(stats_of(&fixture).publish_busy, 1);
    assert_int_equal(stats_of(&fixture).unanswered_bytes, 0);

    fixture_stop(&fixture);
    server_stop(&server);
}

static void exact_mode_subscribes_for_the_first_and_leaves_after_the_last(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.mode = REDIS_MODE_EXACT;
    options.linger_ms = 300;
    fixture_start(&fixture, &options);
    assert_int_equal(redis_link_want(fixture.link, span_str("user:early"), false), 0);
    up(&fixture);
    assert_int_equal(fixture.live_count, 1);
    assert_int_equal(server_do(&server, "PUBSUB NUMPAT"), 0);
    assert_int_equal(server_do(&server, "PUBSUB CHANNELS workflow:events:early"), 1);
    assert_int_equal(redis_link_want(fixture.link, span_str("user:early"), false), 1);

    assert_int_equal(redis_link_want(fixture.link, span_str("room:1"), false), 0);
    assert_true(fixture_wait_count(&fixture, &fixture.live_count, 2, 5000));
    publish(&server, "room:1", span_str("{\"data\":\"x\"}"));
    arrives(&fixture, "room:1", span_str("x"));

    /* Somebody comes back while it lingers: nothing is said to Redis. */
    redis_link_unwant(fixture.link, span_str("room:1"));
    fixture_run_ms(&fixture, 100);
    assert_int_equal(redis_link_want(fixture.link, span_str("room:1"), false), 1);
    fixture_run_ms(&fixture, 700);
    assert_int_equal(server_do(&server, "PUBSUB CHANNELS room:1"), 1);

    redis_link_unwant(fixture.link, span_str("room:1"));
    fixture_run_ms(&fixture, 1000);
    assert_int_equal(server_do(&server, "PUBSUB CHANNELS room:1"), 0);
    assert_int_equal(server_do(&server, "PUBSUB CHANNELS workflow:events:early"), 1);
    assert_int_equal(redis_link_want(fixture.link, span_str("room:1"), false), 0);
    assert_true(fixture_wait_count(&fixture, &fixture.live_count, 3, 5000));
    assert_int_equal(
        redis_link_want(fixture.link, span_str("user:fanout-canary:x"), false), -EINVAL);

    fixture_stop(&fixture);
    server_stop(&server);
}

static void two_thousand_channels_are_subscribed_in_windows_and_again_after_a_loss(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;
    char name[64];

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.mode = REDIS_MODE_EXACT;
    fixture_start(&fixture, &options);
    up(&fixture);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "user:%d", i);
        assert_int_equal(redis_link_want(fixture.link, span_str(name), false), 0);
    }
    assert_true(fixture_wait_count(&fixture, &fixture.live_count, 5000, 10000));
    assert_int_equal(server_do(&server, "PUBSUB CHANNELS"), 5001);

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "user:%d", i);
        redis_link_unwant(fixture.link, span_str(name));
    }
    assert_int_equal(server_do(&server, "CLIENT KILL TYPE pubsub"), 1);
    assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 1000));
    assert_int_equal(redis_link_want(fixture.link, span_str("user:4999"), false), 0);
    up(&fixture);
    assert_int_equal(fixture.live_count, 9000);
    assert_int_equal(server_do(&server, "PUBSUB CHANNELS"), 4001);
    assert_int_equal(stats_of(&fixture).subscriptions, 4001);
    assert_int_equal(stats_of(&fixture).reconnects, 1);
    publish(&server, "workflow:events:4999", span_str("x"));
    arrives(&fixture, "user:4999", span_str("x"));

    fixture_stop(&fixture);
    server_stop(&server);
}

static void sharded_mode_hears_spublish(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.mode = REDIS_MODE_SHARDED;
    options.linger_ms = 100;
    fixture_start(&fixture, &options);
    up(&fixture);
    assert_int_equal(redis_link_want(fixture.link, span_str("user:a"), false), 0);
    assert_int_equal(redis_link_want(fixture.link, span_str("user:b"), false), 0);
    assert_true(fixture_wait_count(&fixture, &fixture.live_count, 2, 5000));
    assert_int_equal(server_do(&server, "PUBSUB SHARDCHANNELS"), 3);
    assert_int_equal(server_do(&server, "SPUBLISH workflow:events:a hello"), 1);
    arrives(&fixture, "user:a", span_str("hello"));
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("user:b"), span_str(""), span_str("ours"), 0), 0);
    arrives(&fixture, "user:b", span_str("ours"));
    redis_link_unwant(fixture.link, span_str("user:a"));
    fixture_run_ms(&fixture, 700);
    assert_int_equal(server_do(&server, "PUBSUB SHARDCHANNELS"), 2);

    fixture_stop(&fixture);
    server_stop(&server);
}

static void a_killed_server_is_noticed_and_found_again(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    fixture_start(&fixture, &options);
    up(&fixture);
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("user:a"), span_str(""), span_str("x"), 5), 0);
    server_kill(&server, SIGKILL);
    uint64_t killed_ms = now_ms();
    assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 3000));
    assert_true(now_ms() - killed_ms < 3000);
    assert_int_equal(fixture.published_count, 1);
    assert_int_equal(fixture.published_err, -ECONNRESET);
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("user:a"), span_str(""), span_str("x"), 6),
        -ENOTCONN);
    fixture_run_ms(&fixture, 1500);
    says(&fixture, "Connection refused");

    server_run_again(&server, NULL);
    up(&fixture);
    assert_int_equal(server_do(&server, "PUBSUB NUMPAT"), 3);
    publish(&server, "workflow:events:a", span_str("again"));
    arrives(&fixture, "user:a", span_str("again"));
    assert_int_equal(stats_of(&fixture).reconnects, 1);
    assert_true(stats_of(&fixture).outage_ms >= 1500);

    fixture_stop(&fixture);
    server_stop(&server);
}

static void a_stopped_server_with_open_sockets_is_down_within_three_seconds(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.canary_interval_ms = 1000;
    options.connect_timeout_ms = 700;
    fixture_start(&fixture, &options);
    up(&fixture);
    fixture_run_ms(&fixture, 1200);
    assert_true(stats_of(&fixture).canaries >= 2);
    assert_true(stats_of(&fixture).canary_age_ms < 1300);

    server_kill(&server, SIGSTOP);
    uint64_t stopped_ms = now_ms();
    assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 3000));
    assert_true(now_ms() - stopped_ms < 3000);
    says(&fixture, "canary");
    fixture_run_ms(&fixture, 2000);
    assert_int_equal(fixture.state, REDIS_DOWN);
    says(&fixture, "greeting");

    server_kill(&server, SIGCONT);
    up(&fixture);
    publish(&server, "workflow:events:a", span_str("again"));
    arrives(&fixture, "user:a", span_str("again"));

    fixture_stop(&fixture);
    server_stop(&server);
}

static void a_process_that_was_stopped_itself_does_not_blame_redis(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    fixture_start(&fixture, &options);
    up(&fixture);
    for (int i = 0; i < 3; i++) {
        struct timespec pause = {.tv_sec = 4};
        nanosleep(&pause, NULL); /* No turn of the loop in four seconds. */
        fixture_run_ms(&fixture, 300);
    }
    assert_int_equal(fixture.state_changes, 1);

    fixture_stop(&fixture);
    server_stop(&server);
}

static void killed_clients_come_back(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;
    static const char *const kills[] = {"CLIENT KILL TYPE pubsub", "CLIENT KILL TYPE normal"};

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    fixture_start(&fixture, &options);
    for (size_t i = 0; i < COUNT_OF(kills); i++) {
        up(&fixture);
        assert_true(server_do(&server, kills[i]) >= 1);
        assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 1000));
        says(&fixture, "closed the connection");
    }
    up(&fixture);
    publish(&server, "workflow:events:a", span_str("again"));
    arrives(&fixture, "user:a", span_str("again"));

    fixture_stop(&fixture);
    server_stop(&server);
}

/* What is down with a sentence that holds these words, and never the password. */
static void stays_down(
    struct server *server, const struct redis_options *options, const char *words)
{
    struct fixture fixture;

    (void)server;
    fixture_start(&fixture, options);
    fixture_run_ms(&fixture, 600);
    assert_int_equal(fixture.state, REDIS_DOWN);
    says(&fixture, words);
    assert_null(strstr(fixture.sentence, "hunter2"));
    fixture_stop(&fixture);
}

static void passwords_users_and_databases(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;
    static const char *const secret[] = {"--requirepass", "s3cret", NULL};

    server_start(&server, secret, false);
    server_do(&server, "AUTH s3cret");
    struct redis_options options = server_options(&server);
    stays_down(&server, &options, "asks for a password");
    options.password = "hunter2";
    stays_down(&server, &options, "refuses the user name or password");
    options.password = "s3cret";
    options.db = 99;
    stays_down(&server, &options, "DB index");
    options.db = 3;
    fixture_start(&fixture, &options);
    up(&fixture);
    fixture_stop(&fixture);

    /* A user that may only do what we need, and may not ask for INFO. */
    server_do(&server, "ACL SETUSER fan on >pw &workflow:events:* &room:* &fanout:ch:* -@all "
                       "+psubscribe +publish +auth +client|setname");
    options.db = 0;
    options.username = "fan";
    options.password = "pw";
    fixture_start(&fixture, &options);
    up(&fixture);
    publish(&server, "room:1", span_str("{\"data\":\"x\"}"));
    arrives(&fixture, "room:1", span_str("x"));
    fixture_stop(&fixture);

    server_do(&server, "ACL SETUSER fan -publish");
    stays_down(&server, &options, "the canary cannot be published");
    server_do(&server, "ACL SETUSER fan resetchannels &workflow:events:* +publish");
    stays_down(&server, &options, "NOPERM");
    server_stop(&server);

    server_start(&server, NULL, false);
    options = server_options(&server);
    options.password = "hunter2";
    stays_down(&server, &options, "Redis has none");
    options.password = NULL;
    options.host = "no-such-host.invalid";
    stays_down(&server, &options, "no-such-host.invalid");
    server_stop(&server);
}

static void tls_is_verified_with_an_authority_of_our_own(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;
    char ca_file[96];

    server_start(&server, NULL, true);
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", server.dir);
    struct redis_options options = server_options(&server);
    options.port = server.tls_port;
    stays_down(&server, &options, "TLS");
    options.use_tls = true;
    stays_down(&server, &options, "certificate");
    options.tls.ca_file = ca_file;
    options.tls_server_name = "elsewhere.test";
    stays_down(&server, &options, "elsewhere.test");

    options.tls_server_name = "redis.test";
    fixture_start(&fixture, &options);
    up(&fixture);
    size_t len = 2 * 1024 * 1024;
    uint8_t *large = malloc(len);
    for (size_t i = 0; i < len; i++) {
        large[i] = (uint8_t)(i * 7 + i / 256);
    }
    publish(&server, "workflow:events:a", span_of(large, len));
    arrives(&fixture, "user:a", span_of(large, len));
    assert_int_equal(
        redis_link_publish(fixture.link, span_str("user:b"), span_str(""), span_of(large, len), 1),
        0);
    arrives(&fixture, "user:b", span_of(large, len));
    free(large);
    assert_int_equal(server_do(&server, "CLIENT KILL TYPE pubsub"), 1);
    assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 1000));
    up(&fixture);
    fixture_stop(&fixture);
    server_stop(&server);
}

/* 40 MB pass, more than the 32 MB at which Redis cuts a subscriber that does not read. */
static void a_busy_consumer_loses_the_oldest_and_is_told(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;
    enum { MESSAGES = 4000, BOUND = 1024 * 1024 };
    static char payload[10240];

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.buffer_bytes = BOUND;
    fixture_start(&fixture, &options);
    up(&fixture);
    fixture.busy = true;
    for (int i = 0; i < MESSAGES; i++) {
        memset(payload, 'x', sizeof(payload));
        snprintf(payload, sizeof(payload), "%06d", i);
        publish(&server, "workflow:events:a", span_of(payload, sizeof(payload)));
        if (i % 100 == 0) {
            fixture_run_ms(&fixture, 5);
            assert_true(stats_of(&fixture).queue_bytes <= BOUND);
        }
    }
    fixture_run_ms(&fixture, 3500); /* The canaries pass the queue meanwhile. */
    assert_int_equal(fixture.state_changes, 1);
    assert_int_equal(fixture.message_count, 0);
    struct redis_stats stats = stats_of(&fixture);
    assert_true(stats.dropped_full > MESSAGES / 2);
    assert_int_equal(stats.dropped_full, fixture.dropped_count);

    fixture.busy = false;
    uint64_t rest = MESSAGES - stats.dropped_full;
    assert_true(fixture_wait_count(&fixture, &fixture.message_count, rest, 5000));
    fixture_run_ms(&fixture, 100);
    assert_int_equal(fixture.message_count, rest);
    snprintf(payload, sizeof(payload), "%06d", MESSAGES - 1);
    assert_memory_equal(fixture.payload.data, payload, 6);

    fixture_stop(&fixture);
    server_stop(&server);
}

static void what_was_read_before_a_loss_is_still_delivered_and_never_after_the_next_up(void **state)
{
    (void)state;
    struct server server;
    struct fixture fixture;

    server_start(&server, NULL, false);
    struct redis_options options = server_options(&server);
    options.reconnect_min_ms = 300;
    fixture_start(&fixture, &options);
    up(&fixture);
    fixture.busy = true;
    publish(&server, "workflow:events:a", span_str("before"));
    fixture_run_ms(&fixture, 100);
    server_do(&server, "CLIENT KILL TYPE pubsub");
    assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 1000));
    fixture.busy = false;
    arrives(&fixture, "user:a", span_str("before"));
    assert_int_equal(fixture.state, REDIS_DOWN);
    up(&fixture);

    fixture.busy = true;
    publish(&server, "workflow:events:a", span_str("too old"));
    fixture_run_ms(&fixture, 100);
    server_do(&server, "CLIENT KILL TYPE pubsub");
    assert_true(fixture_wait_state(&fixture, REDIS_DOWN, 1000));
    up(&fixture);
    assert_int_equal(fixture.dropped_count, 1);
    assert_int_equal(stats_of(&fixture).dropped_lost, 1);
    fixture.busy = false;
    fixture_run_ms(&fixture, 100);
    assert_int_equal(fixture.message_count, 1);

    fixture_stop(&fixture);
    server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publish_arrives_byte_for_byte),
        cmocka_unit_test(a_message_of_many_megabytes_arrives_and_one_beyond_the_buffer_passes_by),
        cmocka_unit_test(what_we_publish_is_answered_and_comes_back),
        cmocka_unit_test(exact_mode_subscribes_for_the_first_and_leaves_after_the_last),
        cmocka_unit_test(two_thousand_channels_are_subscribed_in_windows_and_again_after_a_loss),
        cmocka_unit_test(sharded_mode_hears_spublish),
        cmocka_unit_test(a_killed_server_is_noticed_and_found_again),
        cmocka_unit_test(a_stopped_server_with_open_sockets_is_down_within_three_seconds),
        cmocka_unit_test(a_process_that_was_stopped_itself_does_not_blame_redis),
        cmocka_unit_test(killed_clients_come_back),
        cmocka_unit_test(passwords_users_and_databases),
        cmocka_unit_test(tls_is_verified_with_an_authority_of_our_own),
        cmocka_unit_test(a_busy_consumer_loses_the_oldest_and_is_told),
        cmocka_unit_test(
            what_was_read_before_a_loss_is_still_delivered_and_never_after_the_next_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
