/* The negotiating half of proto/ws_deflate.h. */
#include "proto/ws_deflate.h"

#include "proto/http1_head.h"

/* One element of Sec-WebSocket-Extensions, told apart (RFC 7692, 7.1). */
struct offer {
    bool legal; /* permessage-deflate with known parameters, each once, with legal values. */
    bool server_no_takeover;
    bool client_no_takeover;
    bool server_bits_given;
    bool client_bits_given;
    uint8_t server_bits; /* 8 to 15; 0 without. */
    uint8_t client_bits; /* 8 to 15; 0 without a value. */
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Cuts *rest behind the first ';' and gives what came before, without white space around it. */
static struct span next_part(struct span *rest)
{
    size_t len = 0;

    while (len < rest->len && rest->data[len] != ';') {
        len++;
    }
    struct span part = span_of(rest->data, len);
    size_t used = len < rest->len ? len + 1 : len;
    *rest = span_of(rest->data + used, rest->len - used);
    while (part.len > 0 && is_blank(part.data[part.len - 1])) {
        part.len--;
    }
    while (part.len > 0 && is_blank(part.data[0])) {
        part = span_of(part.data + 1, part.len - 1);
    }
    return part;
}

/* 8 to 15, without leading zeros (7.1.2.1); quotes around it change nothing. 0: no such number. */
static uint8_t window_bits_of(struct span value)
{
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"') {
        value = span_of(value.data + 1, value.len - 2);
    }
    if (value.len == 1 && (value.data[0] == '8' || value.data[0] == '9')) {
        return (uint8_t)(value.data[0] - '0');
    }
    if (value.len == 2 && value.data[0] == '1' && value.data[1] >= '0' && value.data[1] <= '5') {
        return (uint8_t)(10 + value.data[1] - '0');
    }
    return 0;
}

static bool set_once(bool *flag)
{
    bool fresh = !*flag;
    *flag = true;
    return fresh;
}

/* Takes one parameter. False: unknown, repeated, or with an illegal value. */
static bool take_param(struct offer *offer, struct span param)
{
    struct span name = param;
    struct span value = {0};

    for (size_t i = 0; i < param.len; i++) {
        if (param.data[i] == '=') {
            name = span_of(param.data, i);
            value = span_of(param.data + i + 1, param.len - i - 1);
            break;
        }
    }
    if (span_equal_nocase(name, span_str("server_no_context_takeover"))) {
        return !value.data && set_once(&offer->server_no_takeover);
    }
    if (span_equal_nocase(name, span_str("client_no_context_takeover"))) {
        return !value.data && set_once(&offer->client_no_takeover);
    }
    if (span_equal_nocase(name, span_str("server_max_window_bits"))) {
        offer->server_bits = window_bits_of(value);
        return offer->server_bits > 0 && set_once(&offer->server_bits_given);
    }
    if (span_equal_nocase(name, span_str("client_max_window_bits"))) {
        offer->client_bits = window_bits_of(value);
        return (!value.data || offer->client_bits > 0) && set_once(&offer->client_bits_given);
    }
    return false;
}

static struct offer read_offer(struct span text)
{
    struct offer offer = {0};

    if (!span_equal_nocase(next_part(&text), span_str("permessage-deflate"))) {
        return offer;
    }
    while (text.len > 0) {
        if (!take_param(&offer, next_part(&text))) {
            return offer;
        }
    }
    offer.legal = true;
    return offer;
}

void ws_deflate_negotiate(
    struct ws_deflate_terms *terms, struct span extensions, uint8_t window_bits)
{
    struct span text;

    while (!terms->agreed && http_list_next(&extensions, &text)) {
        struct offer offer = read_offer(text);
        if (!offer.legal || (offer.server_bits_given && offer.server_bits < window_bits)) {
            continue;
        }
        terms->agreed = true;
        terms->server_max_window_bits = offer.server_bits_given ? window_bits : 0;
    }
}

int ws_deflate_answer(struct bytes *out, const struct ws_deflate_terms *terms)
{
    size_t before = out->len;
    int err = bytes_append_str(
        out, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");

    if (!err && terms->server_max_window_bits > 0) {
        err = bytes_appendf(out, "; server_max_window_bits=%d", terms->server_max_window_bits);
    }
    if (err) {
        out->len = before;
    }
    return err;
}

bool ws_deflate_answer_ok(struct span extensions)
{
    struct span text, more;

    if (!http_list_next(&extensions, &text) || http_list_next(&extensions, &more)) {
        return false;
    }
    struct offer answer = read_offer(text);
    /* An answer cannot name client_max_window_bits, which was not offered (7.1.2.2). */
    return answer.legal && answer.server_no_takeover && !answer.client_bits_given;
}
