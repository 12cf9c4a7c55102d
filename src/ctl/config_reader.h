/* Reader: a walk over libyaml's events that understands only what a settings file needs.
 *
 * Mappings, lists and scalars. Anchors and aliases are refused (a small file could unfold into a
 * large one), and so are tags and deep nesting, which libyaml takes a time for that grows with the
 * square of the depth. Reading goes on after a fault, so that one run reports them all;
 * only broken YAML itself ends it. Nothing recurses with the depth of the file. Internal to config.
 */
#ifndef CTL_CONFIG_READER_H
#define CTL_CONFIG_READER_H

#include <yaml.h>

#include "ctl/config_build.h"

enum { READER_KEY_MAX = 160, READER_PLACE_MAX = 512, READER_DEPTH_MAX = 16 };

struct config_reader {
    struct config_build *build;
    const char *name; /* What messages call the file. */
    yaml_parser_t parser;
    yaml_event_t event; /* The one at hand, when has_event. */
    bool has_event;
    unsigned depth;
    bool stopped; /* Broken YAML, no memory, or the end: nothing more comes. */
    char place[READER_PLACE_MAX];
};

/* "fanout.yaml:12", until the next call. */
const char *reader_place(struct config_reader *r, unsigned line);

/* Line of the event at hand, from 1. */
unsigned reader_line(const struct config_reader *r);

/* Moves to the next event; false when there are no more. */
bool reader_advance(struct config_reader *r);

/* Passes over the value at hand, however deep, up to its last event. */
void reader_skip(struct config_reader *r);

/* Walks a mapping: moves to the next key, copies it and moves on to its value. False at the end,
 * or when nothing more comes. A key that is no scalar is a fault and is passed over. */
bool reader_next_entry(struct config_reader *r, char key[READER_KEY_MAX], unsigned *ret_line);

/* The scalar at hand; good until the next event. */
struct span reader_text(const struct config_reader *r);

/* `key:` with nothing behind it, or null. */
bool reader_is_null(const struct config_reader *r);

/* "key is a list; expected ...", then past the value. */
void reader_fault_shape(struct config_reader *r, const char *key, const char *expected);
void reader_fault_twice(
    struct config_reader *r, const char *key, unsigned line, unsigned first_line);

/* nearest: "" without one. */
void reader_fault_unknown(
    struct config_reader *r, unsigned line, struct span path, const char *nearest);

#endif
