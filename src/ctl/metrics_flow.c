/* The coordinator's part of the metrics. */
#include <stdio.h>

#include "ctl/figures.h"
#include "ctl/metrics_page.h"

static void write_runs(struct page *page, const struct figures_flow *f)
{
    page_gauge(page, "fanout_flow_up", "1 while the store of runs can be used.", f->up);
    page_counter(page, "fanout_flow_runs_started_total", "Runs begun here.", f->runs_started);
    page_family(page, "fanout_flow_runs_ended_total", "counter", "Runs that came to an end here.");
    page_sample(page, "fanout_flow_runs_ended_total", "status", "completed", NULL, NULL,
        (double)f->runs_completed);
    page_sample(page, "fanout_flow_runs_ended_total", "status", "failed", NULL, NULL,
        (double)f->runs_failed);
    page_sample(page, "fanout_flow_runs_ended_total", "status", "cancelled", NULL, NULL,
        (double)f->runs_cancelled);
    page_family(page, "fanout_flow_nodes_total", "counter", "What became of nodes.");
    page_sample(page, "fanout_flow_nodes_total", "status", "completed", NULL, NULL,
        (double)f->nodes_completed);
    page_sample(
        page, "fanout_flow_nodes_total", "status", "failed", NULL, NULL, (double)f->nodes_failed);
    page_sample(
        page, "fanout_flow_nodes_total", "status", "retried", NULL, NULL, (double)f->nodes_retried);
    page_counter(
        page, "fanout_flow_tokens_emitted_total", "Tokens that came to be.", f->tokens_emitted);
    page_counter(page, "fanout_flow_tokens_consumed_total", "Tokens used up.", f->tokens_consumed);
    page_counter(page, "fanout_flow_events_total", "Events recorded.", f->events);
    page_gauge(page, "fanout_flow_runs_cached", "Runs kept in memory.", f->runs_cached);
    page_gauge(page, "fanout_flow_runs_busy", "Runs something waits for.", f->runs_busy);
    page_gauge(page, "fanout_flow_cache_bytes", "Results kept in memory.", (double)f->cache_bytes);
}

static void write_work(struct page *page, const struct figures_flow *f)
{
    page_counter(page, "fanout_flow_signals_total", "Signals of workers, and run requests, taken.",
        f->signals);
    page_counter(page, "fanout_flow_signals_stale_total",
        "Signals about what was over already: taken off without effect.", f->signals_stale);
    page_counter(page, "fanout_flow_signals_dead_total", "Signals put to wf.dead as poison.",
        f->signals_dead);
    page_counter(page, "fanout_flow_tasks_total", "Tasks of built-in types taken.", f->tasks);
    page_counter(page, "fanout_flow_tasks_stale_total",
        "Tasks of what was over already: taken off without effect.", f->tasks_stale);
    page_counter(
        page, "fanout_flow_tasks_dead_total", "Tasks put to wf.dead as poison.", f->tasks_dead);
    page_counter(page, "fanout_flow_commits_total", "Steps that the store applied.", f->commits);
    page_counter(page, "fanout_flow_commit_conflicts_total",
        "Steps refused since somebody else was faster: judged anew.", f->conflicts);
    page_counter(page, "fanout_flow_commits_failed_total",
        "Steps that the store failed at: tried again.", f->commit_failed);
}

/* Bucket i counts what took at most 2^i x 16 us. */
static void write_steps(struct page *page, const struct figures_flow *f)
{
    const char *name = "fanout_flow_step_seconds";
    char bound[32];

    page_family(page, name, "histogram",
        "From a task's or signal's coming until what follows of it is stored.");
    for (int i = 0; i < FIGURES_STEP_BUCKETS; i++) {
        snprintf(bound, sizeof(bound), "%.9g", (double)(UINT64_C(16) << i) * 1e-6);
        page_sample(page, "fanout_flow_step_seconds_bucket", "le", bound, NULL, NULL,
            (double)f->steps_below[i]);
    }
    page_sample(
        page, "fanout_flow_step_seconds_bucket", "le", "+Inf", NULL, NULL, (double)f->steps);
    page_sample(page, "fanout_flow_step_seconds_sum", NULL, NULL, NULL, NULL, f->step_seconds);
    page_sample(page, "fanout_flow_step_seconds_count", NULL, NULL, NULL, NULL, (double)f->steps);
}

static void write_http(struct page *page, const struct figures_flow *f)
{
    page_counter(
        page, "fanout_flow_http_requests_total", "Requests of http nodes.", f->http_requests);
    page_counter(
        page, "fanout_flow_http_failures_total", "Of them, without an answer.", f->http_failures);
    page_counter(page, "fanout_flow_http_refused_total",
        "Of them, to an address that flow.http_private keeps closed.", f->http_refused);
    page_gauge(page, "fanout_flow_http_active", "Under way.", f->http_active);
    page_gauge(page, "fanout_flow_http_waiting", "Waiting for a connection.", f->http_waiting);
}

static void write_embedded(struct page *page, const struct figures_flow_db *f)
{
    page_counter(
        page, "fanout_flow_db_transactions_total", "Transactions made durable.", f->transactions);
    page_counter(page, "fanout_flow_db_failed_total", "Transactions that were not.", f->failed);
    page_counter(page, "fanout_flow_db_published_total", "Events published.", f->published);
    page_counter(page, "fanout_flow_db_publish_failed_total",
        "Publications that were not wholly taken, and are tried again.", f->publish_failed);
    page_counter(
        page, "fanout_flow_db_reaped_total", "Runs removed, their time was over.", f->reaped);
    page_gauge(page, "fanout_flow_db_dead", "Poison that is kept.", (double)f->dead);
    page_gauge(page, "fanout_flow_db_bytes", "The file.", (double)f->file_bytes);
    page_gauge(page, "fanout_flow_db_bytes_max", "What it may grow to.", (double)f->bytes_max);
    page_gauge(page, "fanout_flow_db_wal_pages", "Pages in its log.", (double)f->wal_pages);
    page_gauge(page, "fanout_flow_db_tasks_waiting", "Tasks nobody has.", f->tasks_waiting);
    page_gauge(page, "fanout_flow_db_timers", "Timers set.", f->timers);
    page_gauge(page, "fanout_flow_db_unpublished_runs", "Runs with events to publish.",
        f->unpublished_runs);
    page_gauge(page, "fanout_flow_db_full", "1 while it has no room.", f->full);
}

static void write_redis(struct page *page, const struct figures_flow_redis *f)
{
    page_counter(page, "fanout_flow_redis_reconnects_total", "Times it came back.", f->reconnects);
    page_counter(page, "fanout_flow_redis_script_reloads_total",
        "Times Redis had forgotten the scripts.", f->reloads);
    page_counter(page, "fanout_flow_redis_refused_total",
        "Commits answered with an error other than a conflict.", f->refused);
    page_counter(page, "fanout_flow_redis_tasks_again_total",
        "Tasks taken over from who had them before.", f->tasks_again);
    page_counter(page, "fanout_flow_redis_requests_total", "Run requests taken.", f->requests);
    page_counter(page, "fanout_flow_redis_dead_total", "Poison sent to wf.dead.", f->dead);
    page_counter(page, "fanout_flow_redis_reclaimed_total",
        "Coordinators found dead whose work was taken over.", f->reclaimed);
    page_gauge(page, "fanout_flow_redis_unanswered", "Commands it owes an answer.", f->unanswered);
    page_gauge(page, "fanout_flow_redis_tasks_under_way", "Tasks in hand.", f->tasks_under_way);
    page_gauge(
        page, "fanout_flow_redis_signals_under_way", "Signals in hand.", f->signals_under_way);
}

void metrics_write_flow(struct page *page, const struct figures_flow *f)
{
    if (!f->on) {
        return;
    }
    write_runs(page, f);
    write_work(page, f);
    write_steps(page, f);
    write_http(page, f);
    if (f->redis.on) {
        write_redis(page, &f->redis);
    } else {
        write_embedded(page, &f->db);
    }
}
