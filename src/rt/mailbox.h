/* Mailbox: the one way threads talk. Many senders, one receiver, no locks.
 *
 * A sender posts a whole chain with one atomic exchange; it wakes the receiver (an eventfd write)
 * only when that one said it is going to sleep. Mail from one sender arrives in the order sent.
 */
#ifndef RT_MAILBOX_H
#define RT_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/mail.h"

struct mailbox;

/* Gives a mailbox. Returns 0 or negative errno (no descriptors). */
MUST_USE int mailbox_create(struct mailbox **ret_box);

/* Mail still inside is left to its owner: take it out first. NULL is fine. */
void mailbox_destroy(struct mailbox *box);

/* Readable when there may be mail for a sleeping receiver; watch it level-triggered, and call
 * mailbox_awake() when it fires. */
int mailbox_wake_fd(const struct mailbox *box);

/* Takes all mail of the chain and empties it; an empty chain does nothing. Any thread. */
void mailbox_post(struct mailbox *box, struct mail_chain *chain);

/* Gives the oldest mail, or NULL when there is none (or its sender is between two instructions of
 * posting it: it will wake us). Receiver only. */
MUST_USE struct mail *mailbox_take(struct mailbox *box);

/* The receiver is about to wait. False when mail came meanwhile: do not wait. Receiver only. */
MUST_USE bool mailbox_sleep(struct mailbox *box);

/* The receiver is up again; drains the wake descriptor when it fired. Receiver only. */
void mailbox_awake(struct mailbox *box);

#endif
