#include <arm_neon.h>

#define IN_REGISTER "+w"
#define WIDTH 16
#define FMA(a, f) ((a) = (lanes)vfmaq_f32((float32x4_t)(f), (float32x4_t)(a), (float32x4_t)(f)))
#include "bench/peak_lanes.h"

const struct peak peak_neon = {read_all, multiply_adds};
