/* The simulated world itself: what it promises, and that one seed is one world. */
#include "rt/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rt/clock.h"
#include "rt/fds.h"
#include "rt/loop.h"
#include "rt/mailbox.h"
#include "rt/resolve.h"
#include "rt/sock.h"
#include "rt/timer.h"
#include "tests/support/unit.h"

enum { KIND_LISTEN = 1, KIND_CONN = 2, KIND_MAIL = 3 };

static struct sim *enter(uint64_t seed)
{
    struct sim *sim = sim_create(seed);

    sim_enter(sim);
    return sim;
}

/* A world in which nothing odd happens: 1 ms one way, 1000 bytes a direction. */
static struct sim *enter_calm(void)
{
    struct sim *sim = enter(1);

    *sim_options(sim) = (struct sim_options){.latency_min_us = 1000,
        .latency_max_us = 1000,
        .window_min = 1000,
        .window_max = 1000,
        .fd_limit = 100};
    return sim;
}

static struct loop *new_loop(void)
{
    struct loop *loop = NULL;

    assert_int_equal(loop_create(&loop), 0);
    return loop;
}

static int listen_at(const char *address)
{
    struct sock_listen_options options = {.backlog = 100};
    int fd = -1;

    assert_int_equal(sock_listen(address, &options, &fd, NULL), 0);
    return fd;
}

/* ---- An echo server: accepts, and sends back what comes ---- */

enum { ECHO_CONNS = 64, ECHO_BUF = 3000 };

struct echo_conn {
    int fd; /* 0: free. */
    uint32_t generation;
    size_t len; /* Read and not yet sent. */
    uint8_t buf[ECHO_BUF];
    bool ended;
};

struct echo {
    struct loop *loop;
    int listen_fd;
    struct echo_conn conns[ECHO_CONNS];
    uint32_t open_count, late_count, blocked_count, turn_count;
    int last_error;
};

static void echo_close(struct echo *echo, struct echo_conn *conn)
{
    sock_close(conn->fd);
    conn->fd = 0;
    conn->generation += 1;
    echo->open_count -= 1;
}

static void echo_conn_ready(void *ctx, uint64_t id, uint32_t events)
{
    struct echo *echo = ctx;
    struct echo_conn *conn = &echo->conns[id & 0xff];

    (void)events;
    if (!conn->fd || conn->generation != id >> 8) {
        echo->late_count += 1;
        return;
    }
    for (;;) {
        bool moved = false;
        while (conn->len < ECHO_BUF && !conn->ended) {
            long n = sock_recv(conn->fd, conn->buf + conn->len, ECHO_BUF - conn->len);
            if (n == -EAGAIN) {
                break;
            }
            if (n < 0) {
                echo->last_error = (int)n;
                echo_close(echo, conn);
                return;
            }
            conn->ended = n == 0;
            conn->len += (size_t)n;
            moved = true;
        }
        while (conn->len) {
            long n = sock_send(conn->fd, conn->buf, conn->len);
            if (n == -EAGAIN) {
                echo->blocked_count += 1;
                break;
            }
            if (n < 0) {
                echo->last_error = (int)n;
                echo_close(echo, conn);
                return;
            }
            conn->len -= (size_t)n;
            memmove(conn->buf, conn->buf + n, conn->len);
            moved = true;
        }
        if (!moved) {
            break;
        }
    }
    if (conn->ended && !conn->len) {
        echo_close(echo, conn);
    }
}

static void echo_accept(void *ctx, uint64_t id, uint32_t events)
{
    struct echo *echo = ctx;
    int fd;

    (void)id;
    (void)events;
    while ((fd = sock_accept(echo->listen_fd)) >= 0) {
        uint32_t slot = 0;
        while (slot < ECHO_CONNS && echo->conns[slot].fd) {
            slot += 1;
        }
        assert_true(slot < ECHO_CONNS);
        struct echo_conn *conn = &echo->conns[slot];
        conn->fd = fd;
        conn->len = 0;
        conn->ended = false;
        echo->open_count += 1;
        assert_int_equal(loop_watch(echo->loop, fd, KIND_CONN, conn->generation << 8 | slot,
                             LOOP_WATCH_IN | LOOP_WATCH_OUT | LOOP_WATCH_EDGE),
            0);
    }
    assert_int_equal(fd, -EAGAIN);
}

static void echo_turn(void *ctx)
{
    struct echo *echo = ctx;

    echo->turn_count += 1;
    loop_poll(echo->loop, -1);
}

static struct echo *echo_start(const char *address)
{
    struct echo *echo = mem_zalloc(sizeof(*echo));

    echo->loop = new_loop();
    echo->listen_fd = listen_at(address);
    loop_handle(echo->loop, KIND_LISTEN, echo_accept, echo);
    loop_handle(echo->loop, KIND_CONN, echo_conn_ready, echo);
    assert_int_equal(loop_watch(echo->loop, echo->listen_fd, KIND_LISTEN, 0, LOOP_WATCH_IN), 0);
    sim_drive(echo->loop, echo_turn, echo);
    return echo;
}

static void echo_stop(struct echo *echo)
{
    loop_destroy(echo->loop);
    mem_free(echo);
}

/* ---- One seed, one world ---- */

enum { CLIENTS = 8, CLIENT_BYTES = 20000 };

static uint8_t byte_at(uint32_t client, size_t at)
{
    return (uint8_t)(at * 31 + at / 251 + client * 17);
}

/* Clients send, stall, and get back what they sent; returns the hash of all that happened. */
static uint64_t echo_world(uint64_t seed)
{
    struct sim *sim = enter(seed);
    struct echo *echo = echo_start(":8084");
    struct sim_client *clients[CLIENTS];
    size_t sent[CLIENTS] = {0}, got[CLIENTS] = {0};
    uint32_t done_count = 0;

    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = sim_client_connect(sim, "127.0.0.1:8084");
    }
    for (uint32_t steps = 0; done_count < CLIENTS; steps++) {
        assert_true(steps < 2000000);
        uint32_t i = (uint32_t)sim_random(sim, CLIENTS);
        if (sent[i] < CLIENT_BYTES && sim_client_unsent(clients[i]) == 0) {
            uint8_t buf[5000];
            size_t len = 1 + sim_random(sim, sizeof(buf));
            len = len < CLIENT_BYTES - sent[i] ? len : CLIENT_BYTES - sent[i];
            for (size_t k = 0; k < len; k++) {
                buf[k] = byte_at(i, sent[i] + k);
            }
            sim_client_send(clients[i], buf, len);
            sent[i] += len;
            if (sent[i] == CLIENT_BYTES) {
                sim_client_shutdown(clients[i]);
            }
        }
        if (sim_random(sim, 20) == 0) {
            sim_client_stall(clients[i], sim_random(sim, 2));
        }
        uint8_t buf[700];
        size_t n = sim_client_recv(clients[i], buf, sizeof(buf));
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(buf[k], byte_at(i, got[i]));
            got[i] += 1;
        }
        done_count += n && got[i] == CLIENT_BYTES;
        sim_step(sim);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_client_stall(clients[i], false);
    }
    sim_run_ms(sim, 60000);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(sim_client_state(clients[i]), SIM_CLIENT_ENDED);
    }
    assert_int_equal(echo->open_count, 0);
    uint64_t hash = sim_trace_hash(sim);
    echo_stop(echo);
    sim_destroy(sim);
    return hash;
}

static void every_byte_comes_back_in_order_in_a_hundred_worlds(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        echo_world(seed);
    }
}

static void the_same_seed_is_the_same_world(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1010; seed++) {
        uint64_t first = echo_world(seed);
        void *elsewhere = malloc(12345 + seed); /* Addresses differ; nothing else may. */
        uint64_t second = echo_world(seed);
        uint64_t other = echo_world(seed + 500);
        free(elsewhere);
        assert_true(first == second);
        assert_true(first != other);
    }
}

/* What is left when everything goes wrong: the bytes that come back are the first ones sent, in
 * order, and the server ends with no connection that nobody holds. */
static void chaos_world(uint64_t seed)
{
    struct sim *sim = enter(seed);
    struct echo *echo = echo_start("10.0.0.1:8084");
    struct sim_client *clients[CLIENTS] = {NULL};
    size_t sent[CLIENTS] = {0}, got[CLIENTS] = {0};

    sim_options(sim)->reset_ppm = (uint32_t)sim_random(sim, 20000);
    for (int step = 0; step < 20000; step++) {
        uint32_t i = (uint32_t)sim_random(sim, CLIENTS);
        uint8_t buf[2000];
        if (!clients[i]) {
            clients[i] = sim_client_connect(sim, "10.0.0.1:8084");
            sent[i] = got[i] = 0;
        }
        size_t len = sim_random(sim, sizeof(buf));
        switch (sim_random(sim, 400)) {
        case 0:
            sim_client_kill(clients[i]);
            break;
        case 1:
            sim_client_vanish(clients[i]);
            break;
        case 2:
            sim_client_shutdown(clients[i]);
            break;
        case 3:
            sim_client_free(clients[i]);
            clients[i] = NULL;
            break;
        case 4:
            sim_client_stall(clients[i], sim_random(sim, 2));
            break;
        case 5:
            sim_partition(sim, "10.0.0.1:8084", sim_random(sim, 4) == 0);
            break;
        case 6:
            sim_pause(echo->loop, sim_random(sim, 3000));
            break;
        default:
            if (sim_client_unsent(clients[i]) == 0) {
                for (size_t k = 0; k < len; k++) {
                    buf[k] = byte_at(i, sent[i] + k);
                }
                sim_client_send(clients[i], buf, len);
                sent[i] += len;
            }
            break;
        }
        size_t n = clients[i] ? sim_client_recv(clients[i], buf, sizeof(buf)) : 0;
        assert_true(got[i] + n <= sent[i]);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(buf[k], byte_at(i, got[i]++));
        }
        sim_step(sim);
    }
    sim_partition(sim, "10.0.0.1:8084", false);
    sim_options(sim)->reset_ppm = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_client_free(clients[i]);
    }
    /* Vanished peers with nothing under way to them are the heartbeat's to find; there is none. */
    sim_run_ms(sim, 2000000);
    assert_int_equal(sim_process_fd_count(sim, 0), 1 + echo->open_count);
    echo_stop(echo);
    sim_destroy(sim);
}

static void whatever_happens_the_bytes_are_the_first_ones_sent(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        chaos_world(seed);
    }
}

/* ---- Sockets ---- */

static void a_stalled_reader_blocks_the_sender_until_it_reads_again(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct echo *echo = echo_start(":1");
    struct sim_client *client = sim_client_connect(sim, "10.1.2.3:1");
    static uint8_t data[9000];

    sim_run_ms(sim, 10);
    assert_int_equal(sim_client_state(client), SIM_CLIENT_OPEN);
    sim_client_stall(client, true);
    sim_client_send(client, data, sizeof(data));
    sim_run_ms(sim, 1000);
    /* 1000 each way and the server's buffer hold some; the rest waits at the client. */
    assert_int_equal(sim_client_unsent(client), sizeof(data) - 1000 - 1000 - ECHO_BUF);
    assert_true(echo->blocked_count > 0);
    size_t len;
    sim_client_peek(client, &len);
    assert_int_equal(len, 0);
    sim_client_stall(client, false);
    sim_run_ms(sim, 1000);
    sim_client_peek(client, &len);
    assert_int_equal(len, sizeof(data));
    echo_stop(echo);
    sim_destroy(sim);
}

static void connecting_is_refused_without_a_listener_and_named_with_one(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    int fd = -1, refused_fd = -1;
    char name[SOCK_NAME_MAX];

    assert_int_equal(sock_connect("nowhere:1", NULL, &fd), -EINVAL);
    assert_int_equal(sock_connect("10.0.0.1:6379", NULL, &refused_fd), 0);
    assert_int_equal(sock_connect_result(refused_fd), -EAGAIN);
    int listen_fd = listen_at("10.0.0.1:7000");
    assert_int_equal(sock_connect("10.0.0.1:7000", "10.9.9.9", &fd), 0);
    assert_int_equal(sock_send(fd, "x", 1), -EAGAIN);
    sim_run_ms(sim, 10);
    assert_int_equal(sock_connect_result(refused_fd), -ECONNREFUSED);
    assert_int_equal(sock_connect_result(fd), 0);
    int far_fd = sock_accept(listen_fd);
    assert_true(far_fd > 0);
    sock_peer_name(far_fd, name, sizeof(name));
    assert_memory_equal(name, "10.9.9.9:", 9);
    sock_peer_name(fd, name, sizeof(name));
    assert_string_equal(name, "10.0.0.1:7000");
    assert_int_equal(sock_local_port(listen_fd), 7000);
    sim_destroy(sim);
}

static void an_address_is_taken_unless_all_share_it(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct sock_listen_options alone = {.backlog = 1}, shared = {.backlog = 1, .reuse_port = true};
    int fds[4];
    const char *why = NULL;

    assert_int_equal(sock_listen(":80", &alone, &fds[0], NULL), 0);
    assert_int_equal(sock_listen("127.0.0.1:80", &alone, &fds[1], &why), -EADDRINUSE);
    assert_string_equal(why, "bind");
    assert_int_equal(sock_listen(":81", &shared, &fds[1], NULL), 0);
    assert_int_equal(sock_listen(":81", &shared, &fds[2], NULL), 0);
    assert_int_equal(sock_listen(":81", &alone, &fds[3], NULL), -EADDRINUSE);
    assert_int_equal(sock_listen("unix:/s", &alone, &fds[3], NULL), 0);
    assert_int_equal(sock_listen("unix:/s", &alone, &fds[2], NULL), -EADDRINUSE);
    int any_fd;
    assert_int_equal(sock_listen("127.0.0.1:0", &alone, &any_fd, NULL), 0);
    assert_true(sock_local_port(any_fd) >= 40000);
    sim_destroy(sim);
}

static void ends_come_across_as_they_do_on_linux(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    int listen_fd = listen_at(":1");
    char buf[16];

    /* Half-close: the other direction goes on. */
    struct sim_client *client = sim_client_connect(sim, "127.0.0.1:1");
    sim_client_send(client, "question", 8);
    sim_client_shutdown(client);
    sim_run_ms(sim, 10);
    int fd = sock_accept(listen_fd);
    assert_int_equal(sock_recv(fd, buf, 5), 5);
    assert_int_equal(sock_recv(fd, buf, sizeof(buf)), 3);
    assert_int_equal(sock_recv(fd, buf, sizeof(buf)), 0);
    assert_int_equal(sock_send(fd, "answer", 6), 6);
    sock_shutdown_write(fd);
    assert_int_equal(sock_send(fd, "more", 4), -EPIPE);
    sim_run_ms(sim, 10);
    assert_int_equal(sim_client_state(client), SIM_CLIENT_ENDED);
    assert_int_equal(sim_client_recv(client, buf, sizeof(buf)), 6);
    sock_close(fd);

    /* Killed: what has arrived can be read, then the error, once. */
    client = sim_client_connect(sim, "127.0.0.1:1");
    sim_client_send(client, "abc", 3);
    sim_run_ms(sim, 10);
    fd = sock_accept(listen_fd);
    sim_client_kill(client);
    sim_run_ms(sim, 10);
    assert_int_equal(sock_recv(fd, buf, sizeof(buf)), 3);
    assert_int_equal(sock_recv(fd, buf, sizeof(buf)), -ECONNRESET);
    assert_int_equal(sock_recv(fd, buf, sizeof(buf)), 0);
    assert_int_equal(sock_send(fd, "x", 1), -EPIPE);
    sock_close(fd);

    /* Closed by us with input unread: our last words are lost. */
    client = sim_client_connect(sim, "127.0.0.1:1");
    sim_client_send(client, "unread", 6);
    sim_run_ms(sim, 10);
    fd = sock_accept(listen_fd);
    assert_int_equal(sock_send(fd, "goodbye", 7), 7);
    sock_close(fd);
    sim_run_ms(sim, 10);
    assert_int_equal(sim_client_state(client), SIM_CLIENT_RESET);
    assert_int_equal(sim_client_error(client), -ECONNRESET);
    assert_int_equal(sim_client_recv(client, buf, sizeof(buf)), 0);

    /* Closed by us with nothing unread: they arrive; what comes later is answered by a reset. */
    client = sim_client_connect(sim, "127.0.0.1:1");
    sim_run_ms(sim, 10);
    fd = sock_accept(listen_fd);
    assert_int_equal(sock_send(fd, "goodbye", 7), 7);
    sock_close(fd);
    sim_run_ms(sim, 10);
    assert_int_equal(sim_client_state(client), SIM_CLIENT_ENDED);
    assert_int_equal(sim_client_recv(client, buf, sizeof(buf)), 7);
    sim_client_send(client, "late", 4);
    sim_run_ms(sim, 10);
    assert_int_equal(sim_client_state(client), SIM_CLIENT_ENDED);
    assert_int_equal(sim_client_error(client), -ECONNRESET);
    sim_destroy(sim);
}

static void a_vanished_peer_is_noticed_by_the_user_timeout_only(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct sock_listen_options options = {.backlog = 10, .user_timeout_ms = 20000};
    int listen_fd;
    char buf[4];

    assert_int_equal(sock_listen(":1", &options, &listen_fd, NULL), 0);
    struct sim_client *client = sim_client_connect(sim, "127.0.0.1:1");
    sim_run_ms(sim, 10);
    int fd = sock_accept(listen_fd);
    sim_client_vanish(client);
    sim_run_ms(sim, 3600000);
    assert_int_equal(sock_recv(fd, buf, 4), -EAGAIN);
    assert_int_equal(sock_send(fd, "x", 1), 1);
    sim_run_ms(sim, 19000);
    assert_int_equal(sock_recv(fd, buf, 4), -EAGAIN);
    sim_run_ms(sim, 2000);
    assert_int_equal(sock_recv(fd, buf, 4), -ETIMEDOUT);
    sock_close(fd);
    sim_destroy(sim);
}

static void a_partition_holds_everything_back_until_it_is_mended(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct echo *echo = echo_start("10.0.0.1:1");
    struct sim_client *before = sim_client_connect(sim, "10.0.0.1:1");
    size_t len;

    sim_run_ms(sim, 10);
    sim_partition(sim, "10.0.0.1:1", true);
    struct sim_client *during = sim_client_connect(sim, "10.0.0.1:1");
    sim_client_send(before, "one", 3);
    sim_client_send(before, "two", 3);
    sim_run_ms(sim, 5000);
    assert_int_equal(sim_client_state(during), SIM_CLIENT_CONNECTING);
    sim_client_peek(before, &len);
    assert_int_equal(len, 0);
    sim_partition(sim, "10.0.0.1:1", false);
    sim_run_ms(sim, 5000);
    assert_int_equal(sim_client_state(during), SIM_CLIENT_OPEN);
    assert_memory_equal(sim_client_peek(before, &len), "onetwo", 6);
    assert_int_equal(len, 6);
    echo_stop(echo);
    sim_destroy(sim);
}

static void at_the_limit_of_descriptors_the_spare_one_helps(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    sim_options(sim)->fd_limit = 2;
    int listen_fd = listen_at(":1");
    struct fds_spare spare = {-1};

    fds_spare_hold(&spare);
    assert_true(spare.fd > 0);
    struct sim_client *client = sim_client_connect(sim, "127.0.0.1:1");
    sim_run_ms(sim, 10);
    assert_int_equal(sock_accept(listen_fd), -EMFILE);
    fds_spare_release(&spare);
    int fd = sock_accept(listen_fd);
    assert_true(fd > 0);
    sock_close(fd);
    fds_spare_hold(&spare);
    assert_int_equal(spare.fd, fd); /* The lowest number is given next. */
    sim_run_ms(sim, 10);
    assert_int_equal(sim_client_state(client), SIM_CLIENT_ENDED);
    assert_int_equal(sim_process_fd_count(sim, 0), 2);
    sim_destroy(sim);
}

/* ---- Loops ---- */

struct told {
    uint32_t count, events;
    uint64_t id;
    struct loop *loop;
    int close_fd;
};

static void note(void *ctx, uint64_t id, uint32_t events)
{
    struct told *told = ctx;

    told->count += 1;
    told->id = id;
    told->events = events;
    if (told->close_fd) {
        sock_close(told->close_fd);
        told->close_fd = 0;
    }
}

static void edges_are_told_once_levels_as_long_as_they_last(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct loop *loop = new_loop();
    int listen_fd = listen_at(":1");
    struct told edge = {0}, level = {0};
    char buf[8];

    loop_handle(loop, 1, note, &edge);
    loop_handle(loop, 2, note, &level);
    struct sim_client *a = sim_client_connect(sim, "127.0.0.1:1");
    struct sim_client *b = sim_client_connect(sim, "127.0.0.1:1");
    sim_run_ms(sim, 10);
    int a_fd = sock_accept(listen_fd), b_fd = sock_accept(listen_fd);
    assert_int_equal(
        loop_watch(loop, a_fd, 1, 1, LOOP_WATCH_IN | LOOP_WATCH_OUT | LOOP_WATCH_EDGE), 0);
    assert_int_equal(loop_watch(loop, b_fd, 2, 2, LOOP_WATCH_IN), 0);
    assert_int_equal(loop_poll(loop, -1), 1); /* Never waits; a can be written to. */
    assert_int_equal(edge.events, LOOP_OUT);
    sim_client_send(a, "x", 1);
    sim_client_send(b, "x", 1);
    sim_run_ms(sim, 10);
    assert_int_equal(loop_poll(loop, -1), 2);
    assert_int_equal(edge.events, LOOP_IN | LOOP_OUT);
    assert_int_equal(level.events, LOOP_IN);
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(level.count, 2);
    assert_int_equal(sock_recv(b_fd, buf, 8), 1);
    assert_int_equal(loop_poll(loop, -1), 0);
    sim_client_kill(b);
    sim_run_ms(sim, 10);
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(level.events, LOOP_IN | LOOP_HUP);
    loop_unwatch(loop, b_fd);
    assert_int_equal(loop_poll(loop, -1), 0);
    assert_int_equal(loop_rewatch(loop, a_fd, 1, 7, LOOP_WATCH_OUT), 0);
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(edge.id, 7);
    loop_destroy(loop);
    sim_destroy(sim);
}

static void an_event_may_come_late_for_what_an_earlier_call_closed(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct loop *loop = new_loop();
    int listen_fd = listen_at(":1");
    struct told a = {0}, b = {0};

    loop_handle(loop, 1, note, &a);
    loop_handle(loop, 2, note, &b);
    sim_client_free(sim_client_connect(sim, "127.0.0.1:1"));
    struct sim_client *clients[2];
    clients[0] = sim_client_connect(sim, "127.0.0.1:1");
    clients[1] = sim_client_connect(sim, "127.0.0.1:1");
    sim_run_ms(sim, 10);
    int a_fd = sock_accept(listen_fd), b_fd = sock_accept(listen_fd);
    a.close_fd = b_fd;
    b.close_fd = a_fd;
    assert_int_equal(loop_watch(loop, a_fd, 1, 1, LOOP_WATCH_IN), 0);
    assert_int_equal(loop_watch(loop, b_fd, 2, 2, LOOP_WATCH_IN), 0);
    sim_client_send(clients[0], "x", 1);
    sim_client_send(clients[1], "x", 1);
    sim_run_ms(sim, 10);
    /* Whoever is told first closes the other, which is told all the same; then closes us back. */
    assert_int_equal(loop_poll(loop, -1), 2);
    assert_int_equal(a.count + b.count, 2);
    loop_destroy(loop);
    sim_destroy(sim);
}

struct bell {
    struct loop *loop;
    struct timer timer;
    uint64_t rang_ms;
};

static void ring(struct timer *timer, void *ctx)
{
    struct bell *bell = ctx;

    (void)timer;
    bell->rang_ms = loop_now_ms(bell->loop);
}

static void poll_turn(void *ctx)
{
    loop_poll(ctx, -1);
}

static void time_jumps_to_the_next_timer_and_a_paused_loop_is_late(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct bell bell = {.loop = new_loop()};

    uint64_t start_ms = loop_now_ms(bell.loop);
    sim_drive(bell.loop, poll_turn, bell.loop);
    timer_start(bell.loop, &bell.timer, 86400000, ring, &bell);
    uint32_t step_count = 0;
    while (!bell.rang_ms) {
        assert_true(sim_step(sim));
        step_count += 1;
    }
    assert_true(step_count < 20);
    assert_true(bell.rang_ms - start_ms >= 86400000 && bell.rang_ms - start_ms <= 86400011);
    assert_false(sim_step(sim)); /* Nothing will ever happen by itself. */

    bell.rang_ms = 0;
    start_ms = loop_now_ms(bell.loop);
    timer_start(bell.loop, &bell.timer, 50, ring, &bell);
    sim_pause(bell.loop, 5000);
    sim_run_ms(sim, 10000);
    assert_true(bell.rang_ms - start_ms >= 5000);
    assert_int_equal(sim_now_ms(sim), (clock_now_ns() - 3600000000000ull) / 1000000);

    uint64_t wall_ns = clock_wall_ns();
    sim_wall_jump(sim, -60000);
    assert_int_equal(wall_ns - clock_wall_ns(), 60000000000ull);
    loop_destroy(bell.loop);
    sim_destroy(sim);
}

static void a_wake_up_gives_a_turn(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct echo *echo = echo_start(":1");

    sim_run_ms(sim, 100);
    assert_int_equal(echo->turn_count, 1);
    loop_wake(echo->loop);
    sim_run_ms(sim, 100);
    assert_int_equal(echo->turn_count, 2);
    echo_stop(echo);
    sim_destroy(sim);
}

/* ---- Mail ---- */

struct letter {
    struct mail mail;
    uint32_t number;
};

struct reader {
    struct loop *loop;
    struct mailbox *box;
    uint32_t next;
    uint32_t sleep_count;
};

static void reader_rung(void *ctx, uint64_t id, uint32_t events)
{
    struct reader *reader = ctx;

    (void)id;
    (void)events;
    mailbox_awake(reader->box);
}

static void reader_turn(void *ctx)
{
    struct reader *reader = ctx;
    bool may_wait = mailbox_sleep(reader->box);
    struct mail *mail;

    reader->sleep_count += may_wait;
    loop_poll(reader->loop, may_wait ? -1 : 0);
    mailbox_awake(reader->box);
    while ((mail = mailbox_take(reader->box))) {
        struct letter *letter = (struct letter *)mail;
        assert_int_equal(letter->number, reader->next);
        reader->next += 1;
        mem_free(letter);
    }
}

static void mail_arrives_in_order_though_senders_stop_half_way(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim *sim = enter(seed);
        sim_options(sim)->cut_ppm = 500000;
        struct reader reader = {.loop = new_loop()};
        assert_int_equal(mailbox_create(&reader.box), 0);
        loop_handle(reader.loop, KIND_MAIL, reader_rung, &reader);
        assert_int_equal(
            loop_watch(reader.loop, mailbox_wake_fd(reader.box), KIND_MAIL, 0, LOOP_WATCH_IN), 0);
        sim_drive(reader.loop, reader_turn, &reader);
        uint32_t sent = 0;
        for (int round = 0; round < 200; round++) {
            struct mail_chain chain = {0};
            for (uint64_t n = sim_random(sim, 4); n > 0; n--) {
                struct letter *letter = mem_zalloc(sizeof(*letter));
                letter->number = sent++;
                mail_chain_add(&chain, &letter->mail);
            }
            mailbox_post(reader.box, &chain);
            for (uint64_t n = sim_random(sim, 5); n > 0; n--) {
                sim_step(sim);
            }
        }
        sim_run_ms(sim, 1000);
        assert_int_equal(reader.next, sent);
        assert_true(reader.sleep_count > 0);
        mailbox_destroy(reader.box);
        loop_destroy(reader.loop);
        sim_destroy(sim);
    }
}

/* ---- Processes and names ---- */

static void a_killed_process_leaves_as_kill_9_does(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    sim_process(sim, 1);
    struct echo *echo = echo_start(":1");
    sim_process(sim, 0);
    struct sim_client *client = sim_client_connect(sim, "127.0.0.1:1");

    sim_run_ms(sim, 10);
    assert_int_equal(sim_client_state(client), SIM_CLIENT_OPEN);
    assert_int_equal(sim_process_fd_count(sim, 1), 2);
    sim_process_kill(sim, 1);
    assert_int_equal(sim_process_fd_count(sim, 1), 0);
    assert_int_equal(sock_accept(echo->listen_fd), -EBADF);
    uint32_t turn_count = echo->turn_count;
    sim_run_ms(sim, 10);
    assert_int_equal(echo->turn_count, turn_count);
    assert_int_equal(sim_client_state(client), SIM_CLIENT_ENDED);
    sim_process(sim, 2);
    struct echo *successor = echo_start(":1");
    sim_process(sim, 0);
    struct sim_client *again = sim_client_connect(sim, "127.0.0.1:1");
    sim_run_ms(sim, 10);
    assert_int_equal(sim_client_state(again), SIM_CLIENT_OPEN);
    echo_stop(echo);
    echo_stop(successor);
    sim_destroy(sim);
}

static void resolved(void *ctx, const char *const *addresses, size_t count, const char *why)
{
    snprintf(ctx, 128, "%s", count ? addresses[0] : why);
}

static void names_are_those_the_test_gives(void **state)
{
    (void)state;
    struct sim *sim = enter_calm();
    struct loop *loop = new_loop();
    struct resolve *resolve = NULL;
    char got[3][128] = {"", "", ""};

    sim_name(sim, "redis.example", "10.0.0.7");
    sim_drive(loop, poll_turn, loop);
    assert_int_equal(resolve_start(loop, 5, "redis.example:6379", resolved, got[0], &resolve), 0);
    assert_non_null(resolve);
    assert_int_equal(resolve_start(loop, 5, "other.example:1", resolved, got[1], &resolve), 0);
    assert_int_equal(resolve_start(loop, 5, "redis.example:1", resolved, got[2], &resolve), 0);
    resolve_cancel(resolve);
    assert_string_equal(got[0], "");
    sim_run_ms(sim, 100);
    assert_string_equal(got[0], "10.0.0.7:6379");
    assert_non_null(strstr(got[1], "other.example"));
    assert_string_equal(got[2], "");
    assert_int_equal(resolve_start(loop, 5, "[::1]:9", resolved, got[2], &resolve), 0);
    assert_null(resolve);
    assert_string_equal(got[2], "[::1]:9");
    loop_destroy(loop);
    sim_destroy(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_comes_back_in_order_in_a_hundred_worlds),
        cmocka_unit_test(the_same_seed_is_the_same_world),
        cmocka_unit_test(whatever_happens_the_bytes_are_the_first_ones_sent),
        cmocka_unit_test(a_stalled_reader_blocks_the_sender_until_it_reads_again),
        cmocka_unit_test(connecting_is_refused_without_a_listener_and_named_with_one),
        cmocka_unit_test(an_address_is_taken_unless_all_share_it),
        cmocka_unit_test(ends_come_across_as_they_do_on_linux),
        cmocka_unit_test(a_vanished_peer_is_noticed_by_the_user_timeout_only),
        cmocka_unit_test(a_partition_holds_everything_back_until_it_is_mended),
        cmocka_unit_test(at_the_limit_of_descriptors_the_spare_one_helps),
        cmocka_unit_test(edges_are_told_once_levels_as_long_as_they_last),
        cmocka_unit_test(an_event_may_come_late_for_what_an_earlier_call_closed),
        cmocka_unit_test(time_jumps_to_the_next_timer_and_a_paused_loop_is_late),
        cmocka_unit_test(a_wake_up_gives_a_turn),
        cmocka_unit_test(mail_arrives_in_order_though_senders_stop_half_way),
        cmocka_unit_test(a_killed_process_leaves_as_kill_9_does),
        cmocka_unit_test(names_are_those_the_test_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
