#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "fanout: bug: %s:%d: \"%s\" does not hold\n", file, line, cond);
    abort();
}
