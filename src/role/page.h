/* Page: the files of web/, as the build put them into the program (tools/embed_page.py).
 *
 * The table ends with a NULL path and lives for ever.
 */
#ifndef ROLE_PAGE_H
#define ROLE_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "http/session.h"

struct page_file {
    const char *path; /* "/style.css"; index.html is "/". */
    const char *content_type;
    const char *etag; /* With its quotes: a digest of the content. */
    const uint8_t *data;
    size_t len;
};

extern const struct page_file page_files[];

/* Route handler: the file whose path is asked for, or 304 when the client has it. */
void page_handler(struct http_exchange *x);

#endif
