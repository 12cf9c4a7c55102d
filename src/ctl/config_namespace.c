/* Namespaces: the list while it is built, and the look-up afterwards. */
#include "ctl/config_list.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "ctl/config_table.h"
#include "ctl/config_value.h"

bool config_namespace_name_valid(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!fine) {
            return false;
        }
    }
    return name.len >= 1 && name.len <= 64;
}

struct config_namespace *config_namespace_find(
    const struct config_namespaces *namespaces, struct span name)
{
    for (uint32_t i = 0; i < namespaces->count; i++) {
        if (span_equal(span_str(namespaces->items[i].name), name)) {
            return &namespaces->items[i];
        }
    }
    return NULL;
}

static void namespace_fini(struct config_namespace *ns)
{
    for (size_t i = 0; i < config_namespace_field_count; i++) {
        const struct config_option *field = &config_namespace_fields[i];
        config_value_fini(field, (char *)ns + field->field);
        if (ns->origins) {
            mem_free(ns->origins[i].text);
        }
    }
    mem_free(ns->origins);
    mem_free(ns->name);
}

int config_namespace_add(
    struct config_namespaces *namespaces, struct span name, struct config_namespace **ret_namespace)
{
    struct config_namespace *known = config_namespace_find(namespaces, name);
    if (known) {
        *ret_namespace = known;
        return 0;
    }
    if (namespaces->count >= CONFIG_NAMESPACE_MAX) {
        return -EINVAL;
    }
    struct config_namespace *items =
        mem_try_realloc(namespaces->items, (namespaces->count + 1) * sizeof *items);
    if (!items) {
        return -ENOMEM;
    }
    namespaces->items = items;
    struct config_namespace *ns = &items[namespaces->count];
    *ns = (struct config_namespace){0};
    ns->name = config_copy_text(name);
    ns->origins = mem_try_zalloc(config_namespace_field_count * sizeof *ns->origins);
    if (!ns->name || !ns->origins) {
        namespace_fini(ns);
        return -ENOMEM;
    }
    namespaces->count += 1;
    *ret_namespace = ns;
    return 0;
}

void config_namespaces_fini(struct config_namespaces *namespaces)
{
    for (uint32_t i = 0; i < namespaces->count; i++) {
        namespace_fini(&namespaces->items[i]);
    }
    mem_free(namespaces->items);
    *namespaces = (struct config_namespaces){0};
}

/* By name as bytes, so the order does not depend on a locale. */
static int compare(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.data, b.data, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_items(const void *a, const void *b)
{
    const struct config_namespace *left = a, *right = b;
    return compare(span_str(left->name), span_str(right->name));
}

void config_namespaces_sort(struct config_namespaces *namespaces)
{
    qsort(namespaces->items, namespaces->count, sizeof *namespaces->items, compare_items);
}

const struct config_namespace *config_namespace(
    const struct config *config, const char *name, size_t len)
{
    const struct config_namespaces *all = &config->namespaces;
    struct span wanted = span_of(name, len);
    uint32_t low = 0, high = all->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(wanted, span_str(all->items[middle].name));
        if (order == 0) {
            return &all->items[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    CHECK(len != 7 || memcmp(name, "default", 7) != 0);
    return config_namespace(config, "default", 7);
}
