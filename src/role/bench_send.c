#include "role/bench_send.h"

#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "role/bench_sender.h"
#include "role/bench_stamp.h"
#include "role/schedule.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "rt/thread.h"

enum {
    NAP_NS = 70000,
    ANSWER_WAIT_NS = 2000000000,
};

struct bench_send {
    const struct bench_plan *plan;
    const struct bench_shared *shared;
    struct bench_send_totals totals;
    struct thread *thread;
    struct loop *loop;
    struct bench_sender_set set;
    struct bench_sender *senders;
    uint32_t sender_turn;
    uint64_t channel_turn;
    uint32_t *listeners;
    struct rng rng;
    char *payload;
    struct schedule schedule;
    uint64_t run_end_ns, run_sent;
    bool run_measured;
    /* Written by the main thread, read by ours. */
    uint64_t order_start_ns, order_duration_ns;
    bool order_measured;
    uint32_t order_count;
    bool stop;
    /* Written by ours, read by the main thread. */
    uint32_t done_count;
};

static struct bench_sender *find_free(struct bench_send *send)
{
    for (uint32_t i = 0; i < send->plan->sender_count; i++) {
        struct bench_sender *sender =
            &send->senders[(send->sender_turn + i) % send->plan->sender_count];
        if (bench_sender_free(sender)) {
            send->sender_turn = (sender->index + 1) % send->plan->sender_count;
            return sender;
        }
    }
    return NULL;
}

/* Users are hit at random, rooms in turn. A plain WebSocket publishes where it is a member. */
static uint32_t choose_channel(struct bench_send *send, const struct bench_sender *sender)
{
    const struct bench_plan *plan = send->plan;

    if (plan->via == BENCH_WS && !plan->ws_command) {
        return (uint32_t)(sender->index % plan->channel_count);
    }
    if (plan->mode == BENCH_USERS) {
        return (uint32_t)rng_below(&send->rng, plan->channel_count);
    }
    return (uint32_t)(send->channel_turn++ % plan->channel_count);
}

static void send_one(struct bench_send *send, struct bench_sender *sender, uint64_t k)
{
    uint32_t channel = choose_channel(send, sender);
    uint64_t now_ns = clock_now_ns();
    uint64_t due_ns = send->schedule.rate_uhz ? schedule_due_ns(&send->schedule, k) : now_ns;
    uint64_t late_ns = now_ns > due_ns ? now_ns - due_ns : 0;
    const struct bench_stamp stamp = {due_ns, late_ns, sender->seqs[channel]++, sender->index};
    size_t len = bench_stamp_write(&stamp, send->plan->options->size, send->payload);
    struct span payload = span_of(send->payload, len);

    BENCH_ADD(send->totals.sent_ever, 1);
    if (send->run_measured) {
        const struct bench_shared *shared = send->shared;
        uint64_t bin = (now_ns - send->schedule.start_ns) / shared->bin_ns;
        send->totals.bins[bin < BENCH_BINS_MAX ? bin : BENCH_BINS_MAX - 1] += 1;
        hist_record(&send->totals.late, late_ns);
        BENCH_ADD(send->totals.sent, 1);
    }
    bench_sender_publish(sender, channel, payload, now_ns, send->run_measured);
}

/* Waits until the next message is due, or for an answer while all connections are busy.
 *
 * In short naps, not in one sleep: a processor that goes idle between messages makes every wake-up
 * of a load thread dearer, and on a virtual machine the server pays part of it (10 to 15 % of its
 * CPU for a delivery at 100 messages a second was seen). One that naps disturbs what it measures
 * alike at every rate. */
static void wait_for(struct bench_send *send, bool blocked, uint64_t due_ns)
{
    uint64_t now_ns = clock_now_ns();

    if (blocked) {
        loop_poll(send->loop, 5);
        return;
    }
    uint64_t wake_ns = due_ns < now_ns + NAP_NS ? due_ns : now_ns + NAP_NS;
    if (wake_ns > now_ns) {
        const struct timespec until = {
            (time_t)(wake_ns / 1000000000u), (long)(wake_ns % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    loop_poll(send->loop, 0);
}

/* One measured or warm-up run, until its time is over. */
static void run(struct bench_send *send)
{
    uint64_t due = 0;

    send->run_sent = 0;
    while (!BENCH_GET(send->stop)) {
        uint64_t now_ns = clock_now_ns();
        if (now_ns >= send->run_end_ns) {
            break;
        }
        due = schedule_due_count(&send->schedule, now_ns);
        bool blocked = false;
        /* Back to the loop now and then, or answers would pile up. */
        for (int burst = 0; send->run_sent < due && burst < 64; burst++) {
            struct bench_sender *sender = find_free(send);
            if (!sender) {
                blocked = true;
                break;
            }
            send_one(send, sender, send->run_sent++);
        }
        uint64_t behind = due == UINT64_MAX ? 0 : due - send->run_sent;
        if (send->run_measured && behind > send->totals.behind_max) {
            BENCH_SET(send->totals.behind_max, behind);
        }
        if (send->run_sent < due && !blocked) {
            loop_poll(send->loop, 0);
        } else {
            uint64_t next_ns = schedule_due_ns(&send->schedule, send->run_sent);
            wait_for(send, blocked, next_ns < send->run_end_ns ? next_ns : send->run_end_ns);
        }
    }
    due = schedule_due_count(&send->schedule, send->run_end_ns - 1);
    if (send->run_measured && due != UINT64_MAX) {
        send->totals.unsent = due > send->run_sent ? due - send->run_sent : 0;
    }
}

static bool answers_missing(const struct bench_send *send)
{
    for (uint32_t i = 0; i < send->plan->sender_count; i++) {
        if (send->senders[i].pending_count) {
            return true;
        }
    }
    return false;
}

static void send_thread(void *arg)
{
    struct bench_send *send = arg;
    uint32_t done = 0;

    /* Sleeps end when they should, not up to 50 us later. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    while (!BENCH_GET(send->stop)) {
        if (__atomic_load_n(&send->order_count, __ATOMIC_ACQUIRE) == done) {
            loop_poll(send->loop, 5);
            if (send->set.up_count == send->plan->sender_count && BENCH_GET(send->set.ready) == 0) {
                BENCH_SET(send->set.ready, 1);
            }
            continue;
        }
        send->schedule = schedule_of(send->order_start_ns, send->plan->rate);
        send->run_end_ns = send->order_start_ns + send->order_duration_ns;
        send->run_measured = send->order_measured;
        while (clock_now_ns() < send->schedule.start_ns && !BENCH_GET(send->stop)) {
            wait_for(send, false, send->schedule.start_ns);
        }
        run(send);
        uint64_t give_up_ns = clock_now_ns() + ANSWER_WAIT_NS;
        while (answers_missing(send) && clock_now_ns() < give_up_ns && !BENCH_GET(send->stop)) {
            loop_poll(send->loop, 5);
        }
        done += 1;
        __atomic_store_n(&send->done_count, done, __ATOMIC_RELEASE);
    }
}

int bench_send_create(
    const struct bench_plan *plan, const struct bench_shared *shared, struct bench_send **ret_send)
{
    struct bench_send *send = mem_zalloc(sizeof *send);

    send->plan = plan;
    send->shared = shared;
    send->listeners = mem_zalloc(plan->channel_count * sizeof *send->listeners);
    send->senders = mem_zalloc(plan->sender_count * sizeof *send->senders);
    size_t size = plan->options->size > BENCH_STAMP_MAX ? plan->options->size : BENCH_STAMP_MAX;
    send->payload = mem_alloc(size + 1);
    rng_init(&send->rng, 1);
    send->set.plan = plan;
    send->set.totals = &send->totals;
    send->set.listeners = send->listeners;
    int err = bench_sender_headers(&send->set);
    err = err ? err : loop_create(&send->loop);
    if (!err) {
        client_hub_init(&send->set.hub, send->loop, false);
    }
    for (uint32_t i = 0; !err && i < plan->sender_count; i++) {
        err = bench_sender_open(&send->senders[i], &send->set, i);
    }
    err = err ? err : thread_start("bench-send", -1, send_thread, send, &send->thread);
    if (err) {
        bench_send_destroy(send);
        return err;
    }
    *ret_send = send;
    return 0;
}

int bench_send_ready(const struct bench_send *send)
{
    return __atomic_load_n(&send->set.ready, __ATOMIC_ACQUIRE);
}

void bench_send_listeners(struct bench_send *send, const uint32_t *listeners)
{
    memcpy(send->listeners, listeners, send->plan->channel_count * sizeof *listeners);
}

void bench_send_run(struct bench_send *send, uint64_t start_ns, uint64_t duration_ns, bool measured)
{
    send->order_start_ns = start_ns;
    send->order_duration_ns = duration_ns;
    send->order_measured = measured;
    __atomic_store_n(&send->order_count, send->order_count + 1, __ATOMIC_RELEASE);
}

bool bench_send_idle(const struct bench_send *send)
{
    return __atomic_load_n(&send->done_count, __ATOMIC_ACQUIRE) == send->order_count;
}

const struct bench_send_totals *bench_send_totals(const struct bench_send *send)
{
    return &send->totals;
}

void bench_send_stop(struct bench_send *send)
{
    if (send && send->thread) {
        BENCH_SET(send->stop, true);
        loop_wake(send->loop);
        thread_join(send->thread);
        send->thread = NULL;
    }
}

void bench_send_destroy(struct bench_send *send)
{
    if (!send) {
        return;
    }
    bench_send_stop(send);
    for (uint32_t i = 0; i < send->plan->sender_count; i++) {
        bench_sender_close(&send->senders[i]);
    }
    client_hub_fini(&send->set.hub);
    loop_destroy(send->loop);
    bytes_fini(&send->set.scratch);
    mem_free(send->senders);
    mem_free(send->listeners);
    mem_free(send->payload);
    mem_free(send);
}
