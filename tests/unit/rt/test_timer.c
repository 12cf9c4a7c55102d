/* The wheel by itself, on a time of the test's making. */
#include "rt/timer.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "rt/loop.h"
#include "rt/loop_own.h"
#include "rt/wheel.h"
#include "tests/support/unit.h"

/* A loop that is nothing but a wheel and a time. */
struct loop {
    struct wheel wheel;
    uint64_t now_ns;
};

struct wheel *loop_wheel(struct loop *loop)
{
    return &loop->wheel;
}

uint64_t loop_now_ns(const struct loop *loop)
{
    return loop->now_ns;
}

enum { MS = 1000000 };

static void begin_at(struct loop *loop, uint64_t now_ns)
{
    loop->now_ns = now_ns;
    wheel_init(&loop->wheel, now_ns);
}

static void go_to(struct loop *loop, uint64_t now_ns)
{
    loop->now_ns = now_ns;
    wheel_advance(&loop->wheel, now_ns);
}

static void count_call(struct timer *timer, void *ctx)
{
    assert_false(timer_armed(timer));
    *(uint32_t *)ctx += 1;
}

static void a_timer_fires_once_not_early_and_at_most_a_tick_late(void **state)
{
    (void)state;
    struct loop loop;
    struct timer timer = {0};
    uint32_t count = 0;

    begin_at(&loop, 12345678901ull);
    timer_start(&loop, &timer, 250, count_call, &count);
    assert_true(timer_armed(&timer));
    go_to(&loop, 12345678901ull + 250ull * MS - 1);
    assert_int_equal(count, 0);
    go_to(&loop, 12345678901ull + 261ull * MS);
    assert_int_equal(count, 1);
    assert_false(timer_armed(&timer));
    go_to(&loop, 12345678901ull + 100000ull * MS);
    assert_int_equal(count, 1);
}

static void a_stopped_timer_stays_silent_and_stopping_twice_is_fine(void **state)
{
    (void)state;
    struct loop loop;
    struct timer timer = {0};
    uint32_t count = 0;

    begin_at(&loop, 0);
    timer_stop(&timer);
    timer_start(&loop, &timer, 20, count_call, &count);
    timer_stop(&timer);
    timer_stop(&timer);
    assert_int_equal(wheel_next_ns(&loop.wheel), UINT64_MAX);
    go_to(&loop, 1000ull * MS);
    assert_int_equal(count, 0);
}

static void starting_an_armed_timer_moves_it(void **state)
{
    (void)state;
    struct loop loop;
    struct timer timer = {0};
    uint32_t count = 0;

    begin_at(&loop, 0);
    timer_start(&loop, &timer, 20, count_call, &count);
    timer_start(&loop, &timer, 500, count_call, &count);
    go_to(&loop, 400ull * MS);
    assert_int_equal(count, 0);
    go_to(&loop, 510ull * MS);
    assert_int_equal(count, 1);
}

/* Whatever the distance, from now to beyond the end of time. */
static void distances_from_zero_to_for_ever_are_kept(void **state)
{
    (void)state;
    static const uint64_t delays_ms[] = {0, 1, 9, 10, 11, 630, 640, 641, 40950, 40960, 40970,
        2621430, 2621440, 2621450, 167772160, 10737418240, 1000000000000};
    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
        struct loop loop;
        struct timer timer = {0};
        uint32_t count = 0;
        begin_at(&loop, 987654321098765ull);
        timer_start(&loop, &timer, delays_ms[i], count_call, &count);
        uint64_t due_ns = loop.now_ns + delays_ms[i] * MS;
        go_to(&loop, due_ns - 1);
        assert_int_equal(count, 0);
        go_to(&loop, due_ns + 11ull * MS);
        assert_int_equal(count, 1);
    }
    struct loop loop;
    struct timer timer = {0};
    uint32_t count = 0;
    begin_at(&loop, 987654321098765ull);
    timer_start(&loop, &timer, UINT64_MAX, count_call, &count);
    go_to(&loop, UINT64_MAX);
    assert_int_equal(count, 0);
    timer_stop(&timer);
}

struct pair {
    struct loop *loop;
    struct timer *other;
    uint32_t count;
};

static void stop_other(struct timer *timer, void *ctx)
{
    struct pair *pair = ctx;

    (void)timer;
    pair->count += 1;
    timer_stop(pair->other);
}

/* Both hang in one slot; whichever is called first silences the other. */
static void a_call_may_stop_a_timer_that_is_due_in_the_same_tick(void **state)
{
    (void)state;
    struct loop loop;
    struct timer a = {0}, b = {0};
    begin_at(&loop, 0);
    struct pair of_a = {&loop, &b, 0}, of_b = {&loop, &a, 0};

    timer_start(&loop, &a, 30, stop_other, &of_a);
    timer_start(&loop, &b, 30, stop_other, &of_b);
    go_to(&loop, 100ull * MS);
    assert_int_equal(of_a.count + of_b.count, 1);
    assert_false(timer_armed(&a));
    assert_false(timer_armed(&b));
}

static void restart_at_once(struct timer *timer, void *ctx)
{
    struct pair *pair = ctx;

    pair->count += 1;
    timer_start(pair->loop, timer, 0, restart_at_once, pair);
}

static void a_timer_that_restarts_itself_waits_for_the_next_turn(void **state)
{
    (void)state;
    struct loop loop;
    struct timer timer = {0};
    begin_at(&loop, 0);
    struct pair pair = {&loop, NULL, 0};

    timer_start(&loop, &timer, 0, restart_at_once, &pair);
    go_to(&loop, 5000ull * MS); /* A very late turn is one turn. */
    assert_int_equal(pair.count, 1);
    go_to(&loop, 5010ull * MS);
    assert_int_equal(pair.count, 2);
    timer_stop(&timer);
}

static void an_idle_wheel_asks_for_few_wake_ups(void **state)
{
    (void)state;
    struct loop loop;
    struct timer timer = {0};
    uint32_t count = 0, wakeup_count = 0;

    begin_at(&loop, 55555555555ull);
    timer_start(&loop, &timer, 3600000, count_call, &count);
    while (count == 0) {
        uint64_t next_ns = wheel_next_ns(&loop.wheel);
        assert_true(next_ns > loop.now_ns);
        go_to(&loop, next_ns);
        wakeup_count += 1;
    }
    assert_true(wakeup_count <= WHEEL_LEVELS);
    assert_true(loop.now_ns >= 55555555555ull + 3600000ull * MS);
}

/* A model of ten thousand deadlines: each fires in the turn in which it falls due. */
struct model {
    struct timer timer;
    uint64_t due_ns;
    struct loop *loop;
    bool fired;
};

static void model_fires(struct timer *timer, void *ctx)
{
    struct model *model = ctx;

    assert_ptr_equal(timer, &model->timer);
    assert_false(model->fired);
    assert_true(model->loop->now_ns >= model->due_ns);
    model->fired = true;
}

static void many_timers_agree_with_a_model(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct loop loop;
    struct rng rng;
    struct model *models = mem_zalloc(COUNT * sizeof(*models));

    rng_init(&rng, 42);
    begin_at(&loop, rng_next(&rng) >> 16);
    for (uint32_t turn = 0; turn < 3000; turn++) {
        for (int i = 0; i < 20; i++) {
            struct model *model = &models[rng_below(&rng, COUNT)];
            if (rng_below(&rng, 4) == 0) {
                timer_stop(&model->timer);
                model->fired = true;
                continue;
            }
            uint64_t delay_ms = rng_below(&rng, 1ull << rng_below(&rng, 24));
            model->loop = &loop;
            model->fired = false;
            model->due_ns = loop.now_ns + delay_ms * MS;
            timer_start(&loop, &model->timer, delay_ms, model_fires, model);
        }
        uint64_t next_ns = wheel_next_ns(&loop.wheel);
        uint64_t to_ns = loop.now_ns + rng_below(&rng, 1ull << rng_below(&rng, 34));
        if (rng_below(&rng, 2) && next_ns != UINT64_MAX && next_ns > loop.now_ns) {
            to_ns = next_ns;
        }
        go_to(&loop, to_ns);
        for (uint32_t i = 0; i < COUNT; i += 1) {
            struct model *model = &models[i];
            if (model->loop && !model->fired) {
                assert_true(timer_armed(&model->timer));
                assert_true(model->due_ns + 11ull * MS > loop.now_ns);
            }
        }
        /* The wheel never asks later than the earliest deadline plus a tick. */
        if (turn % 100 == 0) {
            uint64_t earliest_ns = UINT64_MAX;
            for (uint32_t i = 0; i < COUNT; i++) {
                if (models[i].loop && !models[i].fired && models[i].due_ns < earliest_ns) {
                    earliest_ns = models[i].due_ns;
                }
            }
            if (earliest_ns != UINT64_MAX) {
                assert_true(wheel_next_ns(&loop.wheel) <= earliest_ns + 11ull * MS);
            }
        }
    }
    mem_free(models);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_once_not_early_and_at_most_a_tick_late),
        cmocka_unit_test(a_stopped_timer_stays_silent_and_stopping_twice_is_fine),
        cmocka_unit_test(starting_an_armed_timer_moves_it),
        cmocka_unit_test(distances_from_zero_to_for_ever_are_kept),
        cmocka_unit_test(a_call_may_stop_a_timer_that_is_due_in_the_same_tick),
        cmocka_unit_test(a_timer_that_restarts_itself_waits_for_the_next_turn),
        cmocka_unit_test(an_idle_wheel_asks_for_few_wake_ups),
        cmocka_unit_test(many_timers_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
