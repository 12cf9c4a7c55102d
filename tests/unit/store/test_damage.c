/* Files that are not ours, are cut off, or were changed: a sentence or a true answer, never a crash and
 * never a false record. Each damaged file is opened in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/db.h"
#include "tests/unit/store/store_rig.h"

enum { CHANNELS = 6, RECORDS = 60 };

static int make_rig(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));

    rig_init(rig);
    *state = rig;
    return 0;
}

static int drop_rig(void **state)
{
    rig_fini(*state);
    mem_free(*state);
    return 0;
}

static void data_path(const struct rig *rig, char path[300])
{
    snprintf(path, 300, "%s/data.mdb", rig->dir);
}

static void write_file(const struct rig *rig, const void *data, size_t len)
{
    char path[300];

    data_path(rig, path);
    mkdir(rig->dir, 0700);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static uint8_t *read_file(const struct rig *rig, size_t *ret_len)
{
    char path[300];
    struct stat st;

    data_path(rig, path);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *data = mem_alloc((size_t)st.st_size);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return data;
}

static size_t payload_len(uint64_t n)
{
    return n % 10 == 0 ? 9000 : n % 7 == 0 ? 3000 : 200;
}

static void fill(struct rig *rig)
{
    char name[16];

    rig_open(rig);
    for (uint64_t n = 1; n <= RECORDS; n++) {
        for (int channel = 0; channel < CHANNELS; channel++) {
            snprintf(name, sizeof(name), "c:%d", channel);
            assert_int_equal(
                rig_append_many(rig, name, history_start(1) + n, 1, payload_len(n), &rig_no_limits),
                0);
        }
    }
    rig_close(rig);
}

static void expect_refused(struct rig *rig, int err, const char *finding)
{
    assert_int_equal(rig_try_open(rig), err);
    if (!strstr(rig->why, finding) || !strstr(rig->why, rig->dir)) {
        fail_msg("'%s' does not speak of '%s'", rig->why, finding);
    }
    /* What is to be done. */
    assert_non_null(strstr(rig->why, "move"));
}

static void a_foreign_file_is_refused(void **state)
{
    struct rig *rig = *state;
    char text[10000];

    memset(text, 'x', sizeof(text));
    write_file(rig, text, sizeof(text));
    expect_refused(rig, -EBADMSG, "is not a history of fanout");
    write_file(rig, text, 10);
    expect_refused(rig, -EBADMSG, "is not a history of fanout");
}

static void somebody_elses_lmdb_file_is_refused_and_left_alone(void **state)
{
    struct rig *rig = *state;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = db_val("a", 1), val = db_val("b", 1);
    size_t len, len_after;

    assert_int_equal(mkdir(rig->dir, 0700), 0);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, rig->dir, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &key, &val, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    uint8_t *before = read_file(rig, &len);
    expect_refused(rig, -EBADMSG, "not a history of fanout");
    uint8_t *after = read_file(rig, &len_after);
    assert_int_equal(len, len_after);
    assert_memory_equal(before, after, len);
    mem_free(before);
    mem_free(after);
}

static void change_row(
    struct rig *rig, const char *table, const char *row, const uint8_t *raw, size_t len)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = db_val(row, strlen(row)), val = db_val(raw, len);

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 5), 0);
    assert_int_equal(mdb_env_open(env, rig->dir, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &key, &val, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void change_meta(struct rig *rig, const uint8_t *raw, size_t len)
{
    change_row(rig, "meta", "fanout", raw, len);
}

static void a_newer_format_is_refused_with_its_number(void **state)
{
    struct rig *rig = *state;
    struct format_meta meta = {.version = 7};
    uint8_t raw[FORMAT_META_LEN];

    fill(rig);
    format_encode_meta(&meta, raw);
    change_meta(rig, raw, sizeof(raw));
    expect_refused(rig, -EPROTONOSUPPORT, "in format 7");
}

static void an_identity_that_cannot_be_read_is_refused(void **state)
{
    struct rig *rig = *state;
    struct format_meta meta = {.version = FORMAT_VERSION, .generation = 1};
    uint8_t raw[FORMAT_META_LEN];

    fill(rig);
    format_encode_meta(&meta, raw);
    raw[20] ^= 1;
    change_meta(rig, raw, sizeof(raw));
    expect_refused(rig, -EBADMSG, "is damaged");
}

/* After the last one a new identity begins, and with it a new history. */
static void used_up_generations_begin_a_new_identity(void **state)
{
    struct rig *rig = *state;
    uint8_t raw[FORMAT_META_LEN];

    fill(rig);
    uint64_t old_id = rig->identity.store_id;
    struct format_meta meta = {.version = FORMAT_VERSION,
        .generation = HISTORY_GENERATION_MAX - 1,
        .epoch_generation = 1,
        .store_id = old_id,
        .secret = {rig->identity.secret[0], rig->identity.secret[1]},
        .next_channel_id = CHANNELS + 1};
    format_encode_meta(&meta, raw);
    change_meta(rig, raw, sizeof(raw));
    rig_open(rig);
    assert_int_equal(rig->identity.store_id, old_id);
    assert_int_equal(rig->identity.generation, HISTORY_GENERATION_MAX);
    assert_true(rig_offset(rig, (1ull << 40) - 1) < 1ull << 53);
    assert_int_equal(rig_append(rig, "c:1", rig_offset(rig, 1), "x"), 0);
    rig_reopen(rig);
    assert_int_not_equal(rig->identity.store_id, old_id);
    assert_int_equal(rig->identity.generation, 1);
    struct store_read *read = rig_read(rig, "c:1", STORE_FROM_BEGIN, 0, 10);
    assert_int_equal(read->count, 0);
    assert_int_equal(read->bounds.last, 0);
    rig_read_free(read);
    assert_int_equal(rig_append(rig, "c:1", rig_offset(rig, 1), "x"), 0);
}

static void a_file_that_was_cut_off_is_refused(void **state)
{
    struct rig *rig = *state;
    size_t len;

    fill(rig);
    uint8_t *data = read_file(rig, &len);
    write_file(rig, data, len / 2);
    expect_refused(rig, -EBADMSG, "is cut off");
    write_file(rig, data, len - 4096);
    expect_refused(rig, -EBADMSG, "is cut off");
    write_file(rig, data, 5000);
    expect_refused(rig, -EBADMSG, "");
    mem_free(data);
}

/* Its records cannot be found without it: nobody is told that nothing was missed. */
static void a_channel_whose_state_cannot_be_read_begins_anew(void **state)
{
    struct rig *rig = *state;
    uint8_t raw[FORMAT_CHANNEL_LEN] = {1};

    fill(rig);
    change_row(rig, "channels", "c:1", raw, sizeof(raw));
    rig_open(rig);
    struct store_read *read = rig_read(rig, "c:1", STORE_FROM_AFTER, history_start(1), 10);
    assert_int_equal(read->letter.err, -EBADMSG);
    assert_int_equal(read->count, 0);
    rig_read_free(read);
    assert_int_equal(rig->events[STORE_DAMAGED], 1);
    assert_int_equal(rig_append(rig, "c:1", rig_offset(rig, 1), "x"), 0);
    read = rig_read(rig, "c:1", STORE_FROM_AFTER, history_start(1), 10);
    assert_int_equal(read->letter.err, 0);
    assert_int_equal(read->count, 1);
    for (uint64_t generation = 1; generation <= 2; generation++) {
        assert_false(history_continues(
            &read->bounds, (struct cursor){read->bounds.epoch, history_start(generation)}));
    }
    rig_read_free(read);
    read = rig_read(rig, "c:2", STORE_FROM_BEGIN, 0, 10); /* The others are as they were. */
    assert_int_equal(read->count, 10);
    rig_read_free(read);
}

static void a_record_that_is_missing_or_changed_is_named(void **state)
{
    struct rig *rig = *state;
    uint8_t key[FORMAT_RECORD_KEY_LEN];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = db_val(key, sizeof(key)), v;

    fill(rig);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 5), 0);
    assert_int_equal(mdb_env_open(env, rig->dir, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "records", 0, &dbi), 0);
    format_record_key(1, history_start(1) + 5, key); /* c:0 came first. */
    assert_int_equal(mdb_del(txn, dbi, &k, NULL), 0);
    format_record_key(1, history_start(1) + RECORDS, key);
    for (uint16_t part = 0; part < 3; part++) {
        uint8_t part_key[FORMAT_PART_KEY_LEN];
        format_part_key(1, history_start(1) + RECORDS, part, part_key);
        MDB_val pk = part ? db_val(part_key, sizeof(part_key)) : k;
        assert_int_equal(mdb_del(txn, dbi, &pk, NULL), 0);
    }
    format_record_key(1, history_start(1) + 9, key);
    assert_int_equal(mdb_get(txn, dbi, &k, &v), 0);
    uint8_t copy[4096];
    memcpy(copy, v.mv_data, v.mv_size);
    copy[v.mv_size - 1] ^= 1;
    v.mv_data = copy;
    assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);

    static const uint64_t damaged[] = {5, 9, RECORDS};
    uint64_t after = 0;
    uint32_t found = 0;
    rig_open(rig);
    for (size_t i = 0; i < COUNT_OF(damaged);) {
        struct store_read *read = rig_read(rig, "c:0", STORE_FROM_AFTER, after, 1000);
        if (read->letter.err == -EBADMSG) {
            assert_int_equal(read->damaged, history_start(1) + damaged[i]);
            after = read->damaged;
            i += 1;
        } else {
            assert_int_equal(read->letter.err, 0);
            assert_true(read->more);
            after = read->pubs[read->count - 1]->offset;
            found += read->count;
        }
        rig_read_free(read);
    }
    assert_int_equal(found, RECORDS - COUNT_OF(damaged));
    assert_int_equal(rig->events[STORE_DAMAGED], 1);
}

/* ---- Changed bytes ---- */

/* In a child: everything that is read must be true. Nothing is written: LMDB changes pages as they
 * stand, and the decision record says what that means. */
static void use(struct rig *rig, uint32_t *ret_records, bool *ret_reset)
{
    char name[16];

    for (int channel = 0; channel < CHANNELS; channel++) {
        uint64_t after = 0;
        bool more = true;
        snprintf(name, sizeof(name), "c:%d", channel);
        while (more) {
            struct store_read *read = rig_read(rig, name, STORE_FROM_AFTER, after, 1000);
            for (uint32_t i = 0; i < read->count; i++) {
                uint8_t expected[9000];
                const struct publication *pub = read->pubs[i];
                assert_true(pub->offset > after);
                assert_int_equal(pub->payload_len, payload_len(pub->offset - history_start(1)));
                rig_fill(expected, pub->payload_len, pub->offset);
                assert_memory_equal(publication_payload(pub).data, expected, pub->payload_len);
                after = pub->offset;
                *ret_records += 1;
            }
            more = read->more;
            if (read->letter.err == 0 && read->bounds.last == 0) { /* Its row cannot be found. */
                struct cursor cursor = {read->bounds.epoch, history_start(1) + 1};
                assert_false(history_continues(&read->bounds, cursor));
                *ret_reset = true;
            }
            if (read->letter.err == -EBADMSG && read->damaged > after) {
                after = read->damaged; /* As the header says. */
                more = true;
            }
            rig_read_free(read);
        }
        rig_read_free(rig_read(rig, name, STORE_FROM_LAST, 0, 100));
    }
}

/* Far from what sanitizers end with. */
enum { CHILD_REFUSED = 41, CHILD_DAMAGED, CHILD_FINE };

static void child(struct rig *rig)
{
    struct store_stats stats;
    uint32_t records = 0;
    bool told = false;

    alarm(60); /* A circle of pages would be one too. */
    rig_forked(rig);
    if (rig_try_open(rig) < 0) {
        _exit(strstr(rig->why, "move") ? CHILD_REFUSED : 99);
    }
    use(rig, &records, &told);
    store_stats(rig->store, &stats);
    told |= rig->events[STORE_DAMAGED] + rig->events[STORE_FAILED] > 0;
    bool all = records == CHANNELS * RECORDS;
    rig_close(rig);
    _exit(told ? CHILD_DAMAGED : all ? CHILD_FINE : 98); /* 98: records are missing in silence. */
}

static void changed_bytes_never_crash_and_never_lie(void **state)
{
    struct rig *rig = *state;
    int rounds = getenv("FANOUT_TEST_ALL") ? 3000 : 120;
    uint32_t seen[CHILD_FINE + 1] = {0};
    struct rng rng;
    size_t len;

    fill(rig);
    uint8_t *data = read_file(rig, &len);
    uint8_t *changed = mem_alloc(len);
    rng_init(&rng, 4711);
    for (int round = 0; round < rounds; round++) {
        memcpy(changed, data, len);
        size_t at = (size_t)rng_below(&rng, len);
        size_t run = 1 + (size_t)rng_below(&rng, 1ull << rng_below(&rng, 13));
        if (round % 3 == 0) { /* Where a page describes itself a byte does the most harm. */
            at = at / 4096 * 4096 + (size_t)rng_below(&rng, 64);
            run = 1;
        }
        for (size_t i = at; i < at + run && i < len; i++) {
            changed[i] = (uint8_t)rng_next(&rng);
        }
        write_file(rig, changed, len);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            child(rig);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        if (code < CHILD_REFUSED || code > CHILD_FINE) {
            fail_msg("round %d: %zu bytes at %zu: the process ended with %d", round, run, at, code);
        }
        seen[code] += 1;
    }
    assert_true(seen[CHILD_REFUSED] > 0 && seen[CHILD_DAMAGED] > 0 && seen[CHILD_FINE] > 0);
    mem_free(changed);
    mem_free(data);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_rig, drop_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_foreign_file_is_refused),
        CASE(somebody_elses_lmdb_file_is_refused_and_left_alone),
        CASE(a_newer_format_is_refused_with_its_number),
        CASE(an_identity_that_cannot_be_read_is_refused),
        CASE(used_up_generations_begin_a_new_identity),
        CASE(a_file_that_was_cut_off_is_refused),
        CASE(a_channel_whose_state_cannot_be_read_begins_anew),
        CASE(a_record_that_is_missing_or_changed_is_named),
        CASE(changed_bytes_never_crash_and_never_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
