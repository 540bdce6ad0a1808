/*
 * Conversion of a matrix to another dtype, a few rows at a time.
 */
#ifndef DS_CONVERT_H
#define DS_CONVERT_H

#include <stdint.h>

#include "base/pool.h"
#include "kernels.h"

#define CONVERT_MAX 0x1p126     /* weights are at most as large */

/* The error of a conversion. */
struct loss {
	double square, error;           /* sums over all weights of w^2 and of the squared difference */
	double most;                    /* the largest difference */
};

/* Store n bytes at byte `at` of tensor i of the matrix, as layout_parts counts them.  0, or -1 and a
 * message. */
typedef int convert_fn(void *arg, int i, uint64_t at, const void *p, size_t n);

/*
 * Convert w, of any dtype, to F32, BF16, F16, F8_E4M3, Q8, Q4 or Q8_0, rounded to the nearest.  It
 * uses a few megabytes of memory and two rows a thread.  A weight that is not finite, larger than
 * CONVERT_MAX, or too large for F16 or Q8_0 is an error (FAIL_DATA).  0, or -1 and a message.
 */
int convert(struct loss *loss, const struct mat *w, enum dtype to, const struct kernels *k,
    struct pool *pool, convert_fn *store, void *arg);

#endif
