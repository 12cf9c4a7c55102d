/* The hot loop: one span to each subscriber of a slice, one send() each.
 *
 * Nothing here allocates, takes a reference or touches an atomic as long as clients keep up; whoever
 * does not is handed to the core's outbox.
 */
#include <string.h>

#include "conn/poll.h"
#include "conn/server.h"
#include "rt/clock.h"
#include "rt/sock.h"

enum { PREFETCH_AHEAD = 8 };

static inline void deliver_one(struct conn_server *server, struct slice *slice, struct entry *entry)
{
    struct batch *batch = slice->batch;
    struct subscriber *sub = slab_at(&server->clients, entry->slot);
    uint32_t first = slice_first(batch, entry);
    uint32_t count = batch->count - first;

    if (UNLIKELY(count == 0)) {
        return;
    }
    slice->taken += count;
    if (UNLIKELY(!(sub->flags & SUB_DIRECT))) {
        shard_deliver_queued(server->shard, sub, batch, first);
        return;
    }
    uint32_t start = batch_start(batch, first);
    long want = (long)(batch->data.len - start);
    long sent = sock_send(sub->handle, batch->data.data + start, (size_t)want);
    if (LIKELY(sent == want)) {
        sub->delivered += count;
        slice->bytes += (uint64_t)sent;
        if (LIKELY(first == 0)) {
            slice->whole += 1;
        } else {
            slice->delivered += count;
            shard_count_latency(server->shard, batch, first, count);
        }
        return;
    }
    slice->bytes += sent > 0 ? (uint64_t)sent : 0;
    shard_deliver_partial(server->shard, sub, batch, first, sent, slice);
}

void conn_deliver(void *ctx, struct slice *slice)
{
    struct conn_server *server = ctx;

    for (uint32_t i = 0; i < slice->count; i++) {
        if (i + PREFETCH_AHEAD < slice->count) {
            __builtin_prefetch(
                slab_at(&server->clients, slice->entries[i + PREFETCH_AHEAD].slot), 1);
        }
        deliver_one(server, slice, &slice->entries[i]);
    }
    server->shard->stats.spans += slice->count;
    server->stats.bytes_out += slice->bytes;
    slice->delivered += slice->whole * slice->batch->count;
    slice->now_ns = clock_now_ns();
}

/* Small pieces are copied side by side and sent at once: writev of two pieces costs more than the
 * copy. */
long conn_write(void *ctx, struct subscriber *sub, const struct iovec *iov, int count)
{
    struct conn_server *server = ctx;
    size_t total = 0;
    long sent;

    if (UNLIKELY(client_of(sub)->protocol == CLIENT_POLL)) {
        return poll_capture(client_of(sub), iov, count);
    }
    for (int i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    if (count == 1) {
        sent = sock_send(sub->handle, iov[0].iov_base, iov[0].iov_len);
    } else if (total <= CONN_CORK_BYTES) {
        size_t at = 0;
        for (int i = 0; i < count; i++) {
            memcpy(server->cork + at, iov[i].iov_base, iov[i].iov_len);
            at += iov[i].iov_len;
        }
        sent = sock_send(sub->handle, server->cork, total);
    } else {
        sent = sock_sendv(sub->handle, iov, count);
    }
    if (sent > 0) {
        server->stats.bytes_out += (uint64_t)sent;
        if (UNLIKELY(client_of(sub)->flags & CLIENT_HELD)) {
            client_read_again(server, client_of(sub)); /* There may be room now. */
        }
    }
    return sent;
}
