/*
 * float32 to the shorter floats, to the nearest, ties to even.
 */
#ifndef DS_ROUND_H
#define DS_ROUND_H

#include "kernels.h"

#define ROUND_F8_MAX 448.f              /* the largest E4M3 */
#define ROUND_F16_END 65520.f           /* from here on there is no F16 */

/* The row x [n] as F32, BF16, F16 or F8_E4M3, dtype_row(to, n) bytes; in F8_E4M3 divided by
 * scale[c / FP8_BLOCK].  All must fit: |x| < ROUND_F16_END, or |x| <= ROUND_F8_MAX scale (what is a little more becomes that). */
void round_row(unsigned char *out, const float *x, int n, enum dtype to, const float *scale);

#endif
