#include "base/hist.h"

#include "base/check.h"

uint64_t hist_bucket_low(uint32_t index)
{
    CHECK(index < HIST_BUCKETS);
    if (index < 2 * HIST_STEPS) {
        return index;
    }
    /* Index = shift * 64 + mantissa with mantissa in 64..127, hence the octave less one. */
    uint32_t shift = (index >> HIST_STEP_BITS) - 1;
    return (uint64_t)(index - (shift << HIST_STEP_BITS)) << shift;
}

uint64_t hist_bucket_high(uint32_t index)
{
    return index + 1 < HIST_BUCKETS ? hist_bucket_low(index + 1) - 1 : HIST_VALUE_MAX;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    into->count += from->count;
    into->sum += from->sum;
    into->max = from->max > into->max ? from->max : into->max;
    into->min_inverse =
        from->min_inverse > into->min_inverse ? from->min_inverse : into->min_inverse;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

uint64_t hist_min(const struct hist *hist)
{
    return hist->count ? UINT64_MAX - hist->min_inverse : 0;
}

double hist_mean(const struct hist *hist)
{
    return hist->count ? (double)hist->sum / (double)hist->count : 0;
}

uint64_t hist_quantile(const struct hist *hist, double quantile)
{
    if (hist->count == 0) {
        return 0;
    }
    if (quantile >= 1) {
        return hist->max;
    }
    /* The rank rounds up, less a hair: 0.07 * 100 is 7.000000000000001 in doubles. */
    double exact = quantile * (double)hist->count - 1e-6;
    uint64_t rank = exact < 0 ? 1 : (uint64_t)exact + 1;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if (seen >= rank) {
            uint64_t low = hist_bucket_low(i);
            uint64_t middle = low + (hist_bucket_high(i) - low) / 2;
            middle = middle > hist->max ? hist->max : middle;
            return middle < hist_min(hist) ? hist_min(hist) : middle;
        }
    }
    return hist->max;
}

uint64_t hist_count_at_most(const struct hist *hist, uint64_t value)
{
    uint64_t seen = 0;

    for (uint32_t i = 0; i < HIST_BUCKETS && hist_bucket_high(i) <= value; i++) {
        seen += hist->buckets[i];
    }
    return seen;
}
