/*
 * Backward passes: against the same sums in double precision and central differences; equal bits
 * for all instruction sets, numbers of threads and divisions of the sequences; what is refused.
 */
/* check: yes */
#include "base/fail.h"
#include "learn/back.h"
#include "numbers.h"

enum { T = 64 + 67 + 1 + 64, N = 77, K = 300 };      /* rows of three sequences; a matrix [N][K] */

static struct span spans[] = {
	{7, 0, 64, 2}, {7, 64, 67, 2}, {3, 0, 0, 0}, {9, 0, 1, 2}, {8, 0, 64, 2}
};
static const int starts[] = { 0, 64, 128, 131, 132, 196 };

static struct learn_pages pages;
static float x[T * K], dy[T * N], weight_of_norm[K];
static int64_t acc[N * K];
static struct param matrix_param = {.name = "a.weight", .rows = N, .cols = K, .acc = acc};
static struct param vector_param = {.name = "norm.weight", .rows = K, .acc = acc};

static int
pages_of(struct span *s, int n)
{
	struct frame f = {.spans = s, .nspans = n};

	for (int i = 0; i < n; i++)
		f.rows += s[i].n;
	return learn_pages_open(&pages, &f);
}

static int
pages_are(const struct learn_pages *p, const int *start, int n)
{
	return p->n == n && memcmp(p->start, start, (size_t)(n + 1) * sizeof(*start)) == 0;
}

static void
check_pages(void)
{
	struct span gap[] = {{1, 0, 3, 0}, {1, 4, 3, 0}}, late = {1, 64, 3, 0};
	struct span parted[] = {{1, 0, 3, 0}, {2, 0, 3, 0}, {1, 3, 3, 0}};
	struct span again[] = {{1, 0, 3, 0}, {2, 0, 3, 0}, {1, 0, 3, 0}};
	int32_t rows[] = { 3, 63, 64, 131, 195 };
	struct learn_pages some = {0};

	ok(pages_of(spans, 5) == 0 && pages_are(&pages, starts, 5) && learn_pages_rows(&pages) == T,
	    "pages begin at multiples of 64 positions of each sequence");
	ok(learn_pages_select(&some, &pages, rows, 5) == 0 &&
	    pages_are(&some, (int[]){0, 2, 3, 4, 5}, 4), "the pages of some rows, none empty");
	ok(learn_pages_select(&some, &pages, rows, 0) == 0 && learn_pages_rows(&some) == 0,
	    "no rows have no pages");
	ok(learn_pages_repeat(&some, &pages, 3) == 0 && some.n == 5 && some.start[5] == 3 * T &&
	    some.start[1] == 192, "the pages of heads");
	ok(pages_of(gap, 2) < 0 && pages_of(&late, 1) < 0 && pages_of(parted, 3) < 0 &&
	    pages_of(again, 3) < 0 && strstr(fail_text(), "sequence 1: twice"),
	    "parts of sequences, gaps and repeats are refused");
	ok(pages_of(NULL, 0) == 0 && learn_pages_rows(&pages) == 0, "no spans have no pages");
	learn_pages_free(&some);
	pages_of(spans, 5);
}

/* 1 if |a - b| is below 2^-20 of the sum of magnitudes. */
static int
near(double a, double b, double magnitude)
{
	return fabs(a - b) <= magnitude * 0x1p-20 + 0x1p-38;
}

static int
weight_right(void)
{
	for (int n = 0; n < N; n++)
		for (int k = 0; k < K; k++) {
			double sum = 0, magnitude = 0;

			for (int t = 0; t < T; t++) {
				sum += (double)dy[t * N + n] * (double)x[t * K + k];
				magnitude += fabs((double)dy[t * N + n] * (double)x[t * K + k]);
			}
			if (!near(sum, (double)acc[n * K + k] * 0x1p-40, magnitude))
				return 0;
		}
	return 1;
}

static int
bias_right(void)
{
	for (int n = 0; n < N; n++) {
		double sum = 0;

		for (int t = 0; t < T; t++)
			sum += (double)dy[t * N + n];
		if (!near(sum, (double)acc[n] * 0x1p-40, T))
			return 0;
	}
	return 1;
}

static void
check_weight(struct learn *l)
{
	int64_t before;

	memset(acc, 0, sizeof(acc));
	ok(back_weight(l, &matrix_param, 0, dy, N, N, x, K, &pages) == 0 && weight_right(),
	    "the gradient of a matrix is the sum over rows");
	memset(acc, 0, sizeof(acc));
	ok(back_bias(l, &vector_param, dy, N, N, &pages) == 0 && bias_right(),
	    "the gradient of a bias likewise");
	memset(acc, 0, sizeof(acc));
	back_weight(l, &matrix_param, 0, dy, N, N, x, K, &pages);
	before = acc[5 * K + 3];
	memset(acc, 0, sizeof(acc));
	back_weight(l, &matrix_param, 5, dy + 5, N, 7, x, K, &pages);
	ok(acc[5 * K + 3] == before && acc[5 * K - 1] == 0 && acc[12 * K - 1] != 0 &&
	    acc[12 * K] == 0, "the gradient of some rows of a matrix leaves the others");
}

/* The sequences in frames of their own add up to the same integers. */
static void
check_divided(struct learn *l)
{
	int64_t *whole = malloc(sizeof(acc));

	memset(acc, 0, sizeof(acc));
	back_weight(l, &matrix_param, 0, dy, N, N, x, K, &pages);
	memcpy(whole, acc, sizeof(acc));
	memset(acc, 0, sizeof(acc));
	pages_of(spans + 3, 2);
	back_weight(l, &matrix_param, 0, dy + 131 * N, N, N, x + 131 * K, K, &pages);
	pages_of(spans, 2);
	back_weight(l, &matrix_param, 0, dy, N, N, x, K, &pages);
	ok(memcmp(whole, acc, sizeof(acc)) == 0,
	    "sequences in other frames add up to the same bits");
	pages_of(spans, 5);
	free(whole);
}

static void
check_input(struct learn *l)
{
	static const enum dtype types[] = { F32, BF16, F16, F8_E4M3 };
	static float dx[T * (K + 3)], row[K];

	for (int i = 0; i < 2 * COUNT(types); i++) {
		struct mat w = matrix(N, K, types[i / 2], PLAIN, 100);
		int add = i % 2, good = 1;

		for (int j = 0; j < COUNT(dx); j++)
			dx[j] = (float)j;
		good &= back_input(l, dx, K + 3, dy, N, T, &w, add) == 0;
		for (int t = 0; t < T; t += 13) {
			double sum[K] = {0}, magnitude[K] = {0};

			for (int n = 0; n < N; n++) {
				l->k->row(row, &w, n);
				for (int k = 0; k < K; k++) {
					double term = (double)dy[t * N + n] * (double)row[k];

					sum[k] += term;
					magnitude[k] += fabs(term);
				}
			}
			for (int k = 0; k < K; k++) {
				double old = add ? t * (K + 3) + k : 0;

				good &= near(dx[t * (K + 3) + k], old + sum[k],
				    magnitude[k] + old);
			}
			good &= t == 0 || dx[t * (K + 3) - 1] == (float)(t * (K + 3) - 1);
		}
		ok(good, "the gradient of the input of a product with %s%s",
		    dtype_name(types[i / 2]), add ? ", added" : "");
	}
}

/* sum over i of d[i] rmsnorm(v, w)[i], in double, with step added to v[at] and to w[at] */
static double
norm_loss(const float *v, const float *d, int at, double to_v, double to_w)
{
	double square = 0, sum = 0;

	for (int i = 0; i < K; i++)
		square += pow((double)v[i] + (i == at ? to_v : 0), 2);
	for (int i = 0; i < K; i++)
		sum += (double)d[i] * ((double)v[i] + (i == at ? to_v : 0)) *
		    ((double)weight_of_norm[i] + (i == at ? to_w : 0)) / sqrt(square / K + 1e-6);
	return sum;
}

static void
check_norm(struct learn *l)
{
	static float d[T * K], dx[T * K], more[T * K];
	const double h = 1e-4;
	double of_weight = 0;
	int good = 1;

	numbers(d, T * K, PLAIN);
	memset(acc, 0, sizeof(acc));
	good &= back_norm(l, &vector_param, dx, K, x, K, d, K, K, weight_of_norm, 1e-6f, &pages,
	    0) == 0;
	for (int t = 0; t < T; t++)
		of_weight += (norm_loss(x + t * K, d + t * K, 5, 0, h) -
		    norm_loss(x + t * K, d + t * K, 5, 0, -h)) / (2 * h);
	ok(good && fabs((double)acc[5] * 0x1p-40 - of_weight) < 1e-4,
	    "the gradient of a norm's weight is the central difference");
	for (int i = 0; i < 40; i++) {
		int t = below(T), k = below(K);
		double slope = (norm_loss(x + t * K, d + t * K, k, h, 0) -
		    norm_loss(x + t * K, d + t * K, k, -h, 0)) / (2 * h);

		good &= fabs((double)dx[t * K + k] - slope) < 1e-5;
	}
	ok(good, "and that of its input");
	for (int i = 0; i < T * K; i++)
		more[i] = 1;
	back_norm(l, &vector_param, more, K, x, K, d, K, K, weight_of_norm, 1e-6f, &pages, 1);
	for (int i = 0; i < T * K; i++)
		good &= more[i] == dx[i] + 1;
	ok(good, "which is added where asked for");
}

static double
silu(double v)
{
	return v / (1 + exp(-v));
}

static void
check_silu(const struct kernels *k)
{
	enum { n = 201 };
	float g[n], u[n], a[n], da[n], y[n];
	const double h = 1e-5;
	int good = 1;

	for (int i = 0; i < n; i++) {
		g[i] = y[i] = (float)(i - 100) * 0.3f;
		u[i] = number(PLAIN);
		da[i] = a[i] = number(PLAIN);
	}
	k->silu_mul(y, u, n);
	{
		float gate[n], up[n];

		memcpy(gate, g, sizeof(g));
		memcpy(up, u, sizeof(u));
		k->silu_back(gate, up, a, n);
		for (int i = 0; i < n; i++) {
			double v = (double)g[i], slope = (silu(v + h) - silu(v - h)) / (2 * h);

			good &= fabs((double)gate[i] - (double)da[i] * (double)u[i] * slope) < 1e-6;
			good &= fabs((double)up[i] - (double)da[i] * silu(v)) < 4e-6;
		}
	}
	ok(good, "silu_back is the slope of silu");
	ok(memcmp(a, y, sizeof(a)) == 0, "and computes silu_mul again");
}

static void
check_softmax(const struct kernels *k)
{
	enum { n = 50 };
	float z[n], p[n], dp[n], d[n];
	const double h = 1e-4;
	int good = 1;

	numbers(z, n, PLAIN);
	numbers(dp, n, PLAIN);
	memcpy(d, dp, sizeof(d));
	memcpy(p, z, sizeof(p));
	k->softmax(p, n);
	k->softmax_back(dp, p, n, 0.25f);
	for (int i = 0; i < n; i++) {
		double loss[2];

		for (int side = 0; side < 2; side++) {
			double sum = 0, weighed = 0;

			for (int j = 0; j < n; j++) {
				double e = exp((double)z[j] + (j == i ? side ? h : -h : 0));

				sum += e;
				weighed += e * (double)d[j];
			}
			loss[side] = weighed / sum;
		}
		good &= fabs((double)dp[i] - 0.25 * (loss[1] - loss[0]) / (2 * h)) < 1e-7;
	}
	ok(good, "softmax_back is the slope of softmax");
}

/* All that the functions of back.h compute, one after the other. */
static void *
everything(struct learn *l, size_t *bytes)
{
	struct mat w = {.data = x, .rows = N, .cols = K, .dtype = F32};
	size_t rows = T * K;
	char *all = calloc(1, 2 * sizeof(acc) + 2 * rows * 4);
	int64_t *sums = (int64_t *)(void *)all;
	float *dx = (float *)(void *)(all + 2 * sizeof(acc));

	struct param m = {.name = "m", .rows = N, .cols = K, .acc = sums};
	struct param v = {.name = "v", .rows = K, .acc = sums + N * K};

	if (back_weight(l, &m, 0, dy, N, N, x, K, &pages) < 0 ||
	    back_input(l, dx, K, dy, N, T, &w, 0) < 0 ||
	    back_input(l, dx, K, dy, N, T, &w, 1) < 0 ||
	    back_norm(l, &v, dx + rows, K, x, K, dx, K, K, weight_of_norm, 1e-6f, &pages, 0) < 0 ||
	    back_norm(l, &v, dx + rows, K, dx, K, x, K, K, weight_of_norm, 1e-6f, &pages, 1) < 0 ||
	    back_bias(l, &v, dx, K, K, &pages) < 0)
		ok(0, "%s", fail_text());
	*bytes = 2 * sizeof(acc) + 2 * rows * 4;
	return all;
}

static void
check_bits(const void *expected)
{
	for (int i = 0; kernels_set(i); i++)
		for (int threads = 1; threads <= 3; threads++) {
			struct learn l = {.k = kernels_named(kernels_set(i)), .pool = pool_new(threads)};
			size_t bytes;
			void *all = l.k ? everything(&l, &bytes) : NULL;

			ok(!all || memcmp(all, expected, bytes) == 0,
			    "the bits of %s, %d threads%s", kernels_set(i), threads,
			    all ? "" : " # SKIP this machine does not run it");
			free(all);
			pool_free(l.pool);
			scratch_free(&l.work);
		}
}

static void
check_refused(struct learn *l)
{
	static const float worst[] = { NAN, INFINITY, 0x1p18f, -0x1p18f };
	float one = 1, kept = dy[40 * N + 9];
	struct learn_pages single = {.n = 1, .start = (int[]){0, 1}};
	struct param p = {.name = "one", .rows = 1, .cols = 1, .acc = acc};
	int good = 1;

	for (int i = 0; i < COUNT(worst); i++) {
		acc[0] = 0;
		good &= back_weight(l, &p, 0, &worst[i], 1, 1, &one, 1, &single) < 0;
		good &= back_bias(l, &p, &worst[i], 1, 1, &single) < 0;
	}
	one = 0x1.fffffep17f;
	good &= back_bias(l, &p, &one, 1, 1, &single) == 0;
	ok(good, "contributions that are not finite or not below 2^18 are refused");
	acc[0] = ((int64_t)1 << 62) - ((int64_t)1 << 40);
	one = 1;
	good &= back_bias(l, &p, &one, 1, 1, &single) < 0;
	acc[0] = -((int64_t)1 << 62);
	one = -1;
	good &= back_bias(l, &p, &one, 1, 1, &single) < 0;
	ok(good, "sums that leave -2^62 .. 2^62-1 are refused");
	memset(acc, 0, sizeof(acc));
	dy[40 * N + 9] = INFINITY;
	good &= back_weight(l, &matrix_param, 0, dy, N, N, x, K, &pages) < 0;
	ok(good && strstr(fail_text(), "'a.weight'"), "with a message that names the tensor");
	dy[40 * N + 9] = kept;
}

int
main(void)
{
	struct learn l = {.k = kernels_choose(), .pool = pool_new(2)};
	void *expected;
	size_t bytes;

	numbers(x, T * K, PLAIN);
	numbers(dy, T * N, PLAIN);
	numbers(weight_of_norm, K, PLAIN);
	check_pages();
	check_weight(&l);
	check_divided(&l);
	check_input(&l);
	check_norm(&l);
	check_silu(l.k);
	check_softmax(l.k);
	check_refused(&l);
	expected = everything(&l, &bytes);
	check_bits(expected);
	free(expected);
	pool_free(l.pool);
	scratch_free(&l.work);
	learn_pages_free(&pages);
	printf("1..%d\n", points);
	return failures != 0;
}
