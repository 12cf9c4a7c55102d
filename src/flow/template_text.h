/* Template text: the pieces of one string of a template. Only template.c needs it.
 *
 * Pure.
 */
#ifndef FLOW_TEMPLATE_TEXT_H
#define FLOW_TEMPLATE_TEXT_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"

struct template_piece {
    bool is_place;        /* {{…}}, not text. */
    struct span text;     /* Of a place, its pointer. */
    struct span fallback; /* The text of its default. */
    bool has_fallback;
};

/* Takes the next piece off *rest. *wrong is NULL, or says what is wrong there: then stop. False at
 * the end. Walks over each byte once, whatever it says. */
bool template_next(struct span *rest, struct template_piece *ret_piece, const char **wrong);

#endif
