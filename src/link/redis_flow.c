/* The life of the store: one attempt after the other, as a link's.
 *
 *   IDLE -> GREETING -> SETUP -> UP
 *     ^________|__________|______|   redis_flow_fail(), then a jittered pause
 *
 * Whatever goes wrong on any connection ends the attempt for all of them. */
#include "link/redis_flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "link/redis_backoff.h"
#include "link/redis_flow_own.h"
#include "rt/loop.h"

enum {
    VERSION_MIN = 60200,
    TICK_MS = 100,
    LOG_DOWN_MS = 30000,
    RETENTION_MIN_MS = 100,
    SLOTS_MAX = 1 << REDIS_CONN_SLOT_BITS,
};

_Static_assert(REDIS_FLOW_TYPES_MAX + 4 <= SLOTS_MAX, "each reader has a slot");

struct redis_flow_options redis_flow_options_default(void)
{
    return (struct redis_flow_options){
        .retention_ms = 24 * 3600 * 1000,
        .tasks_max = 1024,
        .type_tasks_max = 256,
        .signals_max = 1024,
        .later_ms = 1000,
        .beat_ms = 2000,
        .dead_ms = 10000,
        .answer_timeout_ms = 10000,
        .unanswered_bytes = 4 * 1024 * 1024,
    };
}

/* ---- up and down ---- */

static void tick(struct timer *timer, void *ctx);
static void retry(struct timer *timer, void *ctx);

static void drop_attempt(struct redis_flow *flow)
{
    flow->phase = PHASE_IDLE;
    timer_stop(&flow->tick_timer);
    timer_stop(&flow->due_timer);
    redis_conn_close(&flow->conn);
    redis_inbox_drop_all(&flow->inbox);
    for (size_t i = 0; i < flow->reader_count; i++) {
        redis_conn_close(&flow->readers[i].conn);
        redis_inbox_drop_all(&flow->readers[i].inbox);
    }
}

static void log_down(struct redis_flow *flow, const char *sentence, uint64_t pause_ms)
{
    uint64_t held;

    if (strcmp(flow->sentence, sentence) != 0) {
        flow->down_limit.next_ms = 0; /* Another reason is news. */
    }
    if (log_allow(&flow->down_limit, loop_now_ms(flow->loop), LOG_DOWN_MS, &held)) {
        LOG(LOG_WARN, "flow.redis_down", LOG_S("address", flow->target.address),
            LOG_S("why", sentence), LOG_U("retry_ms", pause_ms), LOG_U("repeats", held));
    }
}

void redis_flow_fail(struct redis_flow *flow, const char *sentence)
{
    char copy[REDIS_SENTENCE_MAX];
    bool news = flow->told_up || strcmp(flow->sentence, sentence) != 0;

    if (flow->phase == PHASE_IDLE) {
        return; /* Another connection said so already. */
    }
    snprintf(copy, sizeof(copy), "%s", sentence);
    drop_attempt(flow);
    uint64_t pause_ms =
        redis_backoff_ms(flow->attempt, flow->reconnect_min_ms, flow->reconnect_max_ms, &flow->rng);
    flow->attempt += 1;
    if (!flow->shut) {
        timer_start(flow->loop, &flow->retry_timer, pause_ms, retry, flow);
    }
    log_down(flow, copy, pause_ms);
    snprintf(flow->sentence, sizeof(flow->sentence), "%s", copy);
    flow->told_up = false;
    if (news) {
        flow->in.on_state(flow->in.ctx, false, copy);
    }
    redis_flow_forget(flow);
}

void redis_flow_came_up(struct redis_flow *flow)
{
    flow->phase = PHASE_UP;
    flow->attempt = 0;
    flow->down_limit = (struct log_limit){0};
    flow->stats.reconnects += flow->was_up;
    flow->was_up = true;
    flow->told_up = true;
    flow->sentence[0] = '\0';
    LOG(LOG_INFO, "flow.redis_up", LOG_S("address", flow->target.address),
        LOG_S("version", flow->conn.greeting.version_text), LOG_S("coordinator", flow->name));
    redis_flow_tick(flow);
    flow->in.on_state(flow->in.ctx, true, "");
}

/* All connections are greeted. */
static void set_up(struct redis_flow *flow)
{
    int r = 0;

    flow->phase = PHASE_SETUP;
    flow->fresh = true;
    flow->beaten_ms = flow->poll_ms = flow->sweep_ms = flow->sweep_offset = 0;
    flow->groups_due = false;
    redis_inbox_drop_all(&flow->inbox); /* The replies to the greeting. */
    flow->passed_seen = flow->inbox.passed_count;
    for (size_t i = 0; i < flow->reader_count; i++) {
        struct reader *reader = &flow->readers[i];
        redis_inbox_drop_all(&reader->inbox);
        reader->passed_seen = reader->inbox.passed_count;
        redis_flow_reader_reset(reader);
    }
    flow->setups_left = 1; /* Not before all is asked. */
    redis_flow_reload(flow);
    for (uint32_t i = 0; r == 0 && i <= flow->type_count; i++) {
        r = redis_flow_ask(flow, ASK_GROUP, NULL, i);
        flow->setups_left += r == 0;
    }
    flow->setups_left -= 1;
    if (r != 0 || flow->loading < REDIS_FLOW_SCRIPTS) {
        redis_flow_fail(flow, "no memory to set up the store");
        return;
    }
    timer_start(flow->loop, &flow->tick_timer, TICK_MS, tick, flow);
    redis_flow_pump(flow);
}

static void retry(struct timer *timer, void *ctx)
{
    struct redis_flow *flow = ctx;

    (void)timer;
    flow->phase = PHASE_GREETING;
    redis_conn_open(&flow->conn);
    for (size_t i = 0; i < flow->reader_count && flow->phase == PHASE_GREETING; i++) {
        redis_conn_open(&flow->readers[i].conn);
    }
}

/* ---- what the connections tell ---- */

static struct reader *reader_of(struct redis_flow *flow, const struct redis_conn *conn)
{
    return &flow->readers[redis_conn_slot(conn->id) - 1];
}

static void conn_ready(void *ctx, struct redis_conn *conn)
{
    struct redis_flow *flow = ctx;
    uint32_t version = conn->greeting.version;
    bool all = flow->conn.state == REDIS_CONN_READY;

    if (version && version < VERSION_MIN) {
        char why[REDIS_SENTENCE_MAX];
        snprintf(why, sizeof(why), "%s is Redis %s; fanout needs 6.2 or newer",
            flow->target.address, conn->greeting.version_text);
        redis_flow_fail(flow, why);
        return;
    }
    for (size_t i = 0; i < flow->reader_count; i++) {
        all = all && flow->readers[i].conn.state == REDIS_CONN_READY;
    }
    if (all) {
        set_up(flow);
    }
}

static bool conn_reply(void *ctx, struct redis_conn *conn, struct span reply)
{
    struct redis_flow *flow = ctx;

    return conn == &flow->conn ? redis_flow_answered(flow, reply)
                               : redis_flow_reader_answered(reader_of(flow, conn), reply);
}

static void conn_failed(void *ctx, struct redis_conn *conn, const char *sentence)
{
    (void)conn;
    redis_flow_fail(ctx, sentence);
}

static void socket_event(void *ctx, uint64_t id, uint32_t events)
{
    struct redis_flow *flow = ctx;
    uint8_t slot = redis_conn_slot(id);

    if (slot == 0 && flow->conn.id == id) {
        redis_conn_event(&flow->conn, events);
    } else if (slot > 0 && slot <= flow->reader_count && flow->readers[slot - 1].conn.id == id) {
        redis_conn_event(&flow->readers[slot - 1].conn, events);
    }
}

/* Replies are taken as they come; only those to the greeting stay, and go all at once. */
static void reply_dropped(void *ctx, struct span reply)
{
    (void)ctx;
    (void)reply;
}

/* ---- each tick and turn ---- */

/* Redis owes an answer for too long: the path is dead, whatever TCP may say. */
static bool overdue(struct redis_flow *flow)
{
    uint64_t now_ms = loop_now_ms(flow->loop), patience = flow->options.answer_timeout_ms;
    const struct asks *asks = &flow->asks;
    bool late = asks->sent_count > 0 && now_ms - asks->ring[asks->head].sent_ms > patience;

    for (size_t i = 0; i < flow->reader_count; i++) {
        const struct reader *reader = &flow->readers[i];
        late = late || (reader->expected && now_ms - reader->asked_ms > BLOCK_MS + patience);
    }
    return late;
}

static void tick(struct timer *timer, void *ctx)
{
    struct redis_flow *flow = ctx;

    timer_start(flow->loop, timer, TICK_MS, tick, flow);
    if (overdue(flow)) {
        char why[REDIS_SENTENCE_MAX];
        snprintf(why, sizeof(why), "%s: no answer within %u ms", flow->target.address,
            flow->options.answer_timeout_ms);
        redis_flow_fail(flow, why);
        return;
    }
    redis_flow_tick(flow);
    redis_flow_items_later(flow);
}

static void read_on(struct redis_conn *conn)
{
    if (conn->more) {
        redis_conn_read(conn);
    }
}

void redis_flow_turn(struct redis_flow *flow)
{
    read_on(&flow->conn);
    for (size_t i = 0; i < flow->reader_count; i++) {
        read_on(&flow->readers[i].conn);
    }
    if (flow->phase == PHASE_UP && redis_flow_passed(flow)) {
        for (size_t i = 0; i < flow->reader_count && flow->phase == PHASE_UP; i++) {
            if (!redis_flow_reader_passed(&flow->readers[i])) {
                return;
            }
        }
        redis_flow_acks_send(flow);
    }
    redis_flow_items_ready(flow);
    redis_flow_pump(flow);
    redis_flow_readers_pump(flow);
}

/* ---- the port ---- */

static bool usable(struct redis_flow *flow, enum ask_kind kind, void *request, int *ret_err)
{
    *ret_err = flow->phase == PHASE_UP ? redis_flow_ask(flow, kind, request, 0) : -ENOTCONN;
    return *ret_err == 0;
}

static void ask_commit(void *ctx, struct flow_commit *commit)
{
    if (!usable(ctx, ASK_COMMIT, commit, &commit->err)) {
        commit->done(commit);
    }
}

static void ask_load(void *ctx, struct flow_load *load)
{
    if (!usable(ctx, ASK_LOAD, load, &load->err)) {
        load->done(load);
    }
}

static void ask_blob(void *ctx, struct flow_get *get)
{
    if (!usable(ctx, ASK_BLOB, get, &get->err)) {
        get->done(get);
    }
}

static void ask_approval(void *ctx, struct flow_get *get)
{
    if (!usable(ctx, ASK_APPROVAL, get, &get->err)) {
        get->done(get);
    }
}

static void ask_events(void *ctx, struct flow_events *events)
{
    if (!usable(ctx, ASK_EVENTS, events, &events->err)) {
        events->done(events);
    }
}

static void ask_list(void *ctx, struct flow_list *list)
{
    if (!usable(ctx, ASK_LIST, list, &list->err)) {
        list->done(list);
    }
}

static void ask_shelf(void *ctx, struct flow_shelf *shelf)
{
    if (!usable(ctx, ASK_SHELF, shelf, &shelf->err)) {
        shelf->done(shelf);
    }
}

struct flow_store redis_flow_store(struct redis_flow *flow)
{
    return (struct flow_store){
        .ctx = flow,
        .commit = ask_commit,
        .load = ask_load,
        .blob = ask_blob,
        .approval = ask_approval,
        .events = ask_events,
        .list = ask_list,
        .shelf = ask_shelf,
        .release_task = redis_flow_release_task,
        .release_signal = redis_flow_release_signal,
        .outside_workers = true,
    };
}

struct redis_flow_stats redis_flow_stats(const struct redis_flow *flow)
{
    struct redis_flow_stats stats = flow->stats;

    stats.unanswered = (uint32_t)flow->asks.count;
    for (size_t i = 0; i < flow->reader_count; i++) {
        const struct reader *reader = &flow->readers[i];
        *(reader->kind == ITEM_TASK ? &stats.tasks_under_way : &stats.signals_under_way) +=
            reader->under_way;
    }
    return stats;
}

/* ---- beginning ---- */

static bool name_fits(const char *name, size_t max)
{
    size_t len = name ? strlen(name) : 0;

    return len > 0 && len <= max &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == len;
}

static int check(const struct redis_flow_options *options, char *err, size_t err_cap)
{
    const char *complaint = NULL;

    if (!name_fits(options->name, REDIS_FLOW_NAME_MAX)) {
        complaint = "a coordinator's name is 1 to 64 of A-Z a-z 0-9 _ . -";
    } else if (options->type_count > REDIS_FLOW_TYPES_MAX) {
        complaint = "there are too many types of task";
    } else if (options->retention_ms < RETENTION_MIN_MS) {
        complaint = "the retention must be at least 100 ms";
    } else if (options->tasks_max == 0 || options->type_tasks_max == 0 ||
               options->signals_max == 0 || options->unanswered_bytes == 0 ||
               options->answer_timeout_ms == 0 || options->beat_ms == 0 || options->later_ms == 0) {
        complaint = "bounds and times must not be 0";
    } else if (options->dead_ms / 4 < options->beat_ms || options->dead_ms < 2 * BLOCK_MS + 1000) {
        complaint = "dead_ms must be at least 4 beats, and 5000";
    }
    for (size_t i = 0; !complaint && i < options->type_count; i++) {
        if (!name_fits(options->types[i].name, FLOW_TYPE_MAX)) {
            complaint = "a type of task has a name of 1 to 64 of a-z 0-9 _ -";
        }
    }
    if (complaint) {
        snprintf(err, err_cap, "redis: %s", complaint);
    }
    return complaint ? -EINVAL : 0;
}

static char *joined(const char *prefix, const char *name, const char *suffix)
{
    char text[FLOW_TYPE_MAX + 32];

    snprintf(text, sizeof(text), "%s%s%s", prefix, name, suffix);
    return mem_strdup(text);
}

static void add_reader(struct redis_flow *flow, enum item_kind kind, const char *type)
{
    struct reader *reader = &flow->readers[flow->reader_count++];

    *reader = (struct reader){.flow = flow, .kind = kind};
    if (kind == ITEM_TASK) {
        reader->stream = joined("wf.tasks.", type, "");
        reader->group = joined("", type, "_workers");
        reader->type = span_str(type);
        reader->field = span_str("token");
    } else if (kind == ITEM_REQUEST) {
        reader->stream = mem_strdup("wf.run.requests");
        reader->group = mem_strdup("run_executors");
        reader->field = span_str("request");
    }
    redis_inbox_init(&reader->inbox, flow->inbox_bytes, reply_dropped, flow);
    redis_conn_init(&reader->conn, flow->loop, flow->socket_kind, flow->resolve_kind,
        (uint8_t)flow->reader_count, &flow->target, &flow->conn_events, &reader->inbox);
}

/* The types, each once, and "default". */
static void add_types(struct redis_flow *flow, const struct redis_flow_options *options)
{
    flow->types = mem_alloc((options->type_count + 1) * sizeof(*flow->types));
    flow->readers = mem_zalloc((options->type_count + 2) * sizeof(*flow->readers));
    add_reader(flow, ITEM_SIGNAL, NULL);
    add_reader(flow, ITEM_REQUEST, NULL);
    bool has_default = false;
    for (size_t i = 0; i < options->type_count; i++) {
        char *type = mem_strdup(options->types[i].name);
        flow->types[flow->type_count++] = type;
        has_default |= strcmp(type, "default") == 0;
        if (options->types[i].work) {
            add_reader(flow, ITEM_TASK, type);
        }
    }
    if (!has_default) {
        flow->types[flow->type_count++] = mem_strdup("default");
    }
}

int redis_flow_create(struct loop *loop, uint8_t socket_kind, uint8_t resolve_kind,
    const struct redis_options *redis, const struct redis_flow_options *options,
    struct redis_flow **ret_flow, char *err, size_t err_cap)
{
    int r = redis_options_check(redis, err, err_cap);

    r = r ? r : check(options, err, err_cap);
    if (r != 0) {
        return r;
    }
    struct redis_flow *flow = mem_zalloc(sizeof(*flow));
    *flow = (struct redis_flow){
        .loop = loop,
        .socket_kind = socket_kind,
        .resolve_kind = resolve_kind,
        .options = *options,
        .reconnect_min_ms = redis->reconnect_min_ms,
        .reconnect_max_ms = redis->reconnect_max_ms,
        .inbox_bytes = redis->buffer_bytes,
    };
    flow->later_last = &flow->later_first;
    flow->ready_last = &flow->ready_first;
    snprintf(flow->name, sizeof(flow->name), "%s", options->name);
    snprintf(flow->list, sizeof(flow->list), "completion_signals:%s", flow->name);
    snprintf(flow->client_name, sizeof(flow->client_name), "fanout-%s", flow->name);
    flow->history_limits = options->history_limits ? mem_strdup(options->history_limits) : NULL;
    rng_init(&flow->rng, redis_draw_seed(redis->seed));
    flow->key = (struct hash_key){rng_next(&flow->rng), rng_next(&flow->rng)};
    flow->conn_events = (struct redis_conn_events){flow, conn_ready, conn_reply, conn_failed};
    redis_inbox_init(&flow->inbox, flow->inbox_bytes, reply_dropped, flow);
    redis_conn_init(&flow->conn, loop, socket_kind, resolve_kind, 0, &flow->target,
        &flow->conn_events, &flow->inbox);
    add_types(flow, options);
    r = redis_target_init(&flow->target, redis, flow->client_name, err, err_cap);
    for (enum redis_flow_script i = 0; r == 0 && i < REDIS_FLOW_SCRIPTS; i++) {
        r = redis_flow_script_sha(i, flow->sha[i]);
    }
    if (r != 0) {
        flow->shut = true;
        redis_flow_destroy(flow);
        return r;
    }
    loop_handle(loop, socket_kind, socket_event, flow);
    *ret_flow = flow;
    return 0;
}

void redis_flow_start(struct redis_flow *flow, const struct flow_events_in *in)
{
    flow->in = *in;
    timer_start(flow->loop, &flow->retry_timer, 0, retry, flow);
}

/* ---- ending ---- */

void redis_flow_drain(struct redis_flow *flow)
{
    flow->draining = true;
}

bool redis_flow_leave(struct redis_flow *flow)
{
    flow->draining = true;
    if (flow->phase != PHASE_UP || flow->left) {
        return true;
    }
    if (!flow->leaving) {
        /* What waits in Redis for us must not come any more once the others look after us. */
        for (size_t i = 0; i < flow->reader_count; i++) {
            redis_conn_close(&flow->readers[i].conn);
            flow->readers[i].expected = 0;
        }
        flow->leaving = redis_flow_ask(flow, ASK_LEAVE, NULL, 0) == 0;
        return !flow->leaving;
    }
    return false;
}

void redis_flow_shut(struct redis_flow *flow)
{
    if (flow->shut) {
        return;
    }
    flow->shut = true;
    timer_stop(&flow->retry_timer);
    drop_attempt(flow);
    redis_flow_forget(flow);
}

void redis_flow_destroy(struct redis_flow *flow)
{
    if (!flow) {
        return;
    }
    redis_flow_shut(flow);
    timer_stop(&flow->retry_timer);
    while (flow->all) {
        redis_flow_item_free(flow, flow->all);
    }
    for (size_t i = 0; i < flow->reader_count; i++) {
        struct reader *reader = &flow->readers[i];
        redis_conn_fini(&reader->conn);
        redis_inbox_fini(&reader->inbox);
        bytes_fini(&reader->acks);
        mem_free(reader->stream);
        mem_free(reader->group);
    }
    for (size_t i = 0; i < flow->type_count; i++) {
        mem_free(flow->types[i]);
    }
    redis_conn_fini(&flow->conn);
    redis_inbox_fini(&flow->inbox);
    redis_flow_free_asks(flow);
    table_fini(&flow->items);
    redis_target_fini(&flow->target);
    mem_free(flow->readers);
    mem_free(flow->types);
    mem_free(flow->history_limits);
    mem_free(flow);
}
