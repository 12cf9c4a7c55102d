#include "role/gateway_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/durable.h"
#include "ctl/config.h"
#include "role/gateway.h"
#include "role/gateway_options.h"
#include "rt/clock.h"
#include "rt/mailbox.h"
#include "store/store.h"

enum {
    SERIALS_A_START = 2048,
    SERIAL_MASK = (1 << 24) - 1,
    NS_PER_MS = 1000000,
    PATH_BYTES = GATEWAY_PATH_BYTES,
};

/* ---- where ---- */

/* The platform's directory for state, and in it one for each port, since two gateways on a machine are
 * two histories. False: there is no such directory. */
static bool usual_dir(const struct gateway *gateway, char *out, size_t cap)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char parent[PATH_BYTES];
    int len;

    if (geteuid() == 0) {
        len = snprintf(parent, sizeof(parent), "/var/lib");
    } else if (state && state[0] == '/') {
        len = snprintf(parent, sizeof(parent), "%s", state);
    } else if (home && home[0] == '/') {
        len = snprintf(parent, sizeof(parent), "%s/.local/state", home);
    } else {
        return false;
    }
    if ((size_t)len >= sizeof(parent)) {
        return false;
    }
    len = gateway->port ? snprintf(out, cap, "%s/fanout/%u", parent, gateway->port)
                        : snprintf(out, cap, "%s/fanout/socket", parent);
    return (size_t)len < cap;
}

enum gateway_dir gateway_store_dir(const struct gateway *gateway, char *out, size_t cap)
{
    const char *data = gateway->snapshot->config->data;

    if (!data || !data[0]) {
        return usual_dir(gateway, out, cap) ? GATEWAY_DIR_USUAL : GATEWAY_DIR_UNKNOWN;
    }
    if (strcmp(data, "none") == 0) {
        return GATEWAY_DIR_NONE;
    }
    snprintf(out, cap, "%s", data);
    return GATEWAY_DIR_CHOSEN;
}

int gateway_store_make_parents(const char *dir)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s", dir);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            return -errno;
        }
        *slash = '/';
    }
    return 0;
}

/* ---- the store's calls, from its threads ---- */

static void post(void *ctx, uint16_t shard, struct mail_chain *chain)
{
    struct gateway *gateway = ctx;
    mailbox_post(gateway->shards[shard].mailbox, chain);
}

static void event(void *ctx, enum store_event what, int err, const char *text)
{
    static const char *const names[] = {
        [STORE_FAILED] = "store.failed",
        [STORE_FULL] = "store.full",
        [STORE_ROOM_AGAIN] = "store.room_again",
        [STORE_EVICTING] = "store.evicting",
        [STORE_DAMAGED] = "store.damaged",
    };
    bool fine = what == STORE_ROOM_AGAIN || what == STORE_EVICTING;

    (void)ctx;
    LOG(fine ? LOG_INFO : LOG_ERROR, names[what], LOG_S("text", text),
        LOG_S("error", err ? strerror(-err) : "-"));
}

/* ---- opening ---- */

static bool anything_durable(const struct config *config)
{
    for (uint32_t i = 0; i < config->namespaces.count; i++) {
        const struct config_namespace *ns = &config->namespaces.items[i];
        if (ns->durability != CONFIG_DURABILITY_NONE && ns->history == CONFIG_HISTORY_LOCAL) {
            return true;
        }
    }
    return false;
}

/* A place that was chosen for them may be unusable without their doing wrong. */
bool gateway_store_is_usual(int err)
{
    return err == -EACCES || err == -EROFS || err == -EPERM || err == -ENOENT || err == -ENOTDIR;
}

static int in_memory(struct gateway *gateway, const char *dir, const char *why)
{
    LOG(LOG_WARN, "store.off", LOG_S("dir", dir), LOG_S("why", why),
        LOG_S("hint",
            "history is in memory and ends with the process; --data DIR says where to keep "
            "it, --data none that it is meant so"));
    gateway_options_forget_durability(gateway->snapshot);
    return 0;
}

/* Offsets, epochs and keys of a durable history mean the same after a restart. With Redis a restart
 * misses what was published meanwhile: each begins an epoch. */
static void take_identity(struct gateway *gateway)
{
    struct store_identity identity = store_identity(gateway->store);
    bool misses = gateway->snapshot->config->broker == CONFIG_BROKER_REDIS;
    struct core_settings *settings = gateway->snapshot->settings;

    settings->hash_key = (struct hash_key){identity.secret[0], identity.secret[1]};
    settings->serial = misses ? (identity.generation * SERIALS_A_START) & SERIAL_MASK : 0;
}

int gateway_store_open(struct gateway *gateway)
{
    const struct config *config = gateway->snapshot->config;
    struct store_options options = store_options_default();
    char dir[PATH_BYTES], why[STORE_WHY_MAX] = "";
    enum gateway_dir place = gateway_store_dir(gateway, dir, sizeof(dir));
    bool chosen = place == GATEWAY_DIR_CHOSEN;

    if (!anything_durable(config)) {
        return 0;
    }
    if (place == GATEWAY_DIR_NONE || gateway->with->no_clients) {
        gateway_options_forget_durability(gateway->snapshot);
        return 0;
    }
    if (place == GATEWAY_DIR_UNKNOWN) {
        return in_memory(gateway, "-", GATEWAY_STORE_NO_DIR);
    }
    int err = gateway_store_make_parents(dir);
    if (err) {
        snprintf(why, sizeof(why), "cannot make %.200s: %s", dir, strerror(-err));
    }
    options.dir = dir;
    options.disk_bytes = config->history_disk_bytes;
    options.ctx = gateway;
    options.post = post;
    options.event = event;
    err = err ? err : store_open(&options, &gateway->store, why);
    if (err && !chosen && gateway_store_is_usual(err)) {
        return in_memory(gateway, dir, why);
    }
    if (err) {
        LOG(LOG_ERROR, "start.failed", LOG_S("error", why), LOG_S("dir", dir));
        return err;
    }
    gateway->store_ports = store_ports(gateway->store);
    take_identity(gateway);
    struct store_identity identity = store_identity(gateway->store);
    LOG(LOG_INFO, "store.open", LOG_S("dir", dir), LOG_U("generation", identity.generation));
    return 0;
}

/* ---- shards ---- */

struct remember {
    struct gateway_shard *gs;
};

static void remember_key(void *ctx, const struct store_key *key)
{
    struct gateway_shard *gs = ((struct remember *)ctx)->gs;
    struct shard *shard = gs->server->shard;

    if (shard_home_of(shard, key->channel) == shard->index) {
        durable_remember_key(shard, key->key, key->channel, key->cursor, key->age_ms);
    }
}

void gateway_store_attach(struct gateway_shard *gs)
{
    struct gateway *gateway = gs->gateway;
    struct remember remember = {gs};

    if (!gateway->store) {
        return;
    }
    durable_open(gs->server->shard, &gateway->store_ports, store_identity(gateway->store));
    gateway_store_tick(gs);
    shard_begin_turn(gs->server->shard, clock_now_ns());
    int err = store_each_key(gateway->store, remember_key, &remember);
    if (err) {
        LOG(LOG_WARN, "store.keys", LOG_S("error", strerror(-err)),
            LOG_S("text", "idempotency keys of before the restart are not known"));
    }
}

void gateway_store_tick(struct gateway_shard *gs)
{
    gs->server->shard->durable.wall_ms =
        (int64_t)(clock_wall_ns() / NS_PER_MS) - (int64_t)(clock_now_ns() / NS_PER_MS);
}

void gateway_store_close(struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        if (gateway->shards[i].server) {
            durable_close(gateway->shards[i].server->shard);
        }
    }
    store_close(gateway->store);
    gateway->store = NULL;
}
