/* A disk that fails: at each write and each sync of a commit in turn. The commit is told as failed and
 * leaves nothing, and the next one succeeds.
 *
 * SQLite's own files, with a layer between that counts. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store/flow_db_rig.h"

/* What SQLite calls is given nothing of ours: hence statics. */
static sqlite3_vfs *base_vfs, counting_vfs;
/* Of the database, and of its log: they differ. */
static const sqlite3_io_methods *base_methods[2];
static sqlite3_io_methods counting_methods[2];
static int64_t writes_left, syncs_left; /* Until one fails; negative: none does. */

static const sqlite3_io_methods *base_of(const sqlite3_file *file)
{
    return base_methods[file->pMethods == &counting_methods[1]];
}

static int counting_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    if (writes_left >= 0 && writes_left-- == 0) {
        return SQLITE_IOERR_WRITE;
    }
    return base_of(file)->xWrite(file, data, len, at);
}

static int counting_sync(sqlite3_file *file, int flags)
{
    if (syncs_left >= 0 && syncs_left-- == 0) {
        return SQLITE_IOERR_FSYNC;
    }
    return base_of(file)->xSync(file, flags);
}

static int counting_open(
    sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    int code = base_vfs->xOpen(base_vfs, name, file, flags, ret_flags);
    int kind = (flags & SQLITE_OPEN_WAL) != 0;

    if (code == SQLITE_OK && file->pMethods && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))) {
        assert_true(!base_methods[kind] || base_methods[kind] == file->pMethods);
        base_methods[kind] = file->pMethods;
        counting_methods[kind] = *file->pMethods;
        counting_methods[kind].xWrite = counting_write;
        counting_methods[kind].xSync = counting_sync;
        file->pMethods = &counting_methods[kind];
    }
    return code;
}

static void count_on_disk(void)
{
    base_vfs = sqlite3_vfs_find(NULL);
    counting_vfs = *base_vfs;
    counting_vfs.pNext = NULL;
    counting_vfs.zName = "counting";
    counting_vfs.xOpen = counting_open;
    assert_int_equal(sqlite3_vfs_register(&counting_vfs, 1), SQLITE_OK);
}

static int commit(struct suite *suite, uint64_t *version, unsigned n)
{
    char header[64], token[32];

    snprintf(header, sizeof(header), "{\"run_id\":\"r1\",\"n\":%u}", n);
    snprintf(token, sizeof(token), "t%u", n);
    return suite_commit(suite, "r1", *version,
        OPS(op_header(header, 1), op_node("a", header), op_event(header),
            op_token(FLOW_CONSUME, token), op_blob(REF_A, header)),
        version);
}

static void check(struct suite *suite, uint64_t version, unsigned n)
{
    struct suite_events events;
    char header[64];

    snprintf(header, sizeof(header), "{\"run_id\":\"r1\",\"n\":%u}", n);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->err, 0);
    assert_int_equal(run->version, version);
    assert_string_equal(run->header, header);
    assert_string_equal(run->nodes[0][1], header);
    free(run);
    suite_events(suite, "r1", 0, 0, &events);
    assert_int_equal(events.total, n);
    assert_int_equal(events.count, n);
}

/* Fails each operation that *left counts, in turn. */
static void fail_each(int64_t *left)
{
    struct rig rig;
    struct suite suite;
    unsigned n = 1, failed = 0;

    rig_init(&rig, true);
    suite_open(&suite, &rig.port);
    uint64_t v = suite_r1(&suite);
    assert_int_equal(commit(&suite, &v, n), 0);
    for (int64_t at = 0; at < 1000; at++) {
        *left = at;
        int err = commit(&suite, &v, n + 1);
        bool reached = *left < 0;
        *left = -1;
        if (err) {
            assert_int_equal(err, -EIO);
            failed += 1;
            check(&suite, v, n);
            assert_int_equal(commit(&suite, &v, n + 1), 0);
        }
        n += 1;
        check(&suite, v, n);
        if (!reached) {
            break;
        }
    }
    assert_true(failed > 0);
    rig_reopen(&rig, &suite);
    check(&suite, v, n);
    rig_fini(&rig);
}

static void a_write_that_fails_leaves_nothing(void **state)
{
    (void)state;
    fail_each(&writes_left);
}

static void a_sync_that_fails_leaves_nothing(void **state)
{
    (void)state;
    fail_each(&syncs_left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_fails_leaves_nothing),
        cmocka_unit_test(a_sync_that_fails_leaves_nothing),
    };

    writes_left = syncs_left = -1;
    count_on_disk();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
