/* Several senders against one sleeping receiver; run under ThreadSanitizer too. */
#include "rt/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "rt/loop.h"
#include "tests/support/unit.h"

struct letter {
    struct mail mail;
    uint32_t number;
};

static struct letter *new_letter(uint16_t from, uint32_t number)
{
    struct letter *letter = mem_zalloc(sizeof(*letter));

    letter->mail.from = from;
    letter->number = number;
    return letter;
}

static struct mailbox *new_box(void)
{
    struct mailbox *box = NULL;

    assert_int_equal(mailbox_create(&box), 0);
    return box;
}

static bool is_readable(const struct mailbox *box)
{
    struct pollfd pollfd = {.fd = mailbox_wake_fd(box), .events = POLLIN};

    return poll(&pollfd, 1, 0) == 1;
}

static void post(struct mailbox *box, uint32_t first, uint32_t count)
{
    struct mail_chain chain = {0};

    for (uint32_t i = 0; i < count; i++) {
        mail_chain_add(&chain, &new_letter(0, first + i)->mail);
    }
    mailbox_post(box, &chain);
    assert_null(chain.first);
    assert_null(chain.last);
}

static void expect(struct mailbox *box, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct letter *letter = (struct letter *)mailbox_take(box);
        assert_non_null(letter);
        assert_int_equal(letter->number, first + i);
        mem_free(letter);
    }
}

static void mail_comes_out_in_the_order_it_went_in(void **state)
{
    (void)state;
    struct mailbox *box = new_box();

    assert_null(mailbox_take(box));
    post(box, 0, 0);
    assert_null(mailbox_take(box));
    post(box, 0, 1);
    expect(box, 0, 1);
    assert_null(mailbox_take(box));
    post(box, 1, 3);
    post(box, 4, 2);
    expect(box, 1, 4);
    post(box, 6, 1);
    expect(box, 5, 2);
    assert_null(mailbox_take(box));
    mailbox_destroy(box);
}

static void an_awake_receiver_is_never_rung(void **state)
{
    (void)state;
    struct mailbox *box = new_box();

    post(box, 0, 5);
    assert_false(is_readable(box));
    expect(box, 0, 5);
    mailbox_awake(box);
    post(box, 5, 1);
    assert_false(is_readable(box));
    expect(box, 5, 1);
    mailbox_destroy(box);
}

static void a_sleeping_receiver_is_rung_once(void **state)
{
    (void)state;
    struct mailbox *box = new_box();

    assert_true(mailbox_sleep(box));
    assert_false(is_readable(box));
    post(box, 0, 1);
    assert_true(is_readable(box));
    post(box, 1, 1);
    mailbox_awake(box);
    assert_false(is_readable(box));
    expect(box, 0, 2);

    assert_true(mailbox_sleep(box)); /* Woken by something else this time. */
    mailbox_awake(box);
    post(box, 2, 1);
    assert_false(is_readable(box));
    expect(box, 2, 1);
    mailbox_destroy(box);
}

static void sleeping_with_mail_inside_is_declined(void **state)
{
    (void)state;
    struct mailbox *box = new_box();

    post(box, 0, 2);
    assert_false(mailbox_sleep(box));
    expect(box, 0, 1);
    assert_false(mailbox_sleep(box)); /* The last one, which only the stub sets free. */
    assert_false(is_readable(box));
    expect(box, 1, 1);
    assert_true(mailbox_sleep(box));
    mailbox_awake(box);
    mailbox_destroy(box);
}

static void no_descriptor_is_an_error_and_null_may_be_destroyed(void **state)
{
    (void)state;
    struct mailbox *box = NULL;
    struct rlimit saved, none;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
    none = saved;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = mailbox_create(&box);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
    assert_int_equal(r, -EMFILE);
    assert_null(box);
    mailbox_destroy(NULL);
}

/* ---- Threads ---- */

enum { SENDERS = 4, LETTERS = 40000 };

struct sender {
    struct mailbox *box;
    uint16_t from;
    pthread_t thread;
};

static void *send_all(void *arg)
{
    struct sender *sender = arg;
    struct rng rng;
    uint32_t number = 0;

    rng_init(&rng, sender->from);
    while (number < LETTERS) {
        struct mail_chain chain = {0};
        uint64_t count = 1 + rng_below(&rng, 4);
        while (count-- && number < LETTERS) {
            mail_chain_add(&chain, &new_letter(sender->from, number++)->mail);
        }
        mailbox_post(sender->box, &chain);
        if (rng_below(&rng, 8) == 0) {
            sched_yield(); /* Lets the receiver fall asleep. */
        }
        if (rng_below(&rng, 2000) == 0) {
            usleep(200);
        }
    }
    return NULL;
}

struct receiver {
    struct mailbox *box;
    uint32_t next[SENDERS]; /* The number expected from each. */
    uint32_t count;
    uint32_t rung_count;
};

static void take_all(struct receiver *receiver)
{
    struct mail *mail;

    while ((mail = mailbox_take(receiver->box))) {
        struct letter *letter = (struct letter *)mail;
        assert_true(mail->from < SENDERS);
        assert_int_equal(letter->number, receiver->next[mail->from]);
        receiver->next[mail->from] += 1;
        receiver->count += 1;
        mem_free(letter);
    }
}

static void rung(void *ctx, uint64_t id, uint32_t events)
{
    struct receiver *receiver = ctx;

    (void)id;
    (void)events;
    receiver->rung_count += 1;
    mailbox_awake(receiver->box);
}

/* The receiver sleeps without a time limit: a lost wake-up would hang the test. */
static void nothing_is_lost_or_reordered_between_senders_and_a_sleeping_receiver(void **state)
{
    (void)state;
    struct loop *loop = NULL;
    struct receiver receiver = {.box = new_box()};
    struct sender senders[SENDERS];

    assert_int_equal(loop_create(&loop), 0);
    loop_handle(loop, 1, rung, &receiver);
    assert_int_equal(loop_watch(loop, mailbox_wake_fd(receiver.box), 1, 0, LOOP_WATCH_IN), 0);
    for (uint16_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){receiver.box, i, 0};
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
    uint32_t sleep_count = 0;
    while (receiver.count < SENDERS * LETTERS) {
        bool may_wait = mailbox_sleep(receiver.box);
        sleep_count += may_wait;
        loop_poll(loop, may_wait ? -1 : 0);
        mailbox_awake(receiver.box);
        take_all(&receiver);
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_int_equal(receiver.next[i], LETTERS);
    }
    assert_true(sleep_count > 0);
    assert_null(mailbox_take(receiver.box));
    mailbox_destroy(receiver.box);
    loop_destroy(loop);
}

/* Two mailboxes and one letter going back and forth: every hand-over is a sleep and a wake-up. */
struct player {
    struct mailbox *mine, *theirs;
    uint32_t turn_count;
};

static void *play(void *arg)
{
    struct player *player = arg;
    uint32_t count = 0;

    while (count < player->turn_count) {
        if (mailbox_sleep(player->mine)) {
            struct pollfd pollfd = {.fd = mailbox_wake_fd(player->mine), .events = POLLIN};
            int ready;
            do {
                ready = poll(&pollfd, 1, -1);
            } while (ready < 0 && errno == EINTR);
        }
        mailbox_awake(player->mine);
        struct mail *mail;
        while (count < player->turn_count && (mail = mailbox_take(player->mine))) {
            struct mail_chain chain = {0};
            ((struct letter *)mail)->number += 1;
            mail_chain_add(&chain, mail);
            mailbox_post(player->theirs, &chain);
            count += 1;
        }
    }
    return NULL;
}

static void a_letter_goes_back_and_forth_between_two_sleepers(void **state)
{
    (void)state;
    enum { TURNS = 5000 };
    struct mailbox *a = new_box(), *b = new_box();
    struct player player_a = {a, b, TURNS}, player_b = {b, a, TURNS};
    pthread_t thread;

    post(a, 0, 1);
    assert_int_equal(pthread_create(&thread, NULL, play, &player_a), 0);
    play(&player_b);
    pthread_join(thread, NULL);
    struct letter *letter = (struct letter *)mailbox_take(a);
    assert_non_null(letter);
    assert_int_equal(letter->number, 2 * TURNS);
    mem_free(letter);
    mailbox_destroy(a);
    mailbox_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_comes_out_in_the_order_it_went_in),
        cmocka_unit_test(an_awake_receiver_is_never_rung),
        cmocka_unit_test(a_sleeping_receiver_is_rung_once),
        cmocka_unit_test(sleeping_with_mail_inside_is_declined),
        cmocka_unit_test(no_descriptor_is_an_error_and_null_may_be_destroyed),
        cmocka_unit_test(nothing_is_lost_or_reordered_between_senders_and_a_sleeping_receiver),
        cmocka_unit_test(a_letter_goes_back_and_forth_between_two_sleepers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
