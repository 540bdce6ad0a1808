/*
 * Log-probabilities of tokens from the logits of a row: one arithmetic for ds-sample and ds-score.
 */
#ifndef DS_LOGPROB_H
#define DS_LOGPROB_H

#include <stdint.h>

#include "kernels.h"

/*
 * log(sum(exp(x))), the normaliser of n logits: float64, added in the order of ids, with the
 * kernels' exp and log, and so the same bits with all kernels.  pos: the position of the row, for
 * messages.  0, or -1 and a message (FAIL_DATA) if a logit is NaN or infinity, or if none is
 * finite.
 */
int logprob_norm(const struct kernels *k, const float *x, uint64_t n, uint32_t pos, double *norm);

/* log(softmax(x))[id] at temperature 1.  Rounded to float32 it is the tensor `logprob`.  */
double logprob_of(const float *x, uint64_t id, double norm);

#endif
