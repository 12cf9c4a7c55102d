#include "tests/support/store_model.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "core/durable.h"
#include "core/mail.h"
#include "tests/support/unit.h"

struct record {
    uint64_t offset, time_ns;
    uint32_t flags;
    struct bytes payload;
};

struct store_model_channel {
    struct store_model_channel *next;
    char name[NAME_MAX_BYTES + 1];
    uint64_t boundary, last;
    struct record *records;
    uint32_t count;
};

static struct store_model_channel *channel_of(
    struct store_model *model, struct span name, bool make)
{
    struct store_model_channel *channel = model->channels;

    while (channel && !span_equal(span_str(channel->name), name)) {
        channel = channel->next;
    }
    if (!channel && make) {
        channel = mem_zalloc(sizeof(*channel));
        memcpy(channel->name, name.data, name.len);
        channel->next = model->channels;
        model->channels = channel;
    }
    return channel;
}

static void forget_first(struct store_model_channel *channel)
{
    channel->boundary = channel->records[0].offset;
    bytes_fini(&channel->records[0].payload);
    channel->count -= 1;
    memmove(channel->records, channel->records + 1, channel->count * sizeof(struct record));
}

static void forget(struct store_model_channel *channel, uint64_t up_to)
{
    while (channel->count && channel->records[0].offset <= up_to) {
        forget_first(channel);
    }
    channel->boundary = channel->boundary > up_to ? channel->boundary : up_to;
    channel->last = channel->last > up_to ? channel->last : up_to;
}

static void append_one(struct store_model *model, const struct store_entry *entry)
{
    const struct publication *pub = entry->pub;
    struct store_model_channel *channel = channel_of(model, publication_name(pub), true);
    struct span payload = publication_payload(pub);

    assert_true(pub->offset > channel->last);
    if (entry->follows > channel->last) {
        forget(channel, entry->follows);
    }
    channel->records = mem_realloc(channel->records, (channel->count + 1) * sizeof(struct record));
    struct record *record = &channel->records[channel->count++];
    *record = (struct record){
        .offset = pub->offset, .time_ns = pub->time_ns, .flags = pub->flags & PUBLICATION_UTF8};
    assert_int_equal(bytes_append(&record->payload, payload.data, payload.len), 0);
    channel->last = pub->offset;
    while (channel->count > entry->limits.messages) {
        forget_first(channel);
    }
}

static int append(struct store_model *model, struct store_append *letter)
{
    model->appends += 1;
    if (model->append_err) {
        return model->append_err;
    }
    for (uint32_t i = 0; i < letter->count; i++) {
        uint64_t offset = letter->entries[i].pub->offset;
        assert_int_equal(history_generation(offset), model->identity.generation);
    }
    for (uint32_t i = 0; i < letter->count; i++) {
        struct store_entry *entry = &letter->entries[i];
        bool unfit =
            model->unfit && span_equal(publication_payload(entry->pub), span_str(model->unfit));
        entry->err = unfit ? -EINVAL : 0;
        if (!unfit) {
            append_one(model, entry);
        }
    }
    return 0;
}

static void give(struct store_read *letter, const struct record *record)
{
    struct publish_order order = {.name = span_of(letter->name, letter->name_len),
        .payload = span_of(record->payload.data, record->payload.len),
        .flags = record->flags};
    struct publication *pub = publication_create(&order, letter->hash, record->time_ns);

    pub->epoch = letter->bounds.epoch;
    pub->offset = record->offset;
    letter->pubs = mem_realloc(letter->pubs, (letter->count + 1) * sizeof(letter->pubs[0]));
    letter->pubs[letter->count++] = pub;
}

static int read_page(struct store_model *model, struct store_read *letter)
{
    struct store_model_channel *channel =
        channel_of(model, span_of(letter->name, letter->name_len), false);
    size_t bytes = 0;

    model->reads += 1;
    letter->bounds = (struct history_bounds){
        .epoch = history_epoch(model->identity.store_id, model->identity.serial),
        .epoch_start = model->epoch_start,
        .generation = model->identity.generation,
        .first = channel && channel->count ? channel->records[0].offset : 0,
        .last = channel ? channel->last : 0,
        .boundary = channel ? channel->boundary : 0};
    for (uint32_t i = 0; channel && i < channel->count; i++) {
        const struct record *record = &channel->records[i];
        letter->bounds.found = letter->bounds.found || record->offset == letter->after;
        if (letter->from == STORE_FROM_AFTER && record->offset <= letter->after) {
            continue;
        }
        bytes += sizeof(struct publication) + letter->name_len + record->payload.len;
        if (letter->count == letter->count_max || (letter->count && bytes > letter->bytes_max)) {
            letter->more = true;
            break;
        }
        give(letter, record);
    }
    return 0;
}

static int clear(struct store_model *model, struct store_clear *letter)
{
    struct store_model_channel *channel =
        channel_of(model, span_of(letter->name, letter->name_len), true);

    model->clears += 1;
    if (model->clear_err) {
        return model->clear_err;
    }
    forget(channel, letter->up_to);
    return 0;
}

static void free_channels(struct store_model *model)
{
    while (model->channels) {
        struct store_model_channel *channel = model->channels;
        model->channels = channel->next;
        while (channel->count) {
            forget_first(channel);
        }
        mem_free(channel->records);
        mem_free(channel);
    }
}

static struct mail *take(struct store_model *model)
{
    struct mail *mail = model->queue.first;

    if (mail) {
        model->queue.first = mail->next;
        model->queue.last = mail->next ? model->queue.last : NULL;
        mail->next = NULL;
    }
    return mail;
}

bool store_model_step(struct store_model *model)
{
    struct mail *mail = take(model);
    struct store_letter *letter = (struct store_letter *)mail;

    if (!mail) {
        return false;
    }
    switch (mail->kind) {
    case MAIL_STORE_APPEND:
        letter->err = append(model, (struct store_append *)mail);
        break;
    case MAIL_STORE_READ:
        letter->err = read_page(model, (struct store_read *)mail);
        break;
    case MAIL_STORE_CLEAR:
        letter->err = clear(model, (struct store_clear *)mail);
        break;
    default:
        fail();
    }
    model->post(model->ctx, mail->from, mail);
    return true;
}

void store_model_lose(struct store_model *model)
{
    struct mail *mail;

    model->refuse = -ESHUTDOWN;
    while ((mail = take(model))) {
        ((struct store_letter *)mail)->err = -EIO;
        model->post(model->ctx, mail->from, mail);
    }
}

void store_model_reopen(struct store_model *model)
{
    assert_null(model->queue.first);
    model->identity.generation += 1;
    model->refuse = 0;
}

/* ---- ports ---- */

static int queue(struct store_model *model, struct mail *mail)
{
    if (!model->refuse) {
        mail_chain_add(&model->queue, mail);
    }
    return model->refuse;
}

static int port_append(void *ctx, struct store_append *letter)
{
    return queue(ctx, &letter->letter.mail);
}

static int port_read(void *ctx, struct store_read *letter)
{
    return queue(ctx, &letter->letter.mail);
}

static int port_clear(void *ctx, struct store_clear *letter)
{
    return queue(ctx, &letter->letter.mail);
}

void store_model_init(struct store_model *model, uint64_t store_id)
{
    *model = (struct store_model){
        .identity = {.store_id = store_id, .generation = 1},
        .epoch_start = history_start(1),
        .ports = {model, port_append, port_read, port_clear},
    };
}

void store_model_fini(struct store_model *model)
{
    free_channels(model);
}
