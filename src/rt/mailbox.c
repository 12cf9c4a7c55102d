/* An intrusive queue of many senders and one receiver, after Vyukov (2010), with a protocol to
 * sleep on top.
 *
 * The queue is a list from `tail` (oldest, the receiver's) to `head` (newest, the senders').
 * Posting the chain a..z is
 *
 *      P1  prev = exchange(head, z)        the chain has its place; order among senders is fixed
 *      P2  prev->next = a                  the chain can be reached
 *
 * Between P1 and P2 the list is cut: mail from prev->next on cannot be reached, whoever sent it.
 * The receiver takes `tail` once it knows its successor, because then nobody writes to it any more
 * (the only write to a posted mail is its successor's P2) and it may be freed at once. The last
 * mail has no successor; to take it the receiver posts its own `stub` behind it.
 *
 * Sleeping
 *
 *      S1  sleeping = 1                    P3  if sleeping and exchange(sleeping, 0) = 1:
 *      S2  look: can mail be taken?        P4      write the wake descriptor
 *          yes: sleeping = 0, go on
 *          no:  wait
 *
 * S2 looks only at what can be *reached*, not at whether head has moved: a sender caught between P1
 * and P2 may be preempted there, and a receiver that waited for it awake would burn the very
 * processor that sender needs. All of P2, P3, S1, S2 are sequentially consistent, so they have one
 * order that everybody agrees on. Every interleaving of them:
 *
 *      order                   S2 finds   P3 finds     what happens
 *      P2  P3  S1  S2          mail       awake        the receiver does not wait
 *      P2  S1  P3  S2          mail       sleeping     it does not wait; one early wake-up
 *      P2  S1  S2  P3          mail       sleeping(*)  it does not wait
 *      S1  P2  P3  S2          mail       sleeping     it does not wait; one early wake-up
 *      S1  P2  S2  P3          mail       sleeping(*)  it does not wait
 *      S1  S2  P2  P3          nothing    sleeping     the sender writes, the receiver wakes
 *
 *      (*) or awake, when the receiver put `sleeping` back first.
 *
 * The lost wake-up would be "S2 finds nothing and P3 finds awake": S2 before P2 and P3 before S1, a
 * circle, since S1 is before S2 and P2 before P3. With several senders P3's exchange lets exactly
 * one of them write. The sender that lost need not: its mail came before that wake-up was used up,
 * or S2 of the next sleep finds it.
 *
 * What of a mail that was posted whole, but behind a cut? The receiver sleeps, and the sender that
 * mends the cut wakes it: it has its P2 and P3 still to come.
 *
 * The receiver reads the descriptor only as often as it was written: it learns from `sleeping`
 * that somebody else took it back, so it knows how many writes it is owed, and a write still on its
 * way (between P3 and P4) merely makes the descriptor readable a little later.
 */
#include "rt/mailbox.h"

#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <errno.h>

#include "base/check.h"
#include "base/mem.h"

struct mailbox {
    /* Senders. */
    struct mail *head CACHE_ALIGNED;

    /* Written on going to sleep and waking up only; read by each sender. */
    uint32_t sleeping CACHE_ALIGNED;
    int wake_fd;

    /* The receiver. */
    struct mail *tail CACHE_ALIGNED;
    struct mail stub;
    uint64_t owed_count; /* Writes of wake_fd that were promised and not yet read. */
    bool asleep;         /* mailbox_sleep() said yes. */
};

static struct mail *load_next(struct mail *mail)
{
    return __atomic_load_n(&mail->next, __ATOMIC_SEQ_CST);
}

/* P1 and P2. */
static void append(struct mailbox *box, struct mail *first, struct mail *last)
{
    __atomic_store_n(&last->next, NULL, __ATOMIC_RELAXED);
    struct mail *prev = __atomic_exchange_n(&box->head, last, __ATOMIC_ACQ_REL);
    __atomic_store_n(&prev->next, first, __ATOMIC_SEQ_CST);
}

int mailbox_create(struct mailbox **ret_box)
{
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (wake_fd < 0) {
        return -errno;
    }
    struct mailbox *box = mem_zalloc_aligned(sizeof(*box));
    box->wake_fd = wake_fd;
    box->head = &box->stub;
    box->tail = &box->stub;
    *ret_box = box;
    return 0;
}

void mailbox_destroy(struct mailbox *box)
{
    if (!box) {
        return;
    }
    close(box->wake_fd);
    mem_free(box);
}

int mailbox_wake_fd(const struct mailbox *box)
{
    return box->wake_fd;
}

void mailbox_post(struct mailbox *box, struct mail_chain *chain)
{
    if (!chain->first) {
        return;
    }
    append(box, chain->first, chain->last);
    *chain = (struct mail_chain){0};

    /* The plain load first: while the receiver is awake senders share the line and write nothing.
     */
    if (__atomic_load_n(&box->sleeping, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&box->sleeping, 0, __ATOMIC_SEQ_CST)) {
        uint64_t one = 1;
        ssize_t written;
        do {
            written = write(box->wake_fd, &one, sizeof(one));
        } while (written < 0 && errno == EINTR);
        CHECK(written == sizeof(one));
    }
}

struct mail *mailbox_take(struct mailbox *box)
{
    struct mail *tail = box->tail;
    struct mail *next = load_next(tail);

    if (tail == &box->stub) {
        if (!next) {
            return NULL;
        }
        box->tail = next;
        tail = next;
        next = load_next(tail);
    }
    if (!next) {
        if (__atomic_load_n(&box->head, __ATOMIC_ACQUIRE) != tail) {
            return NULL; /* A sender is between P1 and P2. */
        }
        append(box, &box->stub, &box->stub);
        next = load_next(tail);
        if (!next) {
            return NULL; /* Somebody went in before the stub and is between P1 and P2. */
        }
    }
    box->tail = next;
    return tail;
}

/* S2. Also true when the stub must be posted to get at the last mail. */
static bool reachable(struct mailbox *box)
{
    struct mail *tail = box->tail;

    if (load_next(tail)) {
        return true;
    }
    return tail != &box->stub && __atomic_load_n(&box->head, __ATOMIC_SEQ_CST) == tail;
}

/* Takes our own word back, or notes that a sender did and owes us a write. */
static void wake_up(struct mailbox *box)
{
    box->asleep = false;
    if (!__atomic_exchange_n(&box->sleeping, 0, __ATOMIC_SEQ_CST)) {
        box->owed_count += 1;
    }
}

bool mailbox_sleep(struct mailbox *box)
{
    if (!box->asleep) {
        box->asleep = true;
        __atomic_store_n(&box->sleeping, 1, __ATOMIC_SEQ_CST);
    }
    if (reachable(box)) {
        wake_up(box);
        return false;
    }
    return true;
}

void mailbox_awake(struct mailbox *box)
{
    if (box->asleep) {
        wake_up(box);
    }
    if (box->owed_count) {
        uint64_t count;
        ssize_t got;
        do {
            got = read(box->wake_fd, &count, sizeof(count));
        } while (got < 0 && errno == EINTR);
        if (got == sizeof(count)) {
            CHECK(count <= box->owed_count);
            box->owed_count -= count;
        }
    }
}
