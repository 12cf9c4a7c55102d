#include "link/http_hosts.h"

#include <string.h>

#include "base/mem.h"

static bool host_equal(const struct table_item *item, const void *key)
{
    const struct http_host *host = (const struct http_host *)item;

    return span_equal(span_of(host->name, host->name_len), *(const struct span *)key);
}

struct http_host *http_hosts_get(struct http_hosts *hosts, struct span name)
{
    uint64_t hash = hash_bytes(&hosts->hash_key, name.data, name.len);
    struct http_host *host = (struct http_host *)table_find(&hosts->table, hash, host_equal, &name);

    if (host) {
        return host;
    }
    host = mem_try_zalloc(MEM_FLEX(struct http_host, name, name.len));
    if (!host) {
        return NULL;
    }
    host->item.hash = hash;
    host->last = &host->first;
    host->name_len = (uint32_t)name.len;
    memcpy(host->name, name.data, name.len);
    if (table_add(&hosts->table, &host->item) != 0) {
        mem_free(host);
        return NULL;
    }
    return host;
}

void http_host_push(struct http_host *host, struct http_waiting *waiting)
{
    waiting->next = NULL;
    waiting->link = host->last;
    *host->last = waiting;
    host->last = &waiting->next;
}

void http_host_pull(struct http_host *host, struct http_waiting *waiting)
{
    *waiting->link = waiting->next;
    if (waiting->next) {
        waiting->next->link = waiting->link;
    } else {
        host->last = waiting->link;
    }
    waiting->next = NULL;
    waiting->link = NULL;
}

/* A host that comes into the ring goes to its end, which is before the one whose turn is next. */
static void join(struct http_hosts *hosts, struct http_host *host)
{
    struct http_host *front = hosts->ring;

    if (!front) {
        host->next = host->prev = host;
        hosts->ring = host;
        return;
    }
    host->next = front;
    host->prev = front->prev;
    front->prev->next = host;
    front->prev = host;
}

static void leave(struct http_hosts *hosts, struct http_host *host)
{
    if (hosts->ring == host) {
        hosts->ring = host->next == host ? NULL : host->next;
    }
    host->prev->next = host->next;
    host->next->prev = host->prev;
    host->next = host->prev = NULL;
}

void http_hosts_update(struct http_hosts *hosts, struct http_host *host)
{
    bool ready = host->first && host->active < hosts->active_max;

    if (ready && !host->next) {
        join(hosts, host);
    } else if (!ready && host->next) {
        leave(hosts, host);
    }
    if (host->count == 0) {
        table_remove(&hosts->table, &host->item);
        mem_free(host);
    }
}

void http_hosts_turn(struct http_hosts *hosts)
{
    hosts->ring = hosts->ring->next;
}

struct http_host *http_hosts_any(const struct http_hosts *hosts)
{
    size_t cursor = 0;

    return (struct http_host *)table_next(&hosts->table, &cursor);
}

void http_hosts_fini(struct http_hosts *hosts)
{
    table_fini(&hosts->table);
}
