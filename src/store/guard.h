/* Guard: a bad disk is an error, not the end of the process.
 *
 * The file is mapped, so a sector that cannot be read (or a damaged page that points nowhere) is a
 * signal on the thread that touched it. Within guard_run() it becomes a return value.
 */
#ifndef STORE_GUARD_H
#define STORE_GUARD_H

#include "base/attr.h"

/* For the whole process; counted. Other faults stay what they were. */
MUST_USE int guard_install(void);
void guard_remove(void);

/* Runs fn and returns what it returns; -EFAULT when a fault ended it half way. What it allocated is
 * lost then, and what it held is still held. Not within itself. */
MUST_USE int guard_run(int (*fn)(void *arg), void *arg);

/* Ends the guarded call as a fault would; returns when there is none. */
void guard_fail(void);

#endif
