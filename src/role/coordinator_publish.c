/* Publishing in this process: the events of a run as a letter to shard 0, which publishes them one behind
 * the other, as a client who awaits each answer does, so that they are in their order whatever happens;
 * then the letter comes back.
 *
 * It comes back once they are stored, where the history of users is on disk: the run's store forgets them
 * then, and after kill -9 nobody else would have them. Only the last one is awaited on disk, since a channel's
 * events are stored in their order: the others are live meanwhile, and cost no sync of their own.
 *
 * The run's own channel is named, too, though a gateway keeps events there by itself: what it does by itself nobody
 * awaits, and no key repeats. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conn/publish.h"
#include "role/coordinator_own.h"

enum { KEY_BYTES = FLOW_RUN_ID_MAX + 24, CHANNEL_BYTES = 300 };

struct publication_letter {
    struct coordinator_letter letter;
    struct publication_letter *next, **link; /* Under way. The coordinator's, as the next one. */
    struct flow_publication *publication;    /* NULL: it was answered already. */
    struct inside *inside;
    struct conn_server *server; /* Shard 0's, while it has the letter. */
    uint32_t count, done;
    int err;
    uint64_t seq;
    char run_id[FLOW_RUN_ID_MAX + 1];
    char channel[CHANNEL_BYTES];
    char run_channel[FLOW_RUN_ID_MAX + sizeof("run:")];
    struct span bodies[]; /* And their bytes. */
};

struct inside {
    struct coordinator *coordinator;
    struct publication_letter *first; /* Under way. */
    bool shut;
    bool plain; /* Shard 0's: the history of users is not on this disk. */
};

/* ---- on shard 0 ---- */

static void publish_next(struct publication_letter *letter);

static void send_back(struct publication_letter *letter)
{
    letter->server = NULL;
    coordinator_post(letter->inside->coordinator, &letter->letter);
}

static void published(void *ctx, const struct publish_result *result)
{
    struct publication_letter *letter = ctx;

    int err = result->err;

    if (err == -ENOTSUP && !letter->inside->plain) {
        letter->inside->plain = true; /* The same once more, without asking for that. */
        publish_next(letter);
        return;
    }
    if (err == -EINVAL || err == -EMSGSIZE) { /* It never will be; the run's history has it. */
        LOG(LOG_WARN, "coordinator.event_dropped", LOG_S("run", letter->run_id),
            LOG_U("event", letter->seq + letter->done), LOG_S("error", strerror(-err)));
        err = 0;
    }
    letter->err = err;
    letter->done += err ? 0 : 1;
    if (err && !letter->inside->plain) {
        letter->done =
            0; /* Which of them are stored is not known. Those that are will be recognised. */
    }
    if (letter->err || letter->done == letter->count) {
        send_back(letter);
    } else {
        publish_next(letter);
    }
}

/* The key names the event, so that publishing it again after a crash is seen to be that. */
static void publish_next(struct publication_letter *letter)
{
    char key[KEY_BYTES];

    snprintf(key, sizeof(key), "%s:%llu", letter->run_id,
        (unsigned long long)(letter->seq + letter->done));
    const struct publish_asked asked = {
        .also = span_str(letter->run_channel),
        .channel = span_str(letter->channel),
        .payload = letter->bodies[letter->done],
        .key = span_str(key),
        .durable = !letter->inside->plain && letter->done + 1 == letter->count,
    };
    publish_inside(letter->server, &asked, published, letter);
}

static void hear_publication(struct shard *shard, struct mail_call *call)
{
    struct publication_letter *letter = (struct publication_letter *)call;

    letter->server = gateway_of_shard(shard)->server;
    publish_next(letter);
}

/* ---- on the coordinator's thread ---- */

static void forget(struct publication_letter *letter)
{
    if (letter->link) {
        *letter->link = letter->next;
        if (letter->next) {
            letter->next->link = letter->link;
        }
        letter->link = NULL;
    }
}

static void answer(struct flow_publication *publication, uint32_t count, int err)
{
    publication->ret_count = count;
    publication->err = count < publication->count ? err : 0;
    publication->done(publication);
}

static void hear_back(struct coordinator *coordinator, struct coordinator_letter *base)
{
    struct publication_letter *letter = (struct publication_letter *)base;
    struct flow_publication *publication = letter->publication;

    if (coordinator) {
        forget(letter);
    }
    if (publication) {
        answer(publication, letter->done, letter->err);
    }
    mem_free(letter);
}

static struct publication_letter *letter_new(
    struct inside *inside, const struct flow_publication *publication)
{
    size_t size = 0;

    for (uint32_t i = 0; i < publication->count; i++) {
        size += publication->bodies[i].len;
    }
    struct publication_letter *letter =
        mem_try_zalloc(sizeof(*letter) + publication->count * sizeof(letter->bodies[0]) + size);
    if (!letter) {
        return NULL;
    }
    uint8_t *at = (uint8_t *)&letter->bodies[publication->count];
    for (uint32_t i = 0; i < publication->count; i++) {
        struct span body = publication->bodies[i];
        letter->bodies[i] = span_of(at, body.len);
        memcpy(at, body.data, body.len);
        at += body.len;
    }
    letter->letter.hear = hear_back;
    letter->inside = inside;
    letter->count = publication->count;
    letter->seq = publication->seq;
    snprintf(letter->run_id, sizeof(letter->run_id), "%.*s", (int)publication->run_id.len,
        (const char *)publication->run_id.data);
    snprintf(letter->channel, sizeof(letter->channel), "user:%.*s", (int)publication->user.len,
        (const char *)publication->user.data);
    snprintf(letter->run_channel, sizeof(letter->run_channel), "run:%s", letter->run_id);
    return letter;
}

static void publish(void *ctx, struct flow_publication *publication)
{
    struct inside *inside = ctx;

    if (inside->shut || !publication->count) {
        answer(publication, 0, -ESHUTDOWN);
        return;
    }
    struct publication_letter *letter = letter_new(inside, publication);
    if (!letter) {
        answer(publication, 0, -ENOMEM);
        return;
    }
    letter->publication = publication;
    letter->next = inside->first;
    letter->link = &inside->first;
    if (letter->next) {
        letter->next->link = &letter->next;
    }
    inside->first = letter;
    coordinator_to_shard(inside->coordinator, 0, hear_publication, &letter->letter);
}

int inside_create(struct coordinator *coordinator, struct inside **ret_inside)
{
    struct inside *inside = mem_zalloc(sizeof(*inside));

    inside->coordinator = coordinator;
    *ret_inside = inside;
    return 0;
}

struct flow_publisher inside_port(struct inside *inside)
{
    return (struct flow_publisher){inside, publish};
}

/* The letters come back when nobody is here any more. */
void inside_shut(struct inside *inside)
{
    inside->shut = true;
    while (inside->first) {
        struct publication_letter *letter = inside->first;
        struct flow_publication *publication = letter->publication;
        forget(letter);
        letter->publication = NULL;
        answer(publication, 0, -ESHUTDOWN);
    }
}

void inside_destroy(struct inside *inside)
{
    mem_free(inside);
}
