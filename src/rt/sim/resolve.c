#include "rt/resolve.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/address.h"
#include "rt/loop.h"
#include "rt/loop_own.h"
#include "rt/sim/world.h"
#include "rt/timer.h"

struct resolve {
    struct timer timer; /* The answer is on its way. */
    struct address_text asked;
    resolve_fn *fn;
    void *ctx;
};

static void answer(struct timer *timer, void *ctx)
{
    struct resolve *resolve = ctx;
    struct sim *sim = world();
    struct sim_host *host = sim->hosts;
    char why[ADDRESS_HOST_MAX + 64];
    char text[ADDRESS_TEXT_MAX];
    const char *addresses[1] = {text};
    struct resolve asked = *resolve;

    (void)timer;
    mem_free(resolve);
    while (host && strcmp(host->host, asked.asked.host) != 0) {
        host = host->next;
    }
    if (!host) {
        snprintf(
            why, sizeof(why), "the name %s has no address: not in this world", asked.asked.host);
        asked.fn(asked.ctx, addresses, 0, why);
        return;
    }
    const char *form = strchr(host->numeric, ':') ? "[%.60s]:%u" : "%.60s:%u";
    snprintf(text, sizeof(text), form, host->numeric, asked.asked.port);
    asked.fn(asked.ctx, addresses, 1, "");
}

int resolve_start(struct loop *loop, uint8_t kind, const char *name_port, resolve_fn *fn, void *ctx,
    struct resolve **ret_resolve)
{
    struct sim *sim = world();
    char texts[2][ADDRESS_TEXT_MAX];
    const char *addresses[2] = {texts[0], texts[1]};

    (void)kind;
    int known = address_known(name_port, texts);
    if (known < 0) {
        return known;
    }
    *ret_resolve = NULL;
    if (known > 0) {
        fn(ctx, addresses, (size_t)known, "");
        return 0;
    }
    struct resolve *resolve = mem_zalloc(sizeof(*resolve));
    int r = address_split(name_port, &resolve->asked);
    CHECK(r == 0); /* address_known() took it apart already. */
    resolve->fn = fn;
    resolve->ctx = ctx;
    timer_start(loop, &resolve->timer, latency_ns(sim) / 1000000, answer, resolve);
    *ret_resolve = resolve;
    return 0;
}

void resolve_cancel(struct resolve *resolve)
{
    if (resolve) {
        timer_stop(&resolve->timer);
        mem_free(resolve);
    }
}
