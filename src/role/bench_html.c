/* The bench report as one HTML page: a fixed page (bench_page.html) around the JSON report. The
 * page draws its plots from that JSON, and asks nobody for anything. */
#include "role/bench_result.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

extern const char bench_page[]; /* bench_page.html, made into an array by the build. */

int bench_html_script(struct bytes *out, struct span json)
{
    size_t from = 0;
    int err = 0;

    for (size_t i = 0; i < json.len && !err; i++) {
        if (json.data[i] == '<') {
            err = bytes_append(out, json.data + from, i - from);
            err = err ? err : bytes_append_str(out, "\\u003c");
            from = i + 1;
        }
    }
    return err ? err : bytes_append(out, json.data + from, json.len - from);
}

int bench_html_text(struct bytes *out, const char *text)
{
    int err = 0;

    for (const char *at = text; *at && !err; at++) {
        switch (*at) {
        case '<':
            err = bytes_append_str(out, "&lt;");
            break;
        case '>':
            err = bytes_append_str(out, "&gt;");
            break;
        case '&':
            err = bytes_append_str(out, "&amp;");
            break;
        case '"':
            err = bytes_append_str(out, "&quot;");
            break;
        default:
            err = bytes_append_byte(out, (uint8_t)*at);
            break;
        }
    }
    return err;
}

/* Appends the page up to a mark, and moves behind it. */
static int copy_to(struct bytes *out, const char **page, const char *mark)
{
    const char *at = strstr(*page, mark);

    CHECK(at); /* The page is ours. */
    int err = bytes_append(out, *page, (size_t)(at - *page));
    *page = at + strlen(mark);
    return err;
}

/* Without scripts the page still shows the report for people. */
static int append_text_report(const struct bench_result *r, struct bytes *out)
{
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);

    if (!stream) {
        return -ENOMEM;
    }
    bench_report_text(r, stream, false);
    int err = fclose(stream) ? -ENOMEM : bench_html_text(out, text);
    free(text);
    return err;
}

int bench_report_html(const struct bench_result *r, struct bytes *out)
{
    const char *page = bench_page, *name = r->plan->options->name;
    struct bytes json = {0};
    char title[160];

    snprintf(title, sizeof title, "%s · fanout bench",
        name ? name : bench_scenario_name(r->plan->scenario));
    int err = bench_report_json(r, false, &json);
    err = err ? err : copy_to(out, &page, "{{title}}");
    err = err ? err : bench_html_text(out, title);
    err = err ? err : copy_to(out, &page, "{{text}}");
    err = err ? err : append_text_report(r, out);
    err = err ? err : copy_to(out, &page, "{{data}}");
    err = err ? err : bench_html_script(out, span_of(json.data, json.len));
    err = err ? err : bytes_append_str(out, page);
    bytes_fini(&json);
    return err;
}
