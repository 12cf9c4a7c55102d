#include "role/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/utf8.h"

bool term_colour(FILE *stream)
{
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");

    return isatty(fileno(stream)) && !(no_colour && *no_colour) && term &&
           strcmp(term, "dumb") != 0;
}

uint32_t term_columns(FILE *stream)
{
    struct winsize size;

    if (!isatty(fileno(stream)) || ioctl(fileno(stream), TIOCGWINSZ, &size) != 0) {
        return 0;
    }
    return size.ws_col;
}

bool term_progress_due(struct term_progress *progress, uint64_t now_ms)
{
    if (progress->quiet || now_ms < progress->next_ms) {
        return false;
    }
    progress->next_ms = now_ms + (isatty(fileno(progress->stream)) ? 250 : 1000);
    return true;
}

void term_progress_show(struct term_progress *progress, const char *text)
{
    uint32_t columns = term_columns(progress->stream);

    if (progress->quiet) {
        return;
    }
    if (columns) {
        /* Cut at the edge: a line that wraps could not be written over. Texts are nearly ASCII. */
        fprintf(progress->stream, "\r\033[K%.*s", (int)(columns > 1 ? columns - 1 : 1), text);
        progress->shown = true;
    } else {
        fprintf(progress->stream, "%s\n", text);
    }
    fflush(progress->stream);
}

void term_progress_end(struct term_progress *progress)
{
    if (progress->shown) {
        fprintf(progress->stream, "\r\033[K");
        fflush(progress->stream);
        progress->shown = false;
    }
}

void term_append_safe(struct bytes *out, const void *data, size_t len)
{
    const uint8_t *at = data, *end = at + len;
    int err = 0;

    while (at < end && !err) {
        size_t size = utf8_char_len(at, (size_t)(end - at));
        /* C1 controls (U+0080..U+009F) steer terminals too. */
        bool control =
            size == 1 ? *at < 0x20 || *at == 0x7f : size == 2 && at[0] == 0xc2 && at[1] < 0xa0;
        if (size && !control) {
            err = bytes_append(out, at, size);
            at += size;
            continue;
        }
        if (*at == '\n') {
            err = bytes_append_str(out, "\\n");
        } else if (*at == '\t') {
            err = bytes_append_str(out, "\\t");
        } else {
            err = bytes_appendf(out, "\\x%02x", *at);
        }
        at += 1;
    }
    CHECK(!err);
}

const char *term_count(uint64_t value, char out[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    char *to = out;

    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = 0;
    return out;
}

/* Three significant digits. */
static void print_scaled(double value, const char *unit, char out[32])
{
    int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;

    snprintf(out, 32, "%.*f %s", digits, value, unit);
}

const char *term_time(uint64_t ns, char out[32])
{
    double value = (double)ns;

    if (value < 999.5) {
        snprintf(out, 32, "%.0f ns", value);
    } else if (value < 999.5e3) {
        print_scaled(value / 1e3, "µs", out);
    } else if (value < 999.5e6) {
        print_scaled(value / 1e6, "ms", out);
    } else {
        print_scaled(value / 1e9, "s", out);
    }
    return out;
}

const char *term_size(double bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    bool negative = bytes < 0;
    double value = negative ? -bytes : bytes;

    while (value >= 1000 && unit + 1 < COUNT_OF(units)) {
        value /= 1024;
        unit++;
    }
    char text[32];
    print_scaled(value, units[unit], text);
    snprintf(out, 32, "%s%.30s", negative ? "-" : "", text);
    return out;
}
