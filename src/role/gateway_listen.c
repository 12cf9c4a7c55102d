#include "role/gateway_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "role/gateway.h"
#include "rt/sock.h"
#include "rt/thread.h"

static void address_text(const struct config_listen *listen, uint32_t port, char *out, size_t cap)
{
    if (listen->unix_path) {
        snprintf(out, cap, "unix:%s", listen->unix_path);
    } else if (listen->host && strchr(listen->host, ':')) {
        snprintf(out, cap, "[%s]:%u", listen->host, port);
    } else {
        snprintf(out, cap, "%s:%u", listen->host ? listen->host : "", port);
    }
}

void gateway_listen_text(const struct config *config, uint32_t port, char *out, size_t cap)
{
    size_t len = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < config->listen.count && len < cap; i++) {
        const struct config_listen *listen = &config->listen.items[i];
        char text[160];
        address_text(listen, listen->port ? listen->port : port, text, sizeof(text));
        len += (size_t)snprintf(out + len, cap - len, "%s%s", i ? ", " : "", text);
    }
}

static void deal(struct gateway_shard *gs, int fd, bool exclusive)
{
    gs->listeners[gs->listener_count] = fd;
    gs->exclusive[gs->listener_count++] = exclusive;
}

/* One socket for all shards: whoever is free takes the next connection. */
static int deal_to_all(struct gateway *gateway, int fd)
{
    bool many = gateway->shard_count > 1;

    deal(&gateway->shards[0], fd, many);
    for (uint16_t i = 1; i < gateway->shard_count; i++) {
        /* Each closes its own: another's number may be a client's by then. */
        int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (own < 0) {
            return -errno;
        }
        deal(&gateway->shards[i], own, many);
    }
    return 0;
}

static int fail(char *why, size_t cap, const char *address, const char *step, int err)
{
    if (err == -EADDRINUSE) {
        snprintf(why, cap,
            "cannot listen on %s: another program listens there already; stop it, or choose "
            "another address with --listen",
            address);
        return err;
    }
    snprintf(why, cap, "cannot listen on %s: %s%s%s", address, step ? step : "", step ? ": " : "",
        strerror(-err));
    return err;
}

/* With SO_REUSEPORT a second gateway on the same port would silently share it: the first socket is
 * opened without, so that a port in use is an error, and then once more with. */
static int open_tcp(struct gateway *gateway, const struct config_listen *listen,
    const struct sock_listen_options *options, char *why, size_t why_cap)
{
    struct sock_listen_options alone = *options, shared = *options;
    bool many = gateway->shard_count > 1;
    uint32_t port = listen->port;
    const char *step = NULL;
    char address[160];
    int fd;

    alone.reuse_port = false;
    shared.reuse_port = true;
    address_text(listen, port, address, sizeof(address));
    int err = sock_listen(address, &alone, &fd, &step);
    if (err) {
        return fail(why, why_cap, address, step, err);
    }
    port = sock_local_port(fd);
    gateway->port = gateway->port ? gateway->port : port;
    if (!many) {
        deal(&gateway->shards[0], fd, false);
        return 0;
    }
    sock_close(fd);
    address_text(listen, port, address, sizeof(address));
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        err = sock_listen(address, &shared, &fd, &step);
        if (err) {
            return fail(why, why_cap, address, step, err);
        }
        deal(&gateway->shards[i], fd, false);
    }
    return 0;
}

static int open_unix(struct gateway *gateway, const struct config_listen *listen,
    const struct sock_listen_options *options, char *why, size_t why_cap)
{
    const char *step = NULL;
    char address[160];
    int fd;

    address_text(listen, 0, address, sizeof(address));
    int err = sock_listen(address, options, &fd, &step);
    if (err) {
        return fail(why, why_cap, address, step, err);
    }
    gateway->unix_bound = true;
    err = deal_to_all(gateway, fd);
    return err ? fail(why, why_cap, address, "dup", err) : 0;
}

void gateway_unlisten(struct gateway *gateway)
{
    const struct config *config = gateway->snapshot->config;

    for (uint32_t i = 0; gateway->unix_bound && i < config->listen.count; i++) {
        if (config->listen.items[i].unix_path) {
            unlink(config->listen.items[i].unix_path);
        }
    }
    gateway->unix_bound = false;
}

/* The kernel cuts a longer backlog silently, and then drops handshakes of a reconnect storm. */
static void warn_backlog(uint32_t wanted)
{
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "r");
    unsigned limit = 0;

    if (file) {
        if (fscanf(file, "%u", &limit) == 1 && limit < wanted) {
            LOG(LOG_WARN, "listen.backlog", LOG_U("wanted", wanted),
                LOG_U("net.core.somaxconn", limit));
        }
        fclose(file);
    }
}

int gateway_listen(struct gateway *gateway, char *why, size_t why_cap)
{
    const struct config *config = gateway->snapshot->config;
    int handed[GATEWAY_LISTENERS_MAX];
    uint32_t count = notify_listen_fds(handed, GATEWAY_LISTENERS_MAX);
    const struct sock_listen_options options = {
        .backlog = (int)config->tcp.backlog,
        .notsent_lowat = (uint32_t)config->tcp.notsent_lowat_bytes,
        .user_timeout_ms = (uint32_t)config->tcp.user_timeout_ms,
        .defer_accept_s = (uint32_t)((config->tcp.defer_accept_ms + 999) / 1000),
    };

    for (uint32_t i = 0; i < count; i++) {
        int err = sock_adopt(handed[i], &options);
        err = err ? err : deal_to_all(gateway, handed[i]);
        if (err) {
            return fail(why, why_cap, "a socket of the service manager", NULL, err);
        }
        gateway->port = gateway->port ? gateway->port : sock_local_port(handed[i]);
    }
    if (count) {
        return 0; /* Socket activation: the service manager decides where. */
    }
    if (config->listen.count > GATEWAY_LISTENERS_MAX) {
        snprintf(why, why_cap, "listen: at most %d addresses", GATEWAY_LISTENERS_MAX);
        return -EINVAL;
    }
    warn_backlog(config->tcp.backlog);
    for (uint32_t i = 0; i < config->listen.count; i++) {
        const struct config_listen *listen = &config->listen.items[i];
        int err = listen->unix_path ? open_unix(gateway, listen, &options, why, why_cap)
                                    : open_tcp(gateway, listen, &options, why, why_cap);
        if (err) {
            return err;
        }
    }
    return 0;
}
