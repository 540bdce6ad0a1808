#define QUANTIZE quantize_ref
#include "cpu/quantize_lanes.h"

const signed char quant_levels[16] = { QUANT_LEVELS };

float
quant_factor(float most)
{
	float f = QUANT_FACTOR_MIN;

	/* the largest scale tried is below 1.7 times most / 127, the largest E4M3 is 448 */
	while (f < QUANT_FACTOR_MAX && most * (1.7f / 127 / 448) > f)
		f *= 2;
	return most == 0 ? 1 : f;
}
