#include "role/client_history.h"

#include "link/redis_history.h"
#include "link/redis_resp.h"

int client_history_load(struct bytes *out)
{
    const struct span words[] = {
        span_str("SCRIPT"), span_str("LOAD"), span_str(redis_script_text(REDIS_SCRIPT_PUBLISH))};

    return resp_command(out, words, COUNT_OF(words));
}

int client_history_append(struct bytes *out, const struct client_append *append)
{
    struct redis_key keys[3];
    char sha[41], digits[REDIS_ONCE_DIGITS + 1] = "";
    const struct span none = span_of(NULL, 0);
    struct span words[12] = {span_str("EVALSHA"), redis_script_sha(REDIS_SCRIPT_PUBLISH, sha),
        append->once.len ? span_str("3") : span_str("2")};
    size_t count = 3;

    if (append->once.len) {
        (void)redis_once_digits(append->once, digits);
    }
    int r = redis_history_key(REDIS_KEY_STREAM, append->channel, none, &keys[0]);
    r = r ? r : redis_history_key(REDIS_KEY_META, append->channel, none, &keys[1]);
    r = r ? r : redis_history_key(REDIS_KEY_ONCE, append->channel, span_str(digits), &keys[2]);
    if (r) {
        return r;
    }
    for (size_t i = 0; i < (append->once.len ? 3 : 2); i++) {
        words[count++] = span_of(keys[i].text, keys[i].len);
    }
    /* What is kept of the channel is what a gateway said last. */
    const struct span args[] = {append->channel, append->payload, none, append->twin, append->bare,
        append->sharded ? span_str("SPUBLISH") : span_str("PUBLISH")};
    for (size_t i = 0; i < COUNT_OF(args); i++) {
        words[count++] = args[i];
    }
    return resp_command(out, words, count);
}

int client_history_answer(struct span answer, struct span *ret_cursor, bool *ret_duplicate)
{
    struct redis_cursor cursor;

    *ret_cursor = answer;
    return redis_history_outcome(ret_cursor, &cursor, ret_duplicate);
}
