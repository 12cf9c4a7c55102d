/* A look at the file before LMDB maps it: LMDB believes what a file says of itself, and a page that
 * is not there would end the process. */
#ifndef STORE_DB_FILE_H
#define STORE_DB_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

enum { DB_FILE_WHY_MAX = 256, DB_FILE_HEAD_LEN = 16 + 136 };

struct db_file {
    uint64_t bytes;
    uint32_t page_bytes; /* 0: the file is empty or not there. */
};

/* Returns 0, -EBADMSG with half a sentence in why ("is cut off: …"), or the system's error. */
MUST_USE int db_file_look(const char *path, struct db_file *ret_file, char why[DB_FILE_WHY_MAX]);

/* What one of the file's two heads says; -EBADMSG when LMDB should not be shown this. */
struct db_file_head {
    uint32_t page_bytes;
    uint64_t last_page;
    uint64_t txn;
    bool foreign; /* Nothing of it looks like LMDB's. */
};

MUST_USE int db_file_decode(struct span in, struct db_file_head *ret_head);

#endif
