#include "base/nearest.h"

#include <string.h>

enum { ABBREVIATION_MIN = 3 };

/* Insertions, deletions and replacements between two names, and swaps of neighbours, which are
 * what fingers do most. Both are shorter than NEAREST_NAME_MAX. */
static size_t edit_distance(struct span a, struct span b)
{
    size_t rows[3][NEAREST_NAME_MAX + 1];

    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = rows[i % 3], *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = last[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] &&
                a.data[i - 2] == b.data[j - 1] && before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

void nearest_try(struct nearest *best, struct span wrong, const char *candidate)
{
    size_t len = strlen(candidate);

    if (wrong.len >= NEAREST_NAME_MAX || len >= NEAREST_NAME_MAX) {
        return;
    }
    size_t distance = edit_distance(wrong, span_of(candidate, len));
    /* "dur" is far from "duration" in edits, yet nothing else can be meant. */
    if (wrong.len >= ABBREVIATION_MIN && wrong.len < len &&
        memcmp(wrong.data, candidate, wrong.len) == 0) {
        distance = 1;
    }
    /* A third of the letters may differ: beyond that a suggestion is a guess. */
    if (distance > (len < 6 ? 2 : len / 3) || distance >= len) {
        return;
    }
    if (!best->name[0] || distance < best->distance) {
        memcpy(best->name, candidate, len + 1);
        best->distance = distance;
    }
}
