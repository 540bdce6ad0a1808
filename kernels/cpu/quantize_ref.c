#define QUANTIZE quantize_ref
#include "cpu/quantize_lanes.h"

/* The least squared error over groups of 16, scaled as well as can be, of weights of tiny-r1 and of
 * normal and Student's t distributions: by Lloyd's iteration (README.md). */
const signed char quant_levels[16] =
    { -127, -102, -81, -64, -48, -34, -21, -9, 2, 13, 24, 36, 49, 64, 83, 110 };

float
quant_factor(float most)
{
	float f = QUANT_FACTOR_MIN;

	/* the largest scale tried is below 1.7 times most / 127, the largest E4M3 is 448 */
	while (f < QUANT_FACTOR_MAX && most * (1.7f / 127 / 448) > f)
		f *= 2;
	return most == 0 ? 1 : f;
}
