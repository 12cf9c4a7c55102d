#include "conn/report.h"

#include "base/log.h"
#include "conn/server.h"
#include "core/channel.h"
#include "rt/sock.h"

struct span report_channel(const struct client *client)
{
    return client->sub.subscription_count ? channel_name(client->sub.first.class->channel)
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

void report_slow(const struct conn_server *server, const struct client *client, bool dropping)
{
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
