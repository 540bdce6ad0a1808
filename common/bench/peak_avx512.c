#include <immintrin.h>

#define IN_REGISTER "+v"
#define WIDTH 64
#define FMA(a, f) ((a) = (lanes)_mm512_fmadd_ps((__m512)(a), (__m512)(f), (__m512)(f)))
#include "bench/peak_lanes.h"

const struct peak peak_avx512 = {read_all, multiply_adds};
