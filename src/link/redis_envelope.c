#include "link/redis_envelope.h"

#include <errno.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/utf8.h"

/* "enc" may be missing, empty or "text"; true in *ret_base64 for "base64". */
static int read_encoding(struct span raw, bool *ret_base64)
{
    *ret_base64 = json_string_equal(raw, span_str("base64"));
    if (*ret_base64 || !raw.data || json_string_equal(raw, span_str("text")) ||
        json_string_equal(raw, span_of("", 0))) {
        return 0;
    }
    return -EBADMSG;
}

int redis_envelope_decode(struct span envelope, struct bytes *out)
{
    const struct span keys[] = {span_str("data"), span_str("enc")};
    struct span values[2];
    bool base64;

    if (json_find_members(envelope.data, envelope.len, keys, 2, values) != 0 || !values[0].data ||
        values[0].data[0] != '"' || read_encoding(values[1], &base64) != 0) {
        return -EBADMSG;
    }
    if (!base64) {
        return json_string_decode(values[0], out);
    }
    struct bytes text = {0};
    int r = json_string_decode(values[0], &text);
    if (r == 0) {
        r = base64_decode(out, text.data, text.len);
    }
    bytes_fini(&text);
    return r;
}

static int append_data(struct bytes *out, struct span data)
{
    if (utf8_valid(data.data, data.len)) {
        return json_append_string(out, data.data, data.len);
    }
    int r = bytes_append_byte(out, '"');
    r = r ? r : base64_encode(out, data.data, data.len);
    return r ? r : bytes_append_str(out, "\",\"enc\":\"base64\"");
}

int redis_envelope_encode(struct bytes *out, struct span room, struct span from, struct span data)
{
    size_t len = out->len;

    int r = bytes_append_str(out, "{\"room\":");
    r = r ? r : json_append_string(out, room.data, room.len);
    r = r ? r : bytes_append_str(out, ",\"from\":");
    r = r ? r : json_append_string(out, from.data, from.len);
    r = r ? r : bytes_append_str(out, ",\"data\":");
    r = r ? r : append_data(out, data);
    r = r ? r : bytes_append_byte(out, '}');
    if (r != 0) {
        out->len = len;
    }
    return r;
}
