#include "ctl/config_reader.h"

#include <stdio.h>

#include "ctl/config_value.h"

const char *reader_place(struct config_reader *r, unsigned line)
{
    snprintf(r->place, sizeof r->place, "%s:%u", r->name, line);
    return r->place;
}

unsigned reader_line(const struct config_reader *r)
{
    return (unsigned)r->event.start_mark.line + 1;
}

static void stop_at_problem(struct config_reader *r)
{
    const yaml_parser_t *parser = &r->parser;
    r->stopped = true;
    if (parser->error == YAML_MEMORY_ERROR) {
        r->build->no_memory = true;
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        config_fault(r->build, r->name, "byte %zu: %s", parser->problem_offset,
            parser->problem ? parser->problem : "not YAML");
        return;
    }
    config_fault(r->build, reader_place(r, (unsigned)parser->problem_mark.line + 1),
        "not YAML: %s%s%s", parser->context ? parser->context : "", parser->context ? ": " : "",
        parser->problem ? parser->problem : "unknown problem");
}

static const char *anchor_of(const yaml_event_t *event)
{
    const yaml_char_t *anchor =
        event->type == YAML_SCALAR_EVENT           ? event->data.scalar.anchor
        : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor
        : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.anchor
        : event->type == YAML_ALIAS_EVENT          ? event->data.alias.anchor
                                                   : NULL;
    return (const char *)anchor;
}

static const char *tag_of(const yaml_event_t *event)
{
    const yaml_char_t *tag =
        event->type == YAML_SCALAR_EVENT           ? event->data.scalar.tag
        : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.tag
        : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.tag
                                                   : NULL;
    return (const char *)tag;
}

static bool is_start(const struct config_reader *r)
{
    return r->event.type == YAML_MAPPING_START_EVENT || r->event.type == YAML_SEQUENCE_START_EVENT;
}

static bool is_end(const struct config_reader *r)
{
    return r->event.type == YAML_MAPPING_END_EVENT || r->event.type == YAML_SEQUENCE_END_EVENT;
}

bool reader_advance(struct config_reader *r)
{
    if (r->has_event) {
        yaml_event_delete(&r->event);
        r->has_event = false;
    }
    if (r->stopped || r->build->no_memory) {
        r->stopped = true;
        return false;
    }
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        stop_at_problem(r);
        return false;
    }
    r->has_event = true;
    r->depth += is_start(r);
    r->depth -= is_end(r);
    if (r->depth > READER_DEPTH_MAX) {
        config_fault(r->build, reader_place(r, reader_line(r)), "nested deeper than %d levels",
            (int)READER_DEPTH_MAX);
        r->stopped = true;
        return false;
    }
    const char *anchor = anchor_of(&r->event);
    if (anchor) {
        config_fault(r->build, reader_place(r, reader_line(r)),
            "%c%.40s: anchors and aliases are not "
            "understood; write the value out",
            r->event.type == YAML_ALIAS_EVENT ? '*' : '&', anchor);
    }
    if (tag_of(&r->event)) {
        config_fault(r->build, reader_place(r, reader_line(r)), "%.40s: tags are not understood",
            tag_of(&r->event));
    }
    if (r->event.type == YAML_STREAM_END_EVENT) {
        r->stopped = true;
    }
    return true;
}

void reader_skip(struct config_reader *r)
{
    size_t depth = 0;
    do {
        depth += is_start(r);
        depth -= is_end(r);
    } while (depth > 0 && reader_advance(r));
}

struct span reader_text(const struct config_reader *r)
{
    return span_of(r->event.data.scalar.value, r->event.data.scalar.length);
}

bool reader_is_null(const struct config_reader *r)
{
    struct span text = reader_text(r);
    return r->event.type == YAML_SCALAR_EVENT &&
           r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text.len == 0 || span_equal(text, span_str("~")) ||
               span_equal_nocase(text, span_str("null")));
}

static const char *shape_of(const struct config_reader *r)
{
    return r->event.type == YAML_MAPPING_START_EVENT    ? "a mapping"
           : r->event.type == YAML_SEQUENCE_START_EVENT ? "a list"
           : r->event.type == YAML_ALIAS_EVENT          ? "an alias"
           : reader_is_null(r)                          ? "empty"
                                                        : "a single value";
}

void reader_fault_shape(struct config_reader *r, const char *key, const char *expected)
{
    if (r->event.type != YAML_ALIAS_EVENT) { /* Said already. */
        config_fault(r->build, reader_place(r, reader_line(r)), "%s is %s; expected %s", key,
            shape_of(r), expected);
    }
    reader_skip(r);
}

void reader_fault_twice(
    struct config_reader *r, const char *key, unsigned line, unsigned first_line)
{
    config_fault(
        r->build, reader_place(r, line), "%s is given twice; first in line %u", key, first_line);
}

void reader_fault_unknown(
    struct config_reader *r, unsigned line, struct span path, const char *nearest)
{
    struct bytes quoted = {0};
    if (config_quote(path, &quoted) < 0 || bytes_append_byte(&quoted, '\0') < 0) {
        r->build->no_memory = true;
    } else if (nearest[0]) {
        config_fault(r->build, reader_place(r, line), "%s is not an option; did you mean %s?",
            (char *)quoted.data, nearest);
    } else {
        config_fault(r->build, reader_place(r, line), "%s is not an option", (char *)quoted.data);
    }
    bytes_fini(&quoted);
}

bool reader_next_entry(struct config_reader *r, char key[READER_KEY_MAX], unsigned *ret_line)
{
    while (reader_advance(r) && r->event.type != YAML_MAPPING_END_EVENT) {
        *ret_line = reader_line(r);
        bool fine = r->event.type == YAML_SCALAR_EVENT;
        if (fine) {
            struct span text = reader_text(r);
            fine = text.len < READER_KEY_MAX && !memchr(text.data, '\0', text.len);
            if (fine) {
                memcpy(key, text.data, text.len);
                key[text.len] = '\0';
            }
        }
        if (!fine) {
            if (r->event.type != YAML_ALIAS_EVENT) {
                config_fault(r->build, reader_place(r, *ret_line), "a key is not a name");
            }
            reader_skip(r);
        }
        if (!reader_advance(r)) {
            return false;
        }
        if (fine) {
            return true;
        }
        reader_skip(r);
    }
    return false;
}
