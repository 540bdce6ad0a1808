/*
 * Weights to Q8 and Q4, in plain C whose innermost loops go over the 16 groups
 * of 256 columns: compilers put those into registers, and since no sum goes
 * across them, all instruction sets give the same bytes.  To be included with
 * QUANTIZE defined as the function that fills in a table.
 */
#include "cpu/cpu.h"

enum {
	GROUPS = 16,            /* groups at a time */
	SCALES = 7              /* scales tried, each one step of E4M3 above the other */
};

/* Weight k of each group, k outermost: [16][GROUPS]. */
typedef float part[QUANT_GROUP][GROUPS];

/* All is done in units of the matrix's factor: nothing then overflows, and the scales are E4M3. */

/* The first scale tried: the largest E4M3 that is at most `at`, but no zero and no NaN. */
static unsigned
scale_floor(float at)
{
	int code = at < 0x1p-6f ? (int)(at * 0x1p9f) : (int)(bits_of_float(at) >> 20) - (120 << 3);

	return code < 1 ? 1 : code > 126 ? 126 : (unsigned)code;
}

/* y's nearest code, as a number. */
static inline float
level_q8(float y)
{
	const float round = 0x1.8p23f;  /* added, it leaves an integer */

	y = y < -127 ? -127 : y > 127 ? 127 : y;
	return (y + round) - round;
}

static inline float
level_q4(float y)
{
	float v = quant_levels[0];

	_Pragma("GCC unroll 15")
	for (int i = 0; i < 15; i++)
		v += y > (float)(quant_levels[i] + quant_levels[i + 1]) * 0.5f ?
		    (float)(quant_levels[i + 1] - quant_levels[i]) : 0;
	return v;
}

/* error[] = the groups' squared errors under their scales. */
static inline __attribute__((always_inline)) void
errors(float error[GROUPS], const part w, const float scale[GROUPS], enum dtype t)
{
	float inverse[GROUPS];

	for (int j = 0; j < GROUPS; j++) {
		inverse[j] = 1 / scale[j];
		error[j] = 0;
	}
	for (int k = 0; k < QUANT_GROUP; k++)
		for (int j = 0; j < GROUPS; j++) {
			float y = w[k][j] * inverse[j], d = w[k][j] - (t == Q8 ? level_q8(y) : level_q4(y)) * scale[j];

			error[j] += d * d;
		}
}

/* code[] = the scales that leave the least error; 0 where no other is better than that. */
static inline __attribute__((always_inline)) void
choose(unsigned char code[GROUPS], const part w, enum dtype t)
{
	float best[GROUPS] = {0}, most[GROUPS] = {0}, scale[GROUPS], error[GROUPS];
	unsigned from[GROUPS];

	for (int k = 0; k < QUANT_GROUP; k++)
		for (int j = 0; j < GROUPS; j++) {
			best[j] += w[k][j] * w[k][j];
			most[j] = fabsf(w[k][j]) > most[j] ? fabsf(w[k][j]) : most[j];
		}
	for (int j = 0; j < GROUPS; j++) {
		from[j] = scale_floor(most[j] * (0.85f / 127));
		code[j] = 0;
	}
	for (unsigned i = 0; i < (t == Q8 ? SCALES : SCALES * 2); i++) {
		unsigned step = t == Q8 ? i : i / 2, sign = t == Q8 ? 0 : i % 2 * 128, c[GROUPS];

		for (int j = 0; j < GROUPS; j++) {
			c[j] = (from[j] + step > 126 ? 126 : from[j] + step) | sign;
			scale[j] = float_of_f8((uint8_t)c[j]);
		}
		errors(error, w, scale, t);
		for (int j = 0; j < GROUPS; j++) {
			code[j] = error[j] < best[j] ? (unsigned char)c[j] : code[j];
			best[j] = error[j] < best[j] ? error[j] : best[j];
		}
	}
}

/* The half byte of a level. */
static unsigned
index_q4(float level)
{
	unsigned i = 0;

	while (i < 15 && (float)quant_levels[i] < level)
		i++;
	return i;
}

static inline __attribute__((always_inline)) void
quantize_part(unsigned char *codes, unsigned char *groups, const float *w, int n, float factor, enum dtype t)
{
	part p = {{0}};
	unsigned char code[GROUPS];

	for (int i = 0; i < n; i++)
		p[i % QUANT_GROUP][i / QUANT_GROUP] = w[i] * (1 / factor);
	choose(code, p, t);
	memcpy(groups, code, (size_t)(n + QUANT_GROUP - 1) / QUANT_GROUP);
	if (t == Q4)
		memset(codes, 0, dtype_row(t, n));
	for (int i = 0; i < n; i++) {
		float scale = float_of_f8(code[i / QUANT_GROUP]);
		float y = scale != 0 ? p[i % QUANT_GROUP][i / QUANT_GROUP] * (1 / scale) : 0;

		if (t == Q8)
			codes[i] = (unsigned char)(signed char)level_q8(y);
		else
			codes[i / 32 * 16 + i % 16] |= (unsigned char)(index_q4(level_q4(y)) << (i / 16 % 2 * 4));
	}
}

static void
quantize(unsigned char *codes, unsigned char *groups, const float *w, int n, float factor, enum dtype t)
{
	for (int k = 0; k < n; k += GROUPS * QUANT_GROUP) {
		int m = n - k < GROUPS * QUANT_GROUP ? n - k : GROUPS * QUANT_GROUP;

		if (t == Q8)
			quantize_part(codes + k, groups + k / QUANT_GROUP, w + k, m, factor, Q8);
		else
			quantize_part(codes + k / 2, groups + k / QUANT_GROUP, w + k, m, factor, Q4);
	}
}

void
QUANTIZE(struct kernels *k)
{
	k->quantize = quantize;
}
