/* Addresses to listen on. */
#include "ctl/config_list.h"

#include <errno.h>
#include <sys/un.h>

#include "base/mem.h"
#include "ctl/config_value.h"

bool config_split(struct span *text, char separator, struct span *ret_part)
{
    if (!text->data) {
        return false;
    }
    const uint8_t *end = text->len ? memchr(text->data, separator, text->len) : NULL;
    struct span part = *text;
    if (end) {
        part.len = (size_t)(end - text->data);
        *text = span_of(end + 1, text->len - part.len - 1);
    } else {
        *text = span_of(NULL, 0);
    }
    while (part.len > 0 && part.data[0] == ' ') {
        part = span_of(part.data + 1, part.len - 1);
    }
    while (part.len > 0 && part.data[part.len - 1] == ' ') {
        part.len -= 1;
    }
    *ret_part = part;
    return true;
}

static void listen_fini(struct config_listen *listen)
{
    mem_free(listen->unix_path);
    mem_free(listen->host);
}

static int listen_parse(struct span text, struct config_listen *ret_listen)
{
    struct config_listen listen = {0};
    struct span host = {0};
    if (text.len > 5 && memcmp(text.data, "unix:", 5) == 0) {
        struct span path = span_of(text.data + 5, text.len - 5);
        if (path.len >= sizeof((struct sockaddr_un *)0)->sun_path ||
            memchr(path.data, '\0', path.len)) {
            return -EINVAL;
        }
        listen.unix_path = config_copy_text(path);
        if (!listen.unix_path) {
            return -ENOMEM;
        }
    } else if (config_parse_host_port(text, &host, &listen.port) < 0) {
        return -EINVAL;
    } else if (host.len > 0) {
        listen.host = config_copy_text(host);
        if (!listen.host) {
            return -ENOMEM;
        }
    }
    *ret_listen = listen;
    return 0;
}

static int listens_add(struct config_listens *listens, struct span text)
{
    struct config_listen listen;
    if (listens->count >= CONFIG_LISTEN_MAX) {
        return -EINVAL;
    }
    int err = listen_parse(text, &listen);
    if (err < 0) {
        return err;
    }
    struct config_listen *items =
        mem_try_realloc(listens->items, (listens->count + 1) * sizeof *items);
    if (!items) {
        listen_fini(&listen);
        return -ENOMEM;
    }
    items[listens->count] = listen;
    listens->items = items;
    listens->count += 1;
    return 0;
}

static void listens_cut(struct config_listens *listens, uint32_t count)
{
    while (listens->count > count) {
        listens->count -= 1;
        listen_fini(&listens->items[listens->count]);
    }
}

int config_listens_parse(struct span text, struct config_listens *listens)
{
    uint32_t count = listens->count;
    struct span part;
    int err = text.len > 0 ? 0 : -EINVAL;
    while (err == 0 && config_split(&text, ',', &part)) {
        err = listens_add(listens, part);
    }
    if (err < 0) {
        listens_cut(listens, count);
    }
    return err;
}

int config_listen_format(const struct config_listen *listen, struct bytes *out)
{
    if (listen->unix_path) {
        return bytes_appendf(out, "unix:%s", listen->unix_path);
    }
    const char *host = listen->host ? listen->host : "";
    bool v6 = strchr(host, ':') != NULL;
    return bytes_appendf(out, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", listen->port);
}

int config_listens_format(const struct config_listens *listens, struct bytes *out)
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < listens->count; i++) {
        err = i > 0 ? bytes_append_str(out, ", ") : 0;
        err = err == 0 ? config_listen_format(&listens->items[i], out) : err;
    }
    return err;
}

int config_listens_copy(const struct config_listens *from, struct config_listens *to)
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < from->count; i++) {
        struct bytes text = {0};
        err = config_listen_format(&from->items[i], &text);
        err = err == 0 ? listens_add(to, span_of(text.data, text.len)) : err;
        bytes_fini(&text);
    }
    return err;
}

void config_listens_fini(struct config_listens *listens)
{
    listens_cut(listens, 0);
    mem_free(listens->items);
    listens->items = NULL;
}
