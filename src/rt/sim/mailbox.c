/* The mailbox without threads, but with what threads do to it: a sender may be interrupted between
 * the two instructions of posting (rt/mailbox.c calls them P1 and P2), and for a while nothing
 * behind that place can be reached.
 *
 * A real receiver is always somewhere in its turn: asleep inside loop_poll(), or awake and about to
 * ask mailbox_sleep(). Here it stands between two turns, which is both; which of the two the mail
 * meets is drawn. Asleep: the descriptor is written, and the next turn is told. Awake: the next
 * turn comes by itself, and its mailbox_sleep() says no. A receiver that does not watch the
 * descriptor, or never calls mailbox_awake() when told, is stuck or busy for ever here, too. */
#include "rt/mailbox.h"

#include <stddef.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/loop.h"
#include "rt/sim/world.h"

enum { CUT_MAX_NS = 100000 };

struct mailbox {
    struct sim *sim;
    int wake_fd;
    struct mail *first, *last;
    bool is_cut;
    struct mail *cut_after; /* The last one that its successor is missing from; NULL: all are. */
    bool sleeping;
};

int mailbox_create(struct mailbox **ret_box)
{
    struct sim *sim = world();
    struct file *wake;

    int r = file_open(sim, FILE_WAKE, &wake);
    if (r < 0) {
        return r;
    }
    struct mailbox *box = mem_zalloc(sizeof(*box));
    box->sim = sim;
    box->wake_fd = wake->fd;
    *ret_box = box;
    return 0;
}

/* Its descriptor; NULL when its process was killed, which closed it. */
static struct file *wake_file(const struct mailbox *box)
{
    return file_of(box->wake_fd);
}

void mailbox_destroy(struct mailbox *box)
{
    if (!box) {
        return;
    }
    struct file *file = wake_file(box);
    event_forget(box->sim, box);
    if (file) {
        file_close(box->sim, file);
    }
    mem_free(box);
}

int mailbox_wake_fd(const struct mailbox *box)
{
    return box->wake_fd;
}

static void wake(struct mailbox *box)
{
    struct file *file = wake_file(box);

    if (!file) {
        return;
    }
    if (box->sleeping || rng_below(&box->sim->rng, 2)) {
        box->sleeping = false;
        file->wake_count += 1;
        file_notify(box->sim, file, LOOP_IN);
        return;
    }
    for (uint32_t i = 0; i < file->watch_count; i++) {
        loop_wake(file->watches[i]->loop);
    }
}

void mailbox_post(struct mailbox *box, struct mail_chain *chain)
{
    struct sim *sim = box->sim;

    if (!chain->first) {
        return;
    }
    if (!box->is_cut && chance(sim, sim->options.cut_ppm)) {
        box->is_cut = true;
        box->cut_after = box->last;
        event_add(sim, sim->now_ns + rng_below(&sim->rng, CUT_MAX_NS), EVENT_MEND, box, 0, 0);
    } else {
        wake(box); /* Also behind a cut, where there is nothing to be had yet. */
    }
    trace(sim, "post", chain->first->kind, box->is_cut, 0);
    if (box->last) {
        box->last->next = chain->first;
    } else {
        box->first = chain->first;
    }
    box->last = chain->last;
    box->last->next = NULL;
    *chain = (struct mail_chain){0};
}

void mailbox_mend(struct mailbox *box)
{
    box->is_cut = false;
    wake(box);
}

/* The last one before a cut cannot be had either: its sender's successor is writing to it. */
static bool reachable(const struct mailbox *box)
{
    return box->first && !(box->is_cut && (!box->cut_after || box->cut_after == box->first));
}

struct mail *mailbox_take(struct mailbox *box)
{
    struct mail *mail = box->first;

    if (!reachable(box)) {
        return NULL;
    }
    box->first = mail->next;
    if (!box->first) {
        box->last = NULL;
    }
    trace(box->sim, "take", mail->kind, 0, 0);
    return mail;
}

bool mailbox_sleep(struct mailbox *box)
{
    box->sleeping = !reachable(box);
    return box->sleeping;
}

void mailbox_awake(struct mailbox *box)
{
    struct file *file = wake_file(box);

    box->sleeping = false;
    if (file) {
        file->wake_count = 0;
    }
}
