/* Samples: the workflows of examples/workflows, as the build put them into the program
 * (tools/embed_samples.py). The table ends with a NULL name and lives for ever. */
#ifndef ROLE_SAMPLES_H
#define ROLE_SAMPLES_H

#include <stddef.h>

struct sample {
    const char *name; /* The tag: the file's name without .json. */
    const char *data;
    size_t len;
};

extern const struct sample samples[];

#endif
