/* The coordinator's API on the shards: a request becomes a question, which goes to the coordinator by mail
 * and comes back with its answer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conn/runs.h"
#include "conn/server.h"
#include "core/name.h"
#include "proto/url.h"
#include "role/admin.h"
#include "role/coordinator_own.h"
#include "role/figures.h"

enum {
    QUESTIONS_MAX = 256,           /* Of one shard, not answered yet. */
    QUESTION_BYTES_MAX = 64 << 20, /* Their bodies. */
    USER_MAX = NAME_REST_MAX,
};

struct coordinator_question {
    struct coordinator_letter letter;
    struct coordinator_question *next, **link; /* The coordinator's list. */
    struct coordinator *coordinator;
    uint16_t shard;
    uint64_t peer;
    uint64_t size;
    struct flow_ask ask;
    struct bytes name, user, body, status, tag, filter_user, after;
    struct runs_query run; /* FLOW_ASK_EVENTS. */
};

static void question_free(struct coordinator_question *question)
{
    bytes_fini(&question->name);
    bytes_fini(&question->user);
    bytes_fini(&question->body);
    bytes_fini(&question->status);
    bytes_fini(&question->tag);
    bytes_fini(&question->filter_user);
    bytes_fini(&question->after);
    bytes_fini(&question->ask.reply);
    runs_query_fini(&question->run);
    mem_free(question);
}

/* ---- answers, on the shard ---- */

static void reply(struct http_exchange *x, const struct flow_ask *ask)
{
    struct http_header headers[3];
    size_t count = 0;

    if (ask->etag[0] && (ask->code == 200 || ask->code == 304)) {
        headers[count++] = (struct http_header){span_str("ETag"), span_str(ask->etag)};
    }
    if (ask->what != FLOW_ASK_RESULT) { /* A result's name says its content. */
        headers[count++] = (struct http_header){span_str("Cache-Control"), span_str("no-cache")};
    }
    if (ask->code == 503) {
        headers[count++] = (struct http_header){span_str("Retry-After"), span_str("1")};
    }
    if (ask->code == 304 || ask->code == 204) {
        http_reply_with(x, ask->code, NULL, headers, count, NULL, 0);
    } else {
        http_reply_with(
            x, ask->code, "application/json", headers, count, ask->reply.data, ask->reply.len);
    }
}

static void hear_answer(struct shard *shard, struct mail_call *call)
{
    struct coordinator_question *question = (struct coordinator_question *)call;
    struct gateway_shard *gs = gateway_of_shard(shard);
    struct client *client = conn_client_find(gs->server, question->peer);
    struct http_exchange *x =
        client && client->session ? http_session_exchange(client->session) : NULL;

    gs->questions -= 1;
    gs->question_bytes -= question->size;
    if (x && question->ask.unknown_run && !gs->gateway->with->no_clients) {
        runs_reply(x, &question->run); /* Perhaps somebody else's run. */
    } else if (x) {
        reply(x, &question->ask);
    }
    question_free(question);
}

/* ---- questions, on the coordinator's thread ---- */

static void send_answer(struct coordinator_question *question)
{
    *question->link = question->next;
    if (question->next) {
        question->next->link = question->link;
    }
    coordinator_to_shard(question->coordinator, question->shard, hear_answer, &question->letter);
}

static void answered(struct flow_ask *ask)
{
    send_answer(ask->owner);
}

static struct span span_bytes(const struct bytes *bytes)
{
    return span_of(bytes->data, bytes->len);
}

static void hear_question(struct coordinator *coordinator, struct coordinator_letter *letter)
{
    struct coordinator_question *question = (struct coordinator_question *)letter;
    struct flow_ask *ask = &question->ask;

    if (!coordinator) {
        question_free(question);
        return;
    }
    question->coordinator = coordinator;
    question->next = coordinator->questions;
    question->link = &coordinator->questions;
    if (question->next) {
        question->next->link = &question->next;
    }
    coordinator->questions = question;
    ask->done = answered;
    ask->owner = question;
    ask->name = span_bytes(&question->name);
    ask->user = span_bytes(&question->user);
    ask->body = span_bytes(&question->body);
    ask->status = span_bytes(&question->status);
    ask->tag = span_bytes(&question->tag);
    ask->filter_user = span_bytes(&question->filter_user);
    ask->after = span_bytes(&question->after);
    flow_ask(coordinator->flow, ask);
}

static void end_question(struct coordinator_question *question)
{
    static const char text[] =
        "{\"error\":{\"code\":\"draining\",\"message\":\"this coordinator is shutting down\"}}\n";

    question->ask.code = 503;
    question->ask.reply.len = 0;
    if (bytes_append_str(&question->ask.reply, text) != 0) {
        question->ask.reply.len = 0;
    }
    send_answer(question);
}

void coordinator_questions_end(struct coordinator *coordinator)
{
    while (coordinator->questions) {
        end_question(coordinator->questions);
    }
}

/* ---- requests, on the shard ---- */

/* Gives a question, or answers x and gives NULL. */
static struct coordinator_question *question_new(struct http_exchange *x, enum flow_question what)
{
    struct gateway_shard *gs = gateway_shard_of(x->app);
    size_t size = x->request->body.len;

    if (gs->questions >= QUESTIONS_MAX || gs->question_bytes + size > QUESTION_BYTES_MAX) {
        http_reply_error(x, 503, "busy", "too many such requests are being answered; try again");
        return NULL;
    }
    struct coordinator_question *question = mem_try_zalloc(sizeof(*question));
    if (!question || bytes_append(&question->body, x->request->body.data, size) != 0) {
        mem_free(question);
        http_reply_error(x, 503, "no_memory", "no memory for the request");
        return NULL;
    }
    question->letter.hear = hear_question;
    question->shard = gs->index;
    question->peer = x->peer;
    question->size = size;
    question->ask.what = what;
    return question;
}

/* Takes the question. */
static void question_send(struct http_exchange *x, struct coordinator_question *question)
{
    struct gateway_shard *gs = gateway_shard_of(x->app);

    gs->questions += 1;
    gs->question_bytes += question->size;
    http_await(x);
    coordinator_post(gs->gateway->coordinator, &question->letter);
}

static bool take_param(struct http_exchange *x, struct coordinator_question *question)
{
    int err = url_decode_path(&question->name, x->params[0]);

    if (err == -EBADMSG) {
        http_reply_error(x, 400, "bad_path", "a '%' must be followed by two hex digits");
    } else if (err) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    }
    return !err;
}

/* Events go to the channel user:{U}, so U must be the rest of a channel's name. */
static bool take_user(struct http_exchange *x, struct coordinator_question *question)
{
    struct span user = http_request_header(x->request, "X-User-ID");
    char channel[sizeof("user:") + USER_MAX];
    const char *why = "missing; it says on whose behalf this is";

    if (user.len > USER_MAX) {
        why = "more than 255 bytes";
    } else if (user.len) {
        int len =
            snprintf(channel, sizeof(channel), "user:%.*s", (int)user.len, (const char *)user.data);
        why = name_check(span_of(channel, (size_t)len))
                  ? "UTF-8 without control characters is expected"
                  : NULL;
    }
    if (why) {
        char text[200];
        snprintf(text, sizeof(text), "X-User-ID: %s", why);
        http_reply_error(x, 401, "no_user", text);
        return false;
    }
    if (bytes_append(&question->user, user.data, user.len) != 0) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
        return false;
    }
    return true;
}

enum { WITH_PARAM = 1, WITH_USER = 2 };

static void ask(struct http_exchange *x, enum flow_question what, unsigned with)
{
    struct coordinator_question *question = question_new(x, what);

    if (!question) {
        return;
    }
    if ((!(with & WITH_PARAM) || take_param(x, question)) &&
        (!(with & WITH_USER) || take_user(x, question))) {
        question_send(x, question);
    } else {
        question_free(question);
    }
}

static void ask_start(struct http_exchange *x)
{
    ask(x, FLOW_ASK_START, WITH_USER);
}

static void ask_execute(struct http_exchange *x)
{
    ask(x, FLOW_ASK_START, WITH_PARAM | WITH_USER);
}

static void ask_run(struct http_exchange *x)
{
    ask(x, FLOW_ASK_RUN, WITH_PARAM);
}

static void ask_cancel(struct http_exchange *x)
{
    ask(x, FLOW_ASK_CANCEL, WITH_PARAM | WITH_USER);
}

static void ask_workflows(struct http_exchange *x)
{
    ask(x, FLOW_ASK_WORKFLOWS, 0);
}

static void ask_workflow(struct http_exchange *x)
{
    ask(x, FLOW_ASK_WORKFLOW, WITH_PARAM);
}

static void ask_put(struct http_exchange *x)
{
    ask(x, FLOW_ASK_PUT, WITH_PARAM);
}

static void ask_delete(struct http_exchange *x)
{
    ask(x, FLOW_ASK_DELETE, WITH_PARAM);
}

static void ask_approval(struct http_exchange *x)
{
    ask(x, FLOW_ASK_APPROVAL, WITH_USER);
}

static void ask_result(struct http_exchange *x)
{
    ask(x, FLOW_ASK_RESULT, WITH_PARAM);
}

/* ---- lists ---- */

/* False: answered with what is wrong. */
static bool take_query(struct http_exchange *x, const char *name, struct bytes *out)
{
    int got = http_query(x, name, out);

    if (got == -EBADMSG) {
        char why[80];
        snprintf(why, sizeof(why), "%s: a '%%' must be followed by two hex digits", name);
        http_reply_error(x, 400, "bad_query", why);
    } else if (got < 0) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    }
    return got >= 0;
}

static bool take_limit(struct http_exchange *x, uint64_t *ret_limit)
{
    struct bytes text = {0};
    bool good = take_query(x, "limit", &text);
    uint64_t limit = 0;

    for (size_t i = 0; good && i < text.len; i++) {
        unsigned digit = text.data[i] - (unsigned)'0';
        limit = limit * 10 + digit;
        if (digit > 9 || limit > 1000) {
            limit = 0;
            break;
        }
    }
    if (good && text.data && limit == 0) {
        http_reply_error(x, 400, "bad_query", "limit: a number from 1 to 1000 is expected");
        good = false;
    }
    bytes_fini(&text);
    *ret_limit = limit;
    return good;
}

static void ask_runs(struct http_exchange *x)
{
    struct coordinator_question *question = question_new(x, FLOW_ASK_RUNS);

    if (!question) {
        return;
    }
    if (take_query(x, "status", &question->status) && take_query(x, "tag", &question->tag) &&
        take_query(x, "user", &question->filter_user) && take_query(x, "after", &question->after) &&
        take_limit(x, &question->ask.limit)) {
        question_send(x, question);
    } else {
        question_free(question);
    }
}

static void ask_events(struct http_exchange *x)
{
    struct coordinator_question *question = question_new(x, FLOW_ASK_EVENTS);

    if (!question) {
        return;
    }
    struct runs_query *run = &question->run;
    if (!runs_query_read(x, run)) {
        question_free(question);
        return;
    }
    question->ask.since = run->since;
    question->ask.limit = run->limit == UINT64_MAX ? 0 : run->limit;
    if (run->limit == 0) { /* None of them: to the flow 0 means all. */
        question->ask.since = UINT32_MAX;
        question->ask.limit = 1;
    }
    if (bytes_append(&question->name, run->id.data, run->id.len) != 0 ||
        bytes_append(&question->tag, run->if_none_match.data, run->if_none_match.len) != 0) {
        question_free(question);
        http_reply_error(x, 503, "no_memory", "no memory for the request");
        return;
    }
    question_send(x, question);
}

/* ---- how it is ---- */

static void healthz(struct http_exchange *x)
{
    const struct gateway_shard *gs = gateway_shard_of(x->app);
    const char *text = gs->coordinator_up ? "ok" : "store down";

    http_reply(x, gs->coordinator_up ? 200 : 503, "text/plain; charset=utf-8", text, strlen(text));
}

/* clang-format off: a table, one row a line. */
const struct route coordinator_routes[] = {
    {"/api/v1/runs", ROUTE_POST, ask_start},
    {"/api/v1/runs", ROUTE_GET, ask_runs},
    {"/api/v1/runs/{}", ROUTE_GET, ask_run},
    {"/api/v1/runs/{}/events", ROUTE_GET, ask_events},
    {"/api/v1/runs/{}/cancel", ROUTE_POST, ask_cancel},
    {"/api/v1/workflows", ROUTE_GET, ask_workflows},
    {"/api/v1/workflows/{}", ROUTE_GET, ask_workflow},
    {"/api/v1/workflows/{}", ROUTE_PUT, ask_put},
    {"/api/v1/workflows/{}", ROUTE_DELETE, ask_delete},
    {"/api/v1/workflows/{}/execute", ROUTE_POST, ask_execute},
    {"/api/v1/results/{}", ROUTE_GET, ask_result},
    {"/api/approval", ROUTE_POST, ask_approval},
    {"/health", ROUTE_GET, admin_health},
    {"/healthz", ROUTE_GET, healthz},
    {"/ready", ROUTE_GET, admin_ready},
    {"/metrics", ROUTE_GET, figures_metrics},
    {"/admin/stats", ROUTE_GET, figures_stats},
    {0},
};
/* clang-format on */
