#include <immintrin.h>

#define IN_REGISTER "+v"
#define WIDTH 32
#define FMA(a, f) ((a) = (lanes)_mm256_fmadd_ps((__m256)(a), (__m256)(f), (__m256)(f)))
#include "bench/peak_lanes.h"

const struct peak peak_avx2 = {read_all, multiply_adds};
