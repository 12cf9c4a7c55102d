/* Sessions: requests in, replies out, one at a time, whatever comes in pieces or late. */
#include "http/session.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "rt/loop.h"
#include "rt/sim/sim.h"
#include "tests/support/unit.h"

enum { HEAD_MS = 1000, BODY_MS = 3000, PEER = 77 };

static struct {
    struct sim *sim;
    struct loop *loop;
    struct http_server *server;
    struct http_session *session;
    struct bytes out;
    struct bytes seen; /* What handlers were called with. */
    bool broken;       /* Writing fails. */
    uint32_t finished, resumed;
} t;

/* ---- ports and handlers ---- */

static bool port_write(void *ctx, uint64_t peer, const void *data, size_t len)
{
    (void)ctx;
    assert_int_equal(peer, PEER);
    assert_int_equal(bytes_append(&t.out, data, len), 0);
    return !t.broken;
}

static void port_finish(void *ctx, uint64_t peer)
{
    (void)ctx;
    (void)peer;
    t.finished += 1;
}

static void port_resume(void *ctx, uint64_t peer)
{
    (void)ctx;
    (void)peer;
    t.resumed += 1;
}

/* Whatever is written is taken at once. */
static bool port_waits(void *ctx, uint64_t peer)
{
    (void)ctx;
    (void)peer;
    return false;
}

static void note(struct http_exchange *x, const char *what)
{
    struct span body = x->request->body;
    assert_int_equal(bytes_appendf(&t.seen, "%s(%.*s)", what, (int)body.len, body.data), 0);
}

static void at_once(struct http_exchange *x)
{
    note(x, "once");
    http_reply(x, 200, "text/plain", "ok", 2);
}

static void later(struct http_exchange *x)
{
    note(x, "later");
}

static void await(struct http_exchange *x)
{
    http_await(x);
    note(x, "await"); /* The request is there as long as the handler runs. */
}

static void take(struct http_exchange *x)
{
    note(x, "take");
    http_take_over(x);
}

static const struct route routes[] = {
    {"/once", ROUTE_GET | ROUTE_POST, at_once},
    {"/later", ROUTE_GET | ROUTE_POST, later},
    {"/await", ROUTE_GET | ROUTE_POST, await},
    {"/take", ROUTE_GET, take},
    {0},
};

static void turn(void *ctx)
{
    loop_poll(ctx, -1);
}

static void start(void)
{
    const struct http_options options = {.limits = http_limits_default(),
        .head_timeout_ms = HEAD_MS,
        .body_timeout_ms = BODY_MS,
        .routes = routes};
    const struct http_ports ports = {NULL, port_write, port_finish, port_resume, port_waits};

    memset(&t, 0, sizeof(t));
    t.sim = sim_create(1);
    sim_enter(t.sim);
    assert_int_equal(loop_create(&t.loop), 0);
    sim_drive(t.loop, turn, t.loop);
    assert_int_equal(http_server_create(t.loop, &options, &ports, &t.server), 0);
    t.session = http_session_begin(t.server, PEER);
    assert_non_null(t.session);
}

static void stop(void)
{
    http_session_end(t.session);
    http_server_destroy(t.server);
    loop_destroy(t.loop);
    sim_destroy(t.sim);
    bytes_fini(&t.out);
    bytes_fini(&t.seen);
}

static enum http_input input(const char *text)
{
    size_t used;
    return http_session_input(t.session, (const uint8_t *)text, strlen(text), &used);
}

static const char *text_of(struct bytes *bytes)
{
    assert_int_equal(bytes_append_byte(bytes, 0), 0);
    bytes->len -= 1;
    return (const char *)bytes->data;
}

static const char *seen(void)
{
    return text_of(&t.seen);
}

/* How many replies of this status went out so far. */
static int replies(const char *status)
{
    char line[64];
    int count = 0;

    snprintf(line, sizeof(line), "HTTP/1.1 %s", status);
    for (const char *at = text_of(&t.out); (at = strstr(at, line)); at += 1) {
        count += 1;
    }
    return count;
}

static void answer_late(void)
{
    struct http_exchange *x = http_session_exchange(t.session);
    assert_non_null(x);
    http_reply(x, 200, "text/plain", "late", 4);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(path, len, body)                                                                      \
    "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: " len "\r\n\r\n" body

/* ---- tests ---- */

static void a_request_is_answered_whole_or_in_single_bytes(void **state)
{
    static const char text[] = POST("/once", "5", "hello");
    (void)state;
    start();
    assert_int_equal(input(text), HTTP_INPUT_IDLE);
    for (size_t i = 0; text[i]; i++) {
        char one[2] = {text[i], 0};
        assert_int_equal(input(one), text[i + 1] ? HTTP_INPUT_MORE : HTTP_INPUT_IDLE);
    }
    assert_string_equal(seen(), "once(hello)once(hello)");
    assert_int_equal(replies("200"), 2);
    stop();
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    start();
    assert_int_equal(
        input(POST("/once", "1", "a") POST("/once", "1", "b") GET("/nowhere") GET("/once")),
        HTTP_INPUT_IDLE);
    assert_string_equal(seen(), "once(a)once(b)once()");
    assert_int_equal(replies("200"), 3);
    assert_int_equal(replies("404"), 1);
    stop();
}

static void what_is_pipelined_waits_for_a_late_reply(void **state)
{
    (void)state;
    start();
    assert_int_equal(
        input(POST("/later", "1", "a") POST("/once", "1", "b") POST("/later", "1", "c")),
        HTTP_INPUT_MORE);
    assert_string_equal(seen(), "later(a)");
    assert_true(http_session_busy(t.session));
    assert_false(http_session_movable(t.session));
    assert_int_equal(input(GET("/once")), HTTP_INPUT_MORE);
    answer_late();
    assert_string_equal(seen(), "later(a)once(b)later(c)");
    answer_late();
    assert_string_equal(seen(), "later(a)once(b)later(c)once()");
    assert_int_equal(replies("200"), 4);
    assert_true(http_session_idle(t.session));
    assert_true(t.resumed > 0);
    stop();
}

static void an_awaited_reply_keeps_the_order_as_well(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(POST("/await", "1", "a") POST("/once", "1", "b") GET("/await") "GET /o"),
        HTTP_INPUT_MORE);
    assert_string_equal(seen(), "await(a)");
    assert_int_equal(input("nce HTTP/1.1\r\n"), HTTP_INPUT_MORE);
    answer_late();
    assert_string_equal(seen(), "await(a)once(b)await()");
    answer_late();
    assert_int_equal(input("Host: h\r\n\r\n"), HTTP_INPUT_IDLE);
    assert_string_equal(seen(), "await(a)once(b)await()once()");
    assert_int_equal(replies("200"), 4);
    stop();
}

/* Most of a session's memory is for reading. */
static void who_awaits_a_reply_lends_its_reader(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(GET("/once") GET("/await")), HTTP_INPUT_MORE);
    assert_int_equal(bytes_reserve(&t.out, 1000), 0);
    mem_fail_after(1); /* For the session itself. */
    struct http_session *other = http_session_begin(t.server, PEER);
    assert_non_null(other);
    mem_fail_after(-1);
    struct http_exchange *x = http_session_exchange(t.session);
    mem_fail_after(0); /* There is no other one. */
    http_reply(x, 200, "text/plain", "late", 4);
    mem_fail_after(-1);
    assert_int_equal(replies("200"), 2);
    assert_int_equal(t.finished, 1); /* It is answered, and can be asked no more. */
    http_session_end(other);
    stop();
}

/* Whoever is to answer still finds its exchange. */
static void without_memory_for_what_is_pipelined_the_reply_is_the_last(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(GET("/later")), HTTP_INPUT_MORE);
    mem_fail_after(0);
    enum http_input got = input(GET("/once"));
    mem_fail_after(-1);
    assert_int_equal(got, HTTP_INPUT_MORE);
    answer_late();
    assert_int_equal(replies("200"), 1);
    assert_int_equal(replies("503"), 0);
    assert_non_null(strstr(text_of(&t.out), "Connection: close"));
    assert_int_equal(t.finished, 1);
    stop();
}

static void too_much_behind_an_unanswered_request_stops_reading(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(GET("/later")), HTTP_INPUT_MORE);
    enum http_input got = HTTP_INPUT_MORE;
    int count = 0;
    while (got == HTTP_INPUT_MORE) {
        got = input(GET("/once"));
        count += 1;
        assert_true(count < 10000);
    }
    assert_int_equal(got, HTTP_INPUT_BUSY);
    answer_late();
    assert_int_equal(replies("200"), count + 1);
    assert_int_equal(t.resumed, 1);
    stop();
}

static void a_reply_after_the_end_of_the_session_finds_nobody(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(GET("/later")), HTTP_INPUT_MORE);
    http_session_end(t.session);
    t.session = http_session_begin(t.server, PEER);
    assert_null(http_session_exchange(t.session));
    stop();
}

static void a_last_request_says_so_and_finishes(void **state)
{
    (void)state;
    start();
    assert_int_equal(
        input("GET /once HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET("/once")),
        HTTP_INPUT_CLOSED);
    assert_int_equal(replies("200"), 1);
    assert_non_null(strstr(text_of(&t.out), "Connection: close"));
    assert_int_equal(t.finished, 1);
    assert_int_equal(input(GET("/once")), HTTP_INPUT_CLOSED);
    stop();
}

static void a_late_reply_closes_when_the_client_has_ended(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(GET("/later")), HTTP_INPUT_MORE);
    http_session_last(t.session);
    answer_late();
    assert_int_equal(t.finished, 1);
    assert_non_null(strstr(text_of(&t.out), "Connection: close"));
    stop();
}

static void a_malformed_request_is_refused_and_nothing_behind_it_is_read(void **state)
{
    (void)state;
    start();
    assert_int_equal(input("GET /once\r\n\r\n" GET("/once")), HTTP_INPUT_CLOSED);
    assert_int_equal(replies("400"), 1);
    assert_string_equal(seen(), "");
    assert_int_equal(t.finished, 1);
    stop();
}

static void another_method_gets_405_with_allow(void **state)
{
    (void)state;
    start();
    assert_int_equal(
        input("DELETE /once HTTP/1.1\r\nHost: h\r\n\r\n" GET("/once")), HTTP_INPUT_IDLE);
    assert_int_equal(replies("405"), 1);
    assert_non_null(strstr(text_of(&t.out), "Allow: GET, HEAD, POST\r\n"));
    assert_int_equal(replies("200"), 1);
    stop();
}

static void a_body_for_nobody_is_not_read(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(POST("/nowhere", "100", "x")), HTTP_INPUT_CLOSED);
    assert_int_equal(replies("404"), 1);
    assert_int_equal(t.finished, 1);
    stop();
}

static void head_gets_the_length_and_no_body(void **state)
{
    (void)state;
    start();
    assert_int_equal(input("HEAD /once HTTP/1.1\r\nHost: h\r\n\r\n"), HTTP_INPUT_IDLE);
    const char *text = text_of(&t.out);
    assert_non_null(strstr(text, "Content-Length: 2\r\n"));
    assert_string_equal(text + strlen(text) - 4, "\r\n\r\n");
    stop();
}

static void who_expects_100_gets_it_before_the_body(void **state)
{
    (void)state;
    start();
    assert_int_equal(input("POST /once HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: "
                           "100-continue\r\n\r\n"),
        HTTP_INPUT_MORE);
    assert_string_equal(text_of(&t.out), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(input("hi"), HTTP_INPUT_IDLE);
    assert_int_equal(replies("200"), 1);
    stop();
}

static void a_slow_head_and_a_slow_body_get_408(void **state)
{
    static const struct {
        const char *text;
        uint32_t ms;
    } rows[] = {{"GET /once HTT", HEAD_MS}, {POST("/once", "5", "he"), BODY_MS}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        start();
        assert_int_equal(input(rows[i].text), HTTP_INPUT_MORE);
        sim_run_ms(t.sim, rows[i].ms - 20);
        assert_int_equal(replies("408"), 0);
        sim_run_ms(t.sim, 50);
        assert_int_equal(replies("408"), 1);
        assert_int_equal(t.finished, 1);
        assert_int_equal(input("llo"), HTTP_INPUT_CLOSED);
        stop();
    }
}

static void the_application_may_take_its_time(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(GET("/later")), HTTP_INPUT_MORE);
    sim_run_ms(t.sim, 10 * BODY_MS);
    assert_int_equal(replies("408"), 0);
    answer_late();
    assert_int_equal(replies("200"), 1);
    stop();
}

static void a_connection_that_breaks_while_answering_is_finished(void **state)
{
    (void)state;
    start();
    t.broken = true;
    assert_int_equal(input(GET("/once") GET("/once")), HTTP_INPUT_CLOSED);
    assert_string_equal(seen(), "once()");
    assert_int_equal(t.finished, 1);
    stop();
}

static void what_follows_a_taken_request_is_not_http(void **state)
{
    (void)state;
    static const char text[] = GET("/take") "\x81\x80";
    size_t used;
    start();
    assert_int_equal(http_session_input(t.session, (const uint8_t *)text, sizeof(text) - 1, &used),
        HTTP_INPUT_TAKEN);
    assert_int_equal(used, strlen(GET("/take")));
    stop();
}

static void a_request_taken_behind_a_late_one_keeps_what_follows(void **state)
{
    (void)state;
    struct span held;
    start();
    assert_int_equal(input(GET("/later") GET("/take") "frames"), HTTP_INPUT_MORE);
    answer_late();
    assert_true(http_session_taken(t.session, &held));
    assert_true(span_equal(held, span_str("frames")));
    assert_int_equal(t.resumed, 1);
    stop();
}

/* ---- moving ---- */

static void move(void)
{
    struct bytes bytes = {0};
    struct pack out = {.out = &bytes};

    assert_true(http_session_movable(t.session));
    http_session_export(t.session, &out);
    assert_int_equal(out.err, 0);
    http_session_end(t.session);
    struct unpack in = {.rest = span_of(bytes.data, bytes.len)};
    t.session = http_session_import(t.server, PEER, &in);
    assert_non_null(t.session);
    assert_int_equal(in.rest.len, 0);
    bytes_fini(&bytes);
}

static void a_session_moves_at_any_byte(void **state)
{
    static const char text[] =
        POST("/once", "2", "hi") "POST /once HTTP/1.1\r\nHost: h\r\n"
                                 "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
                                 "3\r\nabc\r\n0\r\n\r\n";
    (void)state;
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        start();
        char *before = mem_strndup(text, cut);
        input(before);
        move();
        move();
        input(text + cut);
        assert_string_equal(seen(), "once(hi)once(abc)");
        assert_int_equal(replies("200"), 2);
        assert_int_equal(replies("100"), 1);
        mem_free(before);
        stop();
    }
}

static void the_time_left_moves_too(void **state)
{
    (void)state;
    start();
    assert_int_equal(input(POST("/once", "5", "he")), HTTP_INPUT_MORE);
    sim_run_ms(t.sim, BODY_MS / 2);
    move();
    sim_run_ms(t.sim, BODY_MS / 2 - 50);
    assert_int_equal(replies("408"), 0);
    sim_run_ms(t.sim, 100);
    assert_int_equal(replies("408"), 1);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered_whole_or_in_single_bytes),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(what_is_pipelined_waits_for_a_late_reply),
        cmocka_unit_test(an_awaited_reply_keeps_the_order_as_well),
        cmocka_unit_test(who_awaits_a_reply_lends_its_reader),
        cmocka_unit_test(without_memory_for_what_is_pipelined_the_reply_is_the_last),
        cmocka_unit_test(too_much_behind_an_unanswered_request_stops_reading),
        cmocka_unit_test(a_reply_after_the_end_of_the_session_finds_nobody),
        cmocka_unit_test(a_last_request_says_so_and_finishes),
        cmocka_unit_test(a_late_reply_closes_when_the_client_has_ended),
        cmocka_unit_test(a_malformed_request_is_refused_and_nothing_behind_it_is_read),
        cmocka_unit_test(another_method_gets_405_with_allow),
        cmocka_unit_test(a_body_for_nobody_is_not_read),
        cmocka_unit_test(head_gets_the_length_and_no_body),
        cmocka_unit_test(who_expects_100_gets_it_before_the_body),
        cmocka_unit_test(a_slow_head_and_a_slow_body_get_408),
        cmocka_unit_test(the_application_may_take_its_time),
        cmocka_unit_test(a_connection_that_breaks_while_answering_is_finished),
        cmocka_unit_test(what_follows_a_taken_request_is_not_http),
        cmocka_unit_test(a_request_taken_behind_a_late_one_keeps_what_follows),
        cmocka_unit_test(a_session_moves_at_any_byte),
        cmocka_unit_test(the_time_left_moves_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
