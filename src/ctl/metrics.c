#include "ctl/metrics.h"

#include <stdio.h>

#include "ctl/metrics_page.h"

/* ---- the families ---- */

static void write_process(struct page *page, const struct figures *f)
{
    page_family(page, "fanout_build_info", "gauge", "Which program this is; always 1.");
    page_sample(page, "fanout_build_info", "version", f->version, "role", f->role, 1);
    page_gauge(
        page, "process_start_time_seconds", "When it started, Unix time.", f->start_time_seconds);
    page_one(page, "process_cpu_seconds_total", "counter", "User and system CPU time.",
        f->process.cpu_seconds);
    page_gauge(page, "process_resident_memory_bytes",
        "Memory in use, the kernel's buffers excluded.", (double)f->process.resident_bytes);
    page_gauge(
        page, "process_virtual_memory_bytes", "Address space.", (double)f->process.virtual_bytes);
    if (f->process.open_fds >= 0) {
        page_gauge(page, "process_open_fds", "Open file descriptors.", (double)f->process.open_fds);
    }
    page_gauge(
        page, "process_max_fds", "File descriptors a table may hold.", (double)f->process.max_fds);
}

static void write_connections(struct page *page, const struct figures *f)
{
    static const char *const endpoints[FIGURES_ENDPOINTS] = {"user", "room", "channel", "v1"};
    const char *name = "fanout_connections";

    page_family(page, name, "gauge", "Open connections by transport and endpoint.");
    for (int i = 0; i < FIGURES_ENDPOINTS; i++) {
        page_sample(page, name, "transport", "ws", "endpoint", endpoints[i], f->websockets[i]);
    }
    for (int i = 0; i < FIGURES_V1; i++) {
        page_sample(page, name, "transport", "sse", "endpoint", endpoints[i], f->streams[i]);
    }
    page_sample(page, name, "transport", "poll", "endpoint", "poll", f->polls);
    page_sample(page, name, "transport", "http", "endpoint", "api", f->http_connections);
    page_gauge(page, "fanout_connections_max", "Connections it takes.", f->connections_max);
    page_gauge(page, "fanout_users", "Distinct users with a socket.", (double)f->users);
    page_gauge(page, "fanout_rooms", "Distinct rooms with a member.", (double)f->rooms);
    page_gauge(page, "fanout_channels", "Distinct channels with a listener.",
        (double)f->listened_channels);
    page_gauge(page, "fanout_subscriptions", "Subscriptions of all connections.",
        (double)f->core.subscriptions);
    page_counter(page, "fanout_connections_opened_total", "Connections taken.", f->opened);
    page_counter(page, "fanout_connections_refused_total",
        "Connections refused: over the limit, or out of descriptors.", f->refused);
    page_counter(page, "fanout_connections_closed_total", "Connections ended.", f->closed);
    page_counter(
        page, "fanout_handshakes_total", "WebSocket upgrades answered 101.", f->handshakes);
    page_counter(page, "fanout_streams_opened_total", "SSE streams begun.", f->streams_opened);
    page_counter(page, "fanout_polls_answered_total", "Long polls answered.", f->polls_answered);
    page_counter(page, "fanout_pings_total", "Heartbeats sent.", f->pings);
    page_counter(
        page, "fanout_idle_closed_total", "Closed for want of a sign of life.", f->idle_closed);
    page_counter(page, "fanout_protocol_violations_total", "WebSocket protocol errors of clients.",
        f->violations);
    page_family(page, "fanout_cut_total", "counter", "Connections we ended, by who wanted it.");
    page_sample(page, "fanout_cut_total", "by", "policy", NULL, NULL, (double)f->cut_policy);
    page_sample(page, "fanout_cut_total", "by", "operator", NULL, NULL, (double)f->cut_operator);
    page_gauge(page, "fanout_slow_connections", "Connections that lose messages now.",
        (double)f->slow_now);
    page_counter(page, "fanout_slowdowns_total", "Times a connection began to lose messages.",
        f->slow_began);
    page_counter(page, "fanout_received_bytes_total", "Bytes read from clients.", f->bytes_in);
    page_counter(page, "fanout_sent_bytes_total", "Bytes written to clients.", f->bytes_out);
    page_counter(
        page, "fanout_received_messages_total", "WebSocket messages of clients.", f->messages_in);
}

static void write_http(struct page *page, const struct figures *f)
{
    char class[4] = "0xx";

    page_counter(page, "fanout_http_requests_total", "HTTP requests read.", f->http.requests);
    page_family(page, "fanout_http_replies_total", "counter", "HTTP replies by class of status.");
    for (int i = 1; i < 6; i++) {
        class[0] = (char)('0' + i);
        page_sample(page, "fanout_http_replies_total", "class", class, NULL, NULL,
            (double)f->http.replies[i]);
    }
    page_counter(
        page, "fanout_http_timeouts_total", "Requests that came too slowly.", f->http.timeouts);
    page_counter(page, "fanout_http_malformed_total", "Requests malformed or over a limit.",
        f->http.refused);
}

static void by_namespace(struct page *page, const struct figures *f, const char *name,
    const char *type, const char *help, size_t offset)
{
    page_family(page, name, type, help);
    for (uint32_t i = 0; i < f->ns_count; i++) {
        uint64_t value = *(const uint64_t *)((const char *)&f->ns[i] + offset);
        page_sample(page, name, "namespace", f->ns[i].name, NULL, NULL, (double)value);
    }
}

static void write_publications(struct page *page, const struct figures *f)
{
    by_namespace(page, f, "fanout_publications_total", "counter", "Publications numbered.",
        offsetof(struct figures_ns, stats.publications));
    by_namespace(page, f, "fanout_publication_bytes_total", "counter",
        "Payload bytes of publications.", offsetof(struct figures_ns, stats.publication_bytes));
    page_counter(page, "fanout_publications_refused_total",
        "Publishers told to try again: listeners were behind, or there was no memory.",
        f->core.refused);
    page_counter(page, "fanout_publications_lost_total",
        "Messages of room clients that could not be published.", f->publish_lost);
    page_gauge(
        page, "fanout_history_bytes", "Publications kept, bytes.", (double)f->core.history_bytes);
    page_gauge(page, "fanout_history_bytes_max", "Past this the least used are forgotten.",
        (double)f->history_bytes_max);
    page_gauge(
        page, "fanout_history_messages", "Publications kept.", (double)f->core.history_messages);
    by_namespace(page, f, "fanout_history_messages_max", "gauge",
        "Publications kept of one channel.", offsetof(struct figures_ns, history_messages_max));
    page_counter(page, "fanout_replayed_messages_total", "Publications replayed from history.",
        f->core.replayed);
}

static void write_deliveries(struct page *page, const struct figures *f)
{
    const char *dropped = "fanout_deliveries_dropped_total";

    by_namespace(page, f, "fanout_deliveries_accepted_total", "counter",
        "Deliveries owed: a publication for one subscriber each.",
        offsetof(struct figures_ns, stats.accepted));
    by_namespace(page, f, "fanout_deliveries_delivered_total", "counter",
        "Deliveries wholly taken by the kernel.", offsetof(struct figures_ns, stats.delivered));
    page_family(page, dropped, "counter", "Deliveries given up, by reason.");
    for (uint32_t i = 0; i < f->ns_count; i++) {
        for (int reason = 0; reason < DROP_REASONS; reason++) {
            page_sample(page, dropped, "namespace", f->ns[i].name, "reason",
                drop_reason_names[reason], (double)f->ns[i].stats.dropped[reason]);
        }
    }
    page_gauge(page, "fanout_queued_messages", "Deliveries waiting in outboxes.",
        (double)f->core.books.queued);
    page_gauge(page, "fanout_pending_messages", "Deliveries no sweep has come to yet.",
        (double)f->core.books.pending);
    page_gauge(page, "fanout_books_difference",
        "accepted - delivered - dropped - queued - pending; anything but 0 is a bug.",
        (double)books_difference(&f->core.books));
    by_namespace(page, f, "fanout_outbox_messages_max", "gauge",
        "Messages that may wait for one connection.",
        offsetof(struct figures_ns, outbox_messages_max));
    by_namespace(page, f, "fanout_outbox_bytes_max", "gauge",
        "Bytes that may wait for one connection.", offsetof(struct figures_ns, outbox_bytes_max));
    page_counter(
        page, "fanout_sweeps_total", "Slices of batches brought to subscribers.", f->core.sweeps);
    page_counter(
        page, "fanout_spans_total", "Writes asked of the kernel for deliveries.", f->core.spans);
}

/* Bucket i of the core counts what is below 2^i × 16.384 µs; the last one has no bound. */
static void write_latency(struct page *page, const struct figures *f)
{
    const char *name = "fanout_publish_to_write_seconds";
    uint64_t below = 0;
    char bound[32];

    page_family(
        page, name, "histogram", "From a publication's arrival to its write, each delivery.");
    for (int i = 0; i < SHARD_LATENCY_BUCKETS; i++) {
        below += f->core.latency[i];
        snprintf(bound, sizeof(bound), "%.9g", (double)(UINT64_C(16384) << i) * 1e-9);
        page_sample(page, "fanout_publish_to_write_seconds_bucket", "le",
            i + 1 < SHARD_LATENCY_BUCKETS ? bound : "+Inf", NULL, NULL, (double)below);
    }
    page_sample(page, "fanout_publish_to_write_seconds_sum", NULL, NULL, NULL, NULL,
        f->core.latency_sum_seconds);
    page_sample(
        page, "fanout_publish_to_write_seconds_count", NULL, NULL, NULL, NULL, (double)below);
}

static void write_redis(struct page *page, const struct figures_broker *b)
{
    const char *dropped = "fanout_broker_dropped_total";

    page_counter(page, "fanout_broker_reconnects_total", "Times it came back.", b->reconnects);
    page_one(page, "fanout_broker_outage_seconds_total", "counter",
        "Time without it since the start.", b->outage_seconds);
    page_counter(page, "fanout_broker_messages_total", "Messages taken from it.", b->messages);
    page_counter(
        page, "fanout_broker_message_bytes_total", "Their payload bytes.", b->message_bytes);
    page_family(page, dropped, "counter", "Messages of it that were dropped, by reason.");
    page_sample(page, dropped, "reason", "full", NULL, NULL, (double)b->dropped_full);
    page_sample(page, dropped, "reason", "channel", NULL, NULL, (double)b->dropped_channel);
    page_sample(page, dropped, "reason", "large", NULL, NULL, (double)b->dropped_large);
    page_sample(page, dropped, "reason", "lost", NULL, NULL, (double)b->dropped_lost);
    page_counter(page, "fanout_broker_malformed_total", "Messages for rooms without an envelope.",
        b->dropped_malformed);
    page_counter(page, "fanout_broker_published_total", "Publications it confirmed.", b->published);
    page_counter(page, "fanout_broker_publish_failed_total",
        "Publications it refused or never answered.", b->publish_failed);
    page_counter(page, "fanout_broker_publish_busy_total",
        "Publications refused here: too many were unanswered.", b->publish_busy);
    page_gauge(page, "fanout_delivery_path_age_seconds",
        "Since a canary last came back through it; grows when events do not get through.",
        b->path_age_seconds);
    page_gauge(page, "fanout_delivery_path_round_trip_seconds", "How long that canary took.",
        b->path_round_seconds);
    page_gauge(page, "fanout_broker_queue_bytes", "Read from it, not delivered yet.",
        (double)b->queue_bytes);
    page_gauge(page, "fanout_broker_queue_bytes_max", "Past this the oldest are dropped.",
        (double)b->queue_bytes_max);
    page_gauge(page, "fanout_broker_unanswered_bytes", "Published, not confirmed yet.",
        (double)b->unanswered_bytes);
    page_gauge(page, "fanout_broker_subscriptions", "Patterns or channels it confirmed.",
        (double)b->subscriptions);
    page_gauge(page, "fanout_broker_subscriptions_pending", "Asked for, not confirmed yet.",
        (double)b->subscriptions_pending);
}

static void write_broker(struct page *page, const struct figures *f)
{
    page_family(page, "fanout_broker_up", "gauge", "1 while events get through the broker.");
    page_sample(page, "fanout_broker_up", "broker", f->broker.redis ? "redis" : "embedded", NULL,
        NULL, f->broker.up);
    if (f->broker.redis) {
        write_redis(page, &f->broker);
    }
}

static void write_shared(struct page *page, const struct figures *f)
{
    const struct figures_shared *s = &f->shared;

    if (!s->on) {
        return;
    }
    page_counter(page, "fanout_shared_history_appended_total",
        "Publications that the script in Redis numbered for us.", s->appended);
    page_counter(page, "fanout_shared_history_duplicates_total",
        "Publications it did not number: their idempotency keys had been used.", s->duplicates);
    page_counter(page, "fanout_shared_history_append_failed_total",
        "Publications it refused or never answered.", s->append_failed);
    page_counter(page, "fanout_shared_history_messages_total",
        "Messages with a cursor taken from Redis.", s->numbered);
    page_counter(page, "fanout_shared_history_twins_total",
        "Bare messages of the script that were swallowed; about one for each message.", s->twins);
    page_counter(page, "fanout_shared_history_ephemeral_total",
        "Messages without a cursor, kept nowhere: somebody uses plain PUBLISH.", s->ephemeral);
    page_counter(page, "fanout_shared_history_holes_total",
        "Times a jump of offsets showed that messages were missed.", s->holes);
    page_counter(page, "fanout_shared_history_filled_total",
        "Publications missed and fetched before those that followed.", s->filled);
    page_counter(page, "fanout_shared_history_lost_total",
        "Publications missed and not kept any more: listeners were told of a gap.", s->lost);
    page_counter(page, "fanout_shared_history_pages_total", "Pages read from Redis.", s->pages);
    page_counter(
        page, "fanout_shared_history_page_messages_total", "Publications in them.", s->page_events);
    page_counter(page, "fanout_shared_history_read_failed_total",
        "Pages that Redis refused or never answered.", s->read_failed);
    page_gauge(page, "fanout_shared_history_reads", "Pages asked for and not answered yet.",
        (double)s->reads_open);
    page_counter(page, "fanout_shared_history_script_reloads_total",
        "Times Redis had forgotten the scripts and they were loaded again.", s->reloads);
    page_counter(page, "fanout_shared_history_renewals_total",
        "Epochs ended here since offsets went back, as after a fail-over.", s->renewals);
}

static double shard_value(const struct figures_shard *shard, int which)
{
    const double values[] = {shard->connections, (double)shard->turns, shard->busy_seconds,
        (double)shard->unswept_bytes, (double)shard->lent_bytes};
    return values[which];
}

static void write_store(struct page *page, const struct figures *f)
{
    const struct figures_store *s = &f->store;

    if (!s->on) {
        return;
    }
    page_gauge(page, "fanout_store_up", "1 while the durable history takes events.",
        !s->failed && !s->full);
    page_counter(page, "fanout_store_records_total", "Events written to disk.", s->records);
    page_counter(page, "fanout_store_commits_total", "Transactions made durable.", s->commits);
    page_one(page, "fanout_store_commit_seconds_total", "counter", "Time that transactions took.",
        s->commit_seconds);
    page_counter(page, "fanout_store_refused_total", "Appends answered with an error.", s->refused);
    page_counter(page, "fanout_store_trimmed_records_total",
        "Events that left by number, bytes or age.", s->trimmed);
    page_counter(page, "fanout_store_evicted_records_total", "Events that left to keep the budget.",
        s->evicted);
    page_counter(page, "fanout_store_reads_total", "Pages and look-ups answered.", s->reads);
    page_counter(page, "fanout_store_read_records_total", "Events in them.", s->read_records);
    page_one(page, "fanout_store_read_seconds_total", "counter", "Time that reads took.",
        s->read_seconds);
    page_counter(page, "fanout_store_damaged_total", "Records that could not be read.", s->damaged);
    page_gauge(page, "fanout_store_pending_bytes", "Events on their way to disk.",
        (double)s->pending_bytes);
    page_gauge(page, "fanout_store_used_bytes", "Of the file, what holds something.",
        (double)s->used_bytes);
    page_gauge(
        page, "fanout_store_bytes_max", "What the file may grow to.", (double)s->disk_bytes_max);
}

static void write_shards(struct page *page, const struct figures *f)
{
    static const struct {
        const char *name, *type, *help;
    } rows[] = {
        {"fanout_shard_connections", "gauge", "Connections of a shard."},
        {"fanout_shard_turns_total", "counter", "Turns of its loop."},
        {"fanout_shard_busy_seconds_total", "counter", "Time inside turns, waiting excluded."},
        {"fanout_shard_unswept_bytes", "gauge", "Encoded and not swept yet."},
        {"fanout_shard_lent_bytes", "gauge", "In flight to the shard that is furthest behind."},
    };
    char index[12];

    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        page_family(page, rows[row].name, rows[row].type, rows[row].help);
        for (uint32_t i = 0; i < f->shard_count; i++) {
            snprintf(index, sizeof(index), "%u", i);
            page_sample(page, rows[row].name, "shard", index, NULL, NULL,
                shard_value(&f->shards[i], (int)row));
        }
    }
    page_gauge(page, "fanout_overload_bytes_max", "Bound of a shard's lent and unswept bytes.",
        (double)f->overload_bytes_max);
}

/* As the service had them that contracts.md 2 describes. */
static void write_plain(struct page *page, const struct figures *f)
{
    page_gauge(page, "rooms", "Rooms with a member.", (double)f->rooms);
    page_gauge(
        page, "clients", "Connected clients: WebSockets and streams.", (double)figures_clients(f));
    page_counter(page, "dropped_messages",
        "Deliveries to clients given up, whatever the reason. What never became one is counted in "
        "fanout_broker_dropped_total, fanout_broker_malformed_total and "
        "fanout_publications_lost_total.",
        books_dropped(&f->core.books));
}

int metrics_append(struct bytes *out, const struct figures *figures)
{
    struct page page = {.out = out};

    write_process(&page, figures);
    write_connections(&page, figures);
    write_http(&page, figures);
    write_publications(&page, figures);
    write_deliveries(&page, figures);
    write_latency(&page, figures);
    write_broker(&page, figures);
    write_shared(&page, figures);
    write_store(&page, figures);
    metrics_write_flow(&page, &figures->flow);
    write_shards(&page, figures);
    write_plain(&page, figures);
    return page.err;
}
