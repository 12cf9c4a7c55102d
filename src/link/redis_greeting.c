#include "link/redis_greeting.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/redis_resp.h"

enum question { ASK_AUTH, ASK_SELECT, ASK_NAME, ASK_INFO };

static int ask(struct redis_greeting *greeting, enum question question, struct bytes *out,
    const struct span *args, size_t arg_count)
{
    greeting->asked[greeting->asked_count++] = (uint8_t)question;
    return resp_command(out, args, arg_count);
}

int redis_greeting_write(
    struct redis_greeting *greeting, const struct redis_credentials *credentials, struct bytes *out)
{
    char db[16];
    int r = 0;

    *greeting = (struct redis_greeting){0};
    if (credentials->password && credentials->password[0] != '\0') {
        struct span args[3] = {span_str("AUTH")};
        size_t count = 1;
        if (credentials->username) {
            args[count++] = span_str(credentials->username);
        }
        args[count++] = span_str(credentials->password);
        r = ask(greeting, ASK_AUTH, out, args, count);
    }
    if (r == 0 && credentials->db > 0) {
        snprintf(db, sizeof(db), "%u", credentials->db);
        const struct span args[] = {span_str("SELECT"), span_str(db)};
        r = ask(greeting, ASK_SELECT, out, args, 2);
    }
    if (r == 0) {
        const struct span args[] = {
            span_str("CLIENT"), span_str("SETNAME"), span_str(credentials->client_name)};
        r = ask(greeting, ASK_NAME, out, args, 3);
    }
    if (r == 0) {
        const struct span args[] = {span_str("INFO"), span_str("server")};
        r = ask(greeting, ASK_INFO, out, args, 2);
    }
    return r;
}

static struct span error_text(struct span reply)
{
    return span_of(reply.data + 1, reply.len - 3); /* Without '-' and the line's end. */
}

static bool begins(struct span text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.data, with, len) == 0;
}

void redis_error_sentence(struct span reply, char *ret_text, size_t cap)
{
    struct span text = error_text(reply);
    const char *quote = text.len > 0 ? memmem(text.data, text.len, ", with args", 11) : NULL;
    size_t len = quote ? (size_t)(quote - (const char *)text.data) : text.len;

    snprintf(ret_text, cap, "Redis answers: %.*s", (int)(len < 200 ? len : 200),
        (const char *)text.data);
}

/* AUTH's errors are told in our own words: they may hold the password. */
static int auth_failed(struct span text, char *ret_why, size_t cap)
{
    if (begins(text, "WRONGPASS") || begins(text, "ERR invalid password")) {
        snprintf(ret_why, cap, "Redis refuses the user name or password");
    } else if (begins(text, "ERR AUTH <password> called") || begins(text, "ERR Client sent AUTH")) {
        snprintf(ret_why, cap, "a password is configured, but Redis has none for its default user");
    } else if (begins(text, "ERR max number of clients")) {
        snprintf(ret_why, cap, "Redis has reached its maximum number of clients");
    } else {
        size_t len = 0;
        while (len < text.len && len < 24 && text.data[len] >= 'A' && text.data[len] <= 'Z') {
            len += 1;
        }
        snprintf(ret_why, cap, "Redis refuses AUTH (%.*s)", (int)len, (const char *)text.data);
    }
    return -EACCES;
}

static int answer_failed(enum question question, struct span reply, char *ret_why, size_t cap)
{
    struct span text = error_text(reply);

    if (begins(text, "DENIED")) { /* Protected mode; comes unasked. */
        snprintf(ret_why, cap, "Redis runs in protected mode and takes no connections from here");
        return -EACCES;
    }
    if (begins(text, "NOAUTH")) {
        snprintf(ret_why, cap, "Redis asks for a password, and none is configured");
        return -EACCES;
    }
    if (question == ASK_AUTH) {
        return auth_failed(text, ret_why, cap);
    }
    if (question == ASK_SELECT || begins(text, "LOADING") || begins(text, "ERR max number")) {
        redis_error_sentence(reply, ret_why, cap);
        return -EACCES;
    }
    return 0; /* A name and the version are nice to have; an access list may forbid them. */
}

static void read_version(struct redis_greeting *greeting, const char *info)
{
    unsigned major = 0, minor = 0, patch = 0;
    const char *at = strstr(info, "redis_version:");

    if (!at || sscanf(at, "redis_version:%3u.%3u.%3u", &major, &minor, &patch) < 2 || major > 999 ||
        minor > 99 || patch > 99) {
        return;
    }
    greeting->version = major * 10000 + minor * 100 + patch;
    snprintf(
        greeting->version_text, sizeof(greeting->version_text), "%u.%u.%u", major, minor, patch);
}

int redis_greeting_read(
    struct redis_greeting *greeting, struct span reply, char *ret_why, size_t cap)
{
    enum question question = (enum question)greeting->asked[greeting->answered_count];

    if (reply.data[0] == '-') {
        int r = answer_failed(question, reply, ret_why, cap);
        if (r != 0) {
            return r;
        }
    } else if (reply.data[0] != (question == ASK_INFO ? '$' : '+')) {
        snprintf(ret_why, cap, "the peer answers the greeting in a way Redis never does");
        return -EPROTO;
    } else if (question == ASK_INFO) {
        struct redisReply *info = NULL;
        int r = resp_decode(reply, &info);
        if (r != 0) {
            snprintf(ret_why, cap, "the answer to INFO cannot be read: %s", strerror(-r));
            return -EPROTO;
        }
        if (info->type == REDIS_REPLY_STRING) {
            read_version(greeting, info->str);
        }
        freeReplyObject(info);
    }
    greeting->answered_count += 1;
    return greeting->answered_count == greeting->asked_count;
}
