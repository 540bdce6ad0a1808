/*
 * A matrix in another dtype, made a few rows at a time.
 */
#ifndef DS_CONVERT_H
#define DS_CONVERT_H

#include <stdint.h>

#include "base/pool.h"
#include "kernels.h"

#define CONVERT_MAX 0x1p126     /* weights are at most as large */

/* What a matrix loses. */
struct loss {
	double square, error;           /* sums over all weights of w^2 and of the squared difference */
	double most;                    /* the largest difference */
};

/* Where the parts go: called in turn with n bytes that belong at byte `at` of the codes, of the
 * scales (F8_E4M3: [blocks][blocks] F32; Q8, Q4: the groups') or of the factor.  0, or -1 and a message. */
enum part { PART_DATA, PART_SCALE, PART_FACTOR };
typedef int part_fn(void *arg, enum part part, uint64_t at, const void *p, size_t n);

/*
 * w, of any dtype, as `to`: F32, BF16, F16, F8_E4M3, Q8 or Q4, the nearest there is.  Needs memory for a few
 * megabytes besides two rows a thread.  A weight that is not finite, larger than CONVERT_MAX, or
 * too large for F16 is an error (FAIL_DATA).  0, or -1 and a message.
 */
int convert(struct loss *loss, const struct mat *w, enum dtype to, const struct kernels *k,
    struct pool *pool, part_fn *put, void *arg);

#endif
