#include "conn/report.h"

#include "base/log.h"
#include "conn/server.h"
#include "core/channel.h"
#include "rt/loop.h"
#include "rt/sock.h"

enum { INTERVAL_MS = 1000 };

struct span report_channel(const struct client *client)
{
    return client->sub.subscription_count ? channel_name(class_channel(client->sub.first.class))
                                          : span_of(NULL, 0);
}

void report_open(const struct conn_server *server, const struct client *client)
{
    if (log_enabled(LOG_DEBUG)) {
        char address[SOCK_NAME_MAX];
        sock_peer_name(client->sub.handle, address, sizeof(address));
        LOG(LOG_DEBUG, "conn.open", LOG_X("conn", conn_client_id(server, client)),
            LOG_S("address", address));
    }
}

static bool may_name(struct conn_server *server, struct log_burst *burst)
{
    return log_allow_burst(burst, loop_now_ms(server->loop), INTERVAL_MS, REPORT_BURST);
}

static void tell_more(
    struct conn_server *server, struct log_burst *burst, enum log_level level, const char *ev)
{
    uint64_t count = log_burst_over(burst, loop_now_ms(server->loop));

    if (count) {
        LOG(level, ev, LOG_U("count", count), LOG_U("shard", server->shard->index));
    }
}

void report_tick(struct conn_server *server)
{
    tell_more(server, &server->slow_burst, LOG_WARN, "conn.slow_more");
    tell_more(server, &server->recovered_burst, LOG_INFO, "conn.recovered_more");
    tell_more(server, &server->cut_burst, LOG_INFO, "conn.cut_more");
}

void report_slow(struct conn_server *server, const struct client *client, bool dropping)
{
    if (!may_name(server, dropping ? &server->slow_burst : &server->recovered_burst)) {
        return;
    }
    struct books books = subscriber_books(server->shard, &client->sub);
    struct span channel = report_channel(client);
    char address[SOCK_NAME_MAX];

    sock_peer_name(client->sub.handle, address, sizeof(address));
    LOG(dropping ? LOG_WARN : LOG_INFO, dropping ? "conn.slow" : "conn.recovered",
        LOG_X("conn", conn_client_id(server, client)), LOG_S("address", address),
        LOG_N("channel", channel.data, channel.len), LOG_U("queued", books.queued),
        LOG_U("dropped", books_dropped(&books)));
}

void report_cut(const struct conn_server *server, const struct client *client, const char *reason)
{
    struct span channel = report_channel(client);
    char address[SOCK_NAME_MAX];

    sock_peer_name(client->sub.handle, address, sizeof(address));
    LOG(LOG_INFO, "conn.cut", LOG_X("conn", conn_client_id(server, client)),
        LOG_S("address", address), LOG_N("channel", channel.data, channel.len),
        LOG_S("reason", reason));
}

void report_cut_slow(struct conn_server *server, const struct client *client)
{
    if (may_name(server, &server->cut_burst)) {
        report_cut(server, client, "slow, and the policy is disconnect");
    }
}
