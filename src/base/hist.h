/* Hist: a log-linear histogram of times, about 1 % wide a step.
 *
 * Values (nanoseconds, or any unit) below 64 have a bucket each; above, every octave is cut into 64
 * equal steps, so a step is at most 1.6 % of its value and its middle is at most 0.8 % off. Values
 * past HIST_VALUE_MAX (73 minutes in nanoseconds) are counted in the last bucket; count, sum and
 * the extremes stay exact. Recording is a shift and a few adds and never allocates; the struct of
 * all zeroes is empty. One writer; a reader on another thread sees every counter whole but may see
 * them a few values apart.
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdint.h>

enum {
    HIST_STEP_BITS = 6,
    HIST_STEPS = 1 << HIST_STEP_BITS, /* Steps an octave. */
    HIST_OCTAVES = 36,
    HIST_BUCKETS = HIST_STEPS * (HIST_OCTAVES + 1),
};
#define HIST_VALUE_MAX ((UINT64_C(1) << (HIST_STEP_BITS + HIST_OCTAVES)) - 1)

struct hist {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t min_inverse; /* UINT64_MAX - smallest value, so that zeroes are a valid start. */
    uint64_t buckets[HIST_BUCKETS];
};

/* The bucket of a value. */
static inline uint32_t hist_index(uint64_t value)
{
    if (value > HIST_VALUE_MAX) {
        value = HIST_VALUE_MAX;
    }
    /* A value below 64 gets shift 0 and is its own index: `| 1` at bit 6 saves the branch. */
    uint32_t shift = 63 - HIST_STEP_BITS - (uint32_t)__builtin_clzll(value | HIST_STEPS);
    return (shift << HIST_STEP_BITS) + (uint32_t)(value >> shift);
}

static inline void hist_record_many(struct hist *hist, uint64_t value, uint64_t count)
{
    hist->count += count;
    hist->sum += value * count;
    hist->max = value > hist->max ? value : hist->max;
    hist->min_inverse =
        UINT64_MAX - value > hist->min_inverse ? UINT64_MAX - value : hist->min_inverse;
    hist->buckets[hist_index(value)] += count;
}

static inline void hist_record(struct hist *hist, uint64_t value)
{
    hist_record_many(hist, value, 1);
}

/* The smallest and the largest value a bucket stands for; index is below HIST_BUCKETS. */
uint64_t hist_bucket_low(uint32_t index);
uint64_t hist_bucket_high(uint32_t index);

/* Adds what `from` holds. */
void hist_merge(struct hist *into, const struct hist *from);

/* The smallest value recorded; 0 when there is none. */
uint64_t hist_min(const struct hist *hist);
double hist_mean(const struct hist *hist);

/* The value that a share of `quantile` (0..1) of all values does not exceed: the middle of its
 * bucket, within the extremes; 0 when empty. Quantile 1 is the exact maximum. */
uint64_t hist_quantile(const struct hist *hist, double quantile);

/* How many values were at most `value`, to the width of a bucket: buckets that reach past it are
 * left out. For cumulative exports. */
uint64_t hist_count_at_most(const struct hist *hist, uint64_t value);

#endif
