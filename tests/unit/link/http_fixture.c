#include "tests/unit/link/http_fixture.h"
#include "tests/support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "rt/clock.h"

enum { PATIENCE_MS = 20000 };

/* ---- the peer ---- */

bool peer_send(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

void peer_say(int fd, const char *text)
{
    (void)peer_send(fd, text, strlen(text));
}

void peer_hold(struct peer_request *request)
{
    char byte;

    while (recv(request->fd, &byte, 1, 0) > 0) {
    }
}

/* Reads one request; false at the end of the connection. */
static bool read_request(struct peer_request *request, struct bytes *in)
{
    char *end = NULL, *length;
    char buf[16384];

    while (!in->len || !(end = memmem(in->data, in->len, "\r\n\r\n", 4))) {
        ssize_t n = recv(request->fd, buf, sizeof(buf), 0);
        if (n <= 0 || bytes_append(in, buf, (size_t)n) != 0) {
            return false;
        }
    }
    size_t head_len = (size_t)(end + 4 - (char *)in->data);
    if (head_len >= sizeof(request->head)) {
        return false;
    }
    memcpy(request->head, in->data, head_len);
    request->head[head_len] = 0;
    bytes_consume(in, head_len);
    sscanf(request->head, "%31s %2047s", request->method, request->target);
    length = strcasestr(request->head, "\r\ncontent-length:");
    size_t body_len = length ? strtoul(length + 17, NULL, 10) : 0;
    while (in->len < body_len) {
        ssize_t n = recv(request->fd, buf, sizeof(buf), 0);
        if (n <= 0 || bytes_append(in, buf, (size_t)n) != 0) {
            return false;
        }
    }
    request->body.len = 0;
    if (bytes_append(&request->body, in->data, body_len) != 0) {
        return false;
    }
    bytes_consume(in, body_len);
    return true;
}

struct connection {
    struct http_peer *peer;
    uint32_t index;
    int fd;
};

static void *serve(void *arg)
{
    struct connection connection = *(struct connection *)arg;
    struct http_peer *peer = connection.peer;
    struct peer_request *request = calloc(1, sizeof(*request));
    struct bytes in = {0};

    free(arg);
    request->fd = connection.fd;
    request->peer = peer;
    while (!peer->stopping && read_request(request, &in)) {
        peer->requests += 1;
        if (!peer->fn(request, peer->ctx)) {
            break;
        }
        request->turn += 1;
    }
    shutdown(
        connection.fd, SHUT_RDWR); /* Closed by peer_stop(): the number stays ours until then. */
    peer->open -= 1;
    bytes_fini(&in);
    bytes_fini(&request->body);
    free(request);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct http_peer *peer = arg;
    int fd;

    while ((fd = accept4(peer->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = calloc(1, sizeof(*connection));
        uint32_t index = peer->thread_count;
        if (index == COUNT_OF(peer->threads)) {
            abort();
        }
        int one = 1; /* Or the second of two small writes waits for an ACK. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        *connection = (struct connection){peer, index, fd};
        peer->connections += 1;
        peer->open += 1;
        if (peer->open > peer->open_max) {
            peer->open_max = peer->open;
        }
        peer->fds[index] = fd;
        peer->thread_count += 1;
        pthread_create(&peer->threads[index], NULL, serve, connection);
    }
    return NULL;
}

void peer_start(struct http_peer *peer, bool v6, peer_fn *fn, void *ctx)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 addr6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr *addr = v6 ? (struct sockaddr *)&addr6 : (struct sockaddr *)&v4;
    socklen_t len = v6 ? sizeof(addr6) : sizeof(v4);

    memset(peer, 0, sizeof(*peer));
    peer->fn = fn;
    peer->ctx = ctx;
    peer->listen_fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer->listen_fd, addr, len), 0);
    assert_int_equal(getsockname(peer->listen_fd, addr, &len), 0);
    assert_int_equal(listen(peer->listen_fd, 512), 0);
    peer->port = ntohs(v6 ? addr6.sin6_port : v4.sin_port);
    assert_int_equal(pthread_create(&peer->thread, NULL, accept_all, peer), 0);
}

void peer_stop(struct http_peer *peer)
{
    peer->stopping = 1;
    shutdown(peer->listen_fd, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->listen_fd);
    for (uint32_t i = 0; i < peer->thread_count; i++) {
        shutdown(peer->fds[i], SHUT_RDWR);
        pthread_join(peer->threads[i], NULL);
        close(peer->fds[i]);
    }
}

/* ---- the caller ---- */

void rig_start(struct rig *rig, const struct http_client_options *options)
{
    const struct http_client_options usual = {20, 20, HTTP_PRIVATE_ALLOW, NULL};

    assert_int_equal(http_client_global_init(), 0);
    assert_int_equal(loop_create(&rig->loop), 0);
    assert_int_equal(
        http_client_create(rig->loop, HTTP_KIND, options ? options : &usual, &rig->client), 0);
    rig->port = http_client_port(rig->client);
}

void rig_stop(struct rig *rig)
{
    http_client_destroy(rig->client);
    loop_destroy(rig->loop);
}

static void on_done(struct flow_http *http)
{
    struct asked *asked = http->owner;

    mem_fail_after(-1); /* What is short is the client's memory, not ours. */
    asked->done_count += 1;
    asked->err = http->err;
    asked->status = http->status;
    snprintf(asked->why, sizeof(asked->why), "%s", http->why);
    assert_int_equal(bytes_append(&asked->body, http->ret_body.data, http->ret_body.len), 0);
    for (uint32_t i = 0; i < http->ret_header_count; i++) {
        const struct flow_http_header *header = &http->ret_headers[i];
        assert_int_equal(bytes_appendf(&asked->head, "%.*s: %.*s\n", (int)header->name.len,
                             (const char *)header->name.data, (int)header->value.len,
                             (const char *)header->value.data),
            0);
    }
    if (asked->then) {
        asked->then(asked);
    }
}

static void init(struct rig *rig, struct asked *asked, const char *format, va_list args)
{
    memset(asked, 0, sizeof(*asked));
    vsnprintf(asked->url, sizeof(asked->url), format, args);
    asked->port = &rig->port;
    asked->http = (struct flow_http){.done = on_done,
        .owner = asked,
        .method = "GET",
        .url = asked->url,
        .headers = asked->headers,
        .timeout_ms = 5000,
        .bytes_max = 1000000};
}

void ask_init(struct rig *rig, struct asked *asked, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    init(rig, asked, format, args);
    va_end(args);
}

void ask_begin(struct asked *asked)
{
    asked->port->begin(asked->port->ctx, &asked->http);
}

void ask_fini(struct asked *asked)
{
    bytes_fini(&asked->body);
    bytes_fini(&asked->head);
}

void rig_until(struct rig *rig, struct asked *asked, uint32_t count)
{
    uint64_t end_ns = clock_now_ns() + (uint64_t)PATIENCE_MS * 1000000;

    for (uint32_t i = 0; i < count;) {
        if (asked[i].done_count) {
            i += 1;
            continue;
        }
        if (clock_now_ns() > end_ns) {
            fail_msg("%s: no answer", asked[i].url);
        }
        loop_poll(rig->loop, 100);
    }
}

void rig_until_count(struct rig *rig, const _Atomic uint32_t *number, uint32_t least)
{
    uint64_t end_ns = clock_now_ns() + (uint64_t)PATIENCE_MS * 1000000;

    while (*number < least) {
        if (clock_now_ns() > end_ns) {
            fail_msg("%u where %u are expected", (unsigned)*number, (unsigned)least);
        }
        loop_poll(rig->loop, 5);
    }
}

void ask(struct rig *rig, struct asked *asked, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    init(rig, asked, format, args);
    va_end(args);
    ask_begin(asked);
    rig_until(rig, asked, 1);
    assert_int_equal(asked->done_count, 1);
}

void said(const struct asked *asked, const char *body)
{
    if (asked->err || asked->status != 200) {
        fail_msg("%s: %d, %d, %s", asked->url, asked->err, asked->status, asked->why);
    }
    if (!span_equal(span_of(asked->body.data, asked->body.len), span_str(body))) {
        fail_msg("%s: \"%.*s\" is not \"%s\"", asked->url, (int)asked->body.len,
            (const char *)asked->body.data, body);
    }
}

void failed(const struct asked *asked, int err, const char *finding)
{
    if (asked->err != err) {
        fail_msg("%s: %d where %d is expected: %s", asked->url, asked->err, err, asked->why);
    }
    size_t len = strlen(asked->why), end = strlen(finding);
    if (len < end || strcmp(asked->why + len - end, finding) != 0) {
        fail_msg("\"%s\" does not say \"%s\"", asked->why, finding);
    }
    assert_int_equal(asked->status, 0);
    assert_int_equal(asked->body.len, 0);
}
