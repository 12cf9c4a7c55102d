/* Waiting: letters of listeners that are answered once the broker feeds their channel. By home; few at
 * a time, and none unless the broker is subscribed to channel by channel. One thread. */
#ifndef CORE_WAITING_H
#define CORE_WAITING_H

#include "base/table.h"

struct home;
struct mail;
struct mail_subscribe;

/* Takes the letter. */
void waiting_add(struct table *table, struct home *home, struct mail_subscribe *mail);

/* Gives all letters for a home, oldest first; NULL when there are none. */
struct mail *waiting_take(struct table *table, struct home *home);

void waiting_fini(struct table *table);

#endif
