#include "weights/round.h"

#include <math.h>
#include <string.h>

#include "cpu/cpu.h"

/* The upper bits of a positive float: `drop` of them are rounded away. */
static uint32_t
cut(uint32_t bits, int drop)
{
	return (bits + (1u << (drop - 1)) - 1 + (bits >> drop & 1)) >> drop;
}

static unsigned
to_bf16(float x)
{
	return cut(bits_of_float(x), 16);
}

static unsigned
to_f16(float x)
{
	uint32_t sign = bits_of_float(x) >> 16 & 0x8000;
	float a = fabsf(x);

	return sign | (a < 0x1p-14f ? (unsigned)rintf(a * 0x1p24f) :
	    cut(bits_of_float(a), 13) - (112 << 10));
}

static uint8_t
to_f8(float x)
{
	return f8_of_float(copysignf(fminf(fabsf(x), ROUND_F8_MAX), x));
}

void
round_row(unsigned char *out, const float *x, int n, enum dtype to, const float *scale)
{
	if (to == F32)
		memcpy(out, x, (size_t)n * sizeof(*x));
	for (int i = 0; to == F8_E4M3 && i < n; i++)
		out[i] = to_f8(x[i] / scale[i / FP8_BLOCK]);
	for (int i = 0; (to == BF16 || to == F16) && i < n; i++) {
		uint16_t h = (uint16_t)(to == BF16 ? to_bf16(x[i]) : to_f16(x[i]));

		memcpy(out + 2 * (size_t)i, &h, sizeof(h));
	}
}

#define BLOCK 32

void
round_q8_0(unsigned char *out, const float *x, int n)
{
	for (int i = 0; i < n; i += BLOCK) {
		float most = 0, scale, inverse;
		uint16_t half;

		for (int j = 0; j < BLOCK; j++)
			most = fmaxf(most, fabsf(x[i + j]));
		scale = most / 127;
		inverse = scale != 0 ? 1 / scale : 0;
		half = (uint16_t)to_f16(scale);
		memcpy(out, &half, sizeof(half));
		for (int j = 0; j < BLOCK; j++)
			out[2 + j] = (unsigned char)(signed char)roundf(x[i + j] * inverse);
		out += 2 + BLOCK;
	}
}
