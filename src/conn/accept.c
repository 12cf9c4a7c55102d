/* Accepting, up to the limit and past it: one too many is told so, and nothing spins. */
#include "conn/server.h"

#include <errno.h>
#include <string.h>

#include "rt/loop.h"
#include "rt/sock.h"

enum {
    ACCEPT_A_TURN =
        16, /* What each leaves for the end of the turn adds up: with 64 it took 20 KiB. */
    REFUSING_MAX = 32, /* Clients kept for a moment only to hear their 503. */
};

static const char refusal[] = "HTTP/1.1 503 Service Unavailable\r\n"
                              "Content-Type: application/json\r\nRetry-After: 1\r\n"
                              "Connection: close\r\nContent-Length: 81\r\n\r\n"
                              "{\"error\":{\"code\":\"full\",\"message\":\"the connection limit "
                              "is reached, try later\"}}\n";

void client_refuse(struct conn_server *server, struct client *client)
{
    if (client_write(server, client, refusal, sizeof(refusal) - 1)) {
        client_finish(server, client);
    }
}

/* Whole, so that nobody holds the place by a slow one. */
bool client_probes(struct span request)
{
    static const char *const paths[] = {"/health", "/healthz", "/ready", "/metrics"};
    struct span start = span_str("GET ");

    if (request.len < start.len + 4 || memcmp(request.data, start.data, start.len) != 0 ||
        memcmp(request.data + request.len - 4, "\r\n\r\n", 4) != 0) {
        return false;
    }
    const uint8_t *path = request.data + start.len;
    const uint8_t *end = memchr(path, ' ', request.len - start.len);
    for (size_t i = 0; end && i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (span_equal(span_of(path, (size_t)(end - path)), span_str(paths[i]))) {
            return true;
        }
    }
    return false;
}

static void refuse_at_once(struct conn_server *server, int fd)
{
    server->stats.refused += 1;
    if (sock_send(fd, refusal, sizeof(refusal) - 1) < 0) {
        /* It will see a closed connection instead. */
    }
    sock_shutdown_write(fd);
    sock_close(fd);
}

static void welcome(struct conn_server *server, int fd)
{
    bool room = gauge_try_add(server->gauge, server->options.connections_max);

    if (!room && server->refusing >= REFUSING_MAX) {
        refuse_at_once(server, fd);
        return;
    }
    struct client *client = client_open(server, fd);
    if (!client) {
        if (room) {
            gauge_sub(server->gauge);
        }
        refuse_at_once(server, fd);
        return;
    }
    if (room) {
        client->flags |= CLIENT_COUNTED;
        server->stats.accepted += 1;
        client_set_greeting(server, client);
    } else {
        client->state = CLIENT_REFUSED;
        server->refusing += 1;
        server->stats.refused += 1;
        client_set_deadline(server, client);
    }
    /* Mostly its request is there: what reading it takes is free again before the next one comes. */
    client_read_first(server, client);
}

/* Out of descriptors: the spare one takes the next connection, which is told and closed. */
static bool accept_with_spare(struct conn_server *server, int listener)
{
    fds_spare_release(&server->spare);
    int fd = sock_accept(listener);
    if (fd >= 0) {
        refuse_at_once(server, fd);
    }
    fds_spare_hold(&server->spare);
    return fd >= 0;
}

void conn_listener_event(void *ctx, uint64_t id, uint32_t events)
{
    struct conn_server *server = ctx;
    int listener = server->listeners[id];

    (void)events;
    shard_begin_turn(server->shard, loop_now_ns(server->loop));
    for (int i = 0; i < ACCEPT_A_TURN && server->listening; i++) {
        int fd = sock_accept(listener);
        if (fd >= 0) {
            welcome(server, fd);
        } else if (fd == -EMFILE || fd == -ENFILE) {
            if (!accept_with_spare(server, listener)) {
                return;
            }
        } else if (fd != -ECONNABORTED) {
            return;
        }
    }
}

int conn_server_listen(struct conn_server *server, int fd, bool exclusive)
{
    if (server->listener_count == CONN_LISTENERS_MAX) {
        return -ENOSPC;
    }
    server->listeners[server->listener_count] = fd;
    server->listening = true;
    return loop_watch(server->loop, fd, server->options.loop_kind_listener,
        server->listener_count++, LOOP_WATCH_IN | (exclusive ? LOOP_WATCH_EXCLUSIVE : 0));
}

uint32_t conn_server_unlisten(struct conn_server *server, int *fds)
{
    uint32_t count = server->listener_count;

    for (uint32_t i = 0; i < count; i++) {
        fds[i] = server->listeners[i];
        loop_unwatch(server->loop, fds[i]);
    }
    server->listener_count = 0;
    server->listening = false;
    return count;
}
