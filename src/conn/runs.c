#include "conn/runs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "conn/server.h"
#include "core/filter.h"
#include "core/run_index.h"
#include "proto/url.h"

enum {
    PAGE_EVENTS = 1000,
    PAGE_BYTES = 1024 * 1024,
    RUNS_BYTES_MAX = 32 * 1024 * 1024, /* Of a shard's runs, those just asked for excepted. */
    ETAG_MAX = 3 * RUN_ID_MAX + 48,
};

struct waiter {
    struct waiter *next;
    uint64_t peer;
    uint64_t since, limit; /* Events to leave out, and to give at most. */
    char if_none_match[];  /* All of them, as one list. */
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

/* Payloads are opaque: whatever is no JSON becomes a string, so that the answer stays JSON. */
static int append_event(struct bytes *out, struct span payload)
{
    if (json_valid(payload.data, payload.len)) {
        return bytes_append(out, payload.data, payload.len);
    }
    if (utf8_valid(payload.data, payload.len)) {
        return json_append_string(out, payload.data, payload.len);
    }
    int err = bytes_append_byte(out, '"');
    err = err ? err : base64_encode(out, payload.data, payload.len);
    return err ? err : bytes_append_byte(out, '"');
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
    err = err ? err : append_event(&run->events, payload);
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
    uint32_t first = waiter->since < run->count ? (uint32_t)waiter->since : run->count;
    uint32_t last =
        run->count - first > waiter->limit ? first + (uint32_t)waiter->limit : run->count;
    struct span id = id_of(run), events = events_span(run, first, last);

    out->len = 0;
    int err = bytes_append_str(out, "{\"run_id\":");
    err = err ? err : json_append_string(out, id.data, id.len);
    err = err ? err : bytes_append_str(out, ",\"events\":[");
    err = err || !events.len ? err : bytes_append(out, events.data, events.len);
    return err ? err : bytes_appendf(out, "],\"status\":\"%s\"}\n", run->status);
}

/* Has history let go of its first events, or will it soon? */
static bool is_cut(const struct conn_server *server, const struct polled_run *run)
{
    const struct core_settings *settings = server->shard->settings;
    const struct ns_settings *ns = &settings->ns[settings_ns(settings, span_str("run"))];

    return run->count >= ns->history_messages || run->events.len >= ns->history_bytes / 2;
}

/* A quote cannot stand in a tag. Of a run that is cut the number stays as it is while the events change:
 * then where it ends is in the tag, too. */
static void format_etag(
    const struct conn_server *server, const struct polled_run *run, char out[ETAG_MAX])
{
    struct span id = id_of(run);
    size_t len = 0;

    out[len++] = '"';
    for (size_t i = 0; i < id.len; i++) {
        bool quote = id.data[i] == '"';
        memcpy(out + len, quote ? (const uint8_t *)"%22" : id.data + i, quote ? 3 : 1);
        len += quote ? 3 : 1;
    }
    len += (size_t)snprintf(out + len, ETAG_MAX - len, "-%u", run->count);
    if (is_cut(server, run)) {
        len += (size_t)snprintf(
            out + len, ETAG_MAX - len, "-%llu", (unsigned long long)run->cursor.offset);
    }
    snprintf(out + len, ETAG_MAX - len, "\"");
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
    format_etag(server, run, etag);
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

/* Digits; so many that they mean more than there can be are as good. */
static bool read_number(struct http_exchange *x, const char *name, uint64_t *ret)
{
    struct bytes text = {0};
    int got = http_query(x, name, &text);
    bool good = got == 0 || (got == 1 && text.len);

    *ret = 0;
    for (size_t i = 0; i < text.len && good; i++) {
        unsigned digit = text.data[i] - (unsigned)'0';
        good = digit <= 9;
        *ret = *ret > UINT32_MAX ? *ret : *ret * 10 + digit;
    }
    *ret = got ? *ret : UINT64_MAX;
    bytes_fini(&text);
    return good;
}

static bool is_condition(const struct http_header *header)
{
    return span_equal_nocase(header->name, span_str("If-None-Match"));
}

/* Several fields of that name are one list. */
static int read_conditions(const struct http_request *request, struct bytes *out)
{
    int err = 0;

    for (size_t i = 0; !err && i < request->header_count; i++) {
        struct span value = request->headers[i].value;
        if (is_condition(&request->headers[i]) && value.len) {
            err = out->len ? bytes_append_byte(out, ',') : 0;
            err = err ? err : bytes_append(out, value.data, value.len);
        }
    }
    return err;
}

bool runs_query_read(struct http_exchange *x, struct runs_query *query)
{
    int err = url_decode_path(&query->id, x->params[0]);

    err = err ? err : read_conditions(x->request, &query->if_none_match);
    if (err && err != -EBADMSG) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    } else if (err || !run_id_check(span_of(query->id.data, query->id.len))) {
        http_reply_error(x, 404, "not_found", "this is no run's id");
    } else if (!read_number(x, "since", &query->since)) {
        http_reply_error(
            x, 400, "bad_query", "since: the number of events already seen is expected");
    } else if (!read_number(x, "limit", &query->limit)) {
        http_reply_error(x, 400, "bad_query", "limit: a number is expected");
    } else {
        query->since = query->since == UINT64_MAX ? 0 : query->since;
        return true;
    }
    return false;
}

void runs_query_fini(struct runs_query *query)
{
    bytes_fini(&query->id);
    bytes_fini(&query->if_none_match);
}

static struct waiter *waiter_new(const struct http_exchange *x, const struct runs_query *query)
{
    size_t len = query->if_none_match.len;
    struct waiter *waiter = mem_try_zalloc(sizeof(*waiter) + len + 1);

    if (waiter) {
        waiter->peer = x->peer;
        waiter->since = query->since;
        waiter->limit = query->limit;
        if (len) {
            memcpy(waiter->if_none_match, query->if_none_match.data, len);
        }
    }
    return waiter;
}

void runs_reply(struct http_exchange *x, const struct runs_query *query)
{
    struct conn_server *server = x->app;
    char name[PREFIX + RUN_ID_MAX];
    size_t len = (size_t)snprintf(
        name, sizeof(name), "run:%.*s", (int)query->id.len, (const char *)query->id.data);
    struct polled_run *run = run_get(server, span_of(name, len));
    struct waiter *waiter = run ? waiter_new(x, query) : NULL;

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
    struct runs_query query = {0};

    if (runs_query_read(x, &query)) {
        runs_reply(x, &query);
    }
    runs_query_fini(&query);
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
