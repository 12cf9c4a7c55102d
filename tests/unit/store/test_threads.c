/* Four shards append, read and clear at once; what each was told holds. For ThreadSanitizer too. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "rt/clock.h"
#include "tests/unit/store/store_rig.h"

enum { SHARDS = 4, CHANNELS = 3, LETTERS = 150, WAITING_MAX = 6 };

static struct mailbox *boxes[SHARDS];

static void post(void *ctx, uint16_t shard, struct mail_chain *chain)
{
    (void)ctx;
    mailbox_post(boxes[shard], chain);
}

struct shard_thread {
    struct rig *rig;
    uint16_t index;
    pthread_t thread;
    struct rng rng;
    uint64_t appended[CHANNELS], acked[CHANNELS], cleared[CHANNELS]; /* n of the offsets. */
    uint32_t waiting, busy_count, records_read;
};

enum { KIND_APPEND = 1, KIND_READ, KIND_CLEAR };

static void name_of(const struct shard_thread *shard, uint32_t channel, char name[16])
{
    snprintf(name, 16, "s%u:%u", shard->index, channel);
}

static void send_append(struct shard_thread *shard, uint32_t channel)
{
    struct store_append *letter = mem_zalloc(sizeof(*letter));
    char name[16];

    name_of(shard, channel, name);
    letter->letter.mail.kind = KIND_APPEND;
    letter->letter.mail.from = shard->index;
    letter->time_ms = clock_wall_ns() / 1000000;
    letter->count = 1 + (uint32_t)rng_below(&shard->rng, 10);
    for (uint32_t i = 0; i < letter->count; i++) {
        uint64_t offset = rig_offset(shard->rig, shard->appended[channel] + 1 + i);
        uint8_t payload[100];
        rig_fill(payload, sizeof(payload), offset);
        letter->entries[i] = (struct store_entry){
            rig_publication(shard->rig, name, offset, payload, sizeof(payload)), rig_no_limits};
    }
    int r = shard->rig->ports.append(shard->rig->ports.ctx, letter);
    if (r == 0) {
        shard->appended[channel] += letter->count;
        shard->waiting += 1;
        return;
    }
    assert_int_equal(r, -EBUSY);
    shard->busy_count += 1;
    for (uint32_t i = 0; i < letter->count; i++) {
        publication_unref(letter->entries[i].pub);
    }
    mem_free(letter);
}

static void send_read(struct shard_thread *shard, uint32_t channel)
{
    struct store_read *letter = mem_zalloc(sizeof(*letter));

    letter->letter.mail.kind = KIND_READ;
    letter->letter.mail.from = shard->index;
    letter->from = STORE_FROM_LAST;
    letter->count_max = 20;
    letter->hash = rng_next(&shard->rng);  /* Any reader. */
    letter->after = shard->acked[channel]; /* Not the store's with STORE_FROM_LAST: our note. */
    name_of(shard, channel, letter->name);
    letter->name_len = (uint16_t)strlen(letter->name);
    assert_int_equal(shard->rig->ports.read(shard->rig->ports.ctx, letter), 0);
    shard->waiting += 1;
}

static void send_clear(struct shard_thread *shard, uint32_t channel)
{
    struct store_clear *letter = mem_zalloc(sizeof(*letter));

    letter->letter.mail.kind = KIND_CLEAR;
    letter->letter.mail.from = shard->index;
    letter->up_to = rig_offset(shard->rig, shard->acked[channel] / 2);
    name_of(shard, channel, letter->name);
    letter->name_len = (uint16_t)strlen(letter->name);
    assert_int_equal(shard->rig->ports.clear(shard->rig->ports.ctx, letter), 0);
    shard->waiting += 1;
}

static void take_append(struct shard_thread *shard, struct store_append *letter)
{
    assert_int_equal(letter->letter.err, 0);
    for (uint32_t i = 0; i < letter->count; i++) {
        struct publication *pub = letter->entries[i].pub;
        uint32_t channel = (uint32_t)publication_name(pub).data[3] - '0';
        shard->acked[channel] = pub->offset - history_start(1);
        publication_unref(pub);
    }
    mem_free(letter);
}

static void take_read(struct shard_thread *shard, struct store_read *letter)
{
    assert_int_equal(letter->letter.err, 0);
    /* Everything that was acknowledged before it was asked for. */
    if (letter->after) {
        assert_true(letter->bounds.last >= history_start(1) + letter->after);
    }
    for (uint32_t i = 0; i < letter->count; i++) {
        const struct publication *pub = letter->pubs[i];
        uint8_t expected[100];
        rig_fill(expected, sizeof(expected), pub->offset);
        assert_memory_equal(publication_payload(pub).data, expected, sizeof(expected));
        if (i > 0) {
            assert_int_equal(pub->offset, letter->pubs[i - 1]->offset + 1);
        }
    }
    shard->records_read += letter->count;
    rig_read_free(letter);
}

static void take_answers(struct shard_thread *shard)
{
    struct mailbox *box = boxes[shard->index];
    struct mail *mail;

    if (mailbox_sleep(box)) {
        struct pollfd pollfd = {.fd = mailbox_wake_fd(box), .events = POLLIN};
        poll(&pollfd, 1, 10000);
    }
    mailbox_awake(box);
    while ((mail = mailbox_take(box))) {
        shard->waiting -= 1;
        switch (mail->kind) {
        case KIND_APPEND:
            take_append(shard, (struct store_append *)mail);
            break;
        case KIND_READ:
            take_read(shard, (struct store_read *)mail);
            break;
        default:
            assert_int_equal(((struct store_clear *)mail)->letter.err, 0);
            mem_free(mail);
            break;
        }
    }
}

static void *shard_main(void *arg)
{
    struct shard_thread *shard = arg;

    rng_init(&shard->rng, shard->index);
    for (uint32_t i = 0; i < LETTERS; i++) {
        uint32_t channel = (uint32_t)rng_below(&shard->rng, CHANNELS);
        uint64_t choice = rng_below(&shard->rng, 20);
        if (choice < 12) {
            send_append(shard, channel);
        } else if (choice < 19) {
            send_read(shard, channel);
        } else {
            send_clear(shard, channel);
        }
        while (shard->waiting >= WAITING_MAX) {
            take_answers(shard);
        }
    }
    while (shard->waiting > 0) {
        take_answers(shard);
    }
    return NULL;
}

static void shards_that_write_and_read_at_once_are_told_the_truth(void **state)
{
    (void)state;
    struct shard_thread shards[SHARDS] = {0};
    struct store_stats stats;
    struct rig rig;
    uint64_t appended = 0;

    rig_init(&rig);
    rig.options.post = post;
    rig.options.pending_bytes_max = 20000; /* Some are refused. */
    rig.options.reader_count = 3;
    for (uint16_t i = 0; i < SHARDS; i++) {
        assert_int_equal(mailbox_create(&boxes[i]), 0);
    }
    rig_open(&rig);
    for (uint16_t i = 0; i < SHARDS; i++) {
        shards[i].rig = &rig;
        shards[i].index = i;
        assert_int_equal(pthread_create(&shards[i].thread, NULL, shard_main, &shards[i]), 0);
    }
    for (uint16_t i = 0; i < SHARDS; i++) {
        pthread_join(shards[i].thread, NULL);
        store_stats(rig.store, &stats); /* As /metrics does, at any time. */
        for (uint32_t channel = 0; channel < CHANNELS; channel++) {
            assert_int_equal(shards[i].acked[channel], shards[i].appended[channel]);
            appended += shards[i].appended[channel];
        }
        assert_true(shards[i].records_read > 0);
    }
    store_stats(rig.store, &stats);
    assert_int_equal(stats.records, appended);
    assert_int_equal(stats.pending_bytes, 0);
    assert_int_equal(stats.pending_reads, 0);
    assert_int_equal(stats.damaged, 0);
    assert_true(stats.commits < SHARDS * LETTERS); /* Groups. */
    rig_fini(&rig);
    for (uint16_t i = 0; i < SHARDS; i++) {
        mailbox_destroy(boxes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_that_write_and_read_at_once_are_told_the_truth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
