/* Calling scripts: EVALSHA, and loading again what Redis forgot (a restart, a fail-over, SCRIPT FLUSH).
 *
 * A call is kept until it is answered. From the first NOSCRIPT on no call is sent until all that are
 * under way are answered; then the scripts are loaded and what was refused follows in its order, so that
 * forgetting reorders nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "link/redis_link_own.h"
#include "rt/loop.h"

enum { VERSION_FUNCTIONS = 70000 };

struct redis_command {
    struct redis_command *next;
    uint64_t id;
    enum redis_script script;
    bool again; /* Redis did not know the script. */
    size_t len;
    uint8_t text[];
};

/* ---- loading ---- */

static int ask(
    struct redis_link *link, enum redis_asked_kind kind, const struct span *args, size_t arg_count)
{
    int r = redis_pending_reserve(&link->pending);

    r = r ? r : resp_command(&link->conns[REDIS_CMD].out, args, arg_count);
    if (r == 0) {
        redis_pending_push(&link->pending, (struct redis_asked){.kind = (uint8_t)kind});
    }
    return r;
}

static int load_all(struct redis_link *link)
{
    int r = 0;

    for (enum redis_script i = 0; r == 0 && i < REDIS_SCRIPTS; i++) {
        const struct span args[] = {
            span_str("SCRIPT"), span_str("LOAD"), span_str(redis_script_text(i))};
        r = ask(link, REDIS_ASKED_SETUP, args, COUNT_OF(args));
    }
    return r;
}

int redis_link_load_scripts(struct redis_link *link)
{
    const struct span try[] = {
        span_str("EVALSHA"), span_of(link->sha[REDIS_SCRIPT_READ], 40), span_str("0")};
    const struct span library[] = {span_str("FUNCTION"), span_str("LOAD"), span_str("REPLACE"),
        span_str(redis_script_library(link->options.mode == REDIS_MODE_SHARDED))};

    int r = load_all(link);
    r = r ? r : ask(link, REDIS_ASKED_SETUP, try, COUNT_OF(try));
    if (r == 0 && link->conns[REDIS_CMD].greeting.version >= VERSION_FUNCTIONS) {
        r = ask(link, REDIS_ASKED_EXTRA, library, COUNT_OF(library));
    }
    return r;
}

static bool setup_refused(struct redis_link *link, struct span reply)
{
    char why[REDIS_SENTENCE_MAX / 2], sentence[REDIS_SENTENCE_MAX];

    redis_error_sentence(reply, why, sizeof(why));
    snprintf(sentence, sizeof(sentence),
        "history in Redis needs SCRIPT LOAD and EVALSHA on keys and channels fanout:*: %s", why);
    if (reply.len > 7 && memcmp(reply.data, "-NOPERM", 7) == 0) {
        redis_link_unfit(link, sentence);
    } else {
        redis_link_fail(link, sentence);
    }
    return false;
}

/* ---- calling ---- */

static void hold(struct redis_link *link, struct redis_command *command)
{
    command->next = NULL;
    *(link->held_last ? &link->held_last->next : &link->held_first) = command;
    link->held_last = command;
    link->held_bytes += command->len;
}

static struct redis_command *take_held(struct redis_link *link)
{
    struct redis_command *command = link->held_first;

    if (command) {
        link->held_first = command->next;
        link->held_last = command->next ? link->held_last : NULL;
        link->held_bytes -= command->len;
    }
    return command;
}

static int send(struct redis_link *link, struct redis_command *command)
{
    int r = redis_pending_reserve(&link->pending);

    r = r ? r : bytes_append(&link->conns[REDIS_CMD].out, command->text, command->len);
    if (r == 0) {
        redis_pending_push(&link->pending,
            (struct redis_asked){
                .kind = REDIS_ASKED_CALL, .bytes = (uint32_t)command->len, .command = command});
        link->calls += 1;
    }
    return r;
}

/* keys[i] with NULL text ends the keys. Returns 0 or negative errno. */
static int call(struct redis_link *link, enum redis_script script, const struct redis_key *keys,
    size_t key_count, const struct span *args, size_t arg_count, uint64_t id)
{
    struct span words[16] = {span_str("EVALSHA"), span_of(link->sha[script], 40),
        key_count == 3 ? span_str("3") : span_str("2")};
    struct bytes text = {0};
    size_t count = 3;

    for (size_t i = 0; i < key_count; i++) {
        words[count++] = span_of(keys[i].text, keys[i].len);
    }
    for (size_t i = 0; i < arg_count; i++) {
        words[count++] = args[i];
    }
    int r = resp_command(&text, words, count);
    struct redis_command *command = r ? NULL : mem_try_alloc(sizeof(*command) + text.len);
    r = command ? 0 : -ENOMEM;
    if (command) {
        *command = (struct redis_command){.id = id, .script = script, .len = text.len};
        memcpy(command->text, text.data, text.len);
        if (link->reloading) {
            hold(link, command);
        } else {
            r = send(link, command);
        }
        if (r) {
            mem_free(command);
        }
    }
    bytes_fini(&text);
    return r;
}

static int may_call(struct redis_link *link, size_t bytes)
{
    if (link->state != REDIS_UP || !link->options.history) {
        return -ENOTCONN;
    }
    if (bytes > link->options.publish_bytes || bytes > REDIS_HISTORY_PAYLOAD_MAX) {
        return -EMSGSIZE;
    }
    if (link->pending.bytes + link->held_bytes > link->options.publish_bytes - bytes) {
        link->stats.publish_busy += 1;
        return -EBUSY;
    }
    return 0;
}

static int keys_of(struct span channel, struct span once, struct redis_key keys[3])
{
    int r = redis_history_key(REDIS_KEY_STREAM, channel, span_of(NULL, 0), &keys[0]);

    r = r ? r : redis_history_key(REDIS_KEY_META, channel, span_of(NULL, 0), &keys[1]);
    return r ? r : redis_history_key(REDIS_KEY_ONCE, channel, once, &keys[2]);
}

int redis_link_append(struct redis_link *link, const struct redis_append *append, uint64_t id)
{
    struct redis_name twin;
    struct redis_key keys[3];
    enum redis_map_kind kind;
    struct span bare = append->payload;
    char limits[72];

    int r = may_call(link, append->payload.len);
    r = r ? r : redis_map_out(link->map, append->channel, &twin, &kind);
    if (r == 0 && redis_link_is_canary(span_of(twin.text, twin.len))) {
        r = -EINVAL;
    }
    r = r ? r : keys_of(append->channel, append->once, keys);
    r = r ? r : redis_link_wrap(link, append->channel, append->from, kind, &bare);
    if (r) {
        return r;
    }
    snprintf(limits, sizeof(limits), "%" PRIu32 " %" PRIu64 " %" PRIu64, append->messages,
        append->bytes, append->age_ms);
    const struct span args[] = {append->channel, append->payload, span_str(limits),
        span_of(twin.text, twin.len), kind == REDIS_MAP_RAW ? span_of(NULL, 0) : bare,
        span_str(redis_link_verb(link))};
    return call(
        link, REDIS_SCRIPT_PUBLISH, keys, append->once.len ? 3 : 2, args, COUNT_OF(args), id);
}

int redis_link_read(struct redis_link *link, struct span channel, bool begin, uint64_t after,
    uint32_t count, uint32_t bytes, uint64_t id)
{
    struct redis_key keys[3];
    char numbers[3][24] = {""};

    int r = may_call(link, 0);
    r = r ? r : keys_of(channel, span_of(NULL, 0), keys);
    if (r) {
        return r;
    }
    if (!begin) {
        snprintf(numbers[0], sizeof(numbers[0]), "%" PRIu64, after);
    }
    snprintf(numbers[1], sizeof(numbers[1]), "%" PRIu32,
        count < REDIS_PAGE_EVENTS ? count : REDIS_PAGE_EVENTS);
    snprintf(numbers[2], sizeof(numbers[2]), "%" PRIu32, bytes);
    const struct span args[] = {span_str(numbers[0]), span_str(numbers[1]), span_str(numbers[2])};
    return call(link, REDIS_SCRIPT_READ, keys, 2, args, COUNT_OF(args), id);
}

void redis_link_renew(struct redis_link *link, struct span channel, struct redis_cursor last)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    struct redis_key keys[3];
    char epoch[16], offset[24];
    size_t at = sizeof(epoch);

    for (uint64_t left = last.epoch; left; left /= 36) {
        epoch[--at] = digits[left % 36];
    }
    snprintf(offset, sizeof(offset), "%" PRIu64, last.offset);
    const struct span args[] = {span_of(epoch + at, sizeof(epoch) - at), span_str(offset)};
    int r = may_call(link, 0);
    r = r ? r : keys_of(channel, span_of(NULL, 0), keys);
    r = r ? r : call(link, REDIS_SCRIPT_RENEW, keys, 2, args, COUNT_OF(args), 0);
    link->stats.history.renewals += r == 0;
    if (r) {
        LOG(LOG_WARN, "redis.renew_failed", LOG_I("error", r));
    }
}

/* ---- answers ---- */

static void tell_appended(struct redis_link *link, uint64_t id, int err, struct redis_cursor cursor,
    bool duplicate, const char *why)
{
    struct redis_history_stats *stats = &link->stats.history;

    *(err == 0 ? &link->stats.published : &link->stats.publish_failed) += 1;
    *(err ? &stats->append_failed : duplicate ? &stats->duplicates : &stats->appended) += 1;
    if (id != 0) {
        link->events.on_appended(link->events.ctx, id, err, cursor, duplicate, why);
    }
}

/* What came of a call; takes it. reply empty: err and why say it. */
static void finish(struct redis_link *link, struct redis_command *command, struct span reply,
    int err, const char *why)
{
    struct redis_cursor cursor = {0};
    bool duplicate = false;
    char text[REDIS_SENTENCE_MAX / 2];

    if (reply.len && reply.data[0] == '-') {
        redis_error_sentence(reply, text, sizeof(text));
        why = text;
        err = strstr(text, "NOPERM") || strstr(text, "ermission") ? -EACCES : -EIO;
        LOG(LOG_WARN, "redis.script_failed", LOG_S("why", why));
        reply.len = 0;
    }
    if (command->script == REDIS_SCRIPT_PUBLISH) {
        if (reply.len && redis_history_answer(reply, &cursor, &duplicate) != 0) {
            err = -EPROTO;
            why = "Redis answers a publication with something strange";
        }
        tell_appended(link, command->id, err, cursor, duplicate, why);
    } else if (command->script == REDIS_SCRIPT_READ) {
        struct redis_page page;
        if (reply.len && redis_history_page(reply, &page) != 0) {
            err = -EPROTO;
            why = "Redis answers with something that is no page of history";
        }
        struct redis_history_stats *stats = &link->stats.history;
        *(err ? &stats->read_failed : &stats->pages) += 1;
        stats->page_events += err ? 0 : page.count;
        link->events.on_page(link->events.ctx, command->id, err, &page, why);
    }
    mem_free(command);
}

static bool load_again(struct redis_link *link)
{
    struct redis_command *command;

    link->reloading = false;
    link->stats.history.reloads += 1;
    if (load_all(link) != 0) {
        redis_link_fail(link, "no memory to load the scripts");
        return false;
    }
    while ((command = take_held(link))) {
        if (send(link, command) != 0) {
            finish(link, command, span_of(NULL, 0), -ENOMEM, "no memory");
        }
    }
    return true;
}

static bool call_answered(struct redis_link *link, struct redis_command *command, struct span reply)
{
    link->calls -= 1;
    if (reply.len > 9 && memcmp(reply.data, "-NOSCRIPT", 9) == 0 && !command->again) {
        command->again = true;
        link->reloading = true;
        hold(link, command);
    } else {
        finish(link, command, reply, 0, "");
    }
    return !link->reloading || link->calls || load_again(link);
}

bool redis_link_script_answered(
    struct redis_link *link, const struct redis_asked *asked, struct span reply)
{
    bool refused = reply.data[0] == '-';

    if (asked->kind == REDIS_ASKED_CALL) {
        return call_answered(link, asked->command, reply);
    }
    if (refused && asked->kind == REDIS_ASKED_EXTRA) {
        char why[REDIS_SENTENCE_MAX / 2];
        redis_error_sentence(reply, why, sizeof(why));
        LOG(LOG_INFO, "redis.no_function", LOG_S("why", why));
        return true;
    }
    return !refused || setup_refused(link, reply);
}

void redis_link_fail_call(struct redis_link *link, const struct redis_asked *asked, const char *why)
{
    link->calls -= 1;
    finish(link, asked->command, span_of(NULL, 0), -ECONNRESET, why);
}

void redis_link_fail_held(struct redis_link *link, const char *why)
{
    struct redis_command *command;

    link->reloading = false;
    while ((command = take_held(link))) {
        finish(link, command, span_of(NULL, 0), -ECONNRESET, why);
    }
}

void redis_link_free_calls(struct redis_link *link)
{
    struct redis_asked asked;
    struct redis_command *command;

    while (redis_pending_pop(&link->pending, &asked)) {
        mem_free(asked.command);
    }
    while ((command = take_held(link))) {
        mem_free(command);
    }
}
