/* kill -9 at any moment: what was acknowledged is there, whole, in order, and nothing else is.
 *
 * A child appends without pause and writes the number of every acknowledged record into a pipe; it is
 * killed after a random time, and the same directory is opened again and again. The long tier
 * (FANOUT_TEST_ALL) does so more often. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "rt/clock.h"
#include "tests/unit/store/store_rig.h"

enum { CHANNELS = 5, WINDOW = 16, PER_LETTER = 8 };

struct acked {
    uint32_t channel;
    uint32_t generation;
    uint64_t offset;
};

static size_t payload_len(uint64_t offset)
{
    return offset % 13 == 0 ? 6000 : 50 + offset % 400;
}

static void channel_name(uint32_t channel, char name[16])
{
    snprintf(name, 16, "c:%u", channel);
}

static struct store_append *make_letter(struct rig *rig, uint32_t channel, uint64_t *next)
{
    struct store_append *letter = mem_zalloc(sizeof(*letter));
    uint8_t payload[6000];
    char name[16];

    channel_name(channel, name);
    letter->time_ms = clock_wall_ns() / 1000000;
    for (uint32_t i = 0; i < PER_LETTER; i++) {
        uint64_t offset = rig_offset(rig, (*next)++);
        rig_fill(payload, payload_len(offset), offset);
        struct publication *pub = rig_publication(rig, name, offset, payload, payload_len(offset));
        pub->once[0] = offset;
        pub->once[1] = channel + 1;
        letter->entries[letter->count++] = (struct store_entry){pub, rig_no_limits};
    }
    return letter;
}

/* Never returns. */
static void child(struct rig *rig, int pipe_fd)
{
    uint64_t next[CHANNELS];
    uint32_t waiting = 0, turn = 0;

    rig_forked(rig);
    if (rig_try_open(rig) < 0) {
        fprintf(stderr, "%s\n", rig->why);
        _exit(1);
    }
    for (uint32_t i = 0; i < CHANNELS; i++) {
        next[i] = 1;
    }
    for (;;) {
        while (waiting < WINDOW) {
            uint32_t channel = turn++ % CHANNELS;
            if (rig->ports.append(rig->ports.ctx, make_letter(rig, channel, &next[channel])) < 0) {
                _exit(2);
            }
            waiting += 1;
        }
        struct store_append *letter = (struct store_append *)rig_answer(rig);
        waiting -= 1;
        const struct publication *last = letter->entries[letter->count - 1].pub;
        struct acked acked = {
            (uint32_t)publication_name(last).data[2] - '0', rig->identity.generation, last->offset};
        if (letter->letter.err || write(pipe_fd, &acked, sizeof(acked)) != sizeof(acked)) {
            _exit(3);
        }
        for (uint32_t i = 0; i < letter->count; i++) {
            publication_unref(letter->entries[i].pub);
        }
        mem_free(letter);
    }
}

/* The whole channel; *ret_last: per generation the last offset found. */
static uint64_t check_channel(
    struct rig *rig, uint32_t channel, uint64_t *last, uint32_t generations)
{
    uint64_t after = 0, count = 0;
    uint8_t expected[6000];
    bool more = true;
    char name[16];

    channel_name(channel, name);
    while (more) {
        struct store_read *read = rig_read(rig, name, STORE_FROM_AFTER, after, 10000);
        assert_int_equal(read->letter.err, 0);
        for (uint32_t i = 0; i < read->count; i++) {
            const struct publication *pub = read->pubs[i];
            uint64_t generation = history_generation(pub->offset);
            assert_true(generation >= 1 && generation <= generations);
            /* Without holes, so groups are there wholly or not at all. */
            uint64_t previous = last[generation] ? last[generation] : history_start(generation);
            assert_int_equal(pub->offset, previous + 1);
            last[generation] = pub->offset;
            assert_int_equal(pub->payload_len, payload_len(pub->offset));
            rig_fill(expected, pub->payload_len, pub->offset);
            assert_memory_equal(publication_payload(pub).data, expected, pub->payload_len);
            after = pub->offset;
            count += 1;
        }
        more = read->more;
        rig_read_free(read);
    }
    for (uint32_t generation = 1; generation <= generations; generation++) {
        uint64_t n = last[generation] ? last[generation] - history_start(generation) : 0;
        assert_int_equal(n % PER_LETTER, 0);
    }
    return count;
}

static uint64_t key_count;

static void count_key(void *ctx, const struct store_key *key)
{
    (void)ctx;
    (void)key;
    key_count += 1;
}

static void what_was_acknowledged_outlives_kill_9(void **state)
{
    (void)state;
    uint32_t rounds = getenv("FANOUT_TEST_ALL") ? 40 : 6, generations = 0;
    uint64_t *acked_last = mem_zalloc(CHANNELS * (2 * rounds + 2) * sizeof(uint64_t));
    uint64_t acked_total = 0, found_total = 0;
    struct rig rig;
    struct rng rng;

    rig_init(&rig);
    rng_init(&rng, clock_now_ns());
    for (uint32_t round = 0; round < rounds; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(fds[0]);
            child(&rig, fds[1]);
        }
        close(fds[1]);
        uint64_t kill_ns = clock_now_ns() + 1000000 * (20 + rng_below(&rng, 400));
        struct acked acked;
        bool killed = false;
        while (read(fds[0], &acked, sizeof(acked)) == sizeof(acked)) {
            acked_last[acked.channel * (2 * rounds + 2) + acked.generation] = acked.offset;
            acked_total += PER_LETTER;
            if (!killed && clock_now_ns() >= kill_ns) {
                assert_int_equal(kill(pid, SIGKILL), 0);
                killed = true;
            }
        }
        close(fds[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        uint64_t start_ns = clock_now_ns();
        rig_open(&rig);
        assert_true(clock_now_ns() - start_ns < 5000000000ull);
        generations = rig.identity.generation;
        found_total = 0;
        for (uint32_t channel = 0; channel < CHANNELS; channel++) {
            uint64_t *last = mem_zalloc((generations + 1) * sizeof(uint64_t));
            found_total += check_channel(&rig, channel, last, generations);
            for (uint32_t generation = 1; generation <= generations; generation++) {
                assert_true(
                    last[generation] >= acked_last[channel * (2 * rounds + 2) + generation]);
            }
            mem_free(last);
        }
        key_count = 0;
        assert_int_equal(store_each_key(rig.store, count_key, NULL), 0);
        assert_int_equal(key_count, found_total < 100000 ? found_total : 100000);
        rig_close(&rig);
    }
    assert_true(acked_total > 100);
    assert_true(found_total >= acked_total);
    print_message("%u rounds: %llu acknowledged, %llu found\n", rounds,
        (unsigned long long)acked_total, (unsigned long long)found_total);
    mem_free(acked_last);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_acknowledged_outlives_kill_9)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
