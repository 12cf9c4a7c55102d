#include "role/coordinator.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "ctl/config.h"
#include "link/http_client.h"
#include "role/coordinator_own.h"
#include "rt/mailbox.h"
#include "rt/thread.h"

/* ---- letters ---- */

void coordinator_post(struct coordinator *coordinator, struct coordinator_letter *letter)
{
    struct mail_chain chain = {0};

    mail_chain_add(&chain, &letter->call.mail);
    mailbox_post(coordinator->mailbox, &chain);
}

void coordinator_to_shard(struct coordinator *coordinator, uint16_t shard,
    void (*fn)(struct shard *shard, struct mail_call *call), struct coordinator_letter *letter)
{
    struct mail_chain chain = {0};

    letter->call.fn = fn;
    letter->call.mail.kind = MAIL_CALL;
    letter->call.mail.from = shard;
    mail_chain_add(&chain, &letter->call.mail);
    mailbox_post(coordinator->gateway->shards[shard].mailbox, &chain);
}

int coordinator_wake_fd(const struct coordinator *coordinator)
{
    return mailbox_wake_fd(coordinator->mailbox);
}

/* ---- its life, on the main thread ---- */

/* A name nobody else on this Redis has: what is left under it belongs to the dead. */
static void make_name(char name[COORDINATOR_NAME_MAX + 1])
{
    char host[32] = "host";
    uint32_t random = 0;

    if (gethostname(host, sizeof(host)) != 0) {
        snprintf(host, sizeof(host), "host");
    }
    host[sizeof(host) - 1] = '\0';
    for (char *c = host; *c; c++) {
        bool fine = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                    (*c >= '0' && *c <= '9') || *c == '-' || *c == '_' || *c == '.';
        *c = fine ? *c : '-';
    }
    if (getrandom(&random, sizeof(random), 0) < 0) {
        random = (uint32_t)getpid() * 2654435761u;
    }
    snprintf(name, COORDINATOR_NAME_MAX + 1, "%s-%d-%08x", host, (int)getpid(), random);
}

/* Where runs are kept, unless in Redis. */
static void choose_dir(struct coordinator *coordinator)
{
    enum gateway_dir place =
        gateway_store_dir(coordinator->gateway, coordinator->dir, sizeof(coordinator->dir));

    if (coordinator->config->broker == CONFIG_BROKER_REDIS || place == GATEWAY_DIR_NONE) {
        coordinator->dir[0] = '\0';
    } else if (place == GATEWAY_DIR_UNKNOWN) {
        coordinator->dir[0] = '\0';
        LOG(LOG_WARN, "coordinator.in_memory", LOG_S("why", GATEWAY_STORE_NO_DIR),
            LOG_S("hint", "runs end with the process; --data DIR says where to keep them"));
    }
    coordinator->dir_usual = place == GATEWAY_DIR_USUAL;
}

int coordinator_create(struct gateway *gateway, struct coordinator **ret_coordinator)
{
    struct coordinator *coordinator = mem_zalloc(sizeof(*coordinator));
    char why[512];

    coordinator->gateway = gateway;
    coordinator->config = gateway->snapshot->config;
    int err = coordinator_files_check(coordinator->config->workflows, why, sizeof(why));
    if (err) {
        LOG(LOG_ERROR, "start.failed", LOG_S("error", why));
        mem_free(coordinator);
        return err;
    }
    err = http_client_global_init();
    err = err ? err : mailbox_create(&coordinator->mailbox);
    if (err) {
        LOG(LOG_ERROR, "start.failed", LOG_S("error", strerror(-err)));
        mem_free(coordinator);
        return err;
    }
    if (coordinator->config->flow.name) {
        snprintf(
            coordinator->name, sizeof(coordinator->name), "%s", coordinator->config->flow.name);
    } else {
        make_name(coordinator->name);
    }
    choose_dir(coordinator);
    *ret_coordinator = coordinator;
    return 0;
}

int coordinator_start(struct coordinator *coordinator)
{
    return thread_start("coordinator", -1, coordinator_thread, coordinator, &coordinator->thread);
}

static void hear_drain(struct coordinator *coordinator, struct coordinator_letter *letter)
{
    if (coordinator && coordinator->flow && !coordinator->draining) {
        coordinator->draining = true;
        flow_drain(coordinator->flow);
        coordinator_store_drain(coordinator);
    }
    mem_free(letter);
}

static void hear_stop(struct coordinator *coordinator, struct coordinator_letter *letter)
{
    if (coordinator) {
        coordinator->stopping = true;
    }
    mem_free(letter);
}

static void say(struct coordinator *coordinator,
    void (*hear)(struct coordinator *coordinator, struct coordinator_letter *letter))
{
    struct coordinator_letter *letter = mem_zalloc(sizeof(*letter));

    letter->hear = hear;
    coordinator_post(coordinator, letter);
}

void coordinator_drain(struct coordinator *coordinator)
{
    say(coordinator, hear_drain);
}

void coordinator_stop(struct coordinator *coordinator)
{
    if (coordinator->thread) {
        say(coordinator, hear_stop);
        thread_join(coordinator->thread);
        coordinator->thread = NULL;
    }
}

void coordinator_destroy(struct coordinator *coordinator)
{
    struct mail *mail;

    if (!coordinator) {
        return;
    }
    while ((mail = mailbox_take(coordinator->mailbox))) {
        struct coordinator_letter *letter = (struct coordinator_letter *)mail;
        letter->hear(NULL, letter);
    }
    inside_destroy(coordinator->inside);
    mailbox_destroy(coordinator->mailbox);
    mem_free(coordinator);
}
