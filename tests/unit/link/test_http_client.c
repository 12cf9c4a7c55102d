/* The HTTP client against servers that answer, and servers that do not as they should. */
#include "tests/support/unit.h"
#include "tests/unit/link/http_fixture.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"

static bool is(const struct peer_request *request, const char *target)
{
    return strcmp(request->target, target) == 0;
}

static void answer(int fd, const char *status, const char *body)
{
    char head[300];

    snprintf(
        head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, strlen(body));
    peer_say(fd, head);
    peer_say(fd, body);
}

/* What most tests ask: the target says how it is answered. */
static bool usual(struct peer_request *request, void *ctx)
{
    int fd = request->fd;
    int n = 0;
    char head[200];

    if (sscanf(request->target, "/status/%d", &n) == 1) {
        snprintf(head, sizeof(head), "%d Word", n);
        answer(fd, head, "body");
    } else if (is(request, "/none")) {
        peer_say(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    } else if (is(request, "/unmodified")) {
        peer_say(fd, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000000\r\n\r\n");
    } else if (is(request, "/moved")) {
        peer_say(fd, "HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 0\r\n\r\n");
    } else if (is(request, "/headers")) {
        peer_say(fd, "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n"
                     "HTTP/1.1 200 OK\r\nX-Mixed-CASE:  two words \r\nx-empty:\r\n"
                     "Set-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Length: 2\r\n\r\nok");
    } else if (is(request, "/chunked")) {
        peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        peer_say(fd, "4;x=y\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n");
    } else if (is(request, "/until-close")) {
        peer_say(fd, "HTTP/1.0 200 OK\r\n\r\nto the end");
        return false;
    } else if (is(request, "/echo")) {
        snprintf(head, sizeof(head),
            "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nX-Method: %s\r\n\r\n", request->body.len,
            request->method);
        peer_say(fd, head);
        peer_send(fd, request->body.data, request->body.len);
    } else if (is(request, "/head")) {
        answer(fd, "200 OK", request->head);
    } else if (is(request, "/large-length")) {
        peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n");
        if (strcmp(request->method, "HEAD") != 0) {
            peer_hold(request);
        }
    } else if (is(request, "/ten")) {
        answer(fd, "200 OK", "0123456789");
    } else if (is(request, "/endless")) {
        static const char chunk[] = "a\r\n0123456789\r\n";
        peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while (peer_send(fd, chunk, sizeof(chunk) - 1)) {
        }
    } else if (is(request, "/flood/headers")) {
        peer_say(fd, "HTTP/1.1 200 OK\r\n");
        while (peer_send(fd, "a: b\r\n", 6)) {
        }
    } else if (is(request, "/flood/line")) {
        peer_say(fd, "HTTP/1.1 200 OK\r\na: ");
        while (peer_send(fd, "bbbbbbbb", 8)) {
        }
    } else if (is(request, "/flood/interim")) {
        while (peer_send(fd, "HTTP/1.1 103 Early Hints\r\n\r\n", 28)) {
        }
    } else if (is(request, "/flood/trailers")) {
        peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
        while (peer_send(fd, "a: b\r\n", 6)) {
        }
    } else if (is(request, "/silent")) {
        peer_hold(request);
    } else if (is(request, "/slow-body")) {
        peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
        peer_hold(request);
    } else if (is(request, "/half")) {
        peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
        return false;
    } else if (is(request, "/reset")) {
        struct linger now = {1, 0};
        peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
        usleep(20000); /* The five bytes go first; without them it is a reset all the same. */
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        struct sockaddr nobody = {.sa_family = AF_UNSPEC};
        connect(fd, &nobody, sizeof(nobody)); /* Resets, and keeps the number. */
        return false;
    } else if (is(request, "/no-answer")) {
        return false;
    } else if (is(request, "/no-http")) {
        peer_say(fd, "220 smtp.example.com ESMTP\r\n");
        return false;
    } else if (is(request, "/one-answer")) {
        answer(fd, "200 OK", "once");
        return false; /* Although nothing said so. */
    } else {
        answer(fd, "200 OK", "hello");
    }
    return true;
}

static void an_answer_is_an_answer_whatever_its_status(void **state)
{
    static const int statuses[] = {
        200, 201, 299, 300, 400, 401, 404, 407, 413, 429, 500, 503, 599, 700};
    struct rig rig;
    struct http_peer peer;
    struct asked asked;

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        ask(&rig, &asked, "http://127.0.0.1:%u/status/%d", peer.port, statuses[i]);
        assert_int_equal(asked.err, 0);
        assert_int_equal(asked.status, statuses[i]);
        assert_int_equal(asked.body.len, 4);
        ask_fini(&asked);
    }
    ask(&rig, &asked, "http://127.0.0.1:%u/none", peer.port);
    assert_int_equal(asked.err, 0);
    assert_int_equal(asked.status, 204);
    assert_int_equal(asked.body.len, 0);
    ask_fini(&asked);
    ask(&rig, &asked, "http://127.0.0.1:%u/unmodified", peer.port);
    assert_int_equal(asked.err, 0);
    assert_int_equal(asked.status, 304);
    ask_fini(&asked);
    ask(&rig, &asked, "http://127.0.0.1:%u/moved", peer.port);
    assert_int_equal(asked.status, 302);
    assert_non_null(memmem(asked.head.data, asked.head.len, "location: /hello\n", 17));
    ask_fini(&asked);
    assert_int_equal(peer.connections, 1); /* Kept all the time. */

    struct http_client_stats stats;
    http_client_stats(rig.client, &stats);
    assert_int_equal(stats.requests, COUNT_OF(statuses) + 3);
    assert_int_equal(stats.answers, COUNT_OF(statuses) + 3);
    assert_int_equal(stats.active + stats.waiting, 0);
    rig_stop(&rig);
    peer_stop(&peer);
}

static void headers_are_in_lower_case_and_without_those_of_interim_answers(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked;

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    ask(&rig, &asked, "http://127.0.0.1:%u/headers", peer.port);
    said(&asked, "ok");
    assert_int_equal(bytes_append_byte(&asked.head, 0), 0);
    assert_string_equal((char *)asked.head.data,
        "x-mixed-case: two words\nx-empty: \nset-cookie: a=b\n"
        "set-cookie: c=d\ncontent-length: 2\n");
    ask_fini(&asked);
    ask(&rig, &asked, "http://127.0.0.1:%u/chunked", peer.port);
    said(&asked, "abcdefg");
    assert_null(memmem(asked.head.data, asked.head.len, "trailer", 7));
    ask_fini(&asked);
    ask(&rig, &asked, "http://127.0.0.1:%u/until-close", peer.port);
    said(&asked, "to the end");
    ask_fini(&asked);
    rig_stop(&rig);
    peer_stop(&peer);
}

static void send_body(struct rig *rig, struct http_peer *peer, const char *method, struct span body)
{
    struct asked asked;
    char method_line[64];

    ask_init(rig, &asked, "http://127.0.0.1:%u/echo", peer->port);
    asked.http.method = method;
    asked.http.body = body;
    asked.http.bytes_max = 4000000;
    ask_begin(&asked);
    rig_until(rig, &asked, 1);
    assert_int_equal(asked.err, 0);
    assert_true(span_equal(span_of(asked.body.data, asked.body.len), body));
    snprintf(method_line, sizeof(method_line), "x-method: %s\n", method);
    assert_non_null(memmem(asked.head.data, asked.head.len, method_line, strlen(method_line)));
    ask_fini(&asked);
}

static void every_method_and_body_arrives_as_it_was_given(void **state)
{
    static const char *const methods[] = {
        "GET", "POST", "PUT", "PATCH", "DELETE", "QUERY", "OPTIONS"};
    struct rig rig;
    struct http_peer peer;
    size_t large_len = 3000000;
    uint8_t *large = calloc(1, large_len);

    (void)state;
    for (size_t i = 0; i < large_len; i++) {
        large[i] = (uint8_t)(i * 31 >> 3);
    }
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        send_body(&rig, &peer, methods[i], span_str(""));
        send_body(&rig, &peer, methods[i], span_of("\0\xff{}", 4));
    }
    send_body(&rig, &peer, "POST", span_of(large, large_len));
    free(large);
    rig_stop(&rig);
    peer_stop(&peer);
}

static void what_is_sent_is_what_was_asked_and_no_more(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked;

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* Not to be used. */
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    ask_init(&rig, &asked, "http://ann:secret@127.0.0.1:%u/head#part", peer.port);
    asked.http.method = "POST";
    asked.http.body = span_str("x");
    asked.headers[0] = (struct flow_http_header){span_str("X-One"), span_str("  1")};
    asked.headers[1] = (struct flow_http_header){span_str("X-Empty"), span_str("")};
    asked.http.header_count = 2;
    ask_begin(&asked);
    rig_until(&rig, &asked, 1);
    char expected[400];
    snprintf(expected, sizeof(expected),
        "POST /head HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n"
        "User-Agent: fanout/%s\r\nAccept: */*\r\nX-One: 1\r\nX-Empty:\r\nContent-Length: 1\r\n\r\n",
        peer.port, FANOUT_VERSION);
    said(&asked, expected);
    ask_fini(&asked);
    unsetenv("http_proxy");
    rig_stop(&rig);
    peer_stop(&peer);
}

static void a_body_beyond_the_bound_ends_at_once_and_one_at_the_bound_does_not(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked;

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    /* Announced: nobody waits for a byte of it. */
    ask(&rig, &asked, "http://127.0.0.1:%u/large-length", peer.port);
    failed(&asked, -EMSGSIZE, "/large-length: the answer's body is larger than 1000000 bytes");
    ask_fini(&asked);
    ask(&rig, &asked, "http://127.0.0.1:%u/endless", peer.port);
    failed(&asked, -EMSGSIZE, "/endless: the answer's body is larger than 1000000 bytes");
    ask_fini(&asked);
    for (size_t max = 9; max <= 10; max++) {
        ask_init(&rig, &asked, "http://127.0.0.1:%u/ten", peer.port);
        asked.http.bytes_max = max;
        ask_begin(&asked);
        rig_until(&rig, &asked, 1);
        if (max == 10) {
            said(&asked, "0123456789");
        } else {
            failed(&asked, -EMSGSIZE, "larger than 9 bytes");
        }
        ask_fini(&asked);
    }
    ask_init(&rig, &asked, "http://127.0.0.1:%u/large-length", peer.port);
    asked.http.method = "HEAD";
    ask_begin(&asked);
    rig_until(&rig, &asked, 1);
    said(&asked, "");
    assert_non_null(memmem(asked.head.data, asked.head.len, "content-length: 10000000000\n", 28));
    ask_fini(&asked);
    rig_stop(&rig);
    peer_stop(&peer);
}

static void headers_without_end_are_cut_off(void **state)
{
    static const char *const kinds[] = {"headers", "interim", "trailers"};
    struct rig rig;
    struct http_peer peer;
    struct asked asked;

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        ask(&rig, &asked, "http://127.0.0.1:%u/flood/%s", peer.port, kinds[i]);
        failed(&asked, -E2BIG, "more than 200 headers, or more than 65536 bytes of them");
        ask_fini(&asked);
    }
    /* Here curl's own bound of a line comes first. */
    ask(&rig, &asked, "http://127.0.0.1:%u/flood/line", peer.port);
    assert_int_not_equal(asked.err, 0);
    assert_int_not_equal(asked.err, -ETIMEDOUT);
    ask_fini(&asked);
    rig_stop(&rig);
    peer_stop(&peer);
}

static void what_a_server_does_wrong_is_said_in_a_sentence(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked;
    char expected[100];

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    ask(&rig, &asked, "http://127.0.0.1:%u/half", peer.port);
    failed(&asked, -ECONNRESET, "/half: the connection was closed in the middle of the answer");
    ask_fini(&asked);
    ask(&rig, &asked, "http://127.0.0.1:%u/reset", peer.port);
    failed(&asked, -ECONNRESET, "/reset: connection reset by peer");
    ask_fini(&asked);
    ask(&rig, &asked, "http://127.0.0.1:%u/no-answer", peer.port);
    failed(&asked, -ECONNRESET, "/no-answer: the connection was closed without an answer");
    ask_fini(&asked);
    ask(&rig, &asked, "http://127.0.0.1:%u/no-http", peer.port);
    failed(&asked, -EPROTO, "/no-http: what it answers is not HTTP");
    ask_fini(&asked);
    ask(&rig, &asked, "http://does-not-exist.invalid/x");
    failed(
        &asked, -EHOSTUNREACH, "http://does-not-exist.invalid/x: the host's name has no address");
    ask_fini(&asked);
    uint16_t port = peer.port;
    peer_stop(&peer);
    ask(&rig, &asked, "http://ann:secret@127.0.0.1:%u/x?key=secret", port);
    snprintf(expected, sizeof(expected), "http://127.0.0.1:%u/x: connection refused", port);
    failed(&asked, -ECONNREFUSED, expected);
    assert_string_equal(asked.why, expected); /* Nothing secret in it. */
    ask_fini(&asked);
    rig_stop(&rig);
}

static void time_runs_in_every_phase(void **state)
{
    static const char *const findings[] = {"no answer within 100 ms",
        "the answer did not end within 100 ms", "not connected within 100 ms",
        "waited 100 ms for a free connection"};
    const struct http_client_options two = {2, 1, HTTP_PRIVATE_ALLOW, NULL};
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int full_fd = socket(AF_INET, SOCK_STREAM, 0), fds[2];
    struct rig rig, narrow;
    struct http_peer peer;
    struct asked asked[5];

    (void)state;
    /* A listener whose queue is full answers no more. */
    assert_int_equal(bind(full_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(full_fd, 0), 0);
    assert_int_equal(getsockname(full_fd, (struct sockaddr *)&addr, &len), 0);
    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], (struct sockaddr *)&addr, sizeof(addr));
    }
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    rig_start(&narrow, &two);
    ask_init(&rig, &asked[0], "http://127.0.0.1:%u/silent", peer.port);
    ask_init(&rig, &asked[1], "http://127.0.0.1:%u/slow-body", peer.port);
    ask_init(&rig, &asked[2], "http://127.0.0.1:%u/", ntohs(addr.sin_port));
    for (int i = 0; i < 3; i++) {
        asked[i].http.timeout_ms = 100;
        ask_begin(&asked[i]);
    }
    rig_until(&rig, asked, 3);
    ask_init(&narrow, &asked[4], "http://127.0.0.1:%u/silent", peer.port);
    ask_init(&narrow, &asked[3], "http://127.0.0.1:%u/ten", peer.port);
    asked[4].http.timeout_ms = 30000;
    asked[3].http.timeout_ms = 100;
    ask_begin(&asked[4]);
    ask_begin(&asked[3]);
    rig_until(&narrow, &asked[3], 1);
    for (int i = 0; i < 4; i++) {
        failed(&asked[i], -ETIMEDOUT, findings[i]);
        ask_fini(&asked[i]);
    }
    assert_int_equal(asked[4].done_count, 0);
    rig_stop(&narrow);
    failed(&asked[4], -ECANCELED, "the client is shut down");
    rig_stop(&rig);
    peer_stop(&peer);
    close(full_fd);
    close(fds[0]);
    close(fds[1]);
}

static void one_may_be_cancelled_in_every_phase(void **state)
{
    const struct http_client_options narrow = {2, 1, HTTP_PRIVATE_ALLOW, NULL};
    struct rig rig;
    struct http_peer peer;
    struct asked asked[4];

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, &narrow);
    ask_init(&rig, &asked[0], "http://127.0.0.1:%u/silent", peer.port);
    ask_init(&rig, &asked[1], "http://127.0.0.1:%u/ten", peer.port); /* Waits for the first. */
    ask_init(&rig, &asked[2], "http://some-name.invalid/");          /* Is being resolved. */
    ask_init(&rig, &asked[3], "http://127.0.0.1:%u/slow-body", peer.port);

    ask_begin(&asked[0]); /* Just begun. */
    rig.port.cancel(rig.port.ctx, &asked[0].http);
    failed(&asked[0], -ECANCELED, "/silent: cancelled");
    ask_begin(&asked[2]);
    rig.port.cancel(rig.port.ctx, &asked[2].http);
    failed(&asked[2], -ECANCELED, "cancelled");

    ask_begin(&asked[0]);
    ask_begin(&asked[1]);
    ask_begin(&asked[3]);
    rig_until_count(&rig, &peer.requests, 1);
    rig.port.cancel(rig.port.ctx, &asked[1].http);
    failed(&asked[1], -ECANCELED, "/ten: cancelled");
    rig.port.cancel(rig.port.ctx, &asked[0].http);
    assert_int_equal(asked[0].done_count, 2);
    /* The place is free for the one that waits. */
    rig_until_count(&rig, &peer.requests, 2);
    for (int i = 0; i < 10; i++) {
        loop_poll(rig.loop, 10);
    }
    assert_int_equal(asked[3].done_count, 0);
    rig.port.cancel(rig.port.ctx, &asked[3].http);
    failed(&asked[3], -ECANCELED, "/slow-body: cancelled");
    rig.port.cancel(rig.port.ctx, &asked[3].http); /* It is over. */
    assert_int_equal(asked[3].done_count, 1);

    struct http_client_stats stats;
    http_client_stats(rig.client, &stats);
    assert_int_equal(stats.cancelled, 5);
    assert_int_equal(stats.active + stats.waiting, 0);
    ask(&rig, &asked[0], "http://127.0.0.1:%u/", peer.port);
    said(&asked[0], "hello");
    ask_fini(&asked[0]);
    rig_stop(&rig);
    peer_stop(&peer);
}

static void cancel_other(struct asked *asked)
{
    if (asked->other && asked->other->done_count == 0) {
        asked->port->cancel(asked->port->ctx, &asked->other->http);
    }
}

static void done_may_cancel_another_whose_end_is_known_as_well(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked[2];

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 2; i++) {
            /* Both are refused while they are begun, and told of later, one after the other. */
            ask_init(&rig, &asked[i], "http://127.0.0.1:%u/", round % 2 ? peer.port : 1);
            asked[i].other = &asked[1 - i];
            asked[i].then = cancel_other;
        }
        ask_begin(&asked[0]);
        ask_begin(&asked[1]);
        rig_until(&rig, asked, 2);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(asked[i].done_count, 1);
            ask_fini(&asked[i]);
        }
        assert_true((asked[0].err == -ECANCELED) + (asked[1].err == -ECANCELED) == 1);
    }
    rig_stop(&rig);
    peer_stop(&peer);
}

static void begin_again(struct asked *asked)
{
    if (asked->done_count < 300) {
        asked->body.len = asked->head.len = 0;
        ask_begin(asked);
        if (asked->done_count < 300) {
            asked->err = 1; /* It is not over. */
        }
    }
}

static void done_may_begin_the_next_one_over_and_over(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked[2];

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    ask_init(&rig, &asked[0], "http://127.0.0.1:%u/", peer.port);
    ask_init(&rig, &asked[1], "http://127.0.0.1:1/"); /* Refused at once, each time. */
    for (int i = 0; i < 2; i++) {
        asked[i].then = begin_again;
        ask_begin(&asked[i]);
    }
    while (asked[0].done_count < 300 || asked[1].done_count < 300) {
        loop_poll(rig.loop, 100);
    }
    said(&asked[0], "hello");
    failed(&asked[1], -ECONNREFUSED, "connection refused");
    assert_true(peer.connections <= 2);
    ask_fini(&asked[0]);
    rig_stop(&rig);
    peer_stop(&peer);
}

static void five_hundred_at_once_share_twenty_connections(void **state)
{
    enum { COUNT = 500 };
    struct rig rig;
    struct http_peer peer;
    struct asked *asked = calloc(COUNT, sizeof(*asked));
    struct http_client_stats stats;

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    for (int i = 0; i < COUNT; i++) {
        ask_init(&rig, &asked[i], "http://127.0.0.1:%u/%d", peer.port, i);
        asked[i].http.timeout_ms = 60000;
        ask_begin(&asked[i]);
    }
    http_client_stats(rig.client, &stats);
    assert_int_equal(stats.active, 20);
    assert_int_equal(stats.waiting, COUNT - 20);
    rig_until(&rig, asked, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(asked[i].done_count, 1);
        said(&asked[i], "hello");
        ask_fini(&asked[i]);
    }
    assert_int_equal(peer.requests, COUNT);
    assert_true(peer.connections <= 20); /* Kept, and used again. */
    rig_stop(&rig);
    peer_stop(&peer);
    free(asked);
}

static void a_slow_server_holds_up_its_own_requests_only(void **state)
{
    const struct http_client_options options = {6, 3, HTTP_PRIVATE_ALLOW, NULL};
    struct rig rig;
    struct http_peer slow, quick;
    struct asked held[40], asked[40];
    struct http_client_stats stats;

    (void)state;
    peer_start(&slow, false, usual, NULL);
    peer_start(&quick, false, usual, NULL);
    rig_start(&rig, &options);
    for (int i = 0; i < 40; i++) {
        ask_init(&rig, &held[i], "http://127.0.0.1:%u/silent", slow.port);
        held[i].http.timeout_ms = 60000;
        ask_begin(&held[i]);
    }
    for (int i = 0; i < 40; i++) {
        ask_init(&rig, &asked[i], "http://127.0.0.1:%u/", quick.port);
        ask_begin(&asked[i]);
    }
    rig_until(&rig, asked, 40);
    for (int i = 0; i < 40; i++) {
        said(&asked[i], "hello");
        ask_fini(&asked[i]);
        assert_int_equal(held[i].done_count, 0);
    }
    assert_true(slow.connections <= 3 && quick.connections <= 3);
    http_client_stats(rig.client, &stats);
    assert_int_equal(stats.active, 3);
    assert_int_equal(stats.waiting, 37);
    rig_stop(&rig); /* With all of those under way. */
    for (int i = 0; i < 40; i++) {
        assert_int_equal(held[i].done_count, 1);
        failed(&held[i], -ECANCELED, "the client is shut down");
    }
    peer_stop(&slow);
    peer_stop(&quick);
}

static void connections_kept_for_one_server_make_room_for_another(void **state)
{
    const struct http_client_options options = {2, 2, HTTP_PRIVATE_ALLOW, NULL};
    struct rig rig;
    struct http_peer peers[4];
    struct asked asked;

    (void)state;
    rig_start(&rig, &options);
    for (int i = 0; i < 4; i++) {
        peer_start(&peers[i], false, usual, NULL);
    }
    for (int i = 0; i < 12; i++) {
        ask(&rig, &asked, "http://127.0.0.1:%u/", peers[i % 4].port);
        said(&asked, "hello");
        ask_fini(&asked);
    }
    rig_stop(&rig);
    for (int i = 0; i < 4; i++) {
        peer_stop(&peers[i]);
    }
}

static void a_kept_connection_that_the_server_closed_costs_nobody_an_answer(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked;

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    for (int i = 0; i < 20; i++) {
        ask_init(&rig, &asked, "http://127.0.0.1:%u/one-answer", peer.port);
        asked.http.method = i % 2 ? "POST" : "GET";
        ask_begin(&asked);
        rig_until(&rig, &asked, 1);
        said(&asked, "once");
        ask_fini(&asked);
    }
    rig_stop(&rig);
    peer_stop(&peer);
}

static void begin_after(struct asked *asked)
{
    if (asked->other) {
        ask_begin(asked->other);
    }
}

static void a_client_that_is_shut_down_answers_all_and_takes_nothing_more(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked first, late;

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    ask_init(&rig, &first, "http://127.0.0.1:%u/silent", peer.port);
    ask_init(&rig, &late, "http://127.0.0.1:%u/", peer.port);
    first.then = begin_after;
    first.other = &late;
    ask_begin(&first);
    rig_until_count(&rig, &peer.requests, 1);
    rig_stop(&rig);
    failed(&first, -ECANCELED, "the client is shut down");
    failed(&late, -ECANCELED, "the client is shut down");
    assert_int_equal(late.done_count, 1);
    peer_stop(&peer);
}

/* Stands in front of the system's: the resolver of one name answers when the test lets it. */
static sem_t resolver_asked, resolver_free;

int getaddrinfo(const char *restrict name, const char *restrict service,
    const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
            RTLD_NEXT, "getaddrinfo");

    if (name && strcmp(name, "stuck.test") == 0) {
        sem_post(&resolver_asked);
        sem_wait(&resolver_free);
        return EAI_NONAME;
    }
    return real(name, service, hints, ret_list);
}

/* A resolver that hangs may hang for half a minute, and the loop must not. */
static void nobody_waits_for_a_resolver_that_hangs(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked[3], other;

    (void)state;
    sem_init(&resolver_asked, 0, 0);
    sem_init(&resolver_free, 0, 0);
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    for (int i = 0; i < 3; i++) {
        ask_init(&rig, &asked[i], "http://stuck.test/");
        asked[i].http.timeout_ms = i == 0 ? 100 : 60000;
        ask_begin(&asked[i]);
    }
    for (int i = 0; i < 3; i++) {
        sem_wait(&resolver_asked);
    }
    rig_until(&rig, &asked[0], 1);
    failed(&asked[0], -ETIMEDOUT, "http://stuck.test/: not connected within 100 ms");
    rig.port.cancel(rig.port.ctx, &asked[1].http);
    failed(&asked[1], -ECANCELED, "cancelled");
    ask(&rig, &other, "http://127.0.0.1:%u/", peer.port);
    said(&other, "hello");
    ask_fini(&other);
    rig_stop(&rig);
    failed(&asked[2], -ECANCELED, "the client is shut down");
    for (int i = 0; i < 3; i++) {
        sem_post(&resolver_free);
    }
    peer_stop(&peer);
}

static void a_long_address_is_cut_at_a_code_point(void **state)
{
    struct rig rig;
    struct asked asked;

    (void)state;
    rig_start(&rig, NULL);
    for (size_t len = 1; len < 300; len++) {
        char path[303] = "x";
        size_t at = len % 2;
        for (; at < len; at += 2) {
            memcpy(path + at, "\xc3\xa9", 2);
        }
        ask_init(&rig, &asked, "http://127.0.0.1:1/%s", path);
        ask_begin(&asked);
        rig.port.cancel(rig.port.ctx, &asked.http);
        failed(&asked, -ECANCELED, ": cancelled");
        assert_true(utf8_valid(asked.why, strlen(asked.why)));
    }
    ask_init(&rig, &asked, "http://127.0.0.1:1/\xff");
    ask_begin(&asked);
    rig.port.cancel(rig.port.ctx, &asked.http);
    failed(&asked, -ECANCELED, ":1/?: cancelled");
    rig_stop(&rig);
}

/* ---- servers that are not ours ---- */

static pid_t spawn(const char *dir, const char *const *argv)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* No server outlives its test. */
        if (getppid() == parent && chdir(dir) == 0 && freopen("/dev/null", "w", stdout) &&
            freopen("/dev/null", "w", stderr) && freopen("/dev/zero", "r", stdin)) {
            execvp(argv[0], (char *const *)argv);
        }
        _exit(127);
    }
    return pid;
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void run(const char *dir, const char *command)
{
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    int status = -1;
    pid_t pid = spawn(dir, argv);

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static uint16_t free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

/* Asks until the server listens. */
static void ask_until_up(struct rig *rig, struct asked *asked, const char *url)
{
    for (int i = 0; i < 400; i++) {
        ask(rig, asked, "%s", url);
        if (asked->err != -ECONNREFUSED) {
            return;
        }
        ask_fini(asked);
        usleep(25000);
    }
    fail_msg("%s: nobody listens", url);
}

static void files_come_from_the_server_that_python_has(void **state)
{
    enum { COUNT = 50 };
    char dir[] = "/tmp/fanout-http-XXXXXX", port_text[8], url[64];
    uint16_t port = free_port();
    const char *const argv[] = {
        "python3", "-m", "http.server", port_text, "--bind", "127.0.0.1", NULL};
    struct rig rig;
    struct asked asked[COUNT];

    (void)state;
    assert_non_null(mkdtemp(dir));
    run(dir, "echo '{\"city\":\"NYC\"}' > file.json");
    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/file.json", port);
    pid_t pid = spawn(dir, argv);
    rig_start(&rig, NULL);
    ask_until_up(&rig, &asked[0], url);
    said(&asked[0], "{\"city\":\"NYC\"}\n");
    assert_non_null(memmem(asked[0].head.data, asked[0].head.len,
        "content-type: application/json\n", strlen("content-type: application/json\n")));
    ask_fini(&asked[0]);
    for (int i = 0; i < COUNT; i++) {
        ask_init(&rig, &asked[i], "%s", url);
        ask_begin(&asked[i]);
    }
    rig_until(&rig, asked, COUNT);
    for (int i = 0; i < COUNT; i++) {
        said(&asked[i], "{\"city\":\"NYC\"}\n");
        ask_fini(&asked[i]);
    }
    ask(&rig, &asked[0], "http://127.0.0.1:%u/missing", port);
    assert_int_equal(asked[0].status, 404);
    ask_fini(&asked[0]);
    rig_stop(&rig);
    stop(pid);
    run(dir, "rm -r \"$PWD\"");
}

static void a_certificate_must_be_the_servers_own_and_of_an_authority_we_know(void **state)
{
    char dir[] = "/tmp/fanout-https-XXXXXX", port_text[8], ca_file[64], url[64];
    uint16_t port = free_port();
    const char *const argv[] = {"openssl", "s_server", "-accept", port_text, "-cert", "server.pem",
        "-key", "server.key", "-www", NULL};
    struct http_client_options options = {20, 20, HTTP_PRIVATE_ALLOW, NULL};
    struct rig rig;
    struct asked asked;

    (void)state;
    assert_non_null(mkdtemp(dir));
    run(dir,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out "
        "ca.pem -subj /CN=fanout-test-ca -days 2 && openssl req -newkey ec -pkeyopt "
        "ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=localhost && "
        "echo subjectAltName=DNS:localhost > ext && openssl x509 -req -in server.csr -CA ca.pem "
        "-CAkey ca.key -CAcreateserial -extfile ext -out server.pem -days 2");
    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", dir);
    pid_t pid = spawn(dir, argv);

    rig_start(&rig, &options);
    snprintf(url, sizeof(url), "https://localhost:%u/", port);
    ask_until_up(&rig, &asked, url);
    assert_int_equal(asked.err, -EPROTO);
    assert_non_null(strstr(asked.why, "certificate"));
    assert_null(strchr(asked.why, '\n'));
    rig_stop(&rig);

    options.ca_file = ca_file;
    rig_start(&rig, &options);
    ask(&rig, &asked, "%s", url);
    assert_int_equal(asked.err, 0);
    assert_int_equal(asked.status, 200);
    assert_true(asked.body.len > 0);
    ask_fini(&asked);
    ask(&rig, &asked, "https://127.0.0.1:%u/", port); /* Another name than the certificate's. */
    assert_int_equal(asked.err, -EPROTO);
    assert_non_null(strstr(asked.why, "127.0.0.1"));
    ask(&rig, &asked, "http://127.0.0.1:%u/", port); /* Plain HTTP where TLS is spoken. */
    assert_int_not_equal(asked.err, 0);
    rig_stop(&rig);

    options.ca_file = "/nonexistent.pem";
    rig_start(&rig, &options);
    ask(&rig, &asked, "%s", url);
    assert_int_equal(asked.err, -EPROTO);
    assert_non_null(strstr(asked.why, "/nonexistent.pem"));
    rig_stop(&rig);
    stop(pid);
    run(dir, "rm -r \"$PWD\"");
}

/* ---- what is not sent at all ---- */

static void refused(struct rig *rig, const char *method, const char *url,
    struct flow_http_header header, const char *finding)
{
    struct asked asked;

    ask_init(rig, &asked, "%s", url);
    asked.http.method = method;
    asked.http.url = url;
    asked.headers[0] = header;
    asked.http.header_count = header.name.data ? 1 : 0;
    ask_begin(&asked);
    assert_int_equal(asked.done_count, 1);
    failed(&asked, -EINVAL, finding);
}

static void a_request_that_is_none_is_refused_at_once(void **state)
{
    const struct flow_http_header none = {{NULL, 0}, {NULL, 0}};
    const char *url = "http://127.0.0.1:1/";
    struct rig rig;
    char *long_url = calloc(1, 20000);

    (void)state;
    memset(long_url, 'a', 19999);
    memcpy(long_url, url, strlen(url));
    rig_start(&rig, NULL);
    refused(&rig, "GET", "ftp://h/x", none, "begins with neither http:// nor https://");
    refused(&rig, "GET", "file:///etc/passwd", none, "begins with neither http:// nor https://");
    refused(&rig, "GET", "h/x", none, "http://host/path is expected");
    refused(&rig, "GET", "", none, "http://host/path is expected");
    refused(&rig, "GET", "http://", none, "http://host/path is expected");
    refused(&rig, "GET", "http://h:99999/", none, "http://host/path is expected");
    refused(&rig, "GET", "http://h/a b", none, "http://host/path is expected");
    refused(&rig, "GET", "http://h/\r\nX-Evil: 1", none, "http://host/path is expected");
    refused(&rig, "GET", long_url, none, "the URL is longer than 16384 bytes");
    refused(
        &rig, "", url, none, "the request's method is not one that can be sent, as GET or POST is");
    refused(&rig, "GET /x HTTP/1.1\r\nA:", url, none, "as GET or POST is");
    refused(&rig, "CONNECT", url, none, "as GET or POST is");
    refused(&rig, "GET", url, (struct flow_http_header){span_str("a b"), span_str("")},
        "the name of header 1 of the request is not a token");
    refused(
        &rig, "GET", url, (struct flow_http_header){span_str(""), span_str("")}, "is not a token");
    refused(&rig, "GET", url, (struct flow_http_header){span_str("a"), span_str("b\r\nc: d")},
        "header a has control characters in it");
    refused(&rig, "GET", url, (struct flow_http_header){span_str("a"), span_of("b\0", 2)},
        "header a has control characters in it");
    refused(&rig, "GET", url, (struct flow_http_header){span_str("Content-LENGTH"), span_str("5")},
        "header content-length is set by the client itself");
    refused(&rig, "GET", url,
        (struct flow_http_header){span_str("Transfer-Encoding"), span_str("x")},
        "header transfer-encoding is set by the client itself");
    refused(&rig, "GET", url, (struct flow_http_header){span_str("a"), span_of(long_url, 70000)},
        "the request's headers are larger than 65536 bytes");
    free(long_url);
    rig_stop(&rig);
}

/* ---- where it may go ---- */

static void private_addresses_are_refused_however_they_are_written(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "2130706433", "0x7f.1",
        "0177.0.0.1", "127.1", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::127.0.0.1]",
        "10.0.0.1", "192.168.1.1", "[fd00::1]"};
    static const char *const special[] = {
        "169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "224.0.0.1", "255.255.255.255"};
    struct rig rig;
    struct http_peer peer, peer6;
    struct asked asked;
    struct http_client_options options = {20, 20, HTTP_PRIVATE_REFUSE, NULL};

    (void)state;
    peer_start(&peer, false, usual, NULL);
    peer_start(&peer6, true, usual, NULL);
    rig_start(&rig, &options);
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        ask(&rig, &asked, "http://%s:%u/", hosts[i], peer.port);
        failed(&asked, -EPERM, "is private; see --flow-http-private");
    }
    ask(&rig, &asked, "http://localhost:%u/", peer6.port);
    failed(&asked, -EPERM, "is private; see --flow-http-private");
    ask(&rig, &asked, "http://127.0.0.1:%u/x", peer.port);
    failed(&asked, -EPERM, "/x: the address 127.0.0.1 is private; see --flow-http-private");
    for (size_t i = 0; i < COUNT_OF(special); i++) {
        ask(&rig, &asked, "http://%s:%u/", special[i], peer.port);
        failed(&asked, -EPERM, "; see --flow-http-private");
    }
    struct http_client_stats stats;
    http_client_stats(rig.client, &stats);
    assert_int_equal(stats.refused_private, COUNT_OF(hosts) + COUNT_OF(special) + 2);
    rig_stop(&rig);
    assert_int_equal(peer.connections + peer6.connections, 0);

    options.allow_private = HTTP_PRIVATE_NETWORKS;
    rig_start(&rig, &options);
    for (size_t i = 0; i < COUNT_OF(special); i++) {
        ask(&rig, &asked, "http://%s:%u/", special[i], peer.port);
        failed(&asked, -EPERM, "; see --flow-http-private");
    }
    for (size_t i = 0; i < 6; i++) {
        ask(&rig, &asked, "http://%s:%u/", hosts[i], peer.port);
        said(&asked, "hello");
        ask_fini(&asked);
    }
    ask(&rig, &asked, "http://[::1]:%u/", peer6.port);
    said(&asked, "hello");
    ask_fini(&asked);
    rig_stop(&rig);
    peer_stop(&peer);
    peer_stop(&peer6);
}

/* ---- without memory ---- */

static void without_memory_a_request_fails_or_waits_and_nothing_is_lost(void **state)
{
    struct rig rig;
    struct http_peer peer;
    struct asked asked;
    int failures = 0;

    (void)state;
    peer_start(&peer, false, usual, NULL);
    rig_start(&rig, NULL);
    for (int n = 0; n < 40; n++) {
        ask_init(&rig, &asked, "http://127.0.0.1:%u/headers", peer.port);
        asked.http.timeout_ms = 2000;
        mem_fail_after(n);
        ask_begin(&asked);
        for (int i = 0; i < 200 && !asked.done_count; i++) {
            loop_poll(rig.loop, 10);
            if (i == 20) {
                mem_fail_after(-1);
            }
        }
        mem_fail_after(-1);
        rig_until(&rig, &asked, 1);
        assert_int_equal(asked.done_count, 1);
        if (asked.err) {
            failed(&asked, asked.err, asked.err == -ENOMEM ? "/headers: no memory" : "");
            failures += 1;
        }
        ask_fini(&asked);
    }
    assert_true(failures >= 5 && failures < 40);
    rig_stop(&rig);
    peer_stop(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_an_answer_whatever_its_status),
        cmocka_unit_test(headers_are_in_lower_case_and_without_those_of_interim_answers),
        cmocka_unit_test(every_method_and_body_arrives_as_it_was_given),
        cmocka_unit_test(what_is_sent_is_what_was_asked_and_no_more),
        cmocka_unit_test(a_body_beyond_the_bound_ends_at_once_and_one_at_the_bound_does_not),
        cmocka_unit_test(headers_without_end_are_cut_off),
        cmocka_unit_test(what_a_server_does_wrong_is_said_in_a_sentence),
        cmocka_unit_test(time_runs_in_every_phase),
        cmocka_unit_test(one_may_be_cancelled_in_every_phase),
        cmocka_unit_test(done_may_cancel_another_whose_end_is_known_as_well),
        cmocka_unit_test(done_may_begin_the_next_one_over_and_over),
        cmocka_unit_test(five_hundred_at_once_share_twenty_connections),
        cmocka_unit_test(a_slow_server_holds_up_its_own_requests_only),
        cmocka_unit_test(connections_kept_for_one_server_make_room_for_another),
        cmocka_unit_test(a_kept_connection_that_the_server_closed_costs_nobody_an_answer),
        cmocka_unit_test(a_client_that_is_shut_down_answers_all_and_takes_nothing_more),
        cmocka_unit_test(nobody_waits_for_a_resolver_that_hangs),
        cmocka_unit_test(a_long_address_is_cut_at_a_code_point),
        cmocka_unit_test(files_come_from_the_server_that_python_has),
        cmocka_unit_test(a_certificate_must_be_the_servers_own_and_of_an_authority_we_know),
        cmocka_unit_test(a_request_that_is_none_is_refused_at_once),
        cmocka_unit_test(private_addresses_are_refused_however_they_are_written),
        cmocka_unit_test(without_memory_a_request_fails_or_waits_and_nothing_is_lost),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
