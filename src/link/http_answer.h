/* HTTP answer: what comes of a request, collected within bounds. Inside link only. */
#ifndef LINK_HTTP_ANSWER_H
#define LINK_HTTP_ANSWER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/ports.h"

/* Starts as all zeroes, with body_max and head set. */
struct http_answer {
    CURL *easy;
    size_t body_max;      /* Bytes. */
    bool head;            /* To a HEAD request: there is a length and no body. */
    bool begun;           /* The final headers are complete; what headers follow are trailers. */
    int err;              /* Why it was broken off; 0: it was not. */
    uint32_t line_count;  /* Of headers, ever. */
    size_t line_bytes;    /* The same. */
    uint64_t length;      /* Of the body, as announced; UINT64_MAX: not. */
    struct bytes text;    /* Names and values. */
    struct bytes places;  /* Where in it: what http_answer.c keeps. */
    struct bytes headers; /* struct flow_http_header, once http_answer_give() made them. */
    struct bytes body;
};

/* Has curl deliver to the answer, which must stay in place. */
MUST_USE CURLcode http_answer_apply(struct http_answer *answer, CURL *easy);

/* Lends the answer to http. Returns 0 or -ENOMEM. */
MUST_USE int http_answer_give(struct http_answer *answer, struct flow_http *http);

void http_answer_fini(struct http_answer *answer);

#endif
