/* The end of a snapshot: what depends on several values is decided, what contradicts is found. */
#include "ctl/config_build.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "ctl/config_list.h"
#include "ctl/config_value.h"

enum { PASSWORD_FILE_MAX = 4096 };

static uint32_t rank(const struct config_build *build, const char *key)
{
    return config_origin_rank(build->config, key);
}

static const char *origin(const struct config_build *build, const char *key)
{
    return config_origin_text(build->config, key);
}

static uint32_t layer(uint32_t rank)
{
    return rank >> 8;
}

static void read_password_file(struct config_build *build)
{
    struct config_redis *redis = &build->config->redis;
    uint32_t file_rank = rank(build, "redis.password_file");
    if (!redis->password_file || layer(file_rank) < layer(rank(build, "redis.password"))) {
        return;
    }
    if (redis->password && layer(file_rank) == layer(rank(build, "redis.password"))) {
        config_fault(build, origin(build, "redis.password_file"),
            "redis.password_file and redis.password are both given; expected one");
        return;
    }
    struct bytes text = {0};
    int err = config_slurp(redis->password_file, PASSWORD_FILE_MAX, &text);
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r')) {
        text.len -= 1;
    }
    if (err < 0 && err != -ENOMEM) {
        config_fault(build, origin(build, "redis.password_file"), "%s cannot be read: %s",
            redis->password_file, strerror(-err));
    } else if (err == 0 && text.len > PASSWORD_FILE_MAX) {
        config_fault(build, origin(build, "redis.password_file"), "%s is larger than %d bytes",
            redis->password_file, (int)PASSWORD_FILE_MAX);
    } else if (err == 0) {
        struct config_place place = {.text = origin(build, "redis.password_file")};
        char *copy = config_copy_text(span_str(place.text));
        place.text = copy;
        if (!copy) {
            err = -ENOMEM;
        } else if (config_build_put(build, "redis.password", file_rank, place,
                       span_of(text.data, text.len)) < 0) {
            config_fault(build, copy, "%s holds control characters; expected one line of text",
                redis->password_file);
        }
        mem_free(copy);
    }
    build->no_memory |= err == -ENOMEM;
    bytes_fini(&text);
}

/* A host that was named in a stronger place than the socket means the host. */
static void choose_socket_or_host(struct config_build *build)
{
    struct config_redis *redis = &build->config->redis;
    uint32_t host_layer = layer(rank(build, "redis.host"));
    uint32_t port_layer = layer(rank(build, "redis.port"));
    uint32_t server_layer = host_layer > port_layer ? host_layer : port_layer;
    if (redis->unix_path && layer(rank(build, "redis.unix")) < server_layer) {
        mem_free(redis->unix_path);
        redis->unix_path = NULL;
    }
}

static void decide_broker(struct config_build *build)
{
    struct config *config = build->config;
    const char *named_by = NULL;
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (strncmp(option->key, "redis.", 6) == 0 && config->origins[i].rank > 0) {
            named_by = named_by ? named_by : config->origins[i].text;
        }
    }
    struct config_origin *decided =
        &config->origins[config_option_index(config_option_find(span_str("broker")))];
    if (config->broker == CONFIG_BROKER_EMBEDDED && named_by) {
        config_notice(build, decided->text,
            "broker is embedded, so what %s says of redis has no "
            "effect",
            named_by);
    }
    if (config->broker != CONFIG_BROKER_AUTO) {
        return;
    }
    config->broker = named_by ? CONFIG_BROKER_REDIS : CONFIG_BROKER_EMBEDDED;
    if (named_by) {
        mem_free(decided->text);
        decided->text = config_copy_text(span_str(named_by));
        build->no_memory |= !decided->text;
    }
}

static void check_redis(struct config_build *build)
{
    const struct config_redis *redis = &build->config->redis;
    if (redis->reconnect_min_ms > redis->reconnect_max_ms) {
        config_fault(build, origin(build, "redis.reconnect_min"),
            "redis.reconnect_min is longer than redis.reconnect_max");
    }
    if ((redis->tls_cert == NULL) != (redis->tls_key == NULL)) {
        config_fault(build, origin(build, redis->tls_cert ? "redis.tls_cert" : "redis.tls_key"),
            "redis.tls_cert and redis.tls_key belong together; expected both");
    }
    if (redis->username && !redis->password) {
        config_fault(
            build, origin(build, "redis.username"), "redis.username is given without a password");
    }
    bool tls_wanted =
        redis->tls_ca || redis->tls_cert || redis->tls_server_name || redis->tls_insecure;
    if (tls_wanted && !redis->tls) {
        const char *key = redis->tls_ca            ? "redis.tls_ca"
                          : redis->tls_cert        ? "redis.tls_cert"
                          : redis->tls_server_name ? "redis.tls_server_name"
                                                   : "redis.tls_insecure";
        config_fault(build, origin(build, key), "%s is given, but redis.tls is false", key);
    }
    if (redis->tls && redis->unix_path) {
        config_fault(build, origin(build, "redis.tls"),
            "redis.tls is true, but redis.unix names a socket, which does not speak TLS");
    }
}

static void add_built_in(struct config_build *build)
{
    struct config_mappings *mappings = &build->config->redis.mappings;
    struct config_mappings all = {0};
    int err = config_mapping_add(&all, span_str("workflow:events:*"), span_str("user:{1}"));
    if (err == 0) {
        err = config_mapping_add(&all, span_str("room:*"), span_str("room:{1}"));
    }
    if (err == 0) {
        struct config_mapping *items =
            mem_try_realloc(all.items, (all.count + mappings->count) * sizeof *items);
        if (items) {
            all.items = items;
            if (mappings->count > 0) {
                memcpy(items + all.count, mappings->items, mappings->count * sizeof *items);
            }
            all.count += mappings->count;
            mem_free(mappings->items);
            *mappings = all;
            return;
        }
    }
    config_mappings_fini(&all);
    build->no_memory = true;
}

/* Redis delivers once per matching pattern, so two that match one channel deliver twice. */
static void check_mappings(struct config_build *build)
{
    const struct config_mappings *mappings = &build->config->redis.mappings;
    for (uint32_t i = 0; i < mappings->count; i++) {
        const struct config_mapping *later = &mappings->items[i];
        if (later->origin && config_patterns_overlap(later->pattern, "fanout:*")) {
            config_fault(build, later->origin,
                "redis.mappings: %s overlaps fanout:*, which fanout uses itself", later->pattern);
        }
        for (uint32_t j = 0; later->origin && j < i; j++) {
            const struct config_mapping *earlier = &mappings->items[j];
            if (config_patterns_overlap(earlier->pattern, later->pattern)) {
                config_fault(build, later->origin,
                    "redis.mappings: %s overlaps %s (%s), so an event that matches both would be "
                    "delivered twice",
                    later->pattern, earlier->pattern,
                    earlier->origin ? earlier->origin : "built in");
                break;
            }
        }
    }
}

static void check_listens(struct config_build *build)
{
    const struct config_listens *listens = &build->config->listen;
    for (uint32_t i = 0; i < listens->count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            struct bytes a = {0}, b = {0};
            if (config_listen_format(&listens->items[i], &a) < 0 ||
                config_listen_format(&listens->items[j], &b) < 0) {
                build->no_memory = true;
            } else if (listens->items[i].port != 0 || listens->items[i].unix_path) {
                if (span_equal(span_of(a.data, a.len), span_of(b.data, b.len))) {
                    config_fault(build, origin(build, "listen"), "listen names %.*s twice",
                        (int)a.len, (char *)a.data);
                }
            }
            bytes_fini(&a);
            bytes_fini(&b);
        }
    }
}

/* What these namespaces are for: events of users and of runs outlive the process. */
static const struct {
    const char *ns, *key, *text;
} built_in_fields[] = {
    {"user", "durability", "async"},
    {"user", "history_messages", "1000"},
    {"user", "history_bytes", "4MiB"},
    {"user", "history_age", "24h"},
    {"run", "durability", "async"},
    {"run", "history_messages", "100000"},
    {"run", "history_bytes", "64MiB"},
    {"run", "history_age", "168h"},
};

/* Below all that was said, also of "default". */
static void add_built_in_fields(struct config_build *build)
{
    struct config_namespaces *all = &build->config->namespaces;

    for (size_t i = 0; i < COUNT_OF(built_in_fields) && !build->no_memory; i++) {
        const struct config_option *field =
            config_namespace_field_find(span_str(built_in_fields[i].key));
        size_t index = (size_t)(field - config_namespace_fields);
        struct config_namespace *ns = NULL;
        if (config_namespace_add(all, span_str(built_in_fields[i].ns), &ns) < 0) {
            build->no_memory = true;
            return;
        }
        const struct config_namespace *model = config_namespace_find(all, span_str("default"));
        if (ns->origins[index].rank > 0 || model->origins[index].rank > 0) {
            continue;
        }
        ns->origins[index] = (struct config_origin){1, config_copy_text(span_str("built in"))};
        build->no_memory |= !ns->origins[index].text;
        build->no_memory |= config_value_parse(field, span_str(built_in_fields[i].text),
                                (char *)ns + field->field) < 0;
    }
}

/* A field nobody set is that of "default". */
static void inherit(struct config_build *build, struct config_namespace *ns)
{
    struct config_namespace *model =
        config_namespace_find(&build->config->namespaces, span_str("default"));
    for (size_t i = 0; ns != model && i < config_namespace_field_count; i++) {
        const struct config_option *field = &config_namespace_fields[i];
        if (ns->origins[i].rank > 0) {
            continue;
        }
        const char *text = model->origins[i].text;
        ns->origins[i].text = text ? config_copy_text(span_str(text)) : NULL;
        build->no_memory |= text && !ns->origins[i].text;
        build->no_memory |= config_value_copy(field, (const char *)model + field->field,
                                (char *)ns + field->field) < 0;
    }
}

static const char *field_origin(const struct config_namespace *ns, const char *key)
{
    const struct config_option *field = config_namespace_field_find(span_str(key));
    const char *text = ns->origins[field - config_namespace_fields].text;
    return text ? text : "default";
}

static void check_namespace(struct config_build *build, const struct config_namespace *ns)
{
    const struct config *config = build->config;
    if (ns->policy == CONFIG_CONFLATE && !ns->conflate_key) {
        config_fault(build, field_origin(ns, "policy"),
            "namespaces.%s.policy is conflate, which needs conflate_key, e.g. /node_id", ns->name);
    }
    if (ns->conflate_key && ns->conflate_key[0] != '/') {
        config_fault(build, field_origin(ns, "conflate_key"),
            "namespaces.%s.conflate_key is \"%.60s\"; expected a JSON pointer, e.g. /node_id",
            ns->name, ns->conflate_key);
    }
    if (ns->history == CONFIG_HISTORY_REDIS && config->broker != CONFIG_BROKER_REDIS) {
        config_fault(build, field_origin(ns, "history"),
            "namespaces.%s.history is redis, but the broker is embedded", ns->name);
    }
    if (ns->durability == CONFIG_DURABILITY_NONE &&
        ns->history_bytes > config->history_bytes_total) {
        config_fault(build, field_origin(ns, "history_bytes"),
            "namespaces.%s.history_bytes is more than history_bytes_total", ns->name);
    }
}

static void check_gateway(struct config_build *build)
{
    const char *url = build->config->gateway;

    if (url && (strncmp(url, "http://", 7) != 0 || !url[7]) &&
        (strncmp(url, "https://", 8) != 0 || !url[8])) {
        config_fault(build, origin(build, "gateway"),
            "gateway is \"%.200s\"; expected http://HOST:PORT or https://HOST:PORT", url);
    }
}

/* Names of streams in Redis are made of them. */
static void check_task_types(struct config_build *build)
{
    const char *types = build->config->flow.task_types;
    struct span rest = span_str(types ? types : ""), type;

    while (types && config_split(&rest, ',', &type)) {
        if (!config_namespace_name_valid(type)) {
            config_fault(build, origin(build, "flow.task_types"),
                "flow.task_types names \"%.*s\"; expected 1 to 64 of a-z, 0-9, _ and - each",
                (int)(type.len < 80 ? type.len : 80), (const char *)type.data);
        }
    }
}

void config_build_finish(struct config_build *build)
{
    struct config *config = build->config;
    read_password_file(build);
    choose_socket_or_host(build);
    decide_broker(build);
    check_redis(build);
    add_built_in(build);
    check_mappings(build);
    check_listens(build);
    check_gateway(build);
    check_task_types(build);
    if (config->idle_timeout_ms > 0 && config->ws.ping_interval_ms >= config->idle_timeout_ms) {
        config_fault(build, origin(build, "ws.ping_interval"),
            "ws.ping_interval is not shorter than idle_timeout, so idle clients would be cut off "
            "before they are asked");
    }
    struct config_namespaces *all = &config->namespaces;
    add_built_in_fields(build);
    for (uint32_t i = 0; i < all->count; i++) {
        inherit(build, &all->items[i]);
    }
    config_namespaces_sort(all);
    for (uint32_t i = 0; !build->no_memory && i < all->count; i++) {
        check_namespace(build, &all->items[i]);
    }
}
