#include "core/waiting.h"

#include "base/check.h"
#include "base/mem.h"
#include "core/home.h"
#include "core/mail.h"

struct waiting {
    uint64_t hash; /* First: this is a struct table_item. The home's. */
    struct home *home;
    struct mail_chain mails;
};

static bool equal(const struct table_item *item, const void *key)
{
    return ((const struct waiting *)item)->home == key;
}

static struct waiting *find(struct table *table, struct home *home)
{
    return (struct waiting *)table_find(table, home->hash, equal, home);
}

void waiting_add(struct table *table, struct home *home, struct mail_subscribe *mail)
{
    struct waiting *waiting = find(table, home);

    if (!waiting) {
        waiting = mem_zalloc(sizeof(*waiting));
        waiting->hash = home->hash;
        waiting->home = home;
        if (table_add(table, (struct table_item *)waiting) != 0) {
            check_failed("there is memory for a table", __FILE__, __LINE__);
        }
    }
    mail_chain_add(&waiting->mails, &mail->mail);
}

struct mail *waiting_take(struct table *table, struct home *home)
{
    struct waiting *waiting = find(table, home);
    struct mail *first = NULL;

    if (waiting) {
        first = waiting->mails.first;
        table_remove(table, (struct table_item *)waiting);
        mem_free(waiting);
    }
    return first;
}

void waiting_fini(struct table *table)
{
    size_t cursor = 0;
    struct waiting *waiting;

    while ((waiting = (struct waiting *)table_next(table, &cursor))) {
        while (waiting->mails.first) {
            struct mail *mail = waiting->mails.first;
            waiting->mails.first = mail->next;
            mem_free(mail);
        }
        mem_free(waiting);
    }
    table_fini(table);
}
