#include "role/listing_row.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "conn/server.h"
#include "core/channel.h"
#include "core/outbox.h"
#include "rt/sock.h"

static const char user_prefix[] = "user:";
enum { USER_PREFIX_LEN = sizeof(user_prefix) - 1 };

static const struct channel *find(struct shard *shard, struct span name)
{
    return channel_find(shard, shard_hash(shard, name), name);
}

struct listing_filter listing_filter_make(
    struct conn_server *server, const struct listing_query *query)
{
    struct listing_filter filter = {.query = query, .nobody = query->nobody};

    if (query->channel.len) {
        filter.channel = find(server->shard, span_of(query->channel.data, query->channel.len));
        filter.nobody = filter.nobody || !filter.channel;
    }
    if (query->user.len) {
        char name[USER_PREFIX_LEN + sizeof(query->user.data)];
        memcpy(name, user_prefix, USER_PREFIX_LEN);
        memcpy(name + USER_PREFIX_LEN, query->user.data, query->user.len);
        filter.user = find(server->shard, span_of(name, USER_PREFIX_LEN + query->user.len));
        filter.nobody = filter.nobody || !filter.user;
    }
    return filter;
}

static bool listens(const struct client *client, const struct channel *channel)
{
    for (uint32_t i = 0; i < client->sub.subscription_count; i++) {
        const struct class *class = subscriber_at((struct subscriber *)&client->sub, i)->class;
        if (class_channel(class) == channel) {
            return true;
        }
    }
    return false;
}

/* "127.0.0.1" finds every port of it, "127.0.0.1:4711" one; "::1" and "[::1]" are the same. */
static bool at_address(const struct client *client, const struct listing_text *want)
{
    struct span wanted = span_of(want->data, want->len);
    char name[SOCK_NAME_MAX];

    sock_peer_name(client->sub.handle, name, sizeof(name));
    struct span have = span_str(name);
    const char *colon = strrchr(name, ':');
    if (span_equal(have, wanted) || !colon) {
        return span_equal(have, wanted);
    }
    have.len = (size_t)(colon - name);
    if (span_equal(have, wanted)) {
        return true;
    }
    return have.len > 2 && name[0] == '[' &&
           span_equal(span_of(have.data + 1, have.len - 2), wanted);
}

bool listing_matches(const struct listing_filter *filter, const struct client *client)
{
    if (!client_transport(client) || client->state != CLIENT_OPEN || filter->nobody ||
        (client->sub.flags & SUB_DOOMED)) {
        return false;
    }
    if (filter->user && (client->kind != CLIENT_USER || !listens(client, filter->user))) {
        return false;
    }
    if (filter->channel && !listens(client, filter->channel)) {
        return false;
    }
    return !filter->query->address.len || at_address(client, &filter->query->address);
}

struct listing_place listing_place_of(
    const struct conn_server *server, const struct client *client, uint8_t sort)
{
    struct listing_place place = {.id = conn_client_id(server, client)};
    uint64_t dropped = 0;

    switch ((enum listing_sort)sort) {
    case LISTING_BY_ID:
        break;
    case LISTING_BY_QUEUED:
        place.rank = ~(uint64_t)(client->sub.outbox ? client->sub.outbox->message_bytes : 0);
        break;
    case LISTING_BY_DROPPED:
        for (int i = 0; client->sub.dropped && i < DROP_REASONS; i++) {
            dropped += client->sub.dropped[i];
        }
        place.rank = ~dropped;
        break;
    case LISTING_BY_AGE:
        place.rank = client->opened_tick;
        break;
    }
    return place;
}

static int append_channels(struct bytes *out, const struct client *client)
{
    int err = bytes_append_str(out, ",\"channels\":[");

    for (uint32_t i = 0; !err && i < client->sub.subscription_count; i++) {
        const struct class *class = subscriber_at((struct subscriber *)&client->sub, i)->class;
        err = i ? bytes_append_byte(out, ',') : 0;
        err = err ? err
                  : json_append_string(
                        out, class_channel(class)->name, class_channel(class)->name_len);
    }
    return err ? err : bytes_append_byte(out, ']');
}

static int append_user(struct bytes *out, const struct client *client)
{
    if (client->kind != CLIENT_USER || client->sub.subscription_count == 0) {
        return bytes_append_str(out, ",\"user\":null");
    }
    const struct channel *channel = class_channel(client->sub.first.class);
    int err = bytes_append_str(out, ",\"user\":");
    return err ? err
               : json_append_string(out, channel->name + USER_PREFIX_LEN,
                     (size_t)channel->name_len - USER_PREFIX_LEN);
}

static int append_books(struct bytes *out, const struct books *books)
{
    int err =
        bytes_appendf(out, ",\"accepted\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"dropped\":{",
            books->accepted, books->delivered);

    for (int i = 0; !err && i < DROP_REASONS; i++) {
        err = bytes_appendf(
            out, "%s\"%s\":%" PRIu64, i ? "," : "", drop_reason_names[i], books->dropped[i]);
    }
    return err ? err : bytes_append_str(out, "}}");
}

int listing_append_row(struct bytes *out, const struct conn_server *server,
    const struct client *client, int64_t boot_ms)
{
    struct books books = subscriber_books(server->shard, &client->sub);
    const struct outbox *box = client->sub.outbox;
    int64_t since_ms = boot_ms + (int64_t)client->opened_tick * CONN_TICK_MS;
    char address[SOCK_NAME_MAX];

    sock_peer_name(client->sub.handle, address, sizeof(address));
    int err = bytes_appendf(out, "{\"id\":\"%" PRIx64 "\"", conn_client_id(server, client));
    err = err ? err : append_user(out, client);
    err = err ? err : append_channels(out, client);
    err = err ? err
              : bytes_appendf(out,
                    ",\"transport\":\"%s\",\"address\":\"%s\",\"since\":%" PRId64
                    ",\"queued_messages\":%" PRIu64 ",\"queued_bytes\":%u",
                    client_transport(client), address, since_ms / 1000, books.queued,
                    box ? box->message_bytes : 0);
    return err ? err : append_books(out, &books);
}
