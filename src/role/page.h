/* Page: the files of web/, as the build put them into the program (tools/embed_page.py).
 *
 * "/" is the app where the program was built with one, else the plain page, which "/plain" always is.
 * The table ends with a NULL path and lives for ever.
 */
#ifndef ROLE_PAGE_H
#define ROLE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/session.h"

struct page_file {
    const char *path; /* "/style.css"; index.html is "/". */
    const char *content_type;
    const char *etag;    /* With its quotes: a digest of the content. */
    const char *etag_gz; /* Of the gzipped form, which is another representation. */
    bool immutable;      /* The name holds a digest: what it names never changes. */
    const uint8_t *data;
    size_t len;
    const uint8_t *gz; /* NULL where gzip would not make it smaller. */
    size_t gz_len;
};

extern const struct page_file page_files[];
extern const char page_kind[]; /* "app", or "plain" when it was built without Node. */

/* Route handler: the file whose path is asked for, or 304 when the client has it. */
void page_handler(struct http_exchange *x);

#endif
