/* Nearest: which of the known names a wrong one was probably meant to be. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

#include "base/bytes.h"

enum { NEAREST_NAME_MAX = 64 }; /* With its end; longer ones are near nothing. */

/* Begins with all zeroes; name stays "" while nothing is near. */
struct nearest {
    char name[NEAREST_NAME_MAX];
    size_t distance;
};

/* Looks at one candidate; the first of those equally near wins. */
void nearest_try(struct nearest *best, struct span wrong, const char *candidate);

#endif
