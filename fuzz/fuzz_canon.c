/* Canonical JSON: what was written reads back, is written the same again, and has no byte that the
 * value does not need; and a sentence about what is no JSON can itself go into JSON. */
#include <errno.h>
#include <jansson.h>

#include "base/json.h"
#include "flow/canon.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[120], ref[FLOW_REF_LEN + 1], again_ref[FLOW_REF_LEN + 1];
    struct bytes text = {0}, again = {0};
    json_t *value = json_read(span_of(data, size), why, sizeof why);

    if (!value) {
        CHECK(errno == EBADMSG);
        json_t *sentence = json_string(why);
        CHECK(sentence && why[0]);
        json_decref(sentence);
        return 0;
    }
    CHECK(canon_blob(value, &text, ref) == 0);
    CHECK(json_valid(text.data, text.len));
    json_t *back = json_read(span_of(text.data, text.len), why, sizeof why);
    CHECK(back);
    CHECK(canon_blob(back, &again, again_ref) == 0);
    fuzz_check_same(&text, &again);
    CHECK(strcmp(ref, again_ref) == 0);
    CHECK(canon_ref_parse(span_str(ref), again_ref) && strcmp(ref, again_ref) == 0);
    json_decref(value);
    json_decref(back);
    bytes_fini(&text);
    bytes_fini(&again);
    return 0;
}
