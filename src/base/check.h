/* CHECK: a statement about our own code that must hold, in every build.
 *
 * A failed CHECK is our bug: it prints the place and stops the process. Nothing a peer sends may
 * ever decide one; for peers there are return codes.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include "base/attr.h"

/* Prints the failed condition with its place to stderr and aborts. */
void check_failed(const char *cond, const char *file, int line) __attribute__((noreturn, cold));

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (UNLIKELY(!(cond))) {                                                                   \
            check_failed(#cond, __FILE__, __LINE__);                                               \
        }                                                                                          \
    } while (0)

#endif
