/* An embedded store of runs with a clock of the test's own and a publisher that does as it is told. */
#ifndef TESTS_UNIT_STORE_FLOW_DB_RIG_H
#define TESTS_UNIT_STORE_FLOW_DB_RIG_H

#include "store/flow_db.h"
#include "tests/support/flow_suite_rig.h"

enum { RIG_PUBLISHED_MAX = 20000 };

/* What the publisher was given and took. */
struct rig_publisher {
    struct flow_publisher port;
    char *text; /* "run_id seq body\n" for each that was taken; owned. */
    size_t len, cap;
    uint32_t calls, taken;
    int err;           /* Not 0: nothing is taken … */
    uint32_t take_max; /* … and of a publication at most so many; 0: all. */
    bool hold;         /* Answers wait for rig_publisher_answer(). */
    struct flow_publication *held[64];
    uint32_t held_count;
    uint32_t at_once_max; /* Of one run under way: must stay 1. */
};

struct rig {
    bool on_disk;
    char dir[64]; /* "" : none yet. */
    uint64_t now_ms;
    struct flow_db_options options;
    struct flow_db *db;
    char why[FLOW_DB_WHY_MAX];
    struct rig_publisher publisher;
    struct flow_suite_port port;
};

/* on_disk: in a new directory. The options are the suite's; nothing is open. */
void rig_init(struct rig *rig, bool on_disk);
void rig_fini(struct rig *rig); /* Closes, and removes the directory. */

/* The publisher is used from the next opening on. */
void rig_publish(struct rig *rig);
void rig_publisher_answer(struct rig *rig);

/* Opens what is there, heard by the suite; closing is suite_close(). For rig.port.open(), too. */
int rig_try_open(struct rig *rig, const struct flow_events_in *in);
/* Opens again what suite had open. */
void rig_reopen(struct rig *rig, struct suite *suite);

#endif
