/* Templates: what the check passes can be filled in, unless something is missing or too large; what
 * comes out is within its bounds and can be stored. A line is the template, the next the document. */
#include <errno.h>

#include "flow/pointer.h"
#include "flow/template.h"
#include "fuzz/flow_input.h"

static const char *see_pointer(void *ctx, struct span pointer)
{
    CHECK(pointer_valid(pointer));
    *(size_t *)ctx += 1;
    return NULL;
}

static void fill(const json_t *template, const json_t *document, size_t bytes_max, bool fine)
{
    char why[TEMPLATE_WHY_MAX] = "";
    json_t *made = NULL;
    int err = template_fill(template, document, bytes_max, &made, why);

    CHECK((err == 0) == (made != NULL));
    CHECK(!fine || err != -EINVAL); /* A default that is not needed is not judged. */
    if (err) {
        CHECK(err == -ENOENT || err == -E2BIG || err == -EINVAL);
        flow_check_sentence(why, sizeof(why));
        return;
    }
    json_decref(flow_check_result(made, bytes_max));
    json_decref(made);
}

/* A string without places says what it says, four braces apart. */
static void check_plain(const json_t *string)
{
    struct span text = span_of(json_string_value(string), json_string_length(string));
    char why[TEMPLATE_WHY_MAX];
    size_t at = 0, used = 0;
    json_t *made = NULL;

    if (template_has_places(text)) {
        return;
    }
    CHECK(template_fill(string, NULL, SIZE_MAX, &made, why) == 0);
    const char *out = json_string_value(made);
    while (at < text.len) {
        bool braces = text.len - at >= 4 && memcmp(text.data + at, "{{{{", 4) == 0;
        CHECK(used < json_string_length(made) && out[used++] == (char)text.data[at]);
        if (braces) {
            CHECK(out[used++] == '{');
        }
        at += braces ? 4 : 1;
    }
    CHECK(used == json_string_length(made));
    json_decref(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of(data, size);
    struct span line = flow_line(&rest);
    json_t *template = flow_json(line), *document = flow_json(rest);
    char why[TEMPLATE_WHY_MAX] = "";
    size_t seen = 0;

    if (!template && utf8_valid(line.data, line.len)) {
        template = json_stringn(line.len ? (const char *)line.data : "", line.len);
    }
    if (template) {
        int err = template_check(template, see_pointer, &seen, why);
        CHECK(err == 0 || err == -EINVAL);
        if (err) {
            flow_check_sentence(why, sizeof(why));
        }
        fill(template, document, SIZE_MAX, err == 0);
        fill(template, document, 64, err == 0);
        if (json_is_string(template)) {
            check_plain(template);
        }
    }
    json_decref(template);
    json_decref(document);
    return 0;
}
