/* LMDB's data format 1 begins with two pages, each a page head (16 bytes) and a meta: magic, version,
 * address, map size, two tables (48 bytes each: pad, flags, depth, branch, leaf and overflow pages,
 * entries, root), last page, transaction. They are in the machine's own byte order. */
#include "store/db_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_HEAD_LEN = 16,
    PAGE_META = 0x08,
    TABLE_LEN = 48,
    TABLES_AT = PAGE_HEAD_LEN + 4 + 4 + 8 + 8,
    ROOT_AT = 40,
    LAST_PAGE_AT = TABLES_AT + 2 * TABLE_LEN,
    PAGE_BYTES_MIN = 256,
    PAGE_BYTES_MAX = 32768,
    DEPTH_MAX = 32, /* LMDB's own bound. */
};

static const uint32_t lmdb_magic = 0xBEEFC0DE;

static uint64_t get(struct span in, size_t at, size_t len)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;

    switch (len) {
    case 2:
        memcpy(&two, in.data + at, 2);
        return two;
    case 4:
        memcpy(&four, in.data + at, 4);
        return four;
    default:
        memcpy(&eight, in.data + at, 8);
        return eight;
    }
}

static bool is_table(struct span in, size_t at, uint64_t last_page)
{
    uint64_t root = get(in, at + ROOT_AT, 8);

    return get(in, at + 6, 2) <= DEPTH_MAX && (root == UINT64_MAX || root <= last_page);
}

int db_file_decode(struct span in, struct db_file_head *ret_head)
{
    struct db_file_head head = {.foreign = true};

    if (in.len < DB_FILE_HEAD_LEN || get(in, PAGE_HEAD_LEN, 4) != lmdb_magic) {
        *ret_head = head;
        return -EBADMSG;
    }
    head.foreign = false;
    head.page_bytes = (uint32_t)get(in, TABLES_AT, 4); /* It stands in the first table's pad. */
    head.last_page = get(in, LAST_PAGE_AT, 8);
    head.txn = get(in, LAST_PAGE_AT + 8, 8);
    *ret_head = head;
    bool good = (get(in, 10, 2) & PAGE_META) && get(in, PAGE_HEAD_LEN + 4, 4) == 1 &&
                head.page_bytes >= PAGE_BYTES_MIN && head.page_bytes <= PAGE_BYTES_MAX &&
                (head.page_bytes & (head.page_bytes - 1)) == 0 && head.last_page >= 1 &&
                head.last_page < UINT64_MAX / PAGE_BYTES_MAX &&
                is_table(in, TABLES_AT, head.last_page) &&
                is_table(in, TABLES_AT + TABLE_LEN, head.last_page);
    return good ? 0 : -EBADMSG;
}

static int read_head(int fd, uint64_t at, struct db_file_head *ret_head)
{
    uint8_t raw[DB_FILE_HEAD_LEN];

    ssize_t got = pread(fd, raw, sizeof(raw), (off_t)at);
    if (got < 0) {
        return -errno;
    }
    return db_file_decode(span_of(raw, (size_t)got), ret_head);
}

static int look(int fd, struct db_file *file, char why[DB_FILE_WHY_MAX])
{
    struct db_file_head heads[2] = {0};

    int r = read_head(fd, 0, &heads[0]);
    if (r == 0) {
        r = read_head(fd, heads[0].page_bytes, &heads[1]);
    }
    if (r == -EBADMSG) {
        const char *what = heads[0].foreign ? "is not a history of fanout"
                                            : "is damaged: its first pages make no sense";
        snprintf(why, DB_FILE_WHY_MAX, "%s", what);
    }
    if (r < 0) {
        return r;
    }
    const struct db_file_head *newest = &heads[heads[1].txn > heads[0].txn];
    uint64_t expected = (newest->last_page + 1) * newest->page_bytes;
    if (heads[0].page_bytes != heads[1].page_bytes) {
        snprintf(why, DB_FILE_WHY_MAX, "is damaged: its first pages contradict each other");
        return -EBADMSG;
    }
    if (file->bytes < expected) {
        snprintf(why, DB_FILE_WHY_MAX, "is cut off: it is %llu bytes long and should be %llu",
            (unsigned long long)file->bytes, (unsigned long long)expected);
        return -EBADMSG;
    }
    file->page_bytes = newest->page_bytes;
    return 0;
}

int db_file_look(const char *path, struct db_file *ret_file, char why[DB_FILE_WHY_MAX])
{
    struct db_file file = {0};
    struct stat st;

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *ret_file = file;
        return errno == ENOENT ? 0 : -errno;
    }
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0) {
        file.bytes = (uint64_t)st.st_size;
        r = file.bytes ? look(fd, &file, why) : 0;
    }
    close(fd);
    *ret_file = file;
    return r;
}
