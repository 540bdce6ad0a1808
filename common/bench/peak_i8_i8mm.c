#define PRODUCTS 32
#define STEP(v, x) vmmlaq_s32(v, x, x)
#include "bench/peak_i8_arm.h"

peak_loop *
peak_i8_i8mm(void)
{
	return multiply_adds;
}
