#include "role/listing_query.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "role/listing.h"
#include "tests/support/unit.h"

static char why[120];

static int read_text(struct listing_query *query, const char *text)
{
    const struct http_request request = {.query = span_str(text)};
    const struct http_exchange x = {.request = &request};

    why[0] = 0;
    return listing_query_read(query, &x, why, sizeof(why));
}

static void no_parameters_mean_the_first_hundred_by_id(void **state)
{
    (void)state;
    struct listing_query query;

    assert_int_equal(read_text(&query, ""), 0);
    assert_int_equal(query.sort, LISTING_BY_ID);
    assert_int_equal(query.limit, LISTING_ROWS_DEFAULT);
    assert_false(query.has_after);
    assert_int_equal(query.user.len + query.channel.len + query.address.len, 0);
    assert_int_equal(read_text(&query, "user=&after=&limit=&x=1"), 0);
    assert_int_equal(query.limit, LISTING_ROWS_DEFAULT);
    assert_false(query.has_after);
}

static void filters_are_decoded(void **state)
{
    (void)state;
    struct listing_query query;

    assert_int_equal(read_text(&query, "user=bob%40x+y&channel=room%3Aa&address=%5B::1%5D"), 0);
    assert_memory_equal(query.user.data, "bob@x y", query.user.len);
    assert_memory_equal(query.channel.data, "room:a", query.channel.len);
    assert_memory_equal(query.address.data, "[::1]", query.address.len);
    assert_false(query.nobody);
}

static void a_filter_longer_than_any_name_meets_nobody(void **state)
{
    (void)state;
    struct listing_query query;
    char text[8 + NAME_MAX_BYTES + 2] = "channel=";

    memset(text + 8, 'x', NAME_MAX_BYTES + 1);
    assert_int_equal(read_text(&query, text), 0);
    assert_true(query.nobody);
}

static void a_bad_parameter_is_named(void **state)
{
    (void)state;
    struct listing_query query;
    static const char *const bad[] = {"limit=0", "limit=1001", "limit=x", "limit=-1", "limit=00001",
        "sort=name", "after=x", "after=0x1", "after=FF", "after=11112222333344445", "after=007",
        "sort=age&after=12", "sort=age&after=-1", "sort=queued&after=1-", "user=%"};

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const char *last = strrchr(bad[i], '&');
        const char *name = last ? last + 1 : bad[i];
        assert_int_equal(read_text(&query, bad[i]), -EINVAL);
        assert_memory_equal(why, name, (size_t)(strchr(name, '=') - name));
    }
}

/* What a page says of where it ended is where the next one begins. */
static void a_token_comes_back_as_its_place(void **state)
{
    (void)state;
    static const char *const sorts[] = {"id", "queued", "dropped", "age"};
    const struct listing_place place = {.rank = UINT64_MAX - 5, .id = 0x2a00000100000003};

    for (uint8_t sort = 0; sort < 4; sort++) {
        struct listing_query query;
        char token[LISTING_TOKEN_MAX], text[80];
        listing_token(sort, place, token);
        snprintf(text, sizeof(text), "after=%s&sort=%s", token, sorts[sort]);
        assert_int_equal(read_text(&query, text), 0);
        assert_true(query.has_after);
        assert_int_equal(query.sort, sort);
        assert_int_equal(query.after.id, place.id);
        assert_int_equal(query.after.rank, sort == LISTING_BY_ID ? 0 : place.rank);
    }
}

static void places_are_ordered_by_rank_and_then_by_id(void **state)
{
    (void)state;

    assert_true(listing_before((struct listing_place){1, 9}, (struct listing_place){2, 1}));
    assert_true(listing_before((struct listing_place){1, 1}, (struct listing_place){1, 2}));
    assert_false(listing_before((struct listing_place){1, 1}, (struct listing_place){1, 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_parameters_mean_the_first_hundred_by_id),
        cmocka_unit_test(filters_are_decoded),
        cmocka_unit_test(a_filter_longer_than_any_name_meets_nobody),
        cmocka_unit_test(a_bad_parameter_is_named),
        cmocka_unit_test(a_token_comes_back_as_its_place),
        cmocka_unit_test(places_are_ordered_by_rank_and_then_by_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
