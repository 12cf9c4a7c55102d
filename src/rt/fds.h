/* Descriptors: how many there may be, a spare one for the day they run out, and tables per thread.
 */
#ifndef RT_FDS_H
#define RT_FDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

/* Raises the soft limit to the hard one; returns the limit in force. */
uint32_t fds_raise_limit(void);

/* From now on this thread has a descriptor table of its own (unshare(CLONE_FILES)): descriptors
 * opened before stay valid under the same numbers; every one above 2 that is not in keep[] is
 * closed in this table only. Returns 0 or negative errno. */
MUST_USE int fds_own_table(const int *keep, uint32_t keep_count);

/* A descriptor held back so that, at the limit, one more connection can be accepted, answered and
 * closed instead of leaving the listener ready for ever. */
struct fds_spare {
    int fd; /* -1: given away. */
};
void fds_spare_hold(struct fds_spare *spare);
void fds_spare_release(struct fds_spare *spare);

#endif
