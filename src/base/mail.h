/* Mail: what one thread sends another. An intrusive node at the start of a larger struct.
 *
 * The sender gives the whole struct; from then on only the receiver touches it, until it sends it
 * on or frees it. Kinds are numbered by whoever defines the struct (core/mail.h for the shards).
 */
#ifndef BASE_MAIL_H
#define BASE_MAIL_H

#include <stdint.h>

struct mail {
    struct mail *next; /* The mailbox's; written by the sender before, by the queue after. */
    uint16_t kind;
    uint16_t from; /* Sending shard. */
};

/* Mail for one receiver, gathered over a turn and posted with a single exchange. */
struct mail_chain {
    struct mail *first, *last;
};

static inline void mail_chain_add(struct mail_chain *chain, struct mail *mail)
{
    mail->next = 0;
    if (chain->last) {
        chain->last->next = mail;
    } else {
        chain->first = mail;
    }
    chain->last = mail;
}

#endif
