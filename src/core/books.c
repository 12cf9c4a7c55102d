#include "core/books.h"

const char *const drop_reason_names[DROP_REASONS] = {
    [DROP_SLOW] = "slow",
    [DROP_CONFLATED] = "conflated",
    [DROP_OVERLOAD] = "overload",
    [DROP_NO_VICTIM] = "no_victim",
    [DROP_CLOSED] = "closed",
    [DROP_MEMORY] = "memory",
};
