#include "link/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "link/http_answer.h"
#include "link/http_hosts.h"
#include "link/http_request.h"
#include "rt/egress.h"
#include "rt/loop.h"
#include "rt/timer.h"

/* curl opens and closes sockets as it likes, and a number that was closed may come back within the
 * same turn. So what the loop is given is the descriptor and how often it was watched before: an
 * event of a former socket finds another generation and is dropped.
 *
 * Callbacks of curl's only take notes: curl may not be called from them, and done() must not be. */

enum {
    GENERATION_BITS = 24, /* The loop's ids have 56 bits, a descriptor takes 32. */
    DRIVES_MAX = 16,      /* "At once" of curl's in a row, before others have their turn. */
    COLLECT_MAX = 256,    /* Answers of one go, likewise. */
};

struct call {
    struct flow_http *http;
    struct http_client *client;
    struct http_host *host;
    struct http_waiting waiting;
    struct call *next, **link; /* Among the client's active. */
    struct timer timer;
    CURL *easy; /* NULL: it waits. */
    struct curl_slist *headers;
    struct http_answer answer;
    char refused[96]; /* The address that allow_private did not allow, as a finding. */
    char detail[CURL_ERROR_SIZE];
};

struct watch {
    uint32_t generation;
    bool on;
};

struct http_client {
    struct loop *loop;
    uint8_t kind;
    struct http_client_options options;
    CURLM *multi;
    struct timer timer;      /* curl's. */
    struct timer soon_timer; /* Ours, to go on where it was not possible. */
    bool at_once;            /* curl wants to be called without delay. */
    bool closing;
    struct watch *watches; /* By descriptor. */
    uint32_t watch_count;
    struct http_hosts hosts;
    struct call *active;
    CURL **spares; /* Handles to use again; at most connections_max. */
    uint32_t spare_count;
    struct http_client_stats stats;
};

int http_client_global_init(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -EIO;
}

/* ---- the end of a call ---- */

static void active_add(struct call *call)
{
    call->link = &call->client->active;
    call->next = *call->link;
    if (call->next) {
        call->next->link = &call->next;
    }
    *call->link = call;
}

static void active_remove(struct call *call)
{
    *call->link = call->next;
    if (call->next) {
        call->next->link = call->link;
    }
}

static void keep_handle(struct http_client *client, CURL *easy)
{
    if (client->spare_count < client->options.connections_max) {
        curl_easy_reset(easy);
        client->spares[client->spare_count++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

static void count_end(struct http_client *client, int err)
{
    struct http_client_stats *stats = &client->stats;
    uint64_t *counter = err == 0            ? &stats->answers
                        : err == -ECANCELED ? &stats->cancelled
                        : err == -ETIMEDOUT ? &stats->timeouts
                                            : &stats->failures;
    *counter += 1;
}

/* Everything of ours is in order before done() is called: it may begin and cancel others. */
static void finish(struct call *call, int err)
{
    struct http_client *client = call->client;
    struct flow_http *http = call->http;
    struct http_host *host = call->host;

    timer_stop(&call->timer);
    if (err == 0) {
        err = http_answer_give(&call->answer, http);
        if (err) {
            http_request_explain(http, "no memory");
        }
    }
    if (call->easy) {
        curl_multi_remove_handle(client->multi, call->easy);
        keep_handle(client, call->easy);
        active_remove(call);
        host->active -= 1;
        client->stats.active -= 1;
    } else {
        http_host_pull(host, &call->waiting);
        client->stats.waiting -= 1;
    }
    host->count -= 1;
    http_hosts_update(&client->hosts, host);
    curl_slist_free_all(call->headers);
    count_end(client, err);
    http->handle = NULL;
    http->err = err;
    http->done(http);
    http_answer_fini(&call->answer);
    mem_free(call);
}

static void soon(struct http_client *client);

static void on_deadline(struct timer *timer, void *ctx)
{
    struct call *call = ctx;
    struct http_client *client = call->client;
    unsigned long long ms = call->http->timeout_ms;
    curl_off_t connected_us = 0;

    if (!call->easy) {
        http_request_explain(call->http, "waited %llu ms for a free connection", ms);
    } else if (call->answer.begun) {
        http_request_explain(call->http, "the answer did not end within %llu ms", ms);
    } else {
        curl_easy_getinfo(call->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
        http_request_explain(call->http,
            connected_us ? "no answer within %llu ms" : "not connected within %llu ms", ms);
    }
    finish(call, -ETIMEDOUT);
    soon(client); /* Another may begin. */
}

/* ---- what curl asks for ---- */

static curl_socket_t on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct call *call = ctx;
    enum http_private allowed = call->client->options.allow_private;
    enum egress_scope scope = egress_scope(&address->addr);

    if ((scope == EGRESS_PRIVATE && allowed < HTTP_PRIVATE_NETWORKS) ||
        (scope == EGRESS_SPECIAL && allowed < HTTP_PRIVATE_ALLOW)) {
        char text[EGRESS_TEXT_MAX];
        egress_text(&address->addr, text);
        snprintf(call->refused, sizeof(call->refused), "the address %s is %s", text,
            egress_scope_word(&address->addr));
        return CURL_SOCKET_BAD;
    }
    int fd = egress_socket(&address->addr);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static struct watch *watch_of(struct http_client *client, curl_socket_t fd)
{
    if ((uint32_t)fd >= client->watch_count) {
        uint32_t count = client->watch_count ? client->watch_count : 64;
        while (count <= (uint32_t)fd) {
            count *= 2;
        }
        struct watch *watches = mem_try_realloc(client->watches, count * sizeof(*watches));
        if (!watches) {
            return NULL;
        }
        memset(watches + client->watch_count, 0, (count - client->watch_count) * sizeof(*watches));
        client->watches = watches;
        client->watch_count = count;
    }
    return &client->watches[fd];
}

/* A socket that cannot be watched moves no more; the deadline ends its request. Telling curl of it
 * would end all others as well. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct http_client *client = ctx;
    struct watch *watch = watch_of(client, fd);
    uint32_t how =
        (what & CURL_POLL_IN ? LOOP_WATCH_IN : 0u) | (what & CURL_POLL_OUT ? LOOP_WATCH_OUT : 0u);

    if (what == CURL_POLL_REMOVE || !watch) {
        loop_unwatch(client->loop, fd);
        if (watch) {
            watch->on = false;
        }
        return 0;
    }
    if (!watch->on) {
        watch->generation = (watch->generation + 1) & ((1u << GENERATION_BITS) - 1);
    }
    uint64_t id = (uint64_t)watch->generation << 32 | (uint32_t)fd;
    int err = watch->on ? loop_rewatch(client->loop, fd, client->kind, id, how)
                        : loop_watch(client->loop, fd, client->kind, id, how);
    if (err) {
        LOG(LOG_WARN, "http.watch", LOG_S("error", strerror(-err)));
    }
    watch->on = !err;
    return 0;
}

/* ---- beginning ---- */

static CURL *take_handle(struct http_client *client)
{
    return client->spare_count ? client->spares[--client->spare_count] : curl_easy_init();
}

static CURLcode apply_options(struct call *call, CURL *easy)
{
    const struct http_client_options *options = &call->client->options;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);

#define SET(option, value) code = code ? code : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_PRIVATE, call);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    /* The environment's proxy would be asked for addresses in our place. */
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
    /* Or a request that ends while its name is being resolved would wait for the resolver. */
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CLIENT_TIMEOUT_MS_MAX); /* Ours is the deadline. */
    SET(CURLOPT_USERAGENT, "fanout/" FANOUT_VERSION);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(CURLOPT_OPENSOCKETDATA, call);
    SET(CURLOPT_ERRORBUFFER, call->detail);
    if (options->ca_file) {
        SET(CURLOPT_CAINFO, options->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
#undef SET
    return code ? code : http_answer_apply(&call->answer, easy);
}

/* Moves a call from those that wait to those under way. Returns 0 or -ENOMEM. */
static int start(struct call *call)
{
    struct http_client *client = call->client;
    CURL *easy = take_handle(client);

    if (!easy || apply_options(call, easy) != CURLE_OK ||
        http_request_apply(call->http, easy, &call->headers) != 0 ||
        curl_multi_add_handle(client->multi, easy) != CURLM_OK) {
        curl_easy_cleanup(easy);
        curl_slist_free_all(call->headers);
        call->headers = NULL;
        return -ENOMEM;
    }
    http_host_pull(call->host, &call->waiting);
    call->easy = easy;
    active_add(call);
    client->stats.waiting -= 1;
    client->stats.active += 1;
    call->host->active += 1;
    return 0;
}

/* Hosts take turns. Without memory all wait a little, at most until their deadlines. */
static void start_waiting(struct http_client *client)
{
    while (client->hosts.ring && client->stats.active < client->options.connections_max) {
        struct http_host *host = client->hosts.ring;
        if (start(CONTAINER_OF(host->first, struct call, waiting)) != 0) {
            soon(client);
            return;
        }
        http_hosts_turn(&client->hosts);
        http_hosts_update(&client->hosts, host);
    }
}

/* ---- going on ---- */

/* Lets curl do what it wants to do without delay. Returns whether there are answers to collect. */
static bool drive(struct http_client *client, curl_socket_t fd, int events)
{
    int running = 0;

    for (int i = 0; i < DRIVES_MAX; i++) {
        client->at_once = false;
        curl_multi_socket_action(client->multi, fd, events, &running);
        fd = CURL_SOCKET_TIMEOUT;
        events = 0;
        if (!client->at_once) {
            break;
        }
    }
    if (client->at_once) {
        soon(client);
    }
    return (uint32_t)running < client->stats.active;
}

static int outcome(struct call *call, CURLcode code)
{
    struct flow_http *http = call->http;

    switch (code == CURLE_OK ? 0 : call->answer.err) {
    case 0:
        break;
    case -EMSGSIZE:
        http_request_explain(http, "the answer's body is larger than %zu bytes", http->bytes_max);
        return -EMSGSIZE;
    case -E2BIG:
        http_request_explain(http,
            "the answer has more than %d headers, or more than %d bytes of them",
            HTTP_CLIENT_HEADERS_MAX, HTTP_CLIENT_HEADER_BYTES_MAX);
        return -E2BIG;
    default:
        http_request_explain(http, "no memory");
        return -ENOMEM;
    }
    if (code == CURLE_COULDNT_CONNECT && call->refused[0]) {
        call->client->stats.refused_private += 1;
        http_request_explain(http, "%s; see --flow-http-private", call->refused);
        return -EPERM;
    }
    return code == CURLE_OK ? 0 : http_request_failure(http, call->easy, code, call->detail);
}

/* A message is gone as soon as curl is called again. */
static void collect(struct http_client *client)
{
    CURLMsg *message;
    int left;

    for (int i = 0; i < COLLECT_MAX; i++) {
        message = curl_multi_info_read(client->multi, &left);
        if (!message) {
            return;
        }
        struct call *call = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        CHECK(message->msg == CURLMSG_DONE && call);
        finish(call, outcome(call, code));
    }
    soon(client);
}

static void begin_waiting(struct http_client *client)
{
    start_waiting(client);
    if (client->at_once && drive(client, CURL_SOCKET_TIMEOUT, 0)) {
        soon(client);
    }
}

/* From the loop only: here others are told that they are done. */
static void go_on(struct http_client *client, curl_socket_t fd, int events)
{
    (void)drive(client, fd, events);
    collect(client);
    begin_waiting(client);
}

static void on_timer(struct timer *timer, void *ctx)
{
    go_on(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static void on_event(void *ctx, uint64_t id, uint32_t events)
{
    struct http_client *client = ctx;
    uint32_t fd = (uint32_t)id;

    if (fd >= client->watch_count || !client->watches[fd].on ||
        client->watches[fd].generation != id >> 32) {
        return; /* Of a socket that was closed earlier in this turn. */
    }
    /* What is behind a hang-up is found by reading. */
    go_on(client, (curl_socket_t)fd,
        (events & (LOOP_IN | LOOP_HUP) ? CURL_CSELECT_IN : 0) |
            (events & LOOP_OUT ? CURL_CSELECT_OUT : 0));
}

static void soon(struct http_client *client)
{
    if (!client->closing) {
        timer_start(client->loop, &client->soon_timer, 0, on_timer, client);
    }
}

/* The wheel's ticks are too coarse for "at once". */
static int on_timeout(CURLM *multi, long timeout_ms, void *ctx)
{
    struct http_client *client = ctx;

    client->at_once = timeout_ms == 0;
    if (timeout_ms < 0) {
        timer_stop(&client->timer);
    } else if (!client->closing) {
        timer_start(client->loop, &client->timer, (uint64_t)timeout_ms, on_timer, client);
    }
    return 0;
}

/* ---- the port ---- */

static void refuse(struct flow_http *http, int err)
{
    if (err != -EINVAL) {
        http_request_explain(http, err == -ENOMEM ? "no memory" : "the client is shut down");
    }
    http->err = err;
    http->done(http);
}

static void port_begin(void *ctx, struct flow_http *http)
{
    struct http_client *client = ctx;
    struct bytes origin = {0};
    struct call *call = NULL;
    uint64_t timeout_ms = http->timeout_ms;

    http->handle = NULL;
    http->err = http->status = 0;
    http->ret_headers = NULL;
    http->ret_header_count = 0;
    http->ret_body = span_of(NULL, 0);
    http->why[0] = 0;
    client->stats.requests += 1;
    int err = client->closing ? -ECANCELED : http_request_check(http, &origin);
    if (!err) {
        call = mem_try_zalloc(sizeof(*call));
        struct http_host *host =
            call ? http_hosts_get(&client->hosts, span_of(origin.data, origin.len)) : NULL;
        err = host ? 0 : -ENOMEM;
        if (host) {
            call->host = host;
        }
    }
    bytes_fini(&origin);
    if (err) {
        mem_free(call);
        count_end(client, err);
        refuse(http, err);
        return;
    }
    call->http = http;
    call->client = client;
    call->answer.body_max = http->bytes_max;
    call->answer.head = http_request_is_head(http);
    http_host_push(call->host, &call->waiting);
    call->host->count += 1;
    http->handle = call;
    client->stats.waiting += 1;
    http_hosts_update(&client->hosts, call->host);
    if (timeout_ms == 0 || timeout_ms > HTTP_CLIENT_TIMEOUT_MS_MAX) {
        timeout_ms = HTTP_CLIENT_TIMEOUT_MS_MAX;
    }
    timer_start(client->loop, &call->timer, timeout_ms, on_deadline, call);
    begin_waiting(client);
}

static void port_cancel(void *ctx, struct flow_http *http)
{
    struct http_client *client = ctx;

    if (http->handle) {
        http_request_explain(http, "cancelled");
        finish(http->handle, -ECANCELED);
        soon(client); /* Another may begin. */
    }
}

struct flow_http_client http_client_port(struct http_client *client)
{
    return (struct flow_http_client){client, port_begin, port_cancel};
}

void http_client_stats(const struct http_client *client, struct http_client_stats *ret_stats)
{
    *ret_stats = client->stats;
}

/* ---- life ---- */

int http_client_create(struct loop *loop, uint8_t kind, const struct http_client_options *options,
    struct http_client **ret_client)
{
    if (options->connections_max == 0 || options->connections_per_host_max == 0) {
        return -EINVAL;
    }
    struct http_client *client = mem_zalloc(sizeof(*client));
    client->loop = loop;
    client->kind = kind;
    client->options = *options;
    client->hosts.active_max = options->connections_per_host_max;
    client->multi = curl_multi_init();
    client->spares = mem_try_zalloc(options->connections_max * sizeof(CURL *));
    if (!client->multi || !client->spares ||
        getrandom(&client->hosts.hash_key, sizeof(client->hosts.hash_key), 0) < 0) {
        http_client_destroy(client);
        return -ENOMEM;
    }
    long max = (long)options->connections_max;
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, max);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, max);
    curl_multi_setopt(
        client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)options->connections_per_host_max);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    loop_handle(loop, kind, on_event, client);
    *ret_client = client;
    return 0;
}

static void on_nothing(void *ctx, uint64_t id, uint32_t events)
{
    /* Of this turn, for a client that was destroyed in it. */
}

void http_client_destroy(struct http_client *client)
{
    struct http_host *host = NULL;

    if (!client) {
        return;
    }
    client->closing = true;
    while (client->active || (host = http_hosts_any(&client->hosts))) {
        struct call *call =
            client->active ? client->active : CONTAINER_OF(host->first, struct call, waiting);
        http_request_explain(call->http, "cancelled: the client is shut down");
        finish(call, -ECANCELED);
    }
    for (uint32_t i = 0; i < client->spare_count; i++) {
        curl_easy_cleanup(client->spares[i]);
    }
    curl_multi_cleanup(client->multi); /* Takes the sockets it kept off the loop. */
    timer_stop(&client->timer);
    timer_stop(&client->soon_timer);
    loop_handle(client->loop, client->kind, on_nothing, NULL);
    http_hosts_fini(&client->hosts);
    mem_free(client->spares);
    mem_free(client->watches);
    mem_free(client);
}
