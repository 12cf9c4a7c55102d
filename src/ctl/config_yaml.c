/* The file: YAML, read straight into the snapshot. Recursion follows the known sections, never the
 * file's own depth. libyaml lets a key be given twice; here it is a fault. */
#include <stdio.h>

#include "base/mem.h"
#include "base/nearest.h"
#include "ctl/config_list.h"
#include "ctl/config_reader.h"
#include "ctl/config_value.h"

enum { SECTION_MAX = 16, FIELD_MAX = 16 };

struct section_seen {
    char name[READER_KEY_MAX];
    unsigned line;
};

/* Where each thing was given first, by line; 0: not yet. */
struct seen {
    unsigned *options; /* By index in the registry. */
    unsigned namespaces[CONFIG_NAMESPACE_MAX];
    struct section_seen sections[SECTION_MAX];
    size_t section_count;
};

static struct config_place file_place(struct config_reader *r, unsigned line)
{
    return (struct config_place){CONFIG_LAYER_FILE, .text = reader_place(r, line)};
}

static void unknown_option(struct config_reader *r, unsigned line, struct span path)
{
    struct nearest best = {0};
    for (size_t i = 0; i < config_option_count; i++) {
        nearest_try(&best, path, config_options[i].key);
        const char *dot = strchr(config_options[i].key, '.');
        if (dot) {
            char section[CONFIG_NAME_MAX];
            snprintf(section, sizeof section, "%.*s", (int)(dot - config_options[i].key),
                config_options[i].key);
            nearest_try(&best, path, section);
        }
    }
    reader_fault_unknown(r, line, path, best.name);
}

static void read_mapping_item(struct config_reader *r, const char *key)
{
    struct bytes pattern = {0}, channel = {0};
    char name[READER_KEY_MAX];
    unsigned line = reader_line(r), name_line = 0;
    bool fine = true;
    while (reader_next_entry(r, name, &name_line)) {
        struct bytes *part = strcmp(name, "pattern") == 0   ? &pattern
                             : strcmp(name, "channel") == 0 ? &channel
                                                            : NULL;
        char path[2 * READER_KEY_MAX];
        snprintf(path, sizeof path, "%s.%s", key, name);
        if (!part) {
            struct nearest best = {0};
            nearest_try(&best, span_str(name), "pattern");
            nearest_try(&best, span_str(name), "channel");
            reader_fault_unknown(r, name_line, span_str(path), best.name);
        } else if (r->event.type != YAML_SCALAR_EVENT) {
            reader_fault_shape(r, path, "text");
        } else if (part->data) {
            config_fault(r->build, reader_place(r, name_line), "%s is given twice", path);
        } else {
            struct span text = reader_text(r);
            r->build->no_memory |= bytes_reserve(part, text.len + 1) < 0 ||
                                   bytes_append(part, text.data, text.len) < 0;
            continue;
        }
        if (!part) {
            reader_skip(r);
        }
        fine = false;
    }
    if (fine && !r->stopped) {
        config_build_mapping(r->build, file_place(r, line), span_of(pattern.data, pattern.len),
            span_of(channel.data, channel.len));
    }
    bytes_fini(&pattern);
    bytes_fini(&channel);
}

static void read_list(struct config_reader *r, const struct config_option *option)
{
    size_t count = 0;
    unsigned line = reader_line(r);
    while (reader_advance(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
        count += 1;
        if (r->event.type == YAML_SCALAR_EVENT) {
            config_build_set(r->build, option, file_place(r, reader_line(r)), reader_text(r));
        } else if (option->type == CONFIG_TYPE_MAPPINGS &&
                   r->event.type == YAML_MAPPING_START_EVENT) {
            read_mapping_item(r, option->key);
        } else {
            char key[CONFIG_NAME_MAX + 16];
            snprintf(key, sizeof key, "%s[%zu]", option->key, count - 1);
            reader_fault_shape(r, key, "a single value");
        }
    }
    if (count == 0 && option->type == CONFIG_TYPE_LISTENS && !r->stopped) {
        config_fault(r->build, reader_place(r, line), "%s is an empty list; expected an address",
            option->key);
    }
}

static void read_namespace_fields(struct config_reader *r, struct span name)
{
    unsigned lines[FIELD_MAX] = {0};
    char key[READER_KEY_MAX], path[2 * READER_KEY_MAX];
    unsigned line = 0;
    while (reader_next_entry(r, key, &line)) {
        const struct config_option *field = config_namespace_field_find(span_str(key));
        snprintf(path, sizeof path, "namespaces.%.*s.%s", (int)name.len, name.data, key);
        if (!field) {
            struct nearest best = {0};
            for (size_t i = 0; i < config_namespace_field_count; i++) {
                nearest_try(&best, span_str(key), config_namespace_fields[i].key);
            }
            reader_fault_unknown(r, line, span_str(path), best.name);
            reader_skip(r);
            continue;
        }
        unsigned *seen = &lines[field - config_namespace_fields];
        if (*seen) {
            reader_fault_twice(r, path, line, *seen);
            reader_skip(r);
        } else if (r->event.type != YAML_SCALAR_EVENT) {
            reader_fault_shape(r, path, "a single value");
        } else {
            config_build_namespace_set(
                r->build, name, field, file_place(r, reader_line(r)), reader_text(r));
        }
        *seen = *seen ? *seen : line;
    }
}

static void read_namespaces(struct config_reader *r, struct seen *seen)
{
    char key[READER_KEY_MAX], path[2 * READER_KEY_MAX];
    unsigned line = 0;
    while (reader_next_entry(r, key, &line)) {
        struct span name = span_str(key);
        snprintf(path, sizeof path, "namespaces.%s", key);
        if (!config_build_namespace(r->build, name, file_place(r, line))) {
            reader_skip(r);
            continue;
        }
        const struct config_namespaces *all = &r->build->config->namespaces;
        unsigned *first_line = &seen->namespaces[config_namespace_find(all, name) - all->items];
        if (*first_line) {
            reader_fault_twice(r, path, line, *first_line);
            reader_skip(r);
            continue;
        }
        *first_line = line;
        if (r->event.type == YAML_MAPPING_START_EVENT) {
            read_namespace_fields(r, name);
        } else if (!reader_is_null(r)) {
            reader_fault_shape(r, path, "a mapping of its settings");
        }
    }
}

static void read_option(
    struct config_reader *r, struct seen *seen, const struct config_option *option, unsigned line)
{
    unsigned *first_line = &seen->options[config_option_index(option)];
    if (*first_line) {
        reader_fault_twice(r, option->key, line, *first_line);
        reader_skip(r);
        return;
    }
    *first_line = line;
    bool is_list = option->type == CONFIG_TYPE_LISTENS || option->type == CONFIG_TYPE_MAPPINGS;
    if (option->type == CONFIG_TYPE_NAMESPACES) {
        if (r->event.type == YAML_MAPPING_START_EVENT) {
            read_namespaces(r, seen);
        } else if (!reader_is_null(r)) {
            reader_fault_shape(r, option->key, "a mapping of names to settings");
        }
    } else if (is_list && r->event.type == YAML_SEQUENCE_START_EVENT) {
        read_list(r, option);
    } else if (r->event.type != YAML_SCALAR_EVENT) {
        reader_fault_shape(r, option->key, is_list ? "a list" : "a single value");
    } else if (reader_is_null(r) &&
               (option->type == CONFIG_TYPE_STRING || option->type == CONFIG_TYPE_SECRET)) {
        config_build_set(r->build, option, file_place(r, line), span_of("", 0));
    } else {
        config_build_set(r->build, option, file_place(r, reader_line(r)), reader_text(r));
    }
}

/* A section that comes twice is a fault, but both are read: there may be more to say. */
static void note_section(
    struct config_reader *r, struct seen *seen, const char *name, unsigned line)
{
    for (size_t i = 0; i < seen->section_count; i++) {
        if (strcmp(seen->sections[i].name, name) == 0) {
            reader_fault_twice(r, name, line, seen->sections[i].line);
            return;
        }
    }
    if (seen->section_count < SECTION_MAX) {
        struct section_seen *section = &seen->sections[seen->section_count];
        snprintf(section->name, sizeof section->name, "%s", name);
        section->line = line;
        seen->section_count += 1;
    }
}

static void read_section(struct config_reader *r, struct seen *seen, const char *section)
{
    char key[READER_KEY_MAX], path[2 * READER_KEY_MAX];
    unsigned line = 0;
    while (reader_next_entry(r, key, &line)) {
        snprintf(path, sizeof path, "%s.%s", section, key);
        const struct config_option *option = config_option_find(span_str(path));
        if (option) {
            read_option(r, seen, option, line);
        } else {
            unknown_option(r, line, span_str(path));
            reader_skip(r);
        }
    }
}

static void read_document(struct config_reader *r, struct seen *seen)
{
    char key[READER_KEY_MAX];
    unsigned line = 0;
    while (reader_next_entry(r, key, &line)) {
        const struct config_option *option = config_option_find(span_str(key));
        if (option) {
            read_option(r, seen, option, line);
        } else if (!config_section_known(span_str(key))) {
            unknown_option(r, line, span_str(key));
            reader_skip(r);
        } else {
            note_section(r, seen, key, line);
            if (r->event.type == YAML_MAPPING_START_EVENT) {
                read_section(r, seen, key);
            } else if (!reader_is_null(r)) {
                reader_fault_shape(r, key, "a mapping of its options");
            }
        }
    }
}

static void read_stream(struct config_reader *r, struct seen *seen)
{
    size_t document_count = 0;
    while (reader_advance(r)) {
        if (r->event.type != YAML_DOCUMENT_START_EVENT) {
            continue;
        }
        document_count += 1;
        if (document_count == 2) {
            config_fault(r->build, reader_place(r, reader_line(r)),
                "a second document begins; expected one");
        }
        if (!reader_advance(r)) {
            return;
        }
        if (document_count > 1) {
            reader_skip(r);
        } else if (r->event.type == YAML_MAPPING_START_EVENT) {
            read_document(r, seen);
        } else if (!reader_is_null(r)) {
            reader_fault_shape(r, "the file", "a mapping of options");
        }
    }
}

void config_read_text(struct config_build *build, const char *name, const void *text, size_t len)
{
    struct config_reader r = {.build = build, .name = name};
    if (len > CONFIG_FILE_BYTES_MAX) {
        config_fault(build, name, "larger than 1MiB; that is no settings file");
        return;
    }
    struct seen *seen = mem_try_zalloc(sizeof *seen);
    unsigned *options = mem_try_zalloc(config_option_count * sizeof *options);
    if (!seen || !options || !yaml_parser_initialize(&r.parser)) {
        build->no_memory = true;
    } else {
        seen->options = options;
        yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&r.parser, text, len);
        read_stream(&r, seen);
        if (r.has_event) {
            yaml_event_delete(&r.event);
        }
        yaml_parser_delete(&r.parser);
    }
    mem_free(options);
    mem_free(seen);
}
