/*
 * checkkernels: every kernel of every instruction set that this machine runs,
 * bit for bit against the plain one, which checkarithmetic checks.  Prints
 * TAP; with -b [SET] it times the kernels instead, with -B those of bf16, with -I those of i8.
 */
/* first: yes */
#include <time.h>

#include "numbers.h"

static const struct kernels *ref;
static struct slot s_x, s_y, s_a, s_b;

#include "products_i8.h"

/*
 * Products.
 */

static void
product_once(int transposed, enum dtype t, enum kind kind, int K, int N, int T)
{
	int ldo = N + below(3), n0 = 0, n1 = N, ldx = below(8) || K > 1000 ? K + below(3) : 1024;
	struct mat w = matrix(transposed ? K : N, transposed ? N : K, t, kind, below(300));
	float *x = floats(&s_x, (T - 1) * ldx + K, below(3) ? kind : PLAIN);

	if (below(2)) {
		n0 = below(N);
		n1 = n0 + below(N - n0 + 1);
	}
	product_compared(transposed, ldo, x, ldx, T, &w, n0, n1, "");
}

static void
product(int transposed)
{
	const int each = ref->precision == PRECISION_F32 && !SANITIZED ? 6 : SANITIZED ? 1 : 2;

	for (int d = 0; d < COUNT(weights); d++)
		for (int i = 0; i < COUNT(sizes) * KINDS * each; i++) {
			int T = below(3) ? batches[below(COUNT(batches))] : 1;
			int K = sizes[i / KINDS % COUNT(sizes)], N = 1 + below(below(4) ? 40 : 150);

			if (transposed && below(6) == 0)        /* columns in registers */
				N = 250 + below(300);
			product_once(transposed, weights[d], (enum kind)(i % KINDS), K, N, T);
		}
}

/* Block types: few sizes, since their plain form is slow. */
static void
product_blocks(int transposed)
{
	static const int lengths[] = { 1, 40, 100, 256, 300, 520, 800, 1100 };

	for (int d = 0; d < COUNT(block_types); d++)
		for (int i = 0; i < COUNT(lengths) * 2 + KINDS; i++) {
			enum dtype t = block_types[d];
			int K = lengths[i % COUNT(lengths)], N = 1 + below(40);
			int T = i % 3 ? 1 : batches[below(K > 300 ? 10 : COUNT(batches))];

			if (transposed)
				N = blocks_of(t, 1 + below(below(4) ? 100 : 300));
			else
				K = blocks_of(t, K);
			product_once(transposed, t, (enum kind)(i % KINDS), K, N, T);
		}
}

/* Heads that are stored transposed, against float32 in order. */
static void
turned_once(enum dtype t, int cols, int T)
{
	int rows = blocks_of(t, 1 + below(150)), c0 = below(cols), c1 = c0 + 1 + below(cols - c0);
	struct mat data = matrix(2 * cols, rows, t, (enum kind)below(KINDS), 0), w = data;
	float *x = floats(&s_x, T * rows, PLAIN), *row = malloc((size_t)rows * 4);
	float *order = malloc((size_t)rows * (size_t)cols * 4);
	struct mat plain = { .data = order, .rows = rows, .cols = cols, .dtype = F32 };
	size_t bytes = (size_t)T * (size_t)cols * 4;
	int good, r = below(rows);

	w.rows = 2 * rows;
	w.cols = cols;
	w.turned = rows;
	for (int c = 0; c < cols; c++) {
		ref->row(row, &data, cols + c);
		for (int i = 0; i < rows; i++)
			order[i * cols + c] = row[i];
	}
	w = mat_rows(&w, rows, rows);
	product_compared(1, cols, x, rows, T, &w, c0, c1, " turned");
	ref->matmul_t(place(&s_b, bytes), cols, x, rows, T, &plain, c0, c1);
	good = same_bytes(&s_a, &s_b);
	for (struct candidate *c = candidates; c < candidates + ncandidates; c++) {
		float *got = place(&s_b, (size_t)cols * 4);

		c->k->row(got, &w, r);
		c->good &= good && memcmp(got, order + r * cols, (size_t)cols * 4) == 0;
	}
	free(order);
	free(row);
}

static void
turned(void)
{
	static const enum dtype plain[] = { F32, BF16, F16 };

	for (int i = 0; i < 4 * (COUNT(plain) + COUNT(block_types)); i++) {
		int d = i / 4;
		enum dtype t = d < COUNT(plain) ? plain[d] : block_types[d - COUNT(plain)];

		turned_once(t, 1 + below(90), 1 + below(9));
	}
}

static void
check_i8(void)
{
	static const enum dtype others[] = { F32, BF16, F16, F8_E4M3, Q5_1, IQ2_S };

	for (int d = 0; d < COUNT(others); d++)
		product_i8_once(others[d], PLAIN, blocks_of(others[d], 300), 20, 3);
	check_i8_types();
}

static int
check_row(const struct kernels *k)
{
	const int all = COUNT(weights) + COUNT(block_types);

	for (int i = 0; i < COUNT(sizes) * KINDS * all; i++) {
		int d = i / COUNT(sizes) % all;
		enum dtype t = d < COUNT(weights) ? weights[d] : block_types[d - COUNT(weights)];
		int n = blocks_of(t, sizes[i % COUNT(sizes)]);
		struct mat w = matrix(3, n, t, (enum kind)below(KINDS), below(300));
		int r = below(3);

		ref->row(place(&s_a, (size_t)n * 4), &w, r);
		k->row(place(&s_b, (size_t)n * 4), &w, r);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

/* Codes and scales lie behind one another. */
static int
check_quantize(const struct kernels *k)
{
	for (int i = 0; i < COUNT(sizes) * KINDS * 8; i++) {
		int n = sizes[i % COUNT(sizes)];
		enum kind kind = (enum kind)(i / COUNT(sizes) % WORST);
		enum dtype t = below(2) ? Q8 : Q4;
		size_t codes = dtype_row(t, n), bytes = codes + ((size_t)n + 15) / 16;
		float *w = floats(&s_x, n, kind), most = 0;
		unsigned char *a = place(&s_a, bytes), *b = place(&s_b, bytes);

		for (int j = 0; j < n; j++) {
			w[j] = below(5) ? w[j] : 0;
			most = fmaxf(most, fabsf(w[j]));
		}
		ref->quantize(a, a + codes, w, n, quant_factor(most), t);
		k->quantize(b, b + codes, w, n, quant_factor(most), t);
		if (!same_bytes(&s_a, &s_b))
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
check_layernorm(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		float *w = floats(&s_y, n, kind), *x = floats(&s_x, 2 * n, kind);
		float eps = below(2) ? 1e-6f : 0;

		twice(&a, &b, n, kind);
		ref->layernorm(a, x, w, x + n, n, eps);
		k->layernorm(b, x, w, x + n, n, eps);
		if (!same(&s_a, &s_b))
			return 0;
		ref->layernorm(a, a, w, x + n, n, eps);         /* in place */
		k->layernorm(b, b, w, x + n, n, eps);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
check_index_scores(const struct kernels *k)
{
	EACH_VECTOR(n, kind) {
		int H = 1 + below(9), ld = n + below(5);
		float *w = floats(&s_y, H, kind), *p = floats(&s_x, (H - 1) * ld + n, kind);

		ref->index_scores(place(&s_a, (size_t)n * 4), p, ld, w, H, n);
		k->index_scores(place(&s_b, (size_t)n * 4), p, ld, w, H, n);
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
check_rope_half(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		float *c = floats(&s_x, n, kind), *s = floats(&s_y, n, kind);

		twice(&a, &b, 2 * n, kind);
		ref->rope_half(a, c, s, n);
		k->rope_half(b, c, s, n);
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
check_fixed_exp_sum(const struct kernels *k)
{
	enum { N = 1001 };

	for (int round = 0; round < 50; round++) {
		float *x = place(&s_a, N * 4);
		double sum = 0, fast;

		for (int i = 0; i < N; i++) {
			x[i] = i % 50 == 0 ? -INFINITY :
			    (float)(i * 7919 % N) * (float)round * 0.03f - 900;
			sum += fixed_exp((double)x[i] - 10.5);
		}
		fast = k->fixed_exp_sum(x, N, 10.5);
		if (memcmp(&sum, &fast, sizeof(sum)) != 0)
			return 0;
	}
	return 1;
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

#include "gradients.h"

static const struct {
	const char *name;
	int (*check)(const struct kernels *k);
} checks[] = {
	{ "row", check_row },
	{ "quantize", check_quantize }, { "rmsnorm", check_rmsnorm },
	{ "rope", check_rope }, { "rope_half", check_rope_half },
	{ "softmax_block", check_softmax_block }, { "softmax_join", check_softmax_join },
	{ "scale", check_scale }, { "add", check_add }, { "silu_mul", check_silu_mul }, { "sigmoid", check_sigmoid },
	{ "softmax", check_softmax }, { "exp", check_exp },
	{ "fixed_exp_sum", check_fixed_exp_sum }, { "fixed_add", check_fixed_add },
	{ "fixed_finish", check_fixed_finish },
	{ "layernorm", check_layernorm }, { "index_scores", check_index_scores },
	{ "grad_outer", check_grad_outer }, { "grad_columns", check_grad_columns },
	{ "rmsnorm_back", check_rmsnorm_back }, { "softmax_back", check_softmax_back },
	{ "silu_back", check_silu_back },
};
_Static_assert(sizeof(struct kernels) == (COUNT(checks) + 4) * sizeof(void (*)(void)),
    "every function of the table has a check, besides the two products");

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
	size_t n = (size_t)N * (size_t)K, side = (size_t)(N > K ? N : K), size = (size_t)N * dtype_row(t, K);
	size_t groups = t == Q8 || t == Q4 ? n / 16 : 0;
	unsigned char *data = malloc(size), *group = malloc(groups + 1);
	float *scale = malloc((n / 128 + side * 2 + 2) * 4), *x = malloc(side * (size_t)T * 4), *out = malloc(side * (size_t)T * 4);
	struct mat w = { .data = data, .scale = t == F8_E4M3 ? scale : NULL, .rows = N, .cols = K, .dtype = t,
	    .scale_cols = (K + 127) / 128, .groups = group, .factor = 0x1p-8f };
	double start, best = 1e9, macs = (double)n * T;
	int repeat = macs > 1e7 ? 1 : (int)(1e7 / macs) + 1;

	for (size_t i = 0; i < groups; i++)
		weight(group + i, F8_E4M3, PLAIN);
	if (dtype_cols(t) > 1)
		random_blocks(data, n / (size_t)dtype_cols(t), t, PLAIN);
	for (size_t i = 0; dtype_cols(t) == 1 && i < size; i += dtype_size(t) ? dtype_size(t) : 1)
		weight(data + i, t == Q8 || t == Q4 ? U8 : t, PLAIN);
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
	    (double)(size + groups) / best * 1e-9, 2 * macs / best * 1e-9);
	free(data);
	free(group);
	free(scale);
	free(x);
	free(out);
}

static void
time_grad(const struct kernels *k, int N, int K, int T)
{
	int64_t *acc = calloc((size_t)N * (size_t)K, sizeof(*acc));
	float *dy = malloc((size_t)N * (size_t)T * 4), *x = malloc((size_t)K * (size_t)T * 4);
	double start, best = 1e9, macs = (double)N * K * T;
	int repeat = (int)(1e7 / macs) + 1;

	numbers(dy, (size_t)N * (size_t)T, PLAIN);
	numbers(x, (size_t)K * (size_t)T, PLAIN);
	for (int i = 0; i < 8; i++) {
		start = now();
		for (int j = 0; j < repeat; j++)
			k->grad_outer(acc, K, dy, N, N, x, K, K, T);
		best = fmin(best, (now() - start) / repeat);
	}
	printf("%-7s grad_outer T %3d  %5d x %-5d %9.2f us %8.1f GFLOP/s\n", k->name, T, N, K,
	    best * 1e6, 2 * macs / best * 1e-9);
	free(acc);
	free(dy);
	free(x);
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
	for (int d = 0; d < COUNT(block_types); d++)
		for (int i = 0; i < (slow ? 1 : COUNT(T)); i++)
			time_product(k, block_types[d], slow ? 256 : 2048, slow ? 1024 : 7168, T[i],
			    0);
	time_product(k, F32, 512, 576, 16, 0);
	time_product(k, F32, 512, 512, 16, 1);
	for (int i = 0; i < COUNT(T); i++)
		time_grad(k, 256, 256, T[i]);
	time_vector(k, "exp", k->exp);
	time_vector(k, "sigmoid", k->sigmoid);
	time_vector(k, "softmax", k->softmax);
}

/* Set i, if there is one that this machine runs. */
static const struct kernels *
set_at(int i)
{
	return kernels_set(i) ? kernels_named(kernels_set(i)) : NULL;
}

/* The tables whose product the set below lacks. */
static void
choose_candidates(enum precision p, int transposed)
{
	ncandidates = 0;
	for (int i = 1; set_at(i); i++) {
		const struct kernels *k = kernels_precision(set_at(i), p);
		const struct kernels *under = kernels_precision(set_at(i - 1), p);

		if (transposed ? k->matmul_t != under->matmul_t : k->matmul != under->matmul)
			candidate_add(k);
	}
}

static void
check_products(enum precision p)
{
	ref = kernels_precision(kernels_named("ref"), p);
	for (int transposed = 0; transposed < (p == PRECISION_I8 ? 1 : 2); transposed++) {
		choose_candidates(p, transposed);
		if (p == PRECISION_I8) {
			check_i8();
		} else {
			product(transposed);
			product_blocks(transposed);
		}
		if (transposed)
			turned();
		for (int i = 0; i < ncandidates; i++)
			ok(candidates[i].good, "%s of %s in %s gives the bits of the plain one",
			    transposed ? "matmul_t" : "matmul", candidates[i].k->name,
			    precision_name(p));
	}
}

static int
only_products_differ(const struct kernels *k, enum precision p)
{
	struct kernels other = *kernels_precision(k, p);

	other.precision = k->precision;
	other.matmul = k->matmul;
	if (p != PRECISION_I8)
		other.matmul_t = k->matmul_t;
	return memcmp(&other, k, sizeof(other)) == 0;
}

/* All but products, if the set below lacks any of it. */
static void
check_set(const struct kernels *k, const struct kernels *under)
{
	struct kernels same = *under;

	same.name = k->name;
	same.matmul = k->matmul;
	same.matmul_t = k->matmul_t;
	for (int i = 0; i < COUNT(checks) && memcmp(&same, k, sizeof(same)) != 0; i++)
		ok(checks[i].check(k), "%s of %s gives the bits of the plain one", checks[i].name,
		    k->name);
	ok(only_products_differ(k, PRECISION_BF16) && only_products_differ(k, PRECISION_I8),
	    "only products of %s depend on the precision", k->name);
}

/* The precision that -b, -B or -I times; PRECISIONS: none. */
static enum precision
timed(const char *option)
{
	return strcmp(option, "-b") == 0 ? PRECISION_F32 :
	    strcmp(option, "-B") == 0 ? PRECISION_BF16 :
	    strcmp(option, "-I") == 0 ? PRECISION_I8 : PRECISIONS;
}

int
main(int argc, char **argv)
{
	const char *set;
	enum precision p = argc > 1 ? timed(argv[1]) : PRECISIONS;
	int bench = p != PRECISIONS;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ref = kernels_named("ref");
	for (int i = 0; (set = kernels_set(i)); i++) {
		const struct kernels *k = kernels_named(set);

		if (bench) {
			if (k && (argc == 2 || strcmp(argv[2], set) == 0))
				time_all(kernels_precision(k, p));
		} else if (!k) {
			ok(1, "%s # SKIP this machine does not run it", set);
		} else if (i > 0) {
			check_set(k, set_at(i - 1));
		}
	}
	if (bench)
		return 0;
	check_products(PRECISION_F32);
	check_products(PRECISION_BF16);
	check_products(PRECISION_I8);
	printf("1..%d\n", points);
	return failures != 0;
}
