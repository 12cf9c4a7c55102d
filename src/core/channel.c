#include "core/channel.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/bundle.h"
#include "core/name.h"
#include "core/shard.h"

static bool name_equal(const struct table_item *item, const void *key)
{
    return span_equal(channel_name((const struct channel *)item), *(const struct span *)key);
}

struct channel *channel_find(struct shard *shard, uint64_t hash, struct span name)
{
    return (struct channel *)table_find(&shard->channels, hash, name_equal, &name);
}

struct channel *channel_get(struct shard *shard, uint64_t hash, struct span name)
{
    struct channel *channel = channel_find(shard, hash, name);

    if (channel) {
        return channel;
    }
    channel = mem_try_alloc(MEM_FLEX(struct channel, name, name.len));
    if (!channel) {
        return NULL;
    }
    *channel = (struct channel){
        .hash = hash,
        .name_len = (uint16_t)name.len,
        .ns = settings_ns(shard->settings, name_namespace(name)),
    };
    memcpy(channel->name, name.data, name.len);
    if (table_add(&shard->channels, (struct table_item *)channel) != 0) {
        mem_free(channel);
        return NULL;
    }
    shard->stats.channels += 1;
    return channel;
}

static bool has_classes(const struct channel *channel)
{
    return channel->first.place != CLASS_UNUSED || channel->first.next;
}

/* Not a letter that may be lost: home would go on sending, and remember the channel for ever. */
static void tell_home(struct shard *shard, const struct channel *channel)
{
    struct mail_unsubscribe *mail = mem_alloc(sizeof(*mail) + channel->name_len);

    *mail = (struct mail_unsubscribe){
        .mail = {.kind = MAIL_UNSUBSCRIBE},
        .hash = channel->hash,
        .name_len = channel->name_len,
    };
    memcpy(mail->name, channel->name, channel->name_len);
    shard_post(shard, shard_home_of(shard, channel->hash), &mail->mail);
}

void channel_release(struct shard *shard, struct channel *channel)
{
    if (has_classes(channel) || channel->pending_count) {
        return;
    }
    if (channel->batch_count) {
        return; /* The last batch calls again. */
    }
    tell_home(shard, channel);
    table_remove(&shard->channels, (struct table_item *)channel);
    shard->stats.channels -= 1;
    mem_free(channel);
}

static bool is_filtered(const struct shard *shard, uint16_t view)
{
    return view_types(&shard->views, view).len;
}

struct class *class_get(
    struct shard *shard, struct channel *channel, uint8_t framing, uint16_t view)
{
    struct class *class = &channel->first;

    for (; class; class = class->next) {
        if (class->place != CLASS_UNUSED && class->framing == framing && class->view == view) {
            return class;
        }
    }
    bool filtered = is_filtered(shard, view);
    bool is_first = channel->first.place == CLASS_UNUSED && !filtered;
    size_t size = filtered ? sizeof(struct filtered_class) : sizeof(struct further_class);
    struct further_class *further = is_first ? NULL : mem_try_zalloc(size);
    if (!is_first && !further) {
        return NULL;
    }
    class = is_first ? &channel->first : &further->class;
    *class = (struct class){.next = channel->first.next,
        .published = 1,
        .framing = framing,
        .place = is_first ? CLASS_FIRST : CLASS_FURTHER,
        .view = view_ref(&shard->views, view)};
    if (further) {
        further->channel = channel;
        channel->first.next = class;
    }
    return class;
}

void class_release(struct shard *shard, struct class *class)
{
    struct channel *channel = class_channel(class);

    if (class->count || class->flow) {
        return;
    }
    view_unref(&shard->views, class->view);
    if (class->cap) {
        mem_free(class->entries.many);
    }
    if (class == &channel->first) {
        struct class *next = class->next;
        *class = (struct class){.next = next};
    } else {
        struct class **link = &channel->first.next;
        while (*link != class) {
            link = &(*link)->next;
        }
        *link = class->next;
        mem_free(class);
    }
    channel_release(shard, channel);
}

static int class_reserve(struct class *class)
{
    if (class->count == 0 && class->cap == 0) {
        return 0;
    }
    if (class->count < class->cap) {
        return 0;
    }
    uint32_t cap = class->cap ? class->cap * 2 : 4;
    struct entry *many =
        mem_try_realloc(class->cap ? class->entries.many : NULL, cap * sizeof(*many));
    if (!many) {
        return -ENOMEM;
    }
    if (!class->cap) {
        many[0] = class->entries.one;
    }
    class->entries.many = many;
    class->cap = cap;
    return 0;
}

int class_join(struct shard *shard, struct class *class, struct subscriber *sub)
{
    int err = class_reserve(class);

    if (err) {
        return err;
    }
    bundle_finish(shard, class); /* What is in it was published before. */
    err = subscriber_add(sub, class, class->count, class->published);
    if (err) {
        return err;
    }
    class_entries(class)[class->count] = (struct entry){
        .slot = sub->slot,
        .from = class->flow ? class->published : 0,
    };
    class->count += 1;
    shard->stats.subscriptions += 1;
    return 0;
}

/* Moves entry `from` to place `to` and tells its subscriber. */
static void move_entry(struct shard *shard, struct class *class, uint32_t from, uint32_t to)
{
    struct entry *entries = class_entries(class);

    if (from == to) {
        return;
    }
    entries[to] = entries[from];
    struct subscription *moved = subscriber_find(shard_subscriber(shard, entries[to].slot), class);
    CHECK(moved && moved->index == from);
    moved->index = to;
}

/* Swap-remove. Behind a sweep the hole is filled by the last swept entry, and that one's place by
 * the last of all, so that no entry slips from the unswept side to the swept one. */
static void remove_entry(struct shard *shard, struct class *class, uint32_t index)
{
    struct flow *flow = class->flow;

    if (flow && flow->head && index < flow->index) {
        flow->index -= 1;
        move_entry(shard, class, flow->index, index);
        index = flow->index;
    }
    move_entry(shard, class, class->count - 1, index);
    class->count -= 1;
}

void class_leave(struct shard *shard, struct class *class, struct subscriber *sub)
{
    struct subscription *subscription = subscriber_find(sub, class);

    CHECK(subscription && subscription->index < class->count);
    uint32_t index = subscription->index;
    uint32_t pending = class_pending(class, index);
    sub->accepted += class_distance(subscription->joined, class->published);
    shard_count_drop(shard, sub, class_channel(class)->ns, DROP_CLOSED, pending);
    shard->stats.books.pending -= pending;
    shard->stats.subscriptions -= 1;
    subscriber_remove(sub, subscription);
    remove_entry(shard, class, index);
    if (class->count == 0 && class->flow && class->flow->bundle) {
        bundle_drop(shard, class); /* The class goes with its flow, now or once that is swept. */
    } else {
        class_release(shard, class);
    }
}

/* Messages of one batch that are still to come for this entry. */
static uint32_t batch_left(const struct batch *batch, uint32_t from)
{
    return batch->count - batch_before(batch, from);
}

void class_hand_over(struct shard *shard, struct class *class, struct subscriber *sub)
{
    bundle_finish(shard, class);
    struct flow *flow = class->flow;
    struct subscription *subscription = subscriber_find(sub, class);
    struct entry *entry = &class_entries(class)[subscription->index];

    if (!flow) {
        return;
    }
    struct batch *batch = flow->head;
    if (batch && subscription->index < flow->index) {
        batch = batch->next; /* It had the head already. */
    }
    for (bool open = false; !open; batch = batch ? batch->next : NULL) {
        if (!batch) {
            batch = flow->open;
            open = true;
        }
        uint32_t left = batch ? batch_left(batch, entry->from) : 0;
        if (left) {
            shard->stats.books.pending -= left;
            if (batch->flags & BATCH_LOST) {
                shard_count_drop(shard, sub, batch->ns, batch->reason, left);
            } else {
                shard_deliver_queued(shard, sub, batch, batch->count - left);
            }
        }
    }
    entry->from = class->published; /* Nothing is left on the way. */
}

/* What home says comes in order, so a cursor of this epoch only moves on. */
void class_pass(struct shard *shard, struct class *class, struct cursor cursor)
{
    struct filtered_class *filtered = (struct filtered_class *)class;

    if (is_filtered(shard, class->view)) {
        filtered->passed = cursor;
        filtered->known = true;
    }
}

bool class_passed(const struct shard *shard, const struct class *class, struct cursor *ret_cursor)
{
    const struct filtered_class *filtered = (const struct filtered_class *)class;

    if (!is_filtered(shard, class->view) || class->flow || !filtered->known) {
        return false;
    }
    *ret_cursor = filtered->passed;
    return true;
}

uint32_t class_pending(const struct class *class, uint32_t index)
{
    const struct flow *flow = class->flow;

    if (!flow) {
        return 0;
    }
    uint32_t from = class_entries((struct class *)class)[index].from;
    uint32_t pending = 0;
    const struct batch *batch = flow->head;
    if (batch && index < flow->index) {
        batch = batch->next; /* It had the head already. */
    }
    for (; batch; batch = batch->next) {
        pending += batch_left(batch, from);
    }
    return pending + (flow->open ? batch_left(flow->open, from) : 0);
}

struct flow *flow_get(struct shard *shard, struct class *class)
{
    if (class->flow) {
        return class->flow;
    }
    uint32_t slot = slab_alloc(&shard->flows);
    if (slot == SLAB_NONE) {
        return NULL;
    }
    struct flow *flow = slab_at(&shard->flows, slot);
    *flow = (struct flow){.class = class, .slot = slot};
    class->flow = flow;
    return flow;
}

/* It will be swept at the end of the turn. */
static void flow_queue(struct shard *shard, struct flow *flow)
{
    if (flow->queued) {
        return;
    }
    flow->queued = true;
    if (shard->flow_last) {
        shard->flow_last->next = flow;
    } else {
        shard->flow_first = flow;
    }
    shard->flow_last = flow;
}

void flow_release(struct shard *shard, struct flow *flow)
{
    struct class *class = flow->class;

    if (flow->queued || flow->bundle) {
        return;
    }
    CHECK(!flow->open && !flow->head);
    class->flow = NULL;
    slab_free(&shard->flows, flow->slot);
    class_release(shard, class);
}

void flow_seal(struct flow *flow)
{
    struct batch *batch = flow->open;

    if (!batch) {
        return;
    }
    flow->open = NULL;
    batch->next = NULL;
    if (flow->tail) {
        flow->tail->next = batch;
    } else {
        flow->head = batch;
        flow->index = 0;
    }
    flow->tail = batch;
}

/* An open batch to append to, of the wanted kind; NULL without memory. */
static struct batch *open_batch(struct shard *shard, struct class *class, uint8_t flags)
{
    struct flow *flow = flow_get(shard, class);

    if (!flow) {
        return NULL;
    }
    if (flow->open && flow->open->count == 0) { /* What was to be its first found no memory. */
        flow->open->first_seq = class->published;
        flow->open->flags = flags;
    } else if (flow->open &&
               (batch_full(flow->open) || flow->open->flags != flags || (flags & BATCH_LOST))) {
        flow_seal(flow);
    }
    if (!flow->open) {
        struct batch *batch =
            flags & BATCH_LOST ? batch_get_spare(&shard->batches) : batch_get(&shard->batches);
        if (!batch) {
            flow_release(shard, flow);
            return NULL;
        }
        batch->channel = class_channel(class);
        batch->channel->batch_count += 1;
        batch->first_seq = class->published;
        batch->framing = class->framing;
        batch->ns = class_channel(class)->ns;
        batch->flags = flags;
        flow->open = batch;
        flow_queue(shard, flow);
    }
    return flow->open;
}

static uint8_t batch_flags(const struct shard *shard, const struct class *class)
{
    uint8_t flags = shard->ports.wants_gaps(shard->ports.ctx, class->framing) ? BATCH_GAPS : 0;

    return class->view && view_batch_ms(&shard->views, class->view) ? flags | BATCH_BUNDLES : flags;
}

/* Twice in each round of numbers what was accepted so far moves to the subscribers, so that nobody's
 * count ever spans a whole one. */
static void settle(struct shard *shard, struct class *class)
{
    const struct entry *entries = class_entries(class);

    for (uint32_t i = 0; i < class->count; i++) {
        struct subscriber *sub = shard_subscriber(shard, entries[i].slot);
        struct subscription *subscription = subscriber_find(sub, class);
        sub->accepted += class_distance(subscription->joined, class->published);
        subscription->joined = class->published;
    }
}

/* More publications are owed to every subscriber of the class. */
static void count_accepted(struct shard *shard, struct class *class, uint32_t count)
{
    uint32_t before = class->published;

    class->published += count;
    class->published += class->published < before; /* 0 is skipped. */
    if ((class->published ^ before) >> 31) {
        settle(shard, class);
    }
    shard->stats.books.accepted += (uint64_t) class->count * count;
    shard->ns_stats[class_channel(class)->ns].accepted += (uint64_t) class->count * count;
    shard->stats.books.pending += (uint64_t) class->count * count;
}

/* Nobody of the class gets these: there was no memory even to remember them in order. */
static void drop_for_all(struct shard *shard, struct class *class, uint32_t count)
{
    struct entry *entries = class_entries(class);

    count_accepted(shard, class, count);
    shard->stats.books.pending -= (uint64_t) class->count * count;
    for (uint32_t i = 0; i < class->count; i++) {
        shard_count_drop(shard, shard_subscriber(shard, entries[i].slot), class_channel(class)->ns,
            DROP_MEMORY, count);
    }
    struct batch *open = class->flow ? class->flow->open : NULL;
    if (open && open->count) {
        flow_seal(class->flow); /* A batch's numbers have no holes. */
    } else if (open) {
        open->first_seq = class->published;
    }
}

/* The last sealed batch, when it stands for what was lost right before, for the same reason, and nobody was
 * told yet: it can stand for more. */
static struct batch *lost_before(const struct class *class, uint8_t reason)
{
    const struct flow *flow = class->flow;
    struct batch *tail = flow ? flow->tail : NULL;

    if (!tail || !(tail->flags & BATCH_LOST) || tail->reason != reason ||
        (flow->open && flow->open->count) || (tail == flow->head && flow->index) ||
        class_distance(tail->first_seq, class->published) != tail->count) {
        return NULL;
    }
    return tail;
}

static void lose(struct shard *shard, struct class *class, uint64_t from, uint64_t to,
    uint32_t count, uint8_t reason)
{
    struct batch *batch = lost_before(class, reason);

    if (batch) {
        batch->count += count;
        batch->gap_to = to;
        count_accepted(shard, class, count);
        return;
    }
    batch = open_batch(shard, class, (uint8_t)(BATCH_LOST | batch_flags(shard, class)));
    if (!batch) {
        drop_for_all(shard, class, count);
        return;
    }
    batch->count = count;
    batch->gap_from = from;
    batch->gap_to = to;
    batch->reason = reason;
    count_accepted(shard, class, count);
    flow_seal(class->flow);
}

/* An open batch with room for a message; NULL without memory. */
static struct batch *room_for_message(struct shard *shard, struct class *class)
{
    struct batch *batch = open_batch(shard, class, batch_flags(shard, class));

    return batch && batch_reserve_message(batch) == 0 ? batch : NULL;
}

/* The frame is in the batch's data. */
static void add_message(
    struct shard *shard, struct class *class, struct batch *batch, struct batch_message message)
{
    uint32_t before = batch_start(batch, batch->count);

    message.end = (uint32_t)batch->data.len;
    batch->messages[batch->count++] = message;
    shard->unswept_bytes += message.end - before;
    count_accepted(shard, class, 1);
}

void class_append(struct shard *shard, struct class *class, const struct publication *pub)
{
    if (class->count == 0) {
        return;
    }
    if (class->view && view_batch_ms(&shard->views, class->view)) {
        if (bundle_add(shard, class, pub) != 0) {
            bundle_finish(shard, class);
            lose(shard, class, pub->offset, pub->offset, 1, DROP_MEMORY);
        }
        return;
    }
    struct batch *batch = room_for_message(shard, class);
    if (!batch || shard->ports.encode(shard->ports.ctx, class->framing, pub, &batch->data) != 0) {
        lose(shard, class, pub->offset, pub->offset, 1, DROP_MEMORY);
        return;
    }
    add_message(shard, class, batch,
        (struct batch_message){.offset = pub->offset, .time_ns = pub->time_ns, .key = pub->key});
}

void class_append_bundle(
    struct shard *shard, struct class *class, const struct bundle_message *bundle)
{
    struct batch *batch = room_for_message(shard, class);

    if (!batch || shard->ports.encode_events(
                      shard->ports.ctx, class->framing, bundle->events, &batch->data) != 0) {
        lose(shard, class, bundle->from, bundle->to, 1, DROP_MEMORY);
        return;
    }
    add_message(shard, class, batch,
        (struct batch_message){.offset = bundle->to,
            .time_ns = bundle->time_ns,
            .spans = (uint32_t)(bundle->to - bundle->from)});
}

void class_append_lost(
    struct shard *shard, struct class *class, uint64_t from, uint64_t to, uint32_t count)
{
    if (class->count == 0) {
        return;
    }
    bundle_finish(shard, class);
    lose(shard, class, from, to, count, DROP_OVERLOAD);
    if (is_filtered(shard, class->view)) { /* What is declared lost is behind its listeners, too. */
        ((struct filtered_class *)class)->passed.offset = to;
    }
}

void batch_unref(struct shard *shard, struct batch *batch)
{
    CHECK(batch->refs > 0);
    batch->refs -= 1;
    if (batch->refs) {
        return;
    }
    struct channel *channel = batch->channel;
    batch_put(&shard->batches, batch);
    channel->batch_count -= 1;
    channel_release(shard, channel);
}
