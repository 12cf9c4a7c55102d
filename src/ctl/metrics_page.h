/* A page of metrics being written: families and their samples. Internal to metrics. */
#ifndef CTL_METRICS_PAGE_H
#define CTL_METRICS_PAGE_H

#include <stdint.h>

#include "base/bytes.h"

struct figures_flow;

struct page {
    struct bytes *out;
    int err; /* The first failure sticks. */
};

/* Begins a family: "counter", "gauge" or "histogram". */
void page_family(struct page *page, const char *name, const char *type, const char *help);

/* One sample; a NULL label ends the labels. */
void page_sample(struct page *page, const char *name, const char *label, const char *value,
    const char *label2, const char *value2, double number);

/* A family of one sample. */
void page_one(
    struct page *page, const char *name, const char *type, const char *help, double number);
void page_counter(struct page *page, const char *name, const char *help, uint64_t number);
void page_gauge(struct page *page, const char *name, const char *help, double number);

/* metrics_flow.c: the coordinator's families, if there is one. */
void metrics_write_flow(struct page *page, const struct figures_flow *flow);

#endif
