#define PRODUCTS 16
#define STEP(v, x) vdotq_s32(v, x, x)
#include "bench/peak_i8_arm.h"

peak_loop *
peak_i8_dot(void)
{
	return multiply_adds;
}
