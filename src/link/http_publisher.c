#include "link/http_publisher.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    ANSWER_BYTES_MAX = 65536,
    CODE_MAX = 32,     /* Of an error's code. */
    MESSAGE_MAX = 160, /* Of its message. */
};

/* How it goes: once stored, to the user's channel and the run's; to both; to the user's. A gateway that keeps nothing on
 * disk has the run's by itself, and so does one on Redis, where naming it would be twice. */
enum way { WAY_STORED, WAY_BOTH, WAY_USER };

/* A publication under way. */
struct order {
    struct http_publisher *publisher;
    struct flow_publication *publication;
    struct order *next, **link;
    struct flow_http http;
    struct bytes body;
    uint8_t way; /* Of the event under way. */
};

struct http_publisher {
    struct flow_http_client client;
    char *publish_url, *durable_url, *health_url;
    uint8_t way; /* What this gateway can do. */
    uint64_t timeout_ms;
    struct flow_http_header headers[2];
    uint32_t header_count;
    char *authorization;
    struct order *orders;
    struct flow_http probe;
    bool probing;
    http_publisher_probe_fn *probe_fn;
    void *probe_ctx;
    bool closing;
    struct http_publisher_stats stats;
};

/* What came of one event. */
enum verdict { TAKEN, NEVER, NOT_DURABLE, LATER }; /* The worse the further. */

/* ---- the address ---- */

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool there = curl_url_get(url, part, &text, 0) == CURLUE_OK;

    curl_free(text);
    return there;
}

int http_publisher_check(const char *gateway, char why[HTTP_PUBLISHER_WHY_MAX])
{
    CURLU *url = curl_url();
    const char *finding = NULL;

    if (strncasecmp(gateway, "http://", 7) != 0 && strncasecmp(gateway, "https://", 8) != 0) {
        finding = "it begins with neither http:// nor https://";
    } else if (!url || curl_url_set(url, CURLUPART_URL, gateway, 0) != CURLUE_OK) {
        finding = "it cannot be read as a URL";
    } else if (has_part(url, CURLUPART_QUERY) || strchr(gateway, '?')) {
        finding = "it has a query";
    } else if (has_part(url, CURLUPART_FRAGMENT) || strchr(gateway, '#')) {
        finding = "it has a fragment";
    } else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD)) {
        finding = "it has a user name in it";
    }
    curl_url_cleanup(url);
    if (!finding) {
        return 0;
    }
    snprintf(why, HTTP_PUBLISHER_WHY_MAX, "the gateway's address: %s; http://host:port is expected",
        finding);
    return -EINVAL;
}

/* ---- answers ---- */

/* Takes {"error":{"code","message"}} apart; what is not there becomes "". */
static void read_error(struct span body, char code[CODE_MAX], char message[MESSAGE_MAX])
{
    static const struct span outer = {(const uint8_t *)"error", 5};
    static const struct span inner[] = {
        {(const uint8_t *)"code", 4}, {(const uint8_t *)"message", 7}};
    struct span error, values[2] = {{0}};
    struct bytes text = {0};
    char *const out[] = {code, message};
    const size_t caps[] = {CODE_MAX, MESSAGE_MAX};

    code[0] = message[0] = 0;
    if (json_find_members(body.data, body.len, &outer, 1, &error) != 0 || !error.len ||
        json_find_members(error.data, error.len, inner, 2, values) != 0) {
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        text.len = 0;
        if (values[i].len && json_string_decode(values[i], &text) == 0 && text.len < caps[i]) {
            snprintf(out[i], caps[i], "%.*s", (int)text.len, (const char *)text.data);
        }
    }
    bytes_fini(&text);
}

/* The codes by which a gateway says that the event itself is at fault. */
static bool is_events_fault(const char *code)
{
    static const char *const codes[] = {"bad_json", "bad_body", "bad_channel", "too_large"};

    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        if (strcmp(code, codes[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* What became of one channel, or of all. 413 is said by proxies, too, and means the same of them. Any other
 * refusal must be a gateway's own words: a proxy that answers 400 to everything must not eat a run's events. */
static enum verdict judge_code(int status, const char *code)
{
    bool refused = status == 200 || status == 400 || status == 413;

    if (status == 200 && !code[0]) {
        return TAKEN;
    }
    if (refused && strcmp(code, "not_durable") == 0) {
        return NOT_DURABLE;
    }
    return status == 413 || (refused && is_events_fault(code)) ? NEVER : LATER;
}

/* The worst of its results; *ret_count: how many there are. */
static enum verdict judge_results(
    struct span body, uint32_t *ret_count, char code[CODE_MAX], char message[MESSAGE_MAX])
{
    static const struct span key = {(const uint8_t *)"results", 7};
    enum verdict worst = TAKEN;
    struct span results, result;
    struct json_array array;

    *ret_count = 0;
    if (json_find_members(body.data, body.len, &key, 1, &results) != 0 || !results.len ||
        json_array_begin(results.data, results.len, &array) != 0) {
        return LATER;
    }
    while (json_array_next(&array, &result) == 1) {
        char text[MESSAGE_MAX], word[CODE_MAX];
        read_error(result, word, text);
        enum verdict verdict = judge_code(200, word);
        if (verdict > worst) {
            worst = verdict;
            snprintf(code, CODE_MAX, "%s", word);
            snprintf(message, MESSAGE_MAX, "%s", text);
        }
        *ret_count += 1;
    }
    return *ret_count ? worst : LATER;
}

static enum verdict judge(
    const struct flow_http *http, int *ret_err, char why[HTTP_PUBLISHER_WHY_MAX])
{
    char code[CODE_MAX] = "", message[MESSAGE_MAX] = "";
    enum verdict verdict;
    uint32_t count = 0;

    if (http->err) {
        *ret_err = http->err;
        snprintf(why, HTTP_PUBLISHER_WHY_MAX, "%s", http->why);
        return LATER;
    }
    if (http->status == 200) {
        verdict = judge_results(http->ret_body, &count, code, message);
    } else {
        read_error(http->ret_body, code, message);
        verdict = judge_code(http->status, code);
    }
    if (http->status == 200 && !count) {
        snprintf(why, HTTP_PUBLISHER_WHY_MAX,
            "%s: its answer has no results; is it a fanout gateway?", http->url);
    } else {
        snprintf(why, HTTP_PUBLISHER_WHY_MAX, "%s: status %d%s%s%s%s", http->url, http->status,
            code[0] ? ", " : "", code, message[0] ? ": " : "", message);
    }
    *ret_err = http->status == 401 || http->status == 403   ? -EACCES
               : http->status == 404 || http->status == 405 ? -ENOENT
               : http->status == 429 || http->status == 503 ? -EBUSY
                                                            : -EPROTO;
    return verdict;
}

/* ---- sending ---- */

static void end(struct order *order, int err)
{
    struct http_publisher *publisher = order->publisher;
    struct flow_publication *publication = order->publication;

    *order->link = order->next;
    if (order->next) {
        order->next->link = order->link;
    }
    bytes_fini(&order->body);
    mem_free(order);
    publisher->stats.active -= 1;
    publication->err = err;
    publication->done(publication);
}

static void skip(struct order *order, const char *why)
{
    struct flow_publication *publication = order->publication;

    order->publisher->stats.skipped += 1;
    LOG(LOG_WARN, "publish.skipped",
        LOG_N("run", publication->run_id.data, publication->run_id.len),
        LOG_U("event", publication->seq + publication->ret_count), LOG_S("why", why));
    publication->ret_count += 1;
}

/* The run's channel, in front of the user's: the first of an event's channels is what a gateway indexes, and this one
 * it leaves alone. */
static int write_run(struct bytes *out, struct span run_id)
{
    struct bytes name = {0};
    int err = bytes_append_str(&name, "run:");

    err = err ? err : bytes_append(&name, run_id.data, run_id.len);
    err = err ? err : json_append_string(out, name.data, name.len);
    bytes_fini(&name);
    return err ? err : bytes_append_byte(out, ',');
}

/* Returns 0, -ENOMEM, or -EILSEQ (a name is not UTF-8). */
static int write_body(struct order *order)
{
    const struct flow_publication *publication = order->publication;
    struct span data = publication->bodies[publication->ret_count];
    struct bytes *out = &order->body;
    struct bytes name = {0};
    int err = bytes_append_str(&name, "user:");

    out->len = 0;
    err = err ? err : bytes_append(&name, publication->user.data, publication->user.len);
    err = err ? err : bytes_append_str(out, "{\"channels\":[");
    err = err || order->way == WAY_USER ? err : write_run(out, publication->run_id);
    err = err ? err : json_append_string(out, name.data, name.len);
    err = err ? err : bytes_append_str(out, "],\"data\":");
    err = err ? err : bytes_append(out, data.data, data.len);
    err = err ? err : bytes_append_str(out, ",\"idempotency_key\":");
    name.len = 0;
    err = err ? err : bytes_append(&name, publication->run_id.data, publication->run_id.len);
    err = err ? err
              : bytes_appendf(&name, ":%llu",
                    (unsigned long long)(publication->seq + publication->ret_count));
    err = err ? err : json_append_string(out, name.data, name.len);
    err = err ? err : bytes_append_byte(out, '}');
    bytes_fini(&name);
    return err;
}

static void on_answer(struct flow_http *http);

/* Sends what is next; the order may be gone afterwards. Answers that come within begin() are
 * failures, which end the order: there is no recursion. */
static void send_next(struct order *order)
{
    struct http_publisher *publisher = order->publisher;
    struct flow_publication *publication = order->publication;

    while (publication->ret_count < publication->count) {
        struct span data = publication->bodies[publication->ret_count];
        order->way = publisher->way;
        /* Within the request a body that is no JSON could say anything, a channel even. */
        int err = json_valid(data.data, data.len) ? write_body(order) : -EILSEQ;
        if (err == -EILSEQ) {
            skip(order, "it is not JSON, or a name is not UTF-8");
            continue;
        }
        if (err) {
            end(order, err);
            return;
        }
        order->http = (struct flow_http){.done = on_answer,
            .owner = order,
            .method = "POST",
            .url = order->way == WAY_STORED ? publisher->durable_url : publisher->publish_url,
            .headers = publisher->headers,
            .header_count = publisher->header_count,
            .body = span_of(order->body.data, order->body.len),
            .timeout_ms = publisher->timeout_ms,
            .bytes_max = ANSWER_BYTES_MAX};
        publisher->client.begin(publisher->client.ctx, &order->http);
        return;
    }
    end(order, 0);
}

static void on_answer(struct flow_http *http)
{
    struct order *order = http->owner;
    struct http_publisher *publisher = order->publisher;
    char why[HTTP_PUBLISHER_WHY_MAX] = "";
    int err = 0;

    enum verdict verdict = judge(http, &err, why);

    if (verdict == NOT_DURABLE) { /* 200: one of the two is. */
        verdict = order->way == WAY_STORED ? verdict : LATER;
        publisher->way = http->status == 200 ? WAY_BOTH : WAY_USER;
    }
    switch (verdict) {
    case TAKEN:
        publisher->stats.published += 1;
        publisher->stats.why[0] = 0;
        order->publication->ret_count += 1;
        break;
    case NEVER:
        skip(order, why);
        break;
    case NOT_DURABLE:
        break; /* The same event, without asking for that. */
    case LATER:
        publisher->way = WAY_STORED; /* When it is back it may be another one. */
        publisher->stats.failures += 1;
        snprintf(publisher->stats.why, sizeof(publisher->stats.why), "%s", why);
        end(order, err);
        return;
    }
    send_next(order);
}

static void port_publish(void *ctx, struct flow_publication *publication)
{
    struct http_publisher *publisher = ctx;
    struct order *order = publisher->closing ? NULL : mem_try_zalloc(sizeof(*order));

    publication->ret_count = 0;
    publication->err = publisher->closing ? -ECANCELED : -ENOMEM;
    if (!order) {
        publication->done(publication);
        return;
    }
    order->publisher = publisher;
    order->publication = publication;
    order->next = publisher->orders;
    order->link = &publisher->orders;
    if (order->next) {
        order->next->link = &order->next;
    }
    publisher->orders = order;
    publisher->stats.active += 1;
    send_next(order);
}

struct flow_publisher http_publisher_port(struct http_publisher *publisher)
{
    return (struct flow_publisher){publisher, port_publish};
}

/* ---- asking ---- */

static void on_health(struct flow_http *http)
{
    struct http_publisher *publisher = http->owner;
    char why[HTTP_PUBLISHER_WHY_MAX] = "";

    publisher->probing = false;
    if (publisher->closing) {
        return;
    }
    if (http->err) {
        snprintf(why, sizeof(why), "%s", http->why);
    } else if (http->status != 200) {
        snprintf(why, sizeof(why), "%s: status %d", http->url, http->status);
    }
    publisher->probe_fn(publisher->probe_ctx, !why[0], why);
}

int http_publisher_probe(struct http_publisher *publisher, http_publisher_probe_fn *fn, void *ctx)
{
    if (publisher->probing) {
        return -EBUSY;
    }
    publisher->probing = true;
    publisher->probe_fn = fn;
    publisher->probe_ctx = ctx;
    publisher->probe = (struct flow_http){.done = on_health,
        .owner = publisher,
        .method = "GET",
        .url = publisher->health_url,
        .timeout_ms = publisher->timeout_ms,
        .bytes_max = ANSWER_BYTES_MAX};
    publisher->client.begin(publisher->client.ctx, &publisher->probe);
    return 0;
}

void http_publisher_stats(
    const struct http_publisher *publisher, struct http_publisher_stats *ret_stats)
{
    *ret_stats = publisher->stats;
}

/* ---- life ---- */

static char *join(const char *gateway, const char *path)
{
    size_t len = strlen(gateway), path_len = strlen(path);

    while (len && gateway[len - 1] == '/') {
        len -= 1;
    }
    char *url = mem_alloc(len + path_len + 1);
    memcpy(url, gateway, len);
    memcpy(url + len, path, path_len + 1);
    return url;
}

int http_publisher_create(const struct http_publisher_options *options,
    const struct flow_http_client *http, struct http_publisher **ret_publisher)
{
    char why[HTTP_PUBLISHER_WHY_MAX];

    if (http_publisher_check(options->gateway, why) != 0) {
        return -EINVAL;
    }
    struct http_publisher *publisher = mem_zalloc(sizeof(*publisher));
    publisher->client = *http;
    publisher->publish_url = join(options->gateway, "/api/v1/publish");
    publisher->durable_url = join(options->gateway, "/api/v1/publish?ack=durable");
    publisher->health_url = join(options->gateway, "/health");
    publisher->timeout_ms = options->timeout_ms;
    publisher->headers[publisher->header_count++] =
        (struct flow_http_header){span_str("Content-Type"), span_str("application/json")};
    if (options->authorization) {
        publisher->authorization = mem_strdup(options->authorization);
        publisher->headers[publisher->header_count++] = (struct flow_http_header){
            span_str("Authorization"), span_str(publisher->authorization)};
    }
    *ret_publisher = publisher;
    return 0;
}

void http_publisher_destroy(struct http_publisher *publisher)
{
    if (!publisher) {
        return;
    }
    publisher->closing = true;
    while (publisher->orders) {
        publisher->client.cancel(publisher->client.ctx, &publisher->orders->http);
    }
    if (publisher->probing) {
        publisher->client.cancel(publisher->client.ctx, &publisher->probe);
    }
    mem_free(publisher->publish_url);
    mem_free(publisher->durable_url);
    mem_free(publisher->health_url);
    mem_free(publisher->authorization);
    mem_free(publisher);
}
