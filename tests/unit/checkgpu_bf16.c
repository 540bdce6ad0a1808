/*
 * checkgpu_bf16: the products of the GPU library in bf16.
 *
 * Beside cpu/matmul_bf16_ref.c they are within what the formats let both be off (see limit()).  And they have one result: the
 * same bits for any number of rows, wherever a row stands among them, for heads and for pairs of a group as for a product
 * of one row alone.  Prints TAP.
 */
/* first: yes */
/* only: asan */
#include "gpu.h"
#include "numbers.h"

#include "cpu/cpu.h"

static const struct kernels *ref, *fast;        /* of PRECISION_BF16 */
static struct slot s_x;

static void *
room(size_t n)
{
	void *p = malloc(n);

	if (!p) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	return p;
}

/* The magnitudes of w's weights as factors: [rows][cols]. */
static double *
factors_of(const struct mat *w)
{
	double *to = room((size_t)w->rows * (size_t)w->cols * sizeof(*to)), *p = to;
	float row[2048];

	for (int n = 0; n < w->rows; n++)
		for (int k = 0, end; k < w->cols; k = end) {
			end = w->cols - k < COUNT(row) ? w->cols : k + COUNT(row);
			mat_elements(row, w, n, k, end - k);
			for (int i = 0; i < end - k; i++)
				*p++ = fabs((double)bf16_of_float(row[i]));
		}
	return to;
}

/*
 * How far two sums of the same products may be apart: in units of 2^-24 of the sum of their magnitudes.
 *
 * The CPU: 17 roundings in a step of 32, and one for each step (ds-arithmetic(7)).  The tensor cores: a step of 16 products
 * and what they are added to, 17 numbers, each cut at 2^-23 of the largest at worst; eight steps to a block.  Both: one
 * rounding for each block.  What the CPU takes for zero, below 2^-126, comes on top: two numbers for each product.
 *
 * Negative where nothing can be said: a sum may or may not overflow, or a scale is not finite.
 * x: magnitudes of factors; factors: those of w.
 */
static double
limit(const double *x, const double *factors, const struct mat *w, int n, int transposed)
{
	const double *f = factors + (transposed ? n : (ptrdiff_t)n * w->cols);
	ptrdiff_t step = transposed ? w->cols : 1;
	int size = transposed ? w->rows : w->cols, end, blocks = 0;
	double sum = 0, zeros = 0;

	for (int k = 0; k < size; k = end, blocks++) {
		float scale = w->dtype != F8_E4M3 ? 1 : transposed ? mat_scale(w, k, n) : mat_scale(w, n, k);
		double s = 0;

		end = transposed ? mat_block_end(w, k, size) : size - k < BLOCK ? size : k + BLOCK;
		for (int i = k; i < end; i++) {
			double p = x[i] * f[i * step];

			s += isfinite(p) ? p : 0;
		}
		if (!isfinite(scale) || s >= 0x1p127)
			return -1;
		sum += s * fabs((double)scale);
		zeros += (end - k) * 0x1p-125 * (fabs((double)scale) + 1);
	}
	if (sum >= 0x1p127)
		return -1;
	return sum * 0x1p-24 * (17 + size / 32 + 1 + 2 * 17 * 8 + 2 * blocks) + zeros;
}

static int
is_near(float got, float want, double most)
{
	if (got != got && to_bits(got) != 0x7fc00000)
		return 0;
	if (most < 0)
		return 1;
	if (!isfinite(want))
		return want != want ? got != got : got == want;
	return fabs((double)got - (double)want) <= most;
}

/* The rows of `out` against those of the CPU; what lies between them must be as it was. */
static int
rows_near(const float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int transposed)
{
	int N = transposed ? w->cols : w->rows;
	float *want = room((size_t)N * 4);
	double *factors = factors_of(w), *in = room((size_t)(w->rows + w->cols) * sizeof(*in));
	int good = 1;

	for (int t = 0; t < T && good; t++) {
		for (int i = 0; i < (transposed ? w->rows : w->cols); i++)
			in[i] = fabs((double)bf16_of_float(x[t * ldx + i]));
		(transposed ? fast->matmul_t : fast->matmul)(want, N, x + t * ldx, ldx, 1, w, 0, N);
		for (int n = 0; n < N && good; n++) {
			double most = limit(in, factors, w, n, transposed);

			good = is_near(out[t * ldo + n], want[n], most);
			if (!good)
				printf("# %s%s row %d output %d of %d x %d: %a, the CPU %a, limit %a\n", dtype_name(w->dtype),
				    transposed ? " transposed" : "", t, n, w->rows, w->cols, out[t * ldo + n], want[n],
				    most);
		}
	}
	free(want);
	free(factors);
	free(in);
	return good;
}

static int
untouched(const float *p, ptrdiff_t n)
{
	for (ptrdiff_t i = 0; i < n; i++)
		if (to_bits(p[i]) != 0xffffffff)
			return 0;
	return 1;
}

/* Sizes of which half are whole slots. */
static int
size(void)
{
	static const int slots[] = { 16, 32, 48, 64, 112, 128, 144, 192, 256, 272, 512, 1152 };

	return below(2) ? slots[below(COUNT(slots))] : sizes[below(COUNT(sizes))];
}

/* Shapes of all kinds against the CPU. */
static int
check_matmul(enum dtype d, int i)
{
	enum kind kind = (enum kind)(i % KINDS);
	int K = size(), N = 1 + below(below(3) ? 20 : 150), T = 1 + below(below(3) ? 8 : 40);
	int ldx = below(3) ? K : K + 4 * below(3) + below(2), ldo = N + below(3), good;
	struct mat w = matrix(N, K, d, kind, below(300)), there = mat_to_gpu(&w);
	size_t n = (size_t)(T - 1) * (size_t)ldo + (size_t)N, nx = (size_t)(T - 1) * (size_t)ldx + (size_t)K;
	float *x = floats(&s_x, (int)nx, below(3) ? kind : PLAIN), *out = room(n * 4), *on_gpu = in_gpu(n * 4);

	gpu_must(lib->matmul(gpu, on_gpu, ldo, to_gpu(x, nx * 4), ldx, T, &there, PRECISION_BF16));
	from_gpu(out, on_gpu, n * 4);
	good = rows_near(out, ldo, x, ldx, T, &w, 0);
	for (int t = 0; t < T - 1; t++)
		good &= untouched(out + t * ldo + N, ldo - N);
	if (!good)
		printf("# %s T %d K %d N %d ldx %d ldo %d kind %d row0 %d\n", dtype_name(d), T, K, N, ldx, ldo, kind, w.row0);
	free(out);
	return gpu_clear() && good;
}

/* The heads of MLA, as matrices of their own. */
static int
check_heads(enum dtype d, int i, int transposed)
{
	enum kind kind = (enum kind)(i % KINDS);
	int H = 1 + below(3), rows = below(2) ? size() % 300 + 1 : 128, step = rows + below(40), first = below(20);
	int cols = below(2) ? 16 * (1 + below(20)) : size() % 400 + 1, T = 1 + below(below(3) ? 9 : 40);
	int in = transposed ? rows : cols, N = transposed ? cols : rows, good = 1;
	int x_step = in + below(5), ldx = H * x_step + below(4), out_step = N + below(3), ldo = H * out_step;
	struct mat w = matrix(first + (H - 1) * step + rows, cols, d, kind, below(300)), there = mat_to_gpu(&w);
	float *x = floats(&s_x, T * ldx, below(3) ? kind : PLAIN), *x_gpu = to_gpu(x, (size_t)(T * ldx) * 4);
	size_t n = (size_t)(T * ldo) * 4;
	float *out = room(n), *on_gpu = in_gpu(n);

	gpu_must((transposed ? lib->matmul_t_heads : lib->matmul_heads)(gpu, on_gpu, ldo, out_step, x_gpu, ldx, x_step, T, &there, first,
	    step, rows, H, PRECISION_BF16));
	from_gpu(out, on_gpu, n);
	for (int h = 0; h < H && good; h++) {
		struct mat part = mat_rows(&w, first + h * step, rows);

		good = rows_near(out + h * out_step, ldo, x + h * x_step, ldx, T, &part, transposed);
		for (int t = 0; t < T; t++)
			good &= untouched(out + t * ldo + h * out_step + N, out_step - N);
	}
	if (!good)
		printf("# %s T %d H %d rows %d step %d first %d cols %d kind %d row0 %d\n", dtype_name(d), T, H, rows, step, first, cols,
		    kind, w.row0);
	free(out);
	return gpu_clear() && good;
}

/* A product and the transposed one of w, which is square, with one row of x that has the same number everywhere. */
static int
check_square(const struct mat *w, float number)
{
	struct mat there = mat_to_gpu(w);
	int n = w->rows, good;
	float *x = place(&s_x, (size_t)n * 4), *x_gpu, *on_gpu = in_gpu((size_t)n * 8), *out = room((size_t)n * 8);

	for (int i = 0; i < n; i++)
		x[i] = number;
	x_gpu = to_gpu(x, (size_t)n * 4);
	gpu_must(lib->matmul(gpu, on_gpu, n, x_gpu, n, 1, &there, PRECISION_BF16));
	gpu_must(lib->matmul_t_heads(gpu, on_gpu + n, n, 0, x_gpu, n, 0, 1, &there, 0, 0, n, 1, PRECISION_BF16));
	from_gpu(out, on_gpu, (size_t)n * 8);
	good = rows_near(out, n, x, n, 1, w, 0) && rows_near(out + n, n, x, n, 1, w, 1);
	free(out);
	return gpu_clear() && good;
}

/* Weights that are subnormal are zeros, and so are such numbers of x, also where the other factor is large. */
static int
check_subnormal(int n)
{
	static const float factor[] = { 0x1p-130f, 0x1p120f, -0x1.8p-127f };
	int good = 1;

	for (int i = 0; i < 6; i++) {
		struct mat w = matrix(n, n, i < 3 ? BF16 : F32, PLAIN, 0);

		for (int k = 0; k < n * n; k++) {
			uint32_t b = to_bits(factor[i % 3]);
			unsigned char *to = (unsigned char *)(uintptr_t)w.data + k * (i < 3 ? 2 : 4);

			memcpy(to, (unsigned char *)&b + (i < 3 ? 2 : 0), i < 3 ? 2 : 4);
		}
		good &= check_square(&w, i % 3 == 1 ? -0x1.4p-128f : 0x1p120f);
	}
	return good;
}

/* Every code of a matrix in Q4 with the largest scales there are, numbers behind its last column that these take to infinity. */
static int
check_behind(int n)
{
	struct mat w = matrix(n, n, Q4, PLAIN, 0);
	unsigned char *p = (unsigned char *)(uintptr_t)w.data;
	size_t row = dtype_row(Q4, n);

	memset(p, 0xff, (size_t)n * row);
	memset((unsigned char *)(uintptr_t)w.groups, 0x7e, (size_t)n * (((size_t)n + 15) / 16));
	w.factor = QUANT_FACTOR_MAX;
	for (int i = 0; i < n; i++)
		for (int k = 0; k < n; k++) {
			unsigned char *b = p + (size_t)i * row + k / 32 * 16 + k % 16;
			int code = 5 + (i + k) % 6, half = k / 16 % 2 * 4;

			*b = (unsigned char)((*b & ~(15 << half)) | code << half);
		}
	return check_square(&w, 0x1p-30f);
}

/* Products of 1 to 129 rows from some row on have the bits that these rows get among all, and one head those that it gets
 * among several. */
static int
check_batches(enum dtype d, int N, int K, int H)
{
	static const int counts[] = { 1, 7, 8, 9, 33, 64, 129 };
	enum { ALL = 131 };
	int most = N > K ? N : K, ld = H * most, good = 1, rows = N;
	struct mat w = matrix(N * H, K, d, PLAIN, 40), there = mat_to_gpu(&w);
	size_t n = (size_t)(ALL * ld) * 4;
	float *x = floats(&s_x, ALL * ld, PLAIN), *x_gpu = to_gpu(x, n), *all = room(n), *some = room(n), *on_gpu = in_gpu(n);

	for (int transposed = 0; transposed < 2; transposed++) {
		int (*heads)(struct gpu *, float *, ptrdiff_t, ptrdiff_t, const float *, ptrdiff_t, ptrdiff_t, int, const struct mat *,
		    int, int, int, int, enum precision) = transposed ? lib->matmul_t_heads : lib->matmul_heads;
		int outs = transposed ? K : N;

		gpu_must(heads(gpu, on_gpu, ld, most, x_gpu, ld, most, ALL, &there, 0, rows, rows, H, PRECISION_BF16));
		from_gpu(all, on_gpu, n);
		for (int i = 0; i < COUNT(counts); i++) {
			int T = counts[i], from = below(ALL - T + 1), h = below(H);

			gpu_must(lib->fill(gpu, on_gpu, GPU_POISON, n));
			gpu_must(heads(gpu, on_gpu, ld, most, x_gpu + from * ld + h * most, ld, most, T, &there, h * rows, rows, rows, 1,
			    PRECISION_BF16));
			from_gpu(some, on_gpu, n);
			for (int t = 0; t < T; t++)
				good &= memcmp(some + t * ld, all + (from + t) * ld + h * most, (size_t)outs * 4) == 0;
			if (!good) {
				printf("# %s%s %d x %d, %d rows from %d\n", dtype_name(d), transposed ? " transposed" : "", N, K, T, from);
				break;
			}
		}
	}
	free(all);
	free(some);
	return gpu_clear() && good;
}

/*
 * The mlps.  What they should give is put together from the GPU's own products of one row.
 */

struct group {
	int E, T, D, width, pairs;
	struct mlp *mlps, *mlps_gpu;        /* [E]: both say where the matrices are in the GPU */
	struct expert_pairs c;                    /* on the host */
	float *x, *x_gpu;
};

static struct mat
random_mat(int rows, int cols, enum dtype d)
{
	struct mat w = matrix(rows, cols, d, PLAIN, below(130));

	return mat_to_gpu(&w);
}

static void
group_make(struct group *p, enum dtype d, int E, int T, int D, int width)
{
	struct expert_pairs *c = &p->c;
	int n = 0;

	*p = (struct group){ .E = E, .T = T, .D = D, .width = width, .pairs = E * T };
	p->mlps = room((size_t)E * sizeof(*p->mlps));
	for (int e = 0; e < E; e++)
		p->mlps[e] = (struct mlp){ random_mat(width, D, d), random_mat(width, D, d), random_mat(D, width, d) };
	p->mlps_gpu = to_gpu(p->mlps, (size_t)E * sizeof(*p->mlps));
	p->x = room((size_t)(T * D) * 4);
	numbers(p->x, (size_t)(T * D), PLAIN);
	p->x_gpu = to_gpu(p->x, (size_t)(T * D) * 4);
	*c = (struct expert_pairs){ E, p->pairs, room((size_t)(E + 1) * 4), room((size_t)p->pairs * 4), room((size_t)p->pairs * 4),
	    room((size_t)p->pairs * 4) };
	for (int e = 0; e < E; e++) {
		int share = below(4);           /* none, some, half, all of the rows */

		c->start[e] = n;
		for (int t = 0; t < T; t++)
			if (share == 3 || (share && below(share == 1 ? 8 : 2) == 0)) {
				c->row[n] = t;
				c->slot[n] = p->pairs - 1 - n;
				c->w[n++] = number(PLAIN);
			}
	}
	c->start[E] = n;
	for (int i = n; i < p->pairs; i++) {    /* must not be looked at */
		c->row[i] = c->slot[i] = -1;
		c->w[i] = NAN;
	}
}

static void
group_free(struct group *p)
{
	free(p->mlps);
	free(p->x);
	free(p->c.start);
	free(p->c.row);
	free(p->c.slot);
	free(p->c.w);
}

/* y [D]: the mlp of one row alone. */
static void
alone(const struct group *p, float *y, int e, int row)
{
	const struct mlp *m = &p->mlps[e];
	float *gate = room((size_t)p->width * 4), *up = room((size_t)p->width * 4), *on_gpu = in_gpu((size_t)(p->width + p->D) * 4);
	const struct mat *parts[] = { &m->gate, &m->up };

	for (int i = 0; i < 2; i++) {
		gpu_must(lib->matmul(gpu, on_gpu, p->width, p->x_gpu + row * p->D, p->D, 1, parts[i], PRECISION_BF16));
		from_gpu(i ? up : gate, on_gpu, (size_t)p->width * 4);
	}
	ref->silu_mul(gate, up, p->width);
	again_to_gpu(on_gpu, gate, (size_t)p->width * 4);
	gpu_must(lib->matmul(gpu, on_gpu + p->width, p->D, on_gpu, p->width, 1, &m->down, PRECISION_BF16));
	from_gpu(y, on_gpu + p->width, (size_t)p->D * 4);
	free(gate);
	free(up);
}

static struct expert_pairs
chosen_to_gpu(const struct expert_pairs *c)
{
	size_t n = (size_t)c->pairs * 4;

	return (struct expert_pairs){ c->E, c->pairs, to_gpu(c->start, (size_t)(c->E + 1) * 4), to_gpu(c->row, n), to_gpu(c->slot, n),
	    to_gpu(c->w, n) };
}

/* refuse: the pair from which on weights are too large, or -1. */
static int
check_mlp(enum dtype d, int E, int T, int D, int width, int refuse)
{
	struct group p;
	struct expert_pairs there;
	size_t n, n_each;
	int64_t *acc, *got, *acc_gpu;
	float *each, *got_each, *each_gpu;
	int32_t bad = INT32_MAX, *bad_gpu;
	int good, used, worst = INT32_MAX;

	group_make(&p, d, E, T, D, width);
	used = p.c.start[E];
	for (int i = refuse; refuse >= 0 && i < used; i++)
		p.c.w[i] = 0x1p120f;
	n = (size_t)(T * D), n_each = (size_t)p.pairs * (size_t)D;
	acc = room(n * 8), got = room(n * 8), each = room(n_each * 4), got_each = room(n_each * 4);
	for (size_t i = 0; i < n; i++)
		acc[i] = (int64_t)random32();
	memset(each, GPU_POISON, n_each * 4);
	acc_gpu = to_gpu(acc, n * 8);
	each_gpu = in_gpu(n_each * 4);
	bad_gpu = to_gpu(&bad, 4);
	there = chosen_to_gpu(&p.c);
	gpu_must(lib->mlp(gpu, acc_gpu, p.x_gpu, D, p.mlps_gpu, &p.mlps[0], &there, bad_gpu, below(3) || refuse >= 0 ? each_gpu : NULL,
	    in_gpu(lib->mlp_scratch(D, width, p.pairs, PRECISION_BF16)), PRECISION_BF16));
	from_gpu(got, acc_gpu, n * 8);
	from_gpu(got_each, each_gpu, n_each * 4);
	from_gpu(&bad, bad_gpu, 4);
	for (int e = 0; e < E; e++)
		for (int i = p.c.start[e]; i < p.c.start[e + 1]; i++) {
			float *y = each + (size_t)p.c.slot[i] * (size_t)D;

			alone(&p, y, e, p.c.row[i]);
			if (ref->fixed_add(acc + p.c.row[i] * D, y, p.c.w[i], D) < 0 && i < worst)
				worst = i;
			for (int k = 0; k < D; k++)
				y[k] = canonical(y[k] * p.c.w[i]);
		}
	good = worst == bad && memcmp(acc, got, n * 8) == 0;
	if (!untouched(got_each, 1) || !untouched(got_each + n_each - 1, 1))
		good &= memcmp(each, got_each, n_each * 4) == 0;
	if (!good)
		printf("# %s E %d T %d D %d width %d pairs %d of %d, first refused %d, should be %d\n", dtype_name(d), E, T, D, width,
		    used, p.pairs, bad, worst);
	group_free(&p);
	free(acc);
	free(got);
	free(each);
	free(got_each);
	return gpu_clear() && good;
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	gpu_start();
	ref = kernels_precision(kernels_named("ref"), PRECISION_BF16);
	fast = kernels_precision(kernels_choose(), PRECISION_BF16);     /* with the bits of ref */
	for (int t = 0; t < COUNT(weights); t++) {
		enum dtype d = weights[t];
		int good = 1;

		for (int i = 0; i < 3 * KINDS && good; i++)
			good = check_matmul(d, i);
		ok(good, "matmul, weights of %s: as near to the CPU's as the formats say", dtype_name(d));
		for (int i = 0; i < KINDS && good; i++)
			good = check_heads(d, i, 0);
		ok(good, "matmul_heads, %s", dtype_name(d));
		for (int i = 0; i < KINDS + 3 && good; i++)
			good = check_heads(d, i, 1);
		ok(good, "matmul_t_heads, %s", dtype_name(d));
		ok(check_batches(d, 17, 80, 2) && check_batches(d, 64, 64, 3) && check_batches(d, 33, 130, 1),
		    "%s: the bits of a row do not depend on the others", dtype_name(d));
		ok(check_mlp(d, 3, 3, 48, 32, -1) && check_mlp(d, 2, 21, 33, 20, -1) && check_mlp(d, 1, 40, 32, 64, -1),
		    "mlp, %s: the bits of each pair alone", dtype_name(d));
	}
	ok(check_subnormal(16) && check_subnormal(13), "subnormal numbers are zeros");
	ok(check_behind(21) && check_behind(41) && check_behind(48), "what lies behind the columns of Q4 does not count");
	ok(check_batches(F8_E4M3, 1056, 144, 1) && check_batches(BF16, 1040, 80, 1), "the bits of a row, in wide shapes");
	ok(check_mlp(F8_E4M3, 2, 5, 80, 1040, -1) && check_mlp(BF16, 2, 70, 264, 64, -1), "mlp in wide shapes");
	ok(check_mlp(F8_E4M3, 4, 6, 32, 32, 5) && check_mlp(F32, 2, 12, 20, 12, 0), "mlp: the first pair that is too large is told");
	lib->close(gpu);
	printf("1..%d\n", points);
	return failures != 0;
}
