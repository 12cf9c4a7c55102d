#include "tests/unit/link/redis_fixture.h"
#include "tests/support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "rt/clock.h"
#include "rt/loop.h"

enum { SOCKET_KIND = 3, RESOLVE_KIND = 4, ARGS_MAX = 64 };

uint64_t now_ms(void)
{
    return clock_now_ns() / 1000000;
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

/* Runs a program with its output in a file of the server's folder; gives its pid. */
static pid_t spawn(const struct server *server, const char *const *argv)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* No server outlives its test. */
    int fd = open("/dev/null", O_RDWR);
    if (getppid() != parent || chdir(server->dir) != 0 || fd < 0) {
        _exit(127);
    }
    int log_fd = open("out.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 0);
    dup2(log_fd, 1);
    dup2(log_fd, 2);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static void run(const struct server *server, const char *program, const char *words)
{
    char text[512];
    const char *argv[ARGS_MAX] = {program};
    int argc = 1;
    int status = -1;

    snprintf(text, sizeof(text), "%s", words);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    pid_t pid = spawn(server, argv);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0) {
        fail_msg("%s %s: status %d, see %s/out.log", program, words, status, server->dir);
    }
}

static void write_file(const struct server *server, const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", server->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* An authority of our own and a certificate for "redis.test" and 127.0.0.1. */
static void make_certificates(const struct server *server)
{
    static const char openssl[] = "/usr/bin/openssl";

    write_file(server, "ext", "subjectAltName=DNS:redis.test,IP:127.0.0.1\n");
    run(server, openssl,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem "
        "-subj /CN=fanout-test-ca -days 2");
    run(server, openssl,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout redis.key -out redis.csr "
        "-subj /CN=redis.test");
    run(server, openssl,
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out "
        "redis.pem -days 2");
}

static bool try_control(struct server *server)
{
    struct timeval patience = {.tv_sec = 5};

    server->control = redisConnectUnixWithTimeout(server->unix_path, patience);
    if (server->control && !server->control->err) {
        redisSetTimeout(server->control, patience);
        redisReply *reply = redisCommand(server->control, "PING");
        bool fine = reply && reply->type != REDIS_REPLY_NIL;
        freeReplyObject(reply);
        if (fine) {
            return true;
        }
    }
    redisFree(server->control);
    server->control = NULL;
    return false;
}

void server_run_again(struct server *server, const char *const *extra)
{
    char port[8], tls_port[8];
    const char *argv[ARGS_MAX] = {"/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", port,
        "--unixsocket", server->unix_path, "--save", "", "--appendonly", "no", "--loglevel",
        "warning", "--daemonize", "no"};
    int argc = 15;

    snprintf(port, sizeof(port), "%u", server->port);
    snprintf(tls_port, sizeof(tls_port), "%u", server->tls_port);
    if (server->tls_port) {
        const char *const tls[] = {"--tls-port", tls_port, "--tls-cert-file", "redis.pem",
            "--tls-key-file", "redis.key", "--tls-ca-cert-file", "ca.pem", "--tls-auth-clients",
            "no"};
        for (size_t i = 0; i < COUNT_OF(tls); i++) {
            argv[argc++] = tls[i];
        }
    }
    for (size_t i = 0; extra && extra[i]; i++) {
        argv[argc++] = extra[i];
    }
    server->pid = spawn(server, argv);
    for (int i = 0; i < 200 && !try_control(server); i++) {
        usleep(25000);
    }
    if (!server->control) {
        fail_msg("redis-server does not start, see %s/out.log", server->dir);
    }
}

void server_start(struct server *server, const char *const *extra, bool tls)
{
    *server = (struct server){0};
    snprintf(server->dir, sizeof(server->dir), "/tmp/fanout-redis-XXXXXX");
    assert_non_null(mkdtemp(server->dir));
    snprintf(server->unix_path, sizeof(server->unix_path), "%s/redis.sock", server->dir);
    server->port = free_port();
    if (tls) {
        make_certificates(server);
        server->tls_port = free_port();
    }
    server_run_again(server, extra);
}

void server_kill(struct server *server, int signal_number)
{
    assert_int_equal(kill(server->pid, signal_number), 0);
    if (signal_number == SIGKILL) {
        waitpid(server->pid, NULL, 0);
        redisFree(server->control);
        server->control = NULL;
        server->pid = 0;
    }
}

void server_stop(struct server *server)
{
    char command[128];

    if (server->pid) {
        server_kill(server, SIGKILL);
    }
    snprintf(command, sizeof(command), "rm -rf %s", server->dir);
    assert_int_equal(system(command), 0);
}

struct redisReply *server_ask(
    struct server *server, int argc, const char **argv, const size_t *lens)
{
    redisReply *reply = redisCommandArgv(server->control, argc, argv, lens);

    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR) {
        fail_msg("%s: %s", argv[0], reply->str);
    }
    return reply;
}

long long server_do(struct server *server, const char *words)
{
    char text[512];
    const char *argv[ARGS_MAX];
    int argc = 0;

    snprintf(text, sizeof(text), "%s", words);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    redisReply *reply = server_ask(server, argc, argv, NULL);
    long long result = reply->type == REDIS_REPLY_INTEGER ? reply->integer
                       : reply->type == REDIS_REPLY_ARRAY ? (long long)reply->elements
                                                          : -1;
    freeReplyObject(reply);
    return result;
}

/* ---- The link ---- */

static void keep(struct bytes *b, struct span span)
{
    b->len = 0;
    assert_int_equal(bytes_append(b, span.data, span.len), 0);
}

static bool on_message(void *ctx, struct span channel, struct span payload)
{
    struct fixture *fixture = ctx;

    if (fixture->busy) {
        return false;
    }
    fixture->message_count += 1;
    keep(&fixture->channel, channel);
    keep(&fixture->payload, payload);
    if (payload.len < 64 && fixture->log.len < 65536) {
        assert_int_equal(bytes_appendf(&fixture->log, "%.*s=%.*s\n", (int)channel.len, channel.data,
                             (int)payload.len, payload.data),
            0);
    }
    return true;
}

static void on_state(void *ctx, enum redis_state state, const char *sentence)
{
    struct fixture *fixture = ctx;

    fixture->state = state;
    fixture->state_changes += 1;
    if (sentence[0]) {
        snprintf(fixture->sentence, sizeof(fixture->sentence), "%s", sentence);
    }
}

static void on_live(void *ctx, struct span channel)
{
    struct fixture *fixture = ctx;

    fixture->live_count += 1;
    assert_true(channel.len > 0);
}

static void on_published(void *ctx, uint64_t id, int err, int64_t receivers, const char *why)
{
    struct fixture *fixture = ctx;

    fixture->published_count += 1;
    fixture->published_id = id;
    fixture->published_err = err;
    fixture->published_receivers = receivers;
    snprintf(fixture->published_why, sizeof(fixture->published_why), "%s", why);
}

static void on_dropped(void *ctx, struct span channel, uint64_t count)
{
    struct fixture *fixture = ctx;

    assert_true(channel.len > 0);
    fixture->dropped_count += count;
}

struct redis_options server_options(const struct server *server)
{
    struct redis_options options = redis_options_default();

    options.host = "127.0.0.1";
    options.port = server->port;
    options.canary_interval_ms = 500;
    return options;
}

void fixture_start(struct fixture *fixture, const struct redis_options *options)
{
    char err[256] = "";

    *fixture = (struct fixture){.state = REDIS_DOWN};
    assert_int_equal(loop_create(&fixture->loop), 0);
    const struct redis_events events = {
        fixture, on_message, on_state, on_live, on_published, on_dropped};
    if (redis_link_create(fixture->loop, SOCKET_KIND, RESOLVE_KIND, options, &events,
            &fixture->link, err, sizeof(err)) != 0) {
        fail_msg("%s", err);
    }
    redis_link_start(fixture->link);
}

void fixture_stop(struct fixture *fixture)
{
    redis_link_destroy(fixture->link);
    loop_destroy(fixture->loop);
    bytes_fini(&fixture->channel);
    bytes_fini(&fixture->payload);
    bytes_fini(&fixture->log);
}

bool fixture_run(struct fixture *fixture, uint32_t timeout_ms, fixture_fn *until, void *arg)
{
    uint64_t end_ms = now_ms() + timeout_ms;
    bool more = false;

    while (!until(fixture, arg)) {
        if (now_ms() >= end_ms) {
            return false;
        }
        loop_poll(fixture->loop, more ? 0 : 20);
        more = redis_link_turn(fixture->link);
    }
    return true;
}

static bool never(struct fixture *fixture, void *arg)
{
    (void)fixture;
    (void)arg;
    return false;
}

void fixture_run_ms(struct fixture *fixture, uint32_t ms)
{
    fixture_run(fixture, ms, never, NULL);
}

static bool in_state(struct fixture *fixture, void *arg)
{
    return fixture->state == *(enum redis_state *)arg;
}

bool fixture_wait_state(struct fixture *fixture, enum redis_state state, uint32_t timeout_ms)
{
    return fixture_run(fixture, timeout_ms, in_state, &state);
}

struct count_reached {
    const uint64_t *count;
    uint64_t at_least;
};

static bool reached(struct fixture *fixture, void *arg)
{
    const struct count_reached *goal = arg;

    (void)fixture;
    return *goal->count >= goal->at_least;
}

bool fixture_wait_count(
    struct fixture *fixture, const uint64_t *count, uint64_t at_least, uint32_t timeout_ms)
{
    struct count_reached goal = {count, at_least};

    return fixture_run(fixture, timeout_ms, reached, &goal);
}
