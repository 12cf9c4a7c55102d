#include "ctl/metrics_page.h"

#include "ctl/metrics.h"

int metrics_append_label(struct bytes *out, const char *name, const char *value)
{
    int err = bytes_appendf(out, "%s=\"", name);

    for (; !err && *value; value++) {
        if (*value == '\n') {
            err = bytes_append_str(out, "\\n");
        } else {
            err = *value == '\\' || *value == '"' ? bytes_append_byte(out, '\\') : 0;
            err = err ? err : bytes_append_byte(out, (uint8_t)*value);
        }
    }
    return err ? err : bytes_append_byte(out, '"');
}

void page_family(struct page *page, const char *name, const char *type, const char *help)
{
    if (!page->err) {
        page->err =
            bytes_appendf(page->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    }
}

/* One sample; a NULL label ends the labels. */
void page_sample(struct page *page, const char *name, const char *label, const char *value,
    const char *label2, const char *value2, double number)
{
    struct bytes *out = page->out;

    page->err = page->err ? page->err : bytes_append_str(out, name);
    if (label) {
        page->err = page->err ? page->err : bytes_append_byte(out, '{');
        page->err = page->err ? page->err : metrics_append_label(out, label, value);
        if (label2) {
            page->err = page->err ? page->err : bytes_append_byte(out, ',');
            page->err = page->err ? page->err : metrics_append_label(out, label2, value2);
        }
        page->err = page->err ? page->err : bytes_append_byte(out, '}');
    }
    /* 17 digits bring every double, and every count below 2^53, back as it was. */
    page->err = page->err ? page->err : bytes_appendf(out, " %.17g\n", number);
}

void page_one(
    struct page *page, const char *name, const char *type, const char *help, double number)
{
    page_family(page, name, type, help);
    page_sample(page, name, NULL, NULL, NULL, NULL, number);
}

void page_counter(struct page *page, const char *name, const char *help, uint64_t number)
{
    page_one(page, name, "counter", help, (double)number);
}

void page_gauge(struct page *page, const char *name, const char *help, double number)
{
    page_one(page, name, "gauge", help, number);
}
