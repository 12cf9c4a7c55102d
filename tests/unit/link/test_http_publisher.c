/* The publisher against a real gateway (the program itself, its path is the first argument), and
 * against one that refuses.
 */
#include "tests/support/unit.h"
#include "tests/unit/link/http_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "link/http_publisher.h"
#include "rt/clock.h"

static const char *fanout_path;

struct published {
    struct flow_publication publication;
    struct span bodies[8];
    uint32_t done_count;
};

static void on_published(struct flow_publication *publication)
{
    struct published *published = publication->owner;

    published->done_count += 1;
}

static void start(struct published *published, struct http_publisher *publisher, const char *run,
    const char *user, uint64_t seq, const char *const *bodies, uint32_t count)
{
    struct flow_publisher port = http_publisher_port(publisher);

    memset(published, 0, sizeof(*published));
    for (uint32_t i = 0; i < count; i++) {
        published->bodies[i] = span_str(bodies[i]);
    }
    published->publication = (struct flow_publication){.done = on_published,
        .owner = published,
        .run_id = span_str(run),
        .user = span_str(user),
        .seq = seq,
        .bodies = published->bodies,
        .count = count};
    port.publish(port.ctx, &published->publication);
}

static void finish(struct rig *rig, struct published *published)
{
    uint64_t end_ns = clock_now_ns() + 20ull * 1000000000;

    while (!published->done_count) {
        assert_true(clock_now_ns() < end_ns);
        loop_poll(rig->loop, 100);
    }
    assert_int_equal(published->done_count, 1);
}

static void publisher_start(
    struct http_publisher **publisher, struct rig *rig, uint16_t port, const char *tail)
{
    char gateway[64];
    const struct http_publisher_options options = {gateway, "Bearer token", 5000};

    snprintf(gateway, sizeof(gateway), "http://127.0.0.1:%u%s", port, tail);
    assert_int_equal(http_publisher_create(&options, &rig->port, publisher), 0);
}

static struct http_publisher_stats stats_of(struct http_publisher *publisher)
{
    struct http_publisher_stats stats;

    http_publisher_stats(publisher, &stats);
    return stats;
}

/* ---- a real gateway ---- */

struct probe {
    uint32_t count;
    bool up;
    char why[HTTP_PUBLISHER_WHY_MAX];
};

static void on_probe(void *ctx, bool up, const char *why)
{
    struct probe *probe = ctx;

    probe->count += 1;
    probe->up = up;
    snprintf(probe->why, sizeof(probe->why), "%s", why);
}

static void probe(struct rig *rig, struct http_publisher *publisher, struct probe *probe)
{
    *probe = (struct probe){0};
    assert_int_equal(http_publisher_probe(publisher, on_probe, probe), 0);
    while (!probe->count) {
        loop_poll(rig->loop, 100);
    }
}

/* Starts `fanout serve`; gives its port. */
static pid_t gateway_start(uint16_t *ret_port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    pid_t parent = getpid();
    char listen[32];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    *ret_port = ntohs(addr.sin_port);
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", *ret_port);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* No server outlives its test. */
        if (getppid() == parent && freopen("/dev/null", "w", stderr)) {
            execl(fanout_path, "fanout", "serve", "--listen", listen, NULL);
        }
        _exit(127);
    }
    return pid;
}

static void a_gateway_has_every_event_once_and_in_order(void **state)
{
    static const char *const first[] = {"{\"n\":1}", "{\"n\":2}", "{\"n\":3}"};
    static const char *const again[] = {"{\"n\":2}", "{\"n\":3}", "{\"n\":4}"};
    static const char *const poison[] = {"{\"n\":5}", "1,\"channel\":\"user:bob\"", "{\"n\":7}"};
    struct rig rig;
    struct http_publisher *publisher;
    struct published published, other;
    struct probe health;
    struct asked asked;
    uint16_t port;
    pid_t pid = gateway_start(&port);

    (void)state;
    rig_start(&rig, NULL);
    publisher_start(&publisher, &rig, port, "//");
    for (int i = 0; i < 400; i++) {
        probe(&rig, publisher, &health);
        if (health.up) {
            break;
        }
        assert_non_null(strstr(health.why, "/health: "));
        usleep(25000);
    }
    assert_true(health.up);

    start(&published, publisher, "run-1", "alice", 1, first, 3);
    start(&other, publisher, "run-2", "bob \"b\" \xc3\xa9", 1, first, 1);
    finish(&rig, &published);
    finish(&rig, &other);
    assert_int_equal(published.publication.err, 0);
    assert_int_equal(published.publication.ret_count, 3);
    assert_int_equal(other.publication.ret_count, 1);
    /* As after an answer that was lost. */
    start(&published, publisher, "run-1", "alice", 2, again, 3);
    finish(&rig, &published);
    assert_int_equal(published.publication.ret_count, 3);
    start(&published, publisher, "run-1", "alice", 5, poison, 3);
    finish(&rig, &published);
    assert_int_equal(published.publication.err, 0);
    assert_int_equal(published.publication.ret_count, 3);
    assert_int_equal(stats_of(publisher).published, 3 + 1 + 3 + 2);
    assert_int_equal(stats_of(publisher).skipped, 1);
    /* No channel may have that name, and no gateway will ever think otherwise. */
    char *name = calloc(1, 400);
    memset(name, 'x', 399);
    start(&published, publisher, "run-3", name, 1, first, 2);
    finish(&rig, &published);
    assert_int_equal(published.publication.err, 0);
    assert_int_equal(stats_of(publisher).skipped, 3);
    start(&published, publisher, "run-3", "\xff", 1, first, 1);
    assert_int_equal(published.done_count, 1);
    assert_int_equal(stats_of(publisher).skipped, 4);
    free(name);

    ask(&rig, &asked, "http://127.0.0.1:%u/api/v1/channels/user:alice/history?since=begin", port);
    assert_int_equal(asked.status, 200);
    assert_int_equal(bytes_append_byte(&asked.body, 0), 0);
    const char *at = (const char *)asked.body.data;
    static const char *const expected[] = {"1", "2", "3", "4", "5", "7"};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        at = strstr(at, "{\"n\":");
        assert_non_null(at);
        at += 5;
        assert_int_equal(*at, expected[i][0]);
    }
    assert_null(strstr(at, "{\"n\":"));
    ask_fini(&asked);

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    start(&published, publisher, "run-1", "alice", 8, first, 2);
    finish(&rig, &published);
    assert_int_equal(published.publication.err, -ECONNREFUSED);
    assert_int_equal(published.publication.ret_count, 0);
    assert_non_null(strstr(stats_of(publisher).why, "/api/v1/publish: connection refused"));
    probe(&rig, publisher, &health);
    assert_false(health.up);
    http_publisher_destroy(publisher);
    rig_stop(&rig);
}

/* ---- one that refuses ---- */

struct refusal {
    _Atomic uint32_t turn;
    const char *const *answers; /* One a request; the last for all that follow. */
    uint32_t count;
    bool durable[8]; /* The first requests: asked with ?ack=durable … */
    bool run[8];     /* … and to the run's channel as well. */
};

static bool refuse(struct peer_request *request, void *ctx)
{
    struct refusal *refusal = ctx;
    uint32_t turn = refusal->turn++;
    const char *text = refusal->answers[turn < refusal->count ? turn : refusal->count - 1];
    char head[100];

    if (turn < COUNT_OF(refusal->durable)) {
        static const char both[] = "{\"channels\":[\"run:r\",\"user:a\"],";
        static const char user[] = "{\"channels\":[\"user:a\"],";
        refusal->durable[turn] = strstr(request->target, "/api/v1/publish?ack=durable") != NULL;
        refusal->run[turn] =
            memmem(request->body.data, request->body.len, both, sizeof(both) - 1) != NULL;
        CHECK(refusal->run[turn] ||
              memmem(request->body.data, request->body.len, user, sizeof(user) - 1));
    }
    if (!strcasestr(request->head, "\r\nauthorization: bearer token\r\n") ||
        !strcasestr(request->head, "\r\ncontent-type: application/json\r\n")) {
        text = "499 no headers";
    }
    if (!text[0]) {
        peer_hold(request);
        return false;
    }
    snprintf(head, sizeof(head), "HTTP/1.1 %.3s Word\r\nContent-Length: %zu\r\n\r\n", text,
        strlen(text + 4));
    peer_say(request->fd, head);
    peer_say(request->fd, text + 4);
    return true;
}

#define TAKEN_ANSWER "200 {\"results\":[{\"channel\":\"user:a\",\"cursor\":null}]}"

static void what_may_be_cured_is_left_and_what_never_will_is_passed_over(void **state)
{
    static const struct {
        const char *answer;
        int err;           /* 0: passed over. */
        const char *words; /* In the sentence. */
    } cases[] = {
        {"400 {\"error\":{\"code\":\"bad_channel\",\"message\":\"m\"}}", 0, ""},
        {"400 {\"error\":{\"code\":\"bad_body\",\"message\":\"m\"}}", 0, ""},
        {"413 {\"error\":{\"code\":\"too_large\",\"message\":\"m\"}}", 0, ""},
        {"413 <html>", 0, ""},
        {"200 "
         "{\"results\":[{\"channel\":\"user:a\",\"cursor\":null,\"error\":{\"code\":\"too_large\"}}"
         "]}",
            0, ""},
        {"200 "
         "{\"results\":[{\"channel\":\"user:a\",\"cursor\":null,\"error\":{\"code\":\"busy\"}}]}",
            -EPROTO, "status 200, busy"},
        {"400 <html>no</html>", -EPROTO, "status 400"},
        {"400 {\"error\":{\"code\":\"bad_query\",\"message\":\"m\"}}", -EPROTO, "bad_query: m"},
        {"401 ", -EACCES, "status 401"},
        {"403 ", -EACCES, "status 403"},
        {"404 ", -ENOENT, "status 404"},
        {"429 ", -EBUSY, "status 429"},
        {"503 {\"error\":{\"code\":\"draining\",\"message\":\"m\"}}", -EBUSY,
            "status 503, draining: m"},
        {"500 {\"error\":[", -EPROTO, "status 500"},
        {"302 ", -EPROTO, "status 302"},
        {"200 OK", -EPROTO, "is it a fanout gateway?"},
        {"200 {\"results\":[]}", -EPROTO, "is it a fanout gateway?"},
        {"200 {\"results\":7}", -EPROTO, "is it a fanout gateway?"},
        {"204 ", -EPROTO, "status 204"},
    };
    static const char *const bodies[] = {"1", "2", "3"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *const answers[] = {TAKEN_ANSWER, cases[i].answer, TAKEN_ANSWER};
        struct refusal refusal = {.answers = answers, .count = 3};
        struct rig rig;
        struct http_peer peer;
        struct http_publisher *publisher;
        struct published published;

        peer_start(&peer, false, refuse, &refusal);
        rig_start(&rig, NULL);
        publisher_start(&publisher, &rig, peer.port, "/behind/");
        start(&published, publisher, "r", "a", 1, bodies, 3);
        finish(&rig, &published);
        struct http_publisher_stats stats = stats_of(publisher);
        if (published.publication.err != cases[i].err || !strstr(stats.why, cases[i].words)) {
            fail_msg("%s: %d, %s", cases[i].answer, published.publication.err, stats.why);
        }
        assert_int_equal(published.publication.ret_count, cases[i].err ? 1 : 3);
        assert_int_equal(stats.published, cases[i].err ? 1 : 2);
        assert_int_equal(stats.skipped, cases[i].err ? 0 : 1);
        assert_int_equal(refusal.turn, cases[i].err ? 2 : 3);
        http_publisher_destroy(publisher);
        rig_stop(&rig);
        peer_stop(&peer);
    }
}

#define NOT_STORED(channel)                                                                        \
    "{\"channel\":\"" channel                                                                      \
    "\",\"cursor\":null,\"error\":{\"code\":\"not_durable\",\"message\":\"m\"}}"

/* Stored in both channels, unless the gateway cannot; which is asked again after a failure, since another gateway
 * may have come up there. */
static void a_gateway_stores_what_it_takes_if_it_can(void **state)
{
    static const struct {
        const char *refusal;
        bool run_after;
    } cases[] = {
        {"400 {\"error\":{\"code\":\"not_durable\",\"message\":\"m\"}}", false},
        {"200 {\"results\":[" NOT_STORED("run:r") ",{\"channel\":\"user:a\",\"cursor\":\"e:1\"}]}",
            true},
        {"200 {\"results\":[{\"channel\":\"run:r\",\"cursor\":\"e:1\"}," NOT_STORED("user:a") "]}",
            true},
    };
    static const bool durable[] = {true, true, false, false, false, true};
    static const char *const bodies[] = {"1", "2", "3", "4"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *const answers[] = {
            TAKEN_ANSWER, cases[i].refusal, TAKEN_ANSWER, TAKEN_ANSWER, "503 ", TAKEN_ANSWER};
        struct refusal refusal = {.answers = answers, .count = 6};
        struct rig rig;
        struct http_peer peer;
        struct http_publisher *publisher;
        struct published published;

        peer_start(&peer, false, refuse, &refusal);
        rig_start(&rig, NULL);
        publisher_start(&publisher, &rig, peer.port, "");
        start(&published, publisher, "r", "a", 1, bodies, 4);
        finish(&rig, &published);
        assert_int_equal(published.publication.err, -EBUSY);
        assert_int_equal(published.publication.ret_count, 3);
        start(&published, publisher, "r", "a", 4, &bodies[3], 1);
        finish(&rig, &published);
        assert_int_equal(published.publication.err, 0);
        assert_int_equal(published.publication.ret_count, 1);
        assert_int_equal(refusal.turn, 6);
        for (int turn = 0; turn < 6; turn++) {
            assert_int_equal(refusal.durable[turn], durable[turn]);
            assert_int_equal(refusal.run[turn], durable[turn] || cases[i].run_after);
        }
        http_publisher_destroy(publisher);
        rig_stop(&rig);
        peer_stop(&peer);
    }
}

static void destroyed_it_answers_what_is_under_way(void **state)
{
    static const char *const answers[] = {TAKEN_ANSWER, ""};
    static const char *const bodies[] = {"1", "2", "3"};
    struct refusal refusal = {.answers = answers, .count = 2};
    struct rig rig;
    struct http_peer peer;
    struct http_publisher *publisher;
    struct published published[2];
    struct probe health = {0};

    (void)state;
    peer_start(&peer, false, refuse, &refusal);
    rig_start(&rig, NULL);
    publisher_start(&publisher, &rig, peer.port, "");
    start(&published[0], publisher, "r", "a", 1, bodies, 3);
    rig_until_count(&rig, &refusal.turn, 2);
    start(&published[1], publisher, "s", "a", 1, bodies, 1);
    assert_int_equal(http_publisher_probe(publisher, on_probe, &health), 0);
    assert_int_equal(http_publisher_probe(publisher, on_probe, &health), -EBUSY);
    assert_int_equal(stats_of(publisher).active, 2);
    http_publisher_destroy(publisher);
    assert_int_equal(published[0].publication.err, -ECANCELED);
    assert_int_equal(published[0].publication.ret_count, 1);
    assert_int_equal(published[1].publication.err, -ECANCELED);
    assert_int_equal(published[0].done_count + published[1].done_count, 2);
    assert_int_equal(health.count, 0);
    rig_stop(&rig);
    peer_stop(&peer);
}

static void an_address_is_judged_with_a_sentence(void **state)
{
    static const char *const good[] = {
        "http://h", "https://h:1/", "http://[::1]:8084/a/b//", "HTTP://h"};
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"", "it begins with neither http:// nor https://"},
        {"h:8084", "it begins with neither http:// nor https://"},
        {"unix:/x", "it begins with neither http:// nor https://"},
        {"http://", "it cannot be read as a URL"},
        {"http://h:99999", "it cannot be read as a URL"},
        {"http://h/?", "it has a query"},
        {"http://h/?a=b", "it has a query"},
        {"http://h/#a", "it has a fragment"},
        {"http://ann:secret@h", "it has a user name in it"},
    };
    char why[HTTP_PUBLISHER_WHY_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(http_publisher_check(good[i], why), 0);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(http_publisher_check(bad[i].text, why), -EINVAL);
        if (!strstr(why, bad[i].words) || !strstr(why, "; http://host:port is expected")) {
            fail_msg("%s: %s", bad[i].text, why);
        }
        assert_null(strstr(why, "secret"));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gateway_has_every_event_once_and_in_order),
        cmocka_unit_test(what_may_be_cured_is_left_and_what_never_will_is_passed_over),
        cmocka_unit_test(a_gateway_stores_what_it_takes_if_it_can),
        cmocka_unit_test(destroyed_it_answers_what_is_under_way),
        cmocka_unit_test(an_address_is_judged_with_a_sentence),
    };
    if (argc < 2) {
        fprintf(stderr, "usage: test_http_publisher FANOUT\n");
        return 2;
    }
    fanout_path = argv[1];
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
