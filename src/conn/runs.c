#include "conn/runs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "conn/server.h"
#include "core/filter.h"
#include "core/run_index.h"
#include "proto/url.h"

enum {
    PAGE_EVENTS = 1000,
    PAGE_BYTES = 1024 * 1024,
    RUNS_BYTES_MAX = 32 * 1024 * 1024, /* Of a shard's runs, those just asked for excepted. */
    ETAG_MAX = RUN_ID_MAX + 24,
};

struct waiter {
    struct waiter *next;
    uint64_t peer;
    uint32_t since, limit; /* Events to leave out, and to give at most. */
    char if_none_match[ETAG_MAX];
};

/* A run as text. */
struct polled_run {
    uint64_t hash; /* First: this is a struct table_item. Of the channel's name. */
    struct polled_run *newer, *older;
    struct waiter *waiters;
    struct bytes events; /* With commas between them. */
    uint32_t *ends;      /* Where each event ends in `events`. */
    uint32_t count, cap;
    struct cursor cursor; /* What of its history is in here. */
    bool known;           /* cursor says something. */
    bool asking;
    const char *status;
    uint16_t name_len;
    char name[]; /* run:{id} */
};

struct run_request {
    uint64_t hash; /* First: this is a struct table_item. The id, spread. */
    uint64_t id;
    struct polled_run *run;
};

enum { PREFIX = 4 }; /* "run:" */

static struct span id_of(const struct polled_run *run)
{
    return span_of(run->name + PREFIX, run->name_len - PREFIX);
}

/* ---- the kept ones ---- */

static bool run_equal(const struct table_item *item, const void *key)
{
    const struct polled_run *run = (const struct polled_run *)item;
    return span_equal(span_of(run->name, run->name_len), *(const struct span *)key);
}

static void unlink_run(struct runs *runs, struct polled_run *run)
{
    *(run->older ? &run->older->newer : &runs->oldest) = run->newer;
    *(run->newer ? &run->newer->older : &runs->newest) = run->older;
}

static void link_newest(struct runs *runs, struct polled_run *run)
{
    run->older = runs->newest;
    run->newer = NULL;
    *(runs->newest ? &runs->newest->newer : &runs->oldest) = run;
    runs->newest = run;
}

static void forget_events(struct runs *runs, struct polled_run *run)
{
    runs->bytes -= run->events.cap + run->cap * sizeof(run->ends[0]);
    bytes_fini(&run->events);
    mem_free(run->ends);
    run->ends = NULL;
    run->count = run->cap = 0;
    run->known = false;
    run->status = "running";
}

static void run_free(struct runs *runs, struct polled_run *run)
{
    forget_events(runs, run);
    unlink_run(runs, run);
    table_remove(&runs->by_id, (struct table_item *)run);
    while (run->waiters) {
        struct waiter *waiter = run->waiters;
        run->waiters = waiter->next;
        mem_free(waiter);
    }
    mem_free(run);
}

static struct polled_run *run_get(struct conn_server *server, struct span name)
{
    struct runs *runs = &server->runs;
    uint64_t hash = shard_hash(server->shard, name);
    struct polled_run *run = (struct polled_run *)table_find(&runs->by_id, hash, run_equal, &name);

    if (run) {
        unlink_run(runs, run);
        link_newest(runs, run);
        return run;
    }
    run = mem_try_zalloc(sizeof(*run) + name.len);
    if (!run) {
        return NULL;
    }
    run->hash = hash;
    run->status = "running";
    run->name_len = (uint16_t)name.len;
    memcpy(run->name, name.data, name.len);
    if (table_add(&runs->by_id, (struct table_item *)run) != 0) {
        mem_free(run);
        return NULL;
    }
    link_newest(runs, run);
    return run;
}

static void keep_budget(struct runs *runs)
{
    struct polled_run *run = runs->oldest;

    while (run && runs->bytes > RUNS_BYTES_MAX) {
        struct polled_run *newer = run->newer;
        if (!run->waiters && !run->asking) {
            run_free(runs, run);
        }
        run = newer;
    }
}

/* ---- events ---- */

static const char *status_after(struct conn_server *server, const char *status, struct span payload)
{
    static const struct {
        const char *type, *status;
    } terminal[] = {
        {"workflow_completed", "completed"},
        {"workflow_failed", "failed"},
        {"workflow_cancelled", "cancelled"},
    };
    struct span type = filter_type(payload, &server->text);

    for (size_t i = 0; i < COUNT_OF(terminal); i++) {
        if (span_equal(type, span_str(terminal[i].type))) {
            return terminal[i].status;
        }
    }
    return status;
}

/* Returns 0 or -ENOMEM (nothing changed). */
static int add_event(struct conn_server *server, struct polled_run *run, struct span payload)
{
    struct runs *runs = &server->runs;
    size_t before = run->events.len, cap_before = run->events.cap;

    if (run->count == run->cap) {
        uint32_t cap = run->cap ? run->cap * 2 : 16;
        uint32_t *ends = mem_try_realloc(run->ends, cap * sizeof(*ends));
        if (!ends) {
            return -ENOMEM;
        }
        runs->bytes += (cap - run->cap) * sizeof(*ends);
        run->ends = ends;
        run->cap = cap;
    }
    int err = before ? bytes_append_byte(&run->events, ',') : 0;
    err = err ? err : bytes_append(&run->events, payload.data, payload.len);
    runs->bytes += run->events.cap - cap_before;
    if (err) {
        run->events.len = before;
        return err;
    }
    run->ends[run->count++] = (uint32_t)run->events.len;
    run->status = status_after(server, run->status, payload);
    return 0;
}

/* ---- answering ---- */

/* The text of events [first, last). */
static struct span events_span(const struct polled_run *run, uint32_t first, uint32_t last)
{
    if (first >= last) {
        return span_of(NULL, 0);
    }
    uint32_t start = first ? run->ends[first - 1] + 1 : 0; /* Behind the comma. */
    return span_of(run->events.data + start, run->ends[last - 1] - start);
}

static int append_body(struct bytes *out, const struct polled_run *run, const struct waiter *waiter)
{
    uint32_t first = waiter->since < run->count ? waiter->since : run->count;
    uint32_t last = run->count - first > waiter->limit ? first + waiter->limit : run->count;
    struct span id = id_of(run), events = events_span(run, first, last);

    out->len = 0;
    int err = bytes_append_str(out, "{\"run_id\":");
    err = err ? err : json_append_string(out, id.data, id.len);
    err = err ? err : bytes_append_str(out, ",\"events\":[");
    err = err || !events.len ? err : bytes_append(out, events.data, events.len);
    return err ? err : bytes_appendf(out, "],\"status\":\"%s\"}\n", run->status);
}

/* `W/` and lists are understood as far as a client repeats what it was given. */
static bool tag_matches(const char *wanted, const char *etag)
{
    return wanted[0] && (strcmp(wanted, "*") == 0 || strstr(wanted, etag));
}

static void answer(
    struct conn_server *server, const struct polled_run *run, const struct waiter *waiter)
{
    struct client *client = conn_client_find(server, waiter->peer);
    struct http_exchange *x =
        client && client->session ? http_session_exchange(client->session) : NULL;
    char etag[ETAG_MAX];
    struct bytes *out = &server->text;

    if (!x) {
        return;
    }
    if (run->count == 0) {
        http_reply_error(x, 404, "not_found", "no event of this run is known here");
        return;
    }
    struct span id = id_of(run);
    snprintf(etag, sizeof(etag), "\"%.*s-%u\"", (int)id.len, (const char *)id.data, run->count);
    const struct http_header headers[] = {
        {span_str("ETag"), span_str(etag)},
        {span_str("Cache-Control"), span_str("no-cache")},
    };
    if (tag_matches(waiter->if_none_match, etag)) {
        http_reply_with(x, 304, NULL, headers, COUNT_OF(headers), NULL, 0);
    } else if (append_body(out, run, waiter) != 0) {
        http_reply_error(x, 503, "no_memory", "no memory for the answer");
    } else {
        http_reply_with(
            x, 200, "application/json", headers, COUNT_OF(headers), out->data, out->len);
    }
}

/* Replying may bring the next request of a pipeline: the list is ours alone. */
static void answer_all(struct conn_server *server, struct polled_run *run, int err)
{
    struct waiter *waiter = run->waiters;

    run->waiters = NULL;
    while (waiter) {
        struct waiter *next = waiter->next;
        struct client *client = err ? conn_client_find(server, waiter->peer) : NULL;
        if (client && client->session && http_session_exchange(client->session)) {
            http_reply_error(http_session_exchange(client->session), 503, "no_memory",
                "the run's events could not be read; try again");
        } else if (!err) {
            answer(server, run, waiter);
        }
        mem_free(waiter);
        waiter = next;
    }
    if (run->count == 0 && !run->waiters) {
        run_free(&server->runs, run);
    }
    keep_budget(&server->runs);
}

/* ---- asking home ---- */

static bool request_equal(const struct table_item *item, const void *key)
{
    return ((const struct run_request *)item)->id == *(const uint64_t *)key;
}

static uint64_t spread(uint64_t id)
{
    return id * 0x9e3779b97f4a7c15ull;
}

static void ask(struct conn_server *server, struct polled_run *run)
{
    struct run_request *request = mem_try_zalloc(sizeof(*request));
    struct since since = {.kind = run->known ? SINCE_CURSOR : SINCE_BEGIN, .cursor = run->cursor};
    struct span name = span_of(run->name, run->name_len);
    uint64_t id;

    if (!request || shard_history(server->shard, name, since, PAGE_EVENTS, PAGE_BYTES, &id) != 0) {
        mem_free(request);
        answer_all(server, run, -ENOMEM);
        return;
    }
    *request = (struct run_request){.hash = spread(id), .id = id, .run = run};
    if (table_add(&server->runs.by_request, (struct table_item *)request) != 0) {
        check_failed("there is memory for a table", __FILE__, __LINE__);
    }
    run->asking = true;
}

static int take_page(
    struct conn_server *server, struct polled_run *run, const struct mail_subscribe *page)
{
    int err = 0;

    for (uint32_t i = 0; !err && i < page->replay_count; i++) {
        err = add_event(server, run, publication_payload(page->replay[i]));
    }
    if (err) {
        forget_events(&server->runs, run);
        return err;
    }
    run->cursor = page->cursor;
    run->known = true;
    return 0;
}

bool runs_answered(struct conn_server *server, const struct mail_subscribe *answer)
{
    uint64_t id = answer->request_id;
    struct run_request *request =
        (struct run_request *)table_find(&server->runs.by_request, spread(id), request_equal, &id);

    if (!request) {
        return false;
    }
    struct polled_run *run = request->run;
    table_remove(&server->runs.by_request, (struct table_item *)request);
    mem_free(request);
    run->asking = false;
    bool reset = answer->state == SUBSCRIBE_RESET;
    if (reset && run->known) {
        forget_events(&server->runs, run); /* Its history began anew: from the beginning. */
        ask(server, run);
        return true;
    }
    int err = answer->failed || reset ? -EIO : take_page(server, run, answer);
    if (!err && answer->more) {
        ask(server, run);
    } else {
        answer_all(server, run, err);
    }
    return true;
}

/* ---- GET /api/v1/runs/{id}/events ---- */

static bool read_number(struct http_exchange *x, const char *name, uint32_t preset, uint32_t *ret)
{
    struct bytes text = {0};
    int64_t number = preset;
    int got = http_query(x, name, &text);
    bool good = got == 0 || (got == 1 && json_int64(span_of(text.data, text.len), &number) == 0 &&
                                number >= 0 && number <= UINT32_MAX);

    bytes_fini(&text);
    *ret = (uint32_t)number;
    return good;
}

static struct waiter *waiter_new(struct http_exchange *x, uint32_t since, uint32_t limit)
{
    struct waiter *waiter = mem_try_zalloc(sizeof(*waiter));
    struct span tag = http_request_header(x->request, "If-None-Match");

    if (!waiter) {
        return NULL;
    }
    waiter->peer = x->peer;
    waiter->since = since;
    waiter->limit = limit;
    if (tag.len < sizeof(waiter->if_none_match)) {
        memcpy(waiter->if_none_match, tag.len ? tag.data : (const uint8_t *)"", tag.len);
    }
    return waiter;
}

static void begin(struct conn_server *server, struct http_exchange *x, struct span name,
    uint32_t since, uint32_t limit)
{
    struct polled_run *run = run_get(server, name);
    struct waiter *waiter = run ? waiter_new(x, since, limit) : NULL;

    if (!waiter) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
        return;
    }
    waiter->next = run->waiters;
    run->waiters = waiter;
    if (!run->asking) {
        ask(server, run);
    }
}

void runs_handler(struct http_exchange *x)
{
    struct bytes name = {0};
    uint32_t since, limit;
    int err = bytes_append_str(&name, "run:");

    err = err ? err : url_decode_path(&name, x->params[0]);
    if (err && err != -EBADMSG) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    } else if (err || !run_id_check(span_of(name.data + PREFIX, name.len - PREFIX))) {
        http_reply_error(x, 404, "not_found", "this is no run's id");
    } else if (!read_number(x, "since", 0, &since)) {
        http_reply_error(
            x, 400, "bad_query", "since: the number of events already seen is expected");
    } else if (!read_number(x, "limit", UINT32_MAX, &limit)) {
        http_reply_error(x, 400, "bad_query", "limit: a number is expected");
    } else {
        begin(x->app, x, span_of(name.data, name.len), since, limit);
    }
    bytes_fini(&name);
}

void runs_fini(struct conn_server *server)
{
    size_t cursor = 0;
    struct table_item *request;

    while ((request = table_next(&server->runs.by_request, &cursor))) {
        mem_free(request);
    }
    table_fini(&server->runs.by_request);
    while (server->runs.oldest) {
        run_free(&server->runs, server->runs.oldest);
    }
    table_fini(&server->runs.by_id);
}
