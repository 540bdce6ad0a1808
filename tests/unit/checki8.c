/*
 * checki8: the plain products of i8, which define those of all instruction sets, against integers
 * and double precision.  Prints TAP.
 */
/* check: yes */
#include "numbers.h"

static const struct kernels *ref, *i8;
static struct slot s_x, s_a, s_row;

static const enum dtype types[] = { Q8, Q4, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4 };

/* A matrix of one row of Q8 with these codes; group g has the scale 2^scale[g]. */
static struct mat
row_q8(const signed char *codes, int cols, const int *scale)
{
	struct mat w = { .data = codes, .rows = 1, .cols = cols, .dtype = Q8, .factor = 0x1p-7f };
	unsigned char *groups = place(&s_row, (size_t)(cols + 15) / 16);

	for (int g = 0; g < (cols + 15) / 16; g++)
		groups[g] = (unsigned char)((scale ? scale[g] + 14 : 14) << 3);
	w.groups = groups;
	return w;
}

/* What the one number x of a group, or the second after `most`, becomes: a weight of 1. */
static float
rounded(float x, float most)
{
	static const signed char first[32] = { 1 }, second[32] = { 0, 1 };
	float in[32] = { most ? most : x, most ? x : 0 }, out;
	struct mat w = row_q8(most ? second : first, 32, NULL);

	i8->matmul(&out, 1, in, 32, 1, &w, 0, 1);
	return out;
}

static int
is_nan(float x)
{
	return to_bits(x) == 0x7fc00000;
}

/* The scale is the largest magnitude / 127; codes are the nearest, ties to even. */
static int
rounds(void)
{
	static const float ends[] = { 0x1.fffffep127f, -0x1.fffffep127f, 0x1p-100f, -0x1p-100f, 1,
	    -3 };

	for (int i = 0; i < 1 << 16; i++) {
		float any = ldexpf(1 + (float)below(1 << 20) * 0x1p-20f, below(220) - 99);
		float most = i & 1 ? 127 : any, unit = most / 127;
		float x = i & 2 ? most * number(PLAIN) : unit * ((float)below(254) - 126.5f);
		int code = (int)nearbyint((double)(x * (127 / most)));

		if (rounded(x, most) != unit * (float)code) {
			printf("# %a beside %a became %a\n", x, most, rounded(x, most));
			return 0;
		}
	}
	for (int i = 0; i < COUNT(ends); i++)
		if (rounded(ends[i], 0) != ends[i] / 127 * 127 * (float)!!isfinite(ends[i]))
			return 0;
	return rounded(2.5f, 127) == 2 && rounded(3.5f, 127) == 4 && rounded(-0.5f, 127) == 0 &&
	    rounded(0x1.fffffep-101f, 0) == 0 && rounded(0x1p-149f, 0) == 0 && rounded(0, 0) == 0 &&
	    is_nan(rounded(INFINITY, 0)) && is_nan(rounded(1, INFINITY)) &&
	    is_nan(rounded(NAN, 1)) && is_nan(rounded(0, -INFINITY));
}

/* Of one group, another that is a NaN or infinite is no concern. */
static int
groups_apart(void)
{
	signed char codes[96];
	float x[96], out;
	struct mat w;

	for (int at = 0; at < 96; at++) {
		memset(codes, 0, sizeof(codes));
		for (int k = 0; k < 96; k++)
			x[k] = k / 32 == 1 ? 0x1p-130f : 1;
		codes[at] = 3;
		w = row_q8(codes, 96, NULL);
		i8->matmul(&out, 1, x, 96, 1, &w, 0, 1);
		if (out != (at / 32 == 1 ? 0 : 3 * (1 / 127.f * 127)))
			return 0;
		x[at] = NAN;
		i8->matmul(&out, 1, x, 96, 1, &w, 0, 1);
		if (!is_nan(out))
			return 0;
	}
	return 1;
}

/* The contract step by step for a row of Q8: with cols that need not be whole groups. */
static float
dot_q8(const struct mat *w, const float *x)
{
	const signed char *codes = w->data;
	float lane[4] = {0};

	for (int g = 0; g * 16 < w->cols; g++) {
		int from = g / 2 * 32, products = 0;
		float most = 0;

		for (int k = from; k < from + 32 && k < w->cols; k++)
			most = fmaxf(most, fabsf(x[k]));
		for (int k = g * 16; k < g * 16 + 16 && k < w->cols; k++)
			products += codes[k] * (int)nearbyintf(x[k] * (127 / most));
		lane[g % 4] = fmaf(ldexpf(1, (w->groups[g] >> 3) - 14),
		    most / 127 * (float)products, lane[g % 4]);
	}
	return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

static int
steps(void)
{
	for (int i = 0; i < 2000; i++) {
		int cols = 1 + below(300), scale[20];
		signed char codes[300];
		float x[300], out;
		struct mat w;

		for (int k = 0; k < cols; k++) {
			x[k] = number(PLAIN);
			codes[k] = (signed char)(below(3) ? below(256) - 128 :
			    below(2) ? 127 : -128);
		}
		for (int g = 0; g < 20; g++)
			scale[g] = below(14) - 13;
		w = row_q8(codes, cols, scale);
		i8->matmul(&out, 1, x, cols, 1, &w, 0, 1);
		if (out != dot_q8(&w, x) || (out == 0 && signbit(out)))
			return 0;
	}
	return 1;
}

/* x as its codes and scales say. */
static void
round_all(double *to, const float *x, int n)
{
	for (int g = 0; g < n; g += 32) {
		float most = 0;

		for (int k = g; k < g + 32 && k < n; k++)
			most = fmaxf(most, fabsf(x[k]));
		for (int k = g; k < g + 32 && k < n; k++)
			to[k] = most < 0x1p-100f ? 0 :
			    nearbyintf(x[k] * (127 / most)) * (double)(most / 127);
	}
}

/* The largest magnitude of the 32 numbers that x is one of. */
static double
largest(const float *x, int k)
{
	double most = 0;

	for (int i = k / 32 * 32; i < k / 32 * 32 + 32; i++)
		most = fmax(most, fabs(x[i]));
	return most;
}

/* Each type's weights are those of row: a product meets a rounding where weights are less a
 * minimum, three in its group, one or two for each group of its lane, and two at the end.  What is
 * less a minimum, and the minimum, are below 4 times the largest weight. */
static int
within_bound(enum dtype t)
{
	enum { N = 5, MOST = 1280 };

	for (int i = 0; i < COUNT(sizes); i++) {
		int K = (sizes[i] + dtype_cols(t) - 1) / dtype_cols(t) * dtype_cols(t);
		struct mat w = matrix(N, K, t, PLAIN, 0);
		float *x = floats(&s_x, K, PLAIN), out[N], *row = place(&s_a, (size_t)K * 4);
		double to[MOST], roundings = 8 + K / 32., u = 0x1p-24;

		round_all(to, x, K);
		i8->matmul(out, N, x, K, 1, &w, 0, N);
		for (int n = 0; n < N; n++) {
			double sum = 0, magnitude = 0;

			ref->row(row, &w, n);
			for (int k = 0; k < K; k++) {
				sum += to[k] * row[k];
				magnitude += fabs(to[k]) * (t == Q4_K || t == Q5_K ?
				    8 * largest(row, k) : fabs(row[k]));
			}
			if (!(fabs(out[n] - sum) <= roundings * u * magnitude)) {
				printf("# %s, K %d: %a, not %a\n", dtype_name(t), K, out[n], sum);
				return 0;
			}
		}
	}
	return 1;
}

/* An output does not depend on other rows of x, which may be not finite, nor on other outputs. */
static int
alone(enum dtype t)
{
	enum { N = 40, T = 19, K = 512 };
	struct mat w = matrix(N, K, t, PLAIN, 0);
	float *x = floats(&s_x, T * K, PLAIN), all[T][N], out[N];

	for (int i = 1; i < T; i += 3)
		x[i * K + below(K)] = i % 2 ? NAN : INFINITY;
	i8->matmul(all[0], N, x, K, T, &w, 0, N);
	for (int i = 0; i < T; i++)
		for (int n = 0; n < N; n++) {
			i8->matmul(out, N, x + i * K, K, 1, &w, n, n + 1);
			if (memcmp(&out[n], &all[i][n], sizeof(*out)) != 0)
				return 0;
		}
	return 1;
}

/* What has no codes is multiplied as in f32, and so is each transposed product. */
static int
others(void)
{
	static const enum dtype all[] = { F32, BF16, F16, F8_E4M3, Q5_1, IQ2_S };
	for (int i = 0; i < COUNT(all); i++) {
		struct mat w = matrix(7, 256, all[i], PLAIN, 0);
		float *x = floats(&s_x, 2 * 256, PLAIN), a[14], b[14];

		ref->matmul(a, 7, x, 256, 2, &w, 0, 7);
		i8->matmul(b, 7, x, 256, 2, &w, 0, 7);
		if (memcmp(a, b, sizeof(a)) != 0)
			return 0;
	}
	return i8->matmul_t == ref->matmul_t && i8->row == ref->row;
}

int
main(void)
{
	ref = kernels_named("ref");
	i8 = kernels_precision(ref, PRECISION_I8);
	ok(rounds(), "x becomes the nearest of 255 integers, ties to even");
	ok(groups_apart(), "each group of 32 columns has a scale of its own");
	ok(steps(), "groups are joined in four lanes, in order");
	for (int i = 0; i < COUNT(types); i++) {
		ok(alone(types[i]), "outputs of %s depend on their own inputs alone",
		    dtype_name(types[i]));
		ok(within_bound(types[i]), "the products of %s are within their error bound",
		    dtype_name(types[i]));
	}
	ok(others(), "other products are those of f32");
	printf("1..%d\n", points);
	return failures != 0;
}
