/* The digits come of snprintf(), which rounds to the nearest, and strtod() says whether they are
 * enough. Any decimal of 15 digits survives the way into a double and back, so the search begins
 * there; below DBL_MIN a double has fewer. Where the mantissa is a power of two, the doubles below
 * stand twice as close as those above: there the nearest decimal of 16 digits may be another
 * double while the one above it is ours, as with 2^-44. */
#include "flow/canon_number.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGITS_MAX = 17,
    POINT_MIN = -6, /* 0.000001 is written so, 1e-7 is not; */
    POINT_MAX = 21, /* and 100000000000000000000, but 1e21. */
    TEXT_MAX = 32,
};

static const int64_t exact_max = INT64_C(1) << 53;

/* 0.DIGITS times ten to the power of point; no zero at the end. */
struct decimal {
    char digits[TEXT_MAX];
    int count;
    int point;
};

static bool reads_back(uint64_t digits, int exponent, double value)
{
    char text[TEXT_MAX];

    snprintf(text, sizeof text, "%" PRIu64 "e%d", digits, exponent);
    return strtod(text, NULL) == value;
}

/* A decimal of so many digits, nearest to a value, and what it reads back as. */
struct rounded {
    uint64_t digits;
    int exponent;
    double value;
};

static struct rounded round_to(double value, int count)
{
    char text[TEXT_MAX];
    const char *at = text;
    struct rounded rounded = {0};

    snprintf(text, sizeof text, "%.*e", count - 1, value);
    for (; *at != 'e'; at++) {
        if (*at != '.') {
            rounded.digits = rounded.digits * 10 + (uint64_t)(*at - '0');
        }
    }
    rounded.exponent = (int)strtol(at + 1, NULL, 10) - (count - 1);
    rounded.value = strtod(text, NULL);
    return rounded;
}

/* value is finite and above 0. */
static struct decimal shortest(double value)
{
    struct decimal decimal;
    int count = value < DBL_MIN ? 1 : DBL_DIG, unused;
    bool lopsided = frexp(value, &unused) == 0.5;
    struct rounded best = round_to(value, count);

    while (best.value != value && count < DIGITS_MAX) {
        if (lopsided && reads_back(best.digits + 1, best.exponent, value)) {
            best.digits++;
            break;
        }
        best = round_to(value, ++count);
    }
    for (; best.digits % 10 == 0; best.exponent++) {
        best.digits /= 10;
    }
    decimal.count = snprintf(decimal.digits, sizeof decimal.digits, "%" PRIu64, best.digits);
    decimal.point = decimal.count + best.exponent;
    return decimal;
}

static int append_zeros(struct bytes *out, int count)
{
    static const char zeros[POINT_MAX] = "000000000000000000000";

    return bytes_append(out, zeros, (size_t)count);
}

/* 1200, 12.34 or 0.0012. */
static int append_positional(struct bytes *out, const struct decimal *d)
{
    if (d->point <= 0) {
        int err = bytes_append(out, "0.", 2);
        err = err ? err : append_zeros(out, -d->point);
        return err ? err : bytes_append(out, d->digits, (size_t)d->count);
    }
    if (d->count <= d->point) {
        int err = bytes_append(out, d->digits, (size_t)d->count);
        return err ? err : append_zeros(out, d->point - d->count);
    }
    return bytes_appendf(out, "%.*s.%s", d->point, d->digits, d->digits + d->point);
}

int canon_append_real(struct bytes *out, double value)
{
    if (!isfinite(value)) {
        return -ERANGE;
    }
    if (value == 0) {
        return bytes_append_byte(out, '0'); /* The negative zero, too. */
    }
    if (value < 0) {
        int err = bytes_append_byte(out, '-');
        if (err) {
            return err;
        }
    }
    struct decimal d = shortest(fabs(value));
    if (d.point > POINT_MIN && d.point <= POINT_MAX) {
        return append_positional(out, &d);
    }
    return bytes_appendf(
        out, "%c%s%se%+d", d.digits[0], d.count > 1 ? "." : "", d.digits + 1, d.point - 1);
}

int canon_append_integer(struct bytes *out, int64_t value)
{
    if (value > exact_max || value < -exact_max) {
        return canon_append_real(out, (double)value);
    }
    return bytes_appendf(out, "%" PRId64, value);
}
