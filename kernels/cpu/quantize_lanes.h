/*
 * Weights to Q8 and Q4, in vectors of the compiler that hold one weight of each
 * of several groups.  No sum goes across groups: all instruction sets give the same bytes.
 * (Compilers do not make vectors of loops over arrays if sanitizers check each element.)
 * To be included with QUANTIZE defined as the function that fills in a table.
 */
#include "cpu/cpu.h"

enum {
#if defined(__AVX512F__)
	GROUPS = 16,            /* groups at a time: floats in a register */
#elif defined(__AVX2__)
	GROUPS = 8,
#else
	GROUPS = 4,
#endif
	SCALES = 7              /* scales tried, each one step of E4M3 above the other */
};

typedef float lanes __attribute__((vector_size(GROUPS * sizeof(float))));
typedef int lane_bits __attribute__((vector_size(GROUPS * sizeof(int))));
typedef unsigned lane_codes __attribute__((vector_size(GROUPS * sizeof(unsigned))));

/* Weight k of each group. */
typedef lanes part[QUANT_GROUP];

#define INLINE static inline __attribute__((always_inline))
/* yes where the lanes of the comparison hold, else no */
#define SELECT(is, yes, no) ((lanes)(((is) & (lane_bits)(yes)) | (~(is) & (lane_bits)(no))))

/* All is done in units of the matrix's factor: nothing then overflows, and the scales are E4M3. */

/* The first scale tried: the largest E4M3 that is at most `at`, but no zero and no NaN. */
static unsigned
scale_floor(float at)
{
	int code = at < 0x1p-6f ? (int)(at * 0x1p9f) : (int)(bits_of_float(at) >> 20) - (120 << 3);

	return code < 1 ? 1 : code > 126 ? 126 : (unsigned)code;
}

/* y's nearest code, as a number. */
INLINE lanes
level_q8(lanes y)
{
	const float round = 0x1.8p23f;  /* added, it leaves an integer */

	y = SELECT(y < -127, (lanes){0} - 127, y);
	y = SELECT(y > 127, (lanes){0} + 127, y);
	return (y + round) - round;
}

/* DO(level, next level) for all that are next to each other: constants, since sanitizers
 * would check each load of a table. */
#define STEPS_OF(DO, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \
	DO(a, b) DO(b, c) DO(c, d) DO(d, e) DO(e, f) DO(f, g) DO(g, h) DO(h, i) \
	DO(i, j) DO(j, k) DO(k, l) DO(l, m) DO(m, n) DO(n, o) DO(o, p)
#define STEPS_LIST(DO, ...) STEPS_OF(DO, __VA_ARGS__)
#define STEPS(DO) STEPS_LIST(DO, QUANT_LEVELS)
#define ABOVE(y, a, b) ((y) > ((a) + (b)) * 0.5f)       /* nearer to b than to a */

/* y's nearest level */
INLINE lanes
level_q4(lanes y)
{
	lanes v = (lanes){0} + quant_levels[0];

#define ADD(a, b) v += (lanes)(ABOVE(y, a, b) & (lane_bits)((lanes){0} + ((b) - (a))));
	STEPS(ADD)
	return v;
}

/* What is stored for y */
INLINE lane_codes
code_of(lanes y, enum dtype t)
{
	lane_codes n = {0};

	if (t == Q8)
		return (lane_codes)__builtin_convertvector(level_q8(y), lane_bits);
#define COUNT(a, b) n -= (lane_codes)ABOVE(y, a, b);
	STEPS(COUNT)
	return n;
}

/* The groups' squared errors under their scales. */
INLINE lanes
errors(const part w, lanes scale, enum dtype t)
{
	lanes inverse = 1 / scale, error = {0};

	for (int k = 0; k < QUANT_GROUP; k++) {
		lanes y = w[k] * inverse, d = w[k] - (t == Q8 ? level_q8(y) : level_q4(y)) * scale;

		error += d * d;
	}
	return error;
}

/* code[] = the scales that leave the least error; 0 where no other is better than that. */
INLINE void
choose(unsigned char code[GROUPS], const part w, enum dtype t)
{
	lanes best = {0}, most = {0}, scale = {0}, error;
	unsigned from[GROUPS];

	for (int k = 0; k < QUANT_GROUP; k++) {
		lanes a = (lanes)((lane_bits)w[k] & 0x7fffffff);

		best += w[k] * w[k];
		most = SELECT(a > most, a, most);
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
		error = errors(w, scale, t);
		for (int j = 0; j < GROUPS; j++)
			code[j] = error[j] < best[j] ? (unsigned char)c[j] : code[j];
		best = SELECT(error < best, error, best);
	}
}

INLINE void
quantize_part(unsigned char *codes, unsigned char *groups, const float *w, int n, float factor,
    enum dtype t)
{
	part p = {{0}};
	lane_codes index[QUANT_GROUP];
	lanes inverse = {0};
	unsigned char code[GROUPS];

	for (int i = 0; i < n; i++)
		p[i % QUANT_GROUP][i / QUANT_GROUP] = w[i] * (1 / factor);
	choose(code, p, t);
	memcpy(groups, code, (size_t)(n + QUANT_GROUP - 1) / QUANT_GROUP);
	for (int j = 0; j < GROUPS; j++)
		inverse[j] = code[j] != 0 ? 1 / float_of_f8(code[j]) : 0;
	for (int k = 0; k < QUANT_GROUP; k++)
		index[k] = code_of(p[k] * inverse, t);
	if (t == Q4)
		memset(codes, 0, dtype_row(t, n));
	for (int i = 0; i < n; i++) {
		unsigned c = index[i % QUANT_GROUP][i / QUANT_GROUP];

		if (t == Q8)
			codes[i] = (unsigned char)c;
		else
			codes[i / 32 * 16 + i % 16] |= (unsigned char)(c << (i / 16 % 2 * 4));
	}
}

static void
quantize(unsigned char *codes, unsigned char *groups, const float *w, int n, float factor,
    enum dtype t)
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
