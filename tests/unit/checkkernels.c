/*
 * checkkernels: every kernel of every instruction set that this machine runs,
 * bit for bit against the plain one; the plain ones against double precision.
 * Prints TAP; with -b it times the kernels instead.
 */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "kernels.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/*
 * TAP
 */

static int points, failures;
static const struct kernels *ref;

static void __attribute__((format(printf, 2, 3)))
ok(int good, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%sok %d - ", good ? "" : "not ", ++points);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	failures += !good;
}

/*
 * Numbers
 */

static uint64_t seed = 1;

static uint32_t
random32(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) ^ (uint32_t)(seed >> 17 << 16);
}

static int
below(int n)
{
	return (int)(random32() % (uint32_t)n);
}

static float
of_bits(uint32_t b)
{
	float x;

	memcpy(&x, &b, 4);
	return x;
}

static uint32_t
to_bits(float x)
{
	uint32_t b;

	memcpy(&b, &x, 4);
	return b;
}

/* PLAIN is the one without surprises; the others are meant to hurt. */
enum kind { PLAIN, WIDE, TINY, HUGE_X, WORST, BITS, KINDS };

static float
number(enum kind k)
{
	static const float worst[] = { INFINITY, -INFINITY, NAN, -0.f, 0, 0x1p-149f, -0x1p-149f, 0x1.fffffep-127f,
	    0x1.fffffep127f, -0x1.fffffep127f, 0x1p120f, -0x1p119f, 1, -1, 0x1p-126f, 88.7229f, -87.34f, 0x1p18f };
	float x = (float)((int32_t)random32()) * 0x1p-31f;

	switch (k) {
	case WIDE:
		return ldexpf(x, below(120) - 60);
	case TINY:
		return ldexpf(x, below(40) - 150);
	case HUGE_X:
		return ldexpf(x, 100 + below(28));
	case WORST:
		return below(40) ? x : worst[below(COUNT(worst))];
	case BITS:
		return of_bits(random32());
	default:
		return x;
	}
}

static void
numbers(float *x, size_t n, enum kind k)
{
	for (size_t i = 0; i < n; i++)
		x[i] = number(k);
}

/* A weight; but for WORST and BITS it is finite. */
static void
weight(unsigned char *to, enum dtype t, enum kind k)
{
	float f = number(k == WORST && below(8) ? PLAIN : k);
	uint32_t b = to_bits(f), r = random32();

	if (t == F32) {
		memcpy(to, &b, 4);
	} else if (t == BF16) {
		memcpy(to, (unsigned char *)&b + 2, 2);
	} else if (t == F16) {
		if (k < WORST || (k == WORST && below(300)))
			r &= 0xbfff;
		memcpy(to, &r, 2);
	} else {
		if ((r & 0x7f) == 0x7f && (k < WORST || (k == WORST && below(5))))
			r ^= 1;
		*to = (unsigned char)r;
	}
}

/*
 * Memory that ends where a page begins that must not be touched.  What lies
 * before it must not change either.
 */

enum { SLOT = 1 << 21, BEFORE = 256 };

struct slot {
	unsigned char *map;
	size_t n;
};

static void *
place(struct slot *s, size_t n)
{
	if (!s->map) {
		s->map = mmap(NULL, SLOT + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (s->map == MAP_FAILED || mprotect(s->map + SLOT, 65536, PROT_NONE) < 0 || n + BEFORE > SLOT) {
			printf("Bail out! no memory to test in\n");
			exit(1);
		}
	}
	s->n = n + BEFORE;
	memset(s->map + SLOT - s->n, 0xa5, s->n);
	return s->map + SLOT - n;
}

/* Equal bytes, before the outputs and between their rows included; and every
 * NaN in them is the one that the contract names. */
static int
same(const struct slot *a, const struct slot *b)
{
	const unsigned char *p = a->map + SLOT - a->n, *q = b->map + SLOT - b->n;
	uint32_t x;

	if (a->n != b->n || memcmp(p, q, a->n) != 0)
		return 0;
	for (size_t i = 0; i < BEFORE; i++)
		if (p[i] != 0xa5)
			return 0;
	for (size_t i = BEFORE; i + 4 <= a->n; i += 4) {
		memcpy(&x, p + i, 4);
		if ((x & 0x7fffffff) > 0x7f800000 && x != 0x7fc00000)
			return 0;
	}
	return 1;
}

static struct slot s_w, s_scale, s_x, s_y, s_a, s_b;

static float *
floats(struct slot *s, int n, enum kind k)
{
	float *p = place(s, (size_t)n * 4);

	numbers(p, (size_t)n, k);
	return p;
}

/* A matrix that begins at row `row0` of the one that its scales were made for. */
static struct mat
matrix(int rows, int cols, enum dtype t, enum kind k, int row0)
{
	struct mat w = { .rows = rows, .cols = cols, .dtype = t, .row0 = row0 };
	size_t n = (size_t)rows * (size_t)cols;
	unsigned char *p = place(&s_w, n * dtype_size(t));

	w.data = p;
	for (size_t i = 0; i < n; i++)
		weight(p + i * dtype_size(t), t, k);
	if (t == F8_E4M3 && below(8)) {
		w.scale_cols = (cols + 127) / 128;
		w.scale = floats(&s_scale, (row0 + rows + 127) / 128 * w.scale_cols, k == BITS ? WORST : k);
	}
	return w;
}

static const enum dtype weights[] = { F32, BF16, F16, F8_E4M3 };
static const int sizes[] = { 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 200, 256, 257, 300, 520 };
static const int batches[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 35 };

/*
 * A kernel against the plain one: 1 where all bits agree.
 */

static int
product(const struct kernels *k, int transposed)
{
	for (int d = 0; d < COUNT(weights); d++)
		for (int i = 0; i < COUNT(sizes) * KINDS * 6; i++) {
			enum kind kind = (enum kind)(i % KINDS);
			int K = sizes[i / KINDS % COUNT(sizes)], T = below(3) ? batches[below(COUNT(batches))] : 1;
			int N = 1 + below(below(4) ? 40 : 150), ldo = N + below(3), n0 = 0, n1 = N;
			int ldx = below(8) ? K + below(3) : 1024;
			struct mat w = transposed ? matrix(K, N, weights[d], kind, below(300)) :
			    matrix(N, K, weights[d], kind, below(300));
			float *x = floats(&s_x, (T - 1) * ldx + K, below(3) ? kind : PLAIN);
			size_t bytes = ((size_t)(T - 1) * (size_t)ldo + (size_t)N) * 4;
			float *a = place(&s_a, bytes), *b = place(&s_b, bytes);

			if (below(2)) {
				n0 = below(N);
				n1 = n0 + below(N - n0 + 1);
			}
			(transposed ? ref->matmul_t : ref->matmul)(a, ldo, x, ldx, T, &w, n0, n1);
			(transposed ? k->matmul_t : k->matmul)(b, ldo, x, ldx, T, &w, n0, n1);
			if (!same(&s_a, &s_b)) {
				printf("# %s T %d K %d N %d..%d of %d, kind %d, row0 %d\n", dtype_name(w.dtype), T, K, n0, n1, N,
				    kind, w.row0);
				return 0;
			}
		}
	return 1;
}

static int
check_matmul(const struct kernels *k)
{
	return product(k, 0);
}

static int
check_matmul_t(const struct kernels *k)
{
	return product(k, 1);
}

static int
check_row(const struct kernels *k)
{
	for (int i = 0; i < COUNT(sizes) * KINDS * COUNT(weights); i++) {
		int n = sizes[i % COUNT(sizes)];
		struct mat w = matrix(3, n, weights[i / COUNT(sizes) % COUNT(weights)], (enum kind)below(KINDS), below(300));
		int r = below(3);

		ref->row(place(&s_a, (size_t)n * 4), &w, r);
		k->row(place(&s_b, (size_t)n * 4), &w, r);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

/* The same numbers in both places. */
static void
twice(float **a, float **b, int n, enum kind k)
{
	*a = floats(&s_a, n, k);
	*b = place(&s_b, (size_t)n * 4);
	memcpy(*b, *a, (size_t)n * 4);
}

static float
scaled(enum kind k)
{
	return number(k) * (k == PLAIN ? 20 : 1);
}

#define EACH_VECTOR(n, kind)                                                            \
	for (int i_ = 0, n = sizes[0]; i_ < COUNT(sizes) * KINDS * 4; n = sizes[++i_ % COUNT(sizes)])   \
		for (enum kind kind = (enum kind)(i_ / COUNT(sizes) % KINDS), end_ = KINDS; end_ == KINDS; end_ = PLAIN)

static int
check_rmsnorm(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		float *x = floats(&s_x, n, kind), *w = floats(&s_y, n, kind), eps = below(2) ? 1e-6f : 0;

		twice(&a, &b, n, kind);
		if (below(2)) {
			ref->rmsnorm(a, x, w, n, eps);
			k->rmsnorm(b, x, w, n, eps);
		} else {                        /* in place */
			ref->rmsnorm(a, a, w, n, eps);
			k->rmsnorm(b, b, w, n, eps);
		}
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
check_rope(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		float *c = floats(&s_x, n, kind), *s = floats(&s_y, n, kind);

		twice(&a, &b, 2 * n, kind);
		ref->rope(a, c, s, n);
		k->rope(b, c, s, n);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
check_softmax_block(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		int m = below(9) ? n : 0;       /* the two results lie behind the vector */
		float f = below(3) ? scaled(PLAIN) : number(kind);

		twice(&a, &b, m + 2, kind);
		if (below(9) == 0)
			for (int i = 0; i < m; i++)
				a[i] = b[i] = below(2) && n > 20 ? NAN : -INFINITY;
		ref->softmax_block(a, m, f, a + m, a + m + 1);
		k->softmax_block(b, m, f, b + m, b + m + 1);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
check_softmax_join(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		float *bo = floats(&s_x, n, kind), bmax = below(5) ? scaled(kind) : -INFINITY, bsum = number(kind);

		twice(&a, &b, n + 2, kind);
		if (below(3) == 0)
			a[n] = b[n] = below(2) ? -INFINITY : bmax;
		ref->softmax_join(a, a + n, a + n + 1, bo, bmax, bsum, n);
		k->softmax_join(b, b + n, b + n + 1, bo, bmax, bsum, n);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
check_scale(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		float f = number(kind);

		twice(&a, &b, n, kind);
		ref->scale(a, f, n);
		k->scale(b, f, n);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
binary(void (*f)(float *, const float *, int), void (*g)(float *, const float *, int))
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		float *y = floats(&s_x, n, kind);

		twice(&a, &b, n, kind);
		f(a, y, n);
		g(b, y, n);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
unary(void (*f)(float *, int), void (*g)(float *, int))
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		twice(&a, &b, n, kind);
		if (kind == PLAIN && below(2))
			for (int i = 0; i < n; i++)
				a[i] = b[i] = scaled(PLAIN);
		f(a, n);
		g(b, n);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
check_add(const struct kernels *k)
{
	return binary(ref->add, k->add);
}

static int
check_silu_mul(const struct kernels *k)
{
	return binary(ref->silu_mul, k->silu_mul);
}

static int
check_sigmoid(const struct kernels *k)
{
	return unary(ref->sigmoid, k->sigmoid);
}

static int
check_softmax(const struct kernels *k)
{
	return unary(ref->softmax, k->softmax);
}

/* Besides: floats from all over the line. */
static int
check_exp(const struct kernels *k)
{
	enum { N = 4096 };

	for (uint64_t bits = 0; bits < 1ull << 32; ) {
		float *a = place(&s_a, N * 4), *b = place(&s_b, N * 4);

		for (int i = 0; i < N; i++, bits += 2039)
			a[i] = b[i] = of_bits((uint32_t)bits);
		ref->exp(a, N);
		k->exp(b, N);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return unary(ref->exp, k->exp);
}

static int
check_fixed_add(const struct kernels *k)
{
	static const float ties[] = { 0x1p-41f, 0x1.8p-40f, -0x1p-41f, -0x1.8p-40f, 0x1.4p-39f, -0x1.4p-39f, 0x1.fffffep17f,
	    -0x1.fffffep17f, 0x1.000002p-18f, -0x1.000002p-18f };

	EACH_VECTOR(n, kind) {
		float *y = floats(&s_x, n, kind == PLAIN || kind == WORST ? kind : WIDE), w = number(PLAIN);
		int64_t *a = place(&s_a, (size_t)n * 8), *b = place(&s_b, (size_t)n * 8);
		int bad[2];

		if (kind != PLAIN && kind != WORST)     /* a contribution of any size, but few too large */
			for (int i = 0; i < n; i++)
				y[i] = below(3) ? ldexpf(number(PLAIN), below(62) - 44) : ties[below(COUNT(ties))];
		if (below(2))
			w = 1;
		if (below(20) == 0)
			w = number(WORST);
		for (int i = 0; i < n; i++)
			a[i] = b[i] = (int64_t)((uint64_t)random32() << 29 | random32());
		bad[0] = ref->fixed_add(a, y, w, n);
		bad[1] = k->fixed_add(b, y, w, n);
		if (bad[0] != bad[1] || (bad[0] == 0 && memcmp(a, b, (size_t)n * 8) != 0))
			return 0;
		for (int i = 0; i < BEFORE; i++)
			if (((unsigned char *)b - BEFORE)[i] != 0xa5)
				return 0;
	}
	return 1;
}

static int
check_fixed_finish(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		int64_t *acc = place(&s_x, (size_t)n * 8);

		for (int i = 0; i < n; i++) {
			uint64_t bits = (uint64_t)random32() << 32 | random32();

			acc[i] = (int64_t)bits >> below(64);
		}
		acc[0] = below(2) ? INT64_MIN : INT64_MAX;
		twice(&a, &b, n, kind);
		ref->fixed_finish(a, acc, n);
		k->fixed_finish(b, acc, n);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static const struct {
	const char *name;
	int (*check)(const struct kernels *k);
} checks[] = {
	{ "matmul", check_matmul }, { "matmul_t", check_matmul_t }, { "row", check_row }, { "rmsnorm", check_rmsnorm },
	{ "rope", check_rope }, { "softmax_block", check_softmax_block }, { "softmax_join", check_softmax_join },
	{ "scale", check_scale }, { "add", check_add }, { "silu_mul", check_silu_mul }, { "sigmoid", check_sigmoid },
	{ "softmax", check_softmax }, { "exp", check_exp }, { "fixed_add", check_fixed_add },
	{ "fixed_finish", check_fixed_finish },
};
_Static_assert(sizeof(struct kernels) == (COUNT(checks) + 1) * sizeof(void (*)(void)),
    "every function of the table has a check");

/*
 * The plain kernels against the mathematics.
 */

/* What an element means, from the format's definition. */
static double
value(const struct mat *w, int r, int c)
{
	size_t i = (size_t)r * (size_t)w->cols + (size_t)c;
	unsigned b = 0;
	double v;
	int e, m;

	memcpy(&b, (const unsigned char *)w->data + i * dtype_size(w->dtype), dtype_size(w->dtype));
	switch (w->dtype) {
	case F32:
		return of_bits(b);
	case BF16:
		return of_bits(b << 16);
	case F16:
		e = b >> 10 & 31;
		m = b & 1023;
		v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
		return b & 0x8000 ? -v : v;
	default:
		e = b >> 3 & 15;
		m = b & 7;
		v = (b & 127) == 127 ? NAN : e ? ldexp(8 + m, e - 10) : ldexp(m, -9);
		v *= w->scale ? w->scale[(w->row0 + r) / 128 * w->scale_cols + c / 128] : 1;
		return b & 0x80 ? -v : v;
	}
}

static int
conversions(enum dtype t)
{
	int n = t == F8_E4M3 ? 256 : 65536;
	unsigned char *p = place(&s_w, (size_t)n * dtype_size(t));
	struct mat w = { .data = p, .rows = 1, .cols = n, .dtype = t };
	float *a = place(&s_a, (size_t)n * 4);

	for (int i = 0; i < n; i++)
		memcpy(p + (size_t)i * dtype_size(t), &i, dtype_size(t));
	ref->row(a, &w, 0);
	for (int i = 0; i < n; i++) {
		double v = value(&w, 0, i);

		if (v != v ? to_bits(a[i]) != 0x7fc00000 : a[i] != v || !signbit(a[i]) != !signbit(v))
			return 0;
	}
	return 1;
}

/* Each product meets at most `roundings` roundings on its way into the sum:
 * the error is below roundings u / (1 - roundings u) times the sum of
 * magnitudes (Higham, Accuracy and Stability, section 3.1). */
static int
within_bound(int transposed)
{
	for (int d = 0; d < COUNT(weights); d++)
		for (int i = 0; i < COUNT(sizes); i++) {
			int K = sizes[i], N = 20, blocks = K / 128 + 2;
			struct mat w = transposed ? matrix(K, N, weights[d], PLAIN, 100) : matrix(N, K, weights[d], PLAIN, 100);
			float *x = floats(&s_x, K, PLAIN), out[20];
			double terms = transposed ? K : (K + 15) / 16 + 4;
			double roundings = terms + (w.dtype == F8_E4M3 ? blocks : 0), u = 0x1p-24;

			(transposed ? ref->matmul_t : ref->matmul)(out, N, x, K, 1, &w, 0, N);
			for (int n = 0; n < N; n++) {
				double sum = 0, magnitude = 0;

				for (int k = 0; k < K; k++) {
					double p = x[k] * (transposed ? value(&w, k, n) : value(&w, n, k));

					sum += p;
					magnitude += fabs(p);
				}
				if (!(fabs(out[n] - sum) <= roundings * u / (1 - roundings * u) * magnitude + 0x1p-149 * terms))
					return 0;
			}
		}
	return 1;
}

static double
ulps(float x, double exact)
{
	int e;

	frexp(exact, &e);
	return fabs(x - exact) / ldexp(1, (e < -125 ? -125 : e) - 24);
}

static int
exp_accurate(void)
{
	enum { N = 4096 };
	double most = 0;
	float x[N], y[N];

	for (uint64_t bits = 0; bits < 1ull << 32; ) {
		for (int i = 0; i < N; i++, bits += 4001)
			x[i] = of_bits((uint32_t)bits);
		memcpy(y, x, sizeof(y));
		ref->exp(y, N);
		for (int i = 0; i < N; i++) {
			double e = exp((double)x[i]);

			if (x[i] != x[i] ? to_bits(y[i]) != 0x7fc00000 : e > 0x1.fffffep127 ? y[i] != INFINITY :
			    e < 0x1p-126 ? y[i] != 0 : ulps(y[i], e) > 2)
				return 0;
			if (e < 0x1.fffffep127 && e > 0x1p-126 && ulps(y[i], e) > most)
				most = ulps(y[i], e);
		}
	}
	printf("# exp: at most %.3f ulp\n", most);
	return 1;
}

/* Against double precision, in ulp of the result: exp 2, and 1/2 for each further operation. */
static int
elements_accurate(void)
{
	enum { N = 257 };
	float x[N], y[N], z[N];

	for (int i = 0; i < N; i++) {
		x[i] = scaled(PLAIN);
		y[i] = number(PLAIN);
	}
	memcpy(z, x, sizeof(z));
	ref->sigmoid(z, N);
	for (int i = 0; i < N; i++)
		if (ulps(z[i], 1 / (1 + exp(-(double)x[i]))) > 4)
			return 0;
	memcpy(z, x, sizeof(z));
	ref->silu_mul(z, y, N);
	for (int i = 0; i < N; i++)
		if (ulps(z[i], x[i] / (1 + exp(-(double)x[i])) * y[i]) > 6)
			return 0;
	memcpy(z, x, sizeof(z));
	ref->rope(z, y, y + 1, N / 2);
	for (int i = 0; i < N / 2; i++) {
		double a = x[2 * i], b = x[2 * i + 1], c = y[i], s = y[i + 1];

		if (fabs(z[2 * i] - (a * c - b * s)) > 0x1p-23 * (fabs(a * c) + fabs(b * s)) ||
		    fabs(z[2 * i + 1] - (a * s + b * c)) > 0x1p-23 * (fabs(a * s) + fabs(b * c)))
			return 0;
	}
	return 1;
}

/* Sums of positive terms: 17 + 4 additions of a chain at 257, and exp of a
 * difference that was rounded at magnitude 40: 40 u besides its 2 ulp. */
static int
softmax_accurate(void)
{
	enum { N = 257, D = 5 };
	float x[N], p[N], v[N][D], o[D] = {0}, bo[D], max = -INFINITY, sum = 0, bmax, bsum;
	double w[N], total = 0, bound = 100 * 0x1p-24;

	for (int i = 0; i < N; i++) {
		x[i] = scaled(PLAIN);
		numbers(v[i], D, PLAIN);
	}
	for (int i = 0; i < N; i++)
		total += w[i] = exp((double)x[i]);
	memcpy(p, x, sizeof(p));
	ref->softmax(p, N);
	for (int i = 0; i < N; i++)
		if (fabs(p[i] - w[i] / total) > bound * w[i] / total)
			return 0;
	for (int i = 0; i < N; i += 100) {      /* attention, block by block */
		int n = N - i < 100 ? N - i : 100;
		struct mat m = { .data = v[i], .rows = n, .cols = D, .dtype = F32 };

		for (int j = 0; j < n; j++)
			p[j] = x[i + j] * 2;
		ref->softmax_block(p, n, 0.5f, &bmax, &bsum);
		ref->matmul_t(bo, D, p, n, 1, &m, 0, D);
		ref->softmax_join(o, &max, &sum, bo, bmax, bsum, D);
	}
	for (int d = 0; d < D; d++) {
		double exact = 0, magnitude = 0;

		for (int i = 0; i < N; i++) {
			exact += w[i] / total * v[i][d];
			magnitude += w[i] / total * fabsf(v[i][d]);
		}
		if (fabs(o[d] / (double)sum - exact) > 2 * bound * magnitude)
			return 0;
	}
	return 1;
}

static int
rmsnorm_accurate(void)
{
	enum { N = 257 };
	float x[N], w[N], out[N];
	double sum = 0;

	numbers(x, N, PLAIN);
	numbers(w, N, PLAIN);
	for (int i = 0; i < N; i++)
		sum += (double)x[i] * x[i];
	ref->rmsnorm(out, x, w, N, 1e-3f);
	for (int i = 0; i < N; i++)             /* 21 roundings of the sum, halved by the root, and 6 */
		if (ulps(out[i], x[i] / sqrt(sum / N + (double)1e-3f) * w[i]) > 2 * (21 / 2. + 6))
			return 0;
	return 1;
}

static double
ulps_double(double x, long double exact)
{
	int e;

	frexpl(exact, &e);
	return (double)(fabsl(x - exact) / ldexpl(1, e - 53));
}

/* x of all magnitudes, and near multiples of pi/2, where sin and cos vanish. */
static int
fixed_accurate(void)
{
	double most[4] = {0};

	for (int i = 0; i < 200000; i++) {
		double x = ldexp((double)(int32_t)random32(), below(50) - 51), p = fabs(x) + 0x1p-1070, v[4];
		double q = nearbyint(x) * 0x1.921fb54442d18p+0, y = i & 1 && fabs(q) < 0x1p30 ? q : x, e = fmod(x, 700);
		long double exact[4] = { sinl(y), cosl(y), logl(p), expl(e) };

		v[0] = fixed_sin(y);
		v[1] = fixed_cos(y);
		v[2] = fixed_log(p);
		v[3] = fixed_exp(e);
		for (int j = 0; j < 4; j++)
			if (v[j] != 0 || exact[j] != 0)
				most[j] = fmax(most[j], ulps_double(v[j], exact[j]));
	}
	printf("# ulp at most: sin %.3f, cos %.3f, log %.3f, exp %.3f\n", most[0], most[1], most[2], most[3]);
	return most[0] <= 2 && most[1] <= 2 && most[2] <= 2 && most[3] <= 2 && fixed_sin(0) == 0 && fixed_cos(0) == 1 &&
	    fixed_log(1) == 0 && fixed_exp(0) == 1 && isnan(fixed_sin(INFINITY)) && isnan(fixed_log(-1)) &&
	    fixed_log(0) == -INFINITY && fixed_log(0x1p-1074) < -744;
}

/* A contribution is rounded once, to the even neighbour, and refused at the bound. */
static int
fixed_exact(void)
{
	static const float y[] = { 0x1p-41f, 0x1.8p-40f, -0x1.8p-40f, 0x1.fffffep17f, 1, -0.75f };
	static const int64_t sum[] = { 0, 2, -2, (int64_t)0xffffff << 34, (int64_t)1 << 40, -((int64_t)3 << 38) };
	static const float refused[] = { 0x1p18f, -0x1p18f, INFINITY, NAN };
	int64_t acc[COUNT(y)] = {0}, one = 0;
	float h[2] = { 1, 0x1p-30f };

	if (ref->fixed_add(acc, y, 1, COUNT(y)) != 0 || memcmp(acc, sum, sizeof(acc)) != 0)
		return 0;
	for (int i = 0; i < COUNT(refused); i++)
		if (ref->fixed_add(&one, &refused[i], 1, 1) != -1)
			return 0;
	for (int i = 0; i < FIXED_TERMS_MAX; i++)
		if (ref->fixed_add(&one, &y[3], 1, 1) != 0 || one != (i + 1) * sum[3])
			return 0;
	acc[0] = (int64_t)1 << 40;
	acc[1] = 1 << 10;
	ref->fixed_finish(h, acc, 2);
	return h[0] == 2 && h[1] == 0x1p-29f;
}

/*
 * What goes with the kernels.
 */

static int
slices(void)
{
	struct mat w = matrix(400, 70, F8_E4M3, PLAIN, 50), s = mat_rows(&w, 90, 200);
	float whole[400], part[400], *x = floats(&s_x, 70, PLAIN), r[2][70];

	ref->matmul(whole, 400, x, 70, 1, &w, 0, 400);
	ref->matmul(part, 400, x, 70, 1, &s, 0, 200);
	ref->row(r[0], &w, 120);
	ref->row(r[1], &s, 30);
	return memcmp(whole + 90, part, 200 * sizeof(*part)) == 0 && memcmp(r[0], r[1], sizeof(r[0])) == 0 &&
	    s.rows == 200 && s.row0 == 140;
}

static int
names(void)
{
	for (int t = 0; t < DTYPES; t++)
		if (dtype_parse(dtype_name((enum dtype)t), strlen(dtype_name((enum dtype)t))) != t)
			return 0;
	return dtype_parse("F8_E4M3", 6) == -1 && dtype_parse("", 0) == -1 && dtype_parse("F64", 3) == -1 &&
	    dtype_size(I64) == 8 && dtype_size(F8_E4M3) == 1;
}

static int
choices(void)
{
	const struct kernels *most = kernels_named("ref"), *k;
	const char *const all[] = { "ref", "avx2", "avx512" };

	for (int i = 0; i < COUNT(all); i++) {
		k = kernels_named(all[i]);
		most = k ? k : most;
		setenv("DS_KERNELS", all[i], 1);
		if (kernels_choose() != most)
			return 0;
	}
	setenv("DS_KERNELS", "sse", 1);
	k = kernels_choose();
	unsetenv("DS_KERNELS");
	return k == NULL && kernels_choose() == most && kernels_named("sse") == NULL;
}

/*
 * -b
 */

/* The thread's own time: others may be busy on this machine. */
static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
time_product(const struct kernels *k, enum dtype t, int N, int K, int T, int transposed)
{
	size_t n = (size_t)N * (size_t)K, side = (size_t)(N > K ? N : K);
	unsigned char *data = malloc(n * dtype_size(t));
	float *scale = malloc((n / 128 + side * 2 + 2) * 4), *x = malloc(side * (size_t)T * 4), *out = malloc(side * (size_t)T * 4);
	struct mat w = { .data = data, .scale = t == F8_E4M3 ? scale : NULL, .rows = N, .cols = K, .dtype = t,
	    .scale_cols = (K + 127) / 128 };
	double start, best = 1e9, macs = (double)n * T;
	int repeat = macs > 1e7 ? 1 : (int)(1e7 / macs) + 1;

	for (size_t i = 0; i < n; i++)
		weight(data + i * dtype_size(t), t, PLAIN);
	numbers(scale, n / 128 + side * 2, PLAIN);
	numbers(x, side * (size_t)T, PLAIN);
	for (int i = 0; i < (strcmp(k->name, "ref") ? 8 : 1); i++) {
		start = now();
		for (int j = 0; j < repeat; j++) {
			if (transposed)
				k->matmul_t(out, K, x, N, T, &w, 0, K);
			else
				k->matmul(out, N, x, K, T, &w, 0, N);
		}
		best = fmin(best, (now() - start) / repeat);
	}
	printf("%-7s %-8s %-8s T %3d  %5d x %-5d %9.2f us %8.2f GB/s %8.1f GFLOP/s\n", k->name,
	    transposed ? "matmul_t" : "matmul", dtype_name(t), T, N, K, best * 1e6,
	    (double)n * (double)dtype_size(t) / best * 1e-9, 2 * macs / best * 1e-9);
	free(data);
	free(scale);
	free(x);
	free(out);
}

static void
time_vector(const struct kernels *k, const char *name, void (*f)(float *, int))
{
	enum { N = 4096, M = 200 };
	float x[N];
	double start, best = 1e9;

	for (int i = 0; i < 5; i++) {
		numbers(x, N, PLAIN);
		start = now();
		for (int j = 0; j < M; j++)
			f(x, N);
		best = fmin(best, (now() - start) / M);
	}
	printf("%-7s %-8s %.2f ns an element\n", k->name, name, best / N * 1e9);
}

static void
time_all(const struct kernels *k)
{
	static const int T[] = { 1, 2, 4, 16, 64 };
	int slow = strcmp(k->name, "ref") == 0;

	for (int d = 0; d < COUNT(weights); d++) {
		time_product(k, weights[d], 256, 256, 1, 0);
		time_product(k, weights[d], 768, 128, 1, 0);
		for (int i = 0; i < (slow ? 1 : COUNT(T)); i++)
			time_product(k, weights[d], slow ? 256 : 2048, slow ? 1024 : 7168, T[i], 0);
		for (int i = 0; i < (slow ? 1 : COUNT(T)); i++)
			time_product(k, weights[d], 128, 512, T[i], 1);
	}
	time_product(k, F32, 512, 576, 16, 0);
	time_product(k, F32, 512, 512, 16, 1);
	time_vector(k, "exp", k->exp);
	time_vector(k, "sigmoid", k->sigmoid);
	time_vector(k, "softmax", k->softmax);
}

int
main(int argc, char **argv)
{
	static const char *const fast[] = { "avx2", "avx512" };
	int bench = argc > 1 && strcmp(argv[1], "-b") == 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ref = kernels_named("ref");
	if (bench && (argc == 2 || strcmp(argv[2], "ref") == 0))
		time_all(ref);
	for (int i = 0; i < COUNT(fast); i++) {
		const struct kernels *k = kernels_named(fast[i]);

		if (bench && k && (argc == 2 || strcmp(argv[2], fast[i]) == 0))
			time_all(k);
		for (int j = 0; !bench && j < COUNT(checks); j++) {
			if (k)
				ok(checks[j].check(k), "%s of %s gives the bits of the plain one", checks[j].name, fast[i]);
			else
				ok(1, "%s of %s # SKIP this machine does not run it", checks[j].name, fast[i]);
		}
	}
	if (bench)
		return 0;
	ok(conversions(BF16) && conversions(F16) && conversions(F8_E4M3), "every weight of 8 and 16 bits is converted exactly");
	ok(within_bound(0), "matmul is within its error bound");
	ok(within_bound(1), "matmul_t is within its error bound");
	ok(exp_accurate(), "exp is within 2 ulp, infinite above and 0 below");
	ok(elements_accurate(), "sigmoid, silu_mul and rope compute what they are named after");
	ok(softmax_accurate(), "softmax, whole or joined from blocks, is right");
	ok(rmsnorm_accurate(), "rmsnorm is right");
	ok(fixed_exact(), "fixed point rounds to even, holds its terms and refuses what is too large");
	ok(fixed_accurate(), "sin, cos, log and exp in double are within 2 ulp");
	ok(slices(), "a slice of rows keeps its scales");
	ok(names(), "dtypes are named as in safetensors");
	ok(choices(), "DS_KERNELS caps the choice");
	printf("1..%d\n", points);
	return failures != 0;
}
