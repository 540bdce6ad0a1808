/*
 * float32 to the shorter floats, to the nearest, ties to even.
 */
#ifndef DS_ROUND_H
#define DS_ROUND_H

#include "kernels.h"

#define ROUND_F8_MAX 448.f              /* the largest E4M3 */
#define ROUND_F16_END 65520.f           /* from here on there is no F16 */

/* The row x [n] as F32, BF16, F16 or F8_E4M3, dtype_row(to, n) bytes; in F8_E4M3 divided by
 * scale[c / FP8_BLOCK].  All must fit: |x| < ROUND_F16_END, or |x| <= ROUND_F8_MAX scale (what is
 * a little more becomes that). */
void round_row(unsigned char *out, const float *x, int n, enum dtype to, const float *scale);

/* The row x [n], n a multiple of 32, in Q8_0 of GGUF: of each 32 weights the scale, largest |x| /
 * 127 in F16, then 32 signed bytes round(x / the unrounded scale), halves away from 0, as ggml
 * rounds them.  |x| / 127 < ROUND_F16_END. */
void round_q8_0(unsigned char *out, const float *x, int n);

#endif
