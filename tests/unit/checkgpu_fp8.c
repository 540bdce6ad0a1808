/*
 * Products of PRECISION_FP8 against plain C: x rounded as ds-arithmetic(7) says, sums in double.
 *
 * What a sum of 128 products of E4M3 may be off by: the products are exact; tensor cores keep at least 13 bits of what they
 * add, relative to the largest that takes part, so each of at most 8 steps of a block errs by 2^-13 of the sum of the magnitudes;
 * the joining of the blocks in float32 by 2^-24 for each.  The emulated GPU adds in float32.
 */
/* only: asan */
#include "numbers.h"

#include "cpu/cpu.h"
#include "gpu.h"

enum { MOST = 600 };    /* columns */

static double
eps(void)
{
	return strcmp(lib->kind, "emulated") == 0 ? 0x1p-16 : 0x1p-10;
}

/* x as it enters the product with weights of FP8. */
static void
rounded(double *to, const float *x, int n)
{
	for (int b = 0; b < n; b += BLOCK) {
		int end = n - b < BLOCK ? n : b + BLOCK;
		float most = 0, scale;

		for (int i = b; i < end; i++)
			most = isfinite(x[i]) && fabsf(x[i]) > most ? fabsf(x[i]) : most;
		scale = f8_scale(most);
		for (int i = b; i < end; i++)
			to[i] = (double)float_of_f8(f8_of_float(x[i] / scale)) * (double)scale;
	}
}

/* The product of row n of w with x, and in *size the sum of the magnitudes; x as it enters. */
static double
product(const struct mat *w, int n, const double *x, double *size)
{
	double sum = 0;

	*size = 0;
	for (int k = 0; k < w->cols; k++) {
		double p = (double)mat_element(w, n, k) * x[k];

		p *= w->scale ? (double)w->scale[(size_t)((w->row0 + n) / BLOCK) * (size_t)w->scale_cols + (size_t)(k / BLOCK)] : 1;
		sum += p;
		*size += fabs(p);
	}
	return sum;
}

static int
near(float got, double want, double size)
{
	if (!(size < 0x1p127))          /* what overflows, or is none, does so in an order of its own */
		return !isfinite(got) || isfinite(want);
	return fabs((double)got - want) <= size * eps() + 0x1p-140;
}

/* Every output of `out` [T][ldo] near the product. */
static int
all_near(const float *out, int ldo, const float *x, int ldx, int T, const struct mat *w)
{
	static double in[MOST];
	int bad = 0;

	for (int t = 0; t < T; t++) {
		rounded(in, x + (ptrdiff_t)t * ldx, w->cols);
		for (int n = 0; n < w->rows; n++) {
			double size, want = product(w, n, in, &size);

			if (!near(out[(ptrdiff_t)t * ldo + n], want, size) && bad++ == 0)
				printf("# row %d output %d: %g, should be %g\n", t, n, (double)out[(ptrdiff_t)t * ldo + n], want);
		}
	}
	return bad == 0;
}

/* --- one matrix --- */

/* Whether rows alone and in batches of others have the same bits. */
static int
alone(const float *out, int ldo, const float *x, int ldx, int T, const struct mat *there)
{
	float *one = malloc((size_t)there->rows * sizeof(*one));
	void *from = in_gpu((size_t)ldx * sizeof(float)), *to = in_gpu((size_t)there->rows * sizeof(float));
	int good = 1;

	for (int t = 0; t < T; t += T / 3 + 1) {
		again_to_gpu(from, x + (ptrdiff_t)t * ldx, (size_t)ldx * sizeof(float));
		gpu_must(lib->matmul(gpu, to, there->rows, from, ldx, 1, there, PRECISION_FP8));
		from_gpu(one, to, (size_t)there->rows * sizeof(float));
		good &= memcmp(one, out + (ptrdiff_t)t * ldo, (size_t)there->rows * sizeof(float)) == 0;
	}
	free(one);
	return good;
}

static int
one_matrix(int T, int rows, int cols, int row0, enum kind k)
{
	struct mat w = matrix(rows, cols, F8_E4M3, k, row0), there;
	int ldx = cols + below(2) * 3, ldo = rows + below(2) * 5, good;
	float *x = malloc((size_t)(T * ldx) * sizeof(float)), *out = malloc((size_t)(T * ldo) * sizeof(float));
	void *from, *to;

	if (rows % 16 == 0)
		ldo = rows;
	numbers(x, (size_t)(T * ldx), k);
	there = mat_to_gpu(&w);
	from = to_gpu(x, (size_t)(T * ldx) * sizeof(float));
	to = in_gpu((size_t)(T * ldo) * sizeof(float));
	gpu_must(lib->matmul(gpu, to, ldo, from, ldx, T, &there, PRECISION_FP8));
	from_gpu(out, to, (size_t)(T * ldo) * sizeof(float));
	good = all_near(out, ldo, x, ldx, T, &w) && alone(out, ldo, x, ldx, T, &there);
	for (int t = 0; t < T; t++)
		for (int i = rows; i < ldo; i++)
			good &= to_bits(out[(ptrdiff_t)t * ldo + i]) == 0xffffffff;
	free(x);
	free(out);
	return gpu_clear() && good;
}

static void
check_matmul(const char *who)
{
	static const struct { int T, rows, cols, row0; } shapes[] = {{1, 1, 1, 0}, {1, 64, 128, 0}, {2, 65, 129, 0}, {7, 100, 300, 77},
	    {8, 128, 256, 128}, {9, 33, 520, 100}, {17, 64, 256, 0}, {33, 70, 144, 64}, {65, 20, 512, 5}, {129, 65, 128, 0}, {150, 3, 17, 0}};

	for (int k = PLAIN; k <= WORST; k += WORST - PLAIN) {
		int good = 1;

		for (int i = 0; i < COUNT(shapes); i++)
			if (!one_matrix(shapes[i].T, shapes[i].rows, shapes[i].cols, shapes[i].row0, (enum kind)k) && good--)
				printf("# %d rows, matrix %d x %d at %d\n", shapes[i].T, shapes[i].rows, shapes[i].cols, shapes[i].row0);
		ok(good == 1, "%s: rows times a matrix of FP8, %s numbers", who, k == PLAIN ? "plain" : "the worst");
	}
}

/* So wide that it is cuBLASLt's, where that has such products. */
static void
check_wide(const char *who)
{
	struct gpu_about a;
	int rows;

	gpu_must(lib->about(gpu, &a));
	rows = a.processors * 128;
	ok(one_matrix(1, rows, 512, 0, PLAIN) && one_matrix(5, rows, 512, 128, PLAIN), "%s: and with one of %d outputs", who, rows);
}

/* A recording of one row is done again after a batch for which the library took more memory. */
static void
check_recording(const char *who)
{
	enum { N = 640, COLS = 512, MANY = 3000 };
	struct mat w = matrix(N, COLS, F8_E4M3, PLAIN, 0), there = mat_to_gpu(&w);
	static float x[COLS], direct[N], again[N];
	struct gpu_graph *graph;
	void *from, *to = in_gpu(sizeof(direct)), *many = in_gpu((size_t)MANY * COLS * 4), *out = in_gpu((size_t)MANY * N * 4);

	numbers(x, COLS, PLAIN);
	from = to_gpu(x, sizeof(x));
	gpu_must(lib->matmul(gpu, to, N, from, COLS, 1, &there, PRECISION_FP8));
	from_gpu(direct, to, sizeof(direct));
	gpu_must(lib->record(gpu));
	gpu_must(lib->matmul(gpu, to, N, from, COLS, 1, &there, PRECISION_FP8));
	gpu_must(lib->recorded(gpu, &graph));
	there.rows = 16;        /* what matters is the room for x */
	gpu_must(lib->matmul(gpu, out, N, many, COLS, MANY, &there, PRECISION_FP8));
	gpu_must(lib->fill(gpu, to, GPU_POISON, sizeof(again)));
	gpu_must(lib->replay(gpu, graph));
	from_gpu(again, to, sizeof(again));
	lib->graph_free(graph);
	ok(memcmp(direct, again, sizeof(again)) == 0 && gpu_clear(), "%s: a recording holds when the library has taken more memory", who);
}

/* --- the mlps of a layer --- */

enum { E = 5, K = 2, D = 200, WIDTH = 150, ROWS = 37 };

struct layer {
	struct mat m[E][3];             /* gate, up, down; in memory of their own */
	struct mlp there[E];
	float x[ROWS][D], w[ROWS * K];
	int32_t idx[ROWS * K];
};

static struct mat
kept(int rows, int cols)
{
	struct mat m = matrix(rows, cols, F8_E4M3, PLAIN, 0);
	size_t scales = (size_t)(rows + 127) / 128 * (size_t)m.scale_cols * sizeof(float);
	void *data = malloc((size_t)rows * (size_t)cols);

	memcpy(data, m.data, (size_t)rows * (size_t)cols);
	m.data = data;
	if (m.scale) {
		float *scale = malloc(scales);

		memcpy(scale, m.scale, scales);
		m.scale = scale;
	}
	return m;
}

static void
layer_make(struct layer *l)
{
	for (int e = 0; e < E; e++) {
		l->m[e][0] = kept(WIDTH, D);
		l->m[e][1] = kept(WIDTH, D);
		l->m[e][2] = kept(D, WIDTH);
	}
	for (int i = 0; i < ROWS * D; i++)      /* small, or contributions are refused */
		l->x[i / D][i % D] = number(PLAIN) * 0x1p-9f;
	numbers(l->w, ROWS * K, PLAIN);
	for (int t = 0; t < ROWS; t++) {        /* expert 3 gets nobody, 0 the most */
		l->idx[t * K] = 0;
		l->idx[t * K + 1] = t % 4 == 0 ? 4 : 1 + t % 2;
	}
}

static void
layer_free(struct layer *l)
{
	for (int e = 0; e < E; e++)
		for (int i = 0; i < 3; i++) {
			free((void *)(uintptr_t)l->m[e][i].data);
			free((void *)(uintptr_t)l->m[e][i].scale);
		}
}

static void
layer_to_gpu(struct layer *l)
{
	for (int e = 0; e < E; e++) {
		l->there[e].gate = mat_to_gpu(&l->m[e][0]);
		l->there[e].up = mat_to_gpu(&l->m[e][1]);
		l->there[e].down = mat_to_gpu(&l->m[e][2]);
	}
}

/* What pair i (idx, w) adds to its row, and how far off it may be: the inner numbers are rounded to E4M3, and one that is
 * a little off may get the next. */
static void
contribution(const struct layer *l, int i, double *to, double *size)
{
	const struct mat *m = l->m[l->idx[i]];
	double x[D], in[WIDTH];
	float inner[WIDTH];

	rounded(x, l->x[i / K], D);
	for (int j = 0; j < WIDTH; j++) {
		double s, g = product(&m[0], j, x, &s), u = product(&m[1], j, x, &s);

		inner[j] = (float)(g / (1 + exp(-g)) * u);
	}
	rounded(in, inner, WIDTH);
	for (int n = 0; n < D; n++) {
		to[n] = product(&m[2], n, in, &size[n]) * (double)l->w[i];
		size[n] *= fabs((double)l->w[i]);
	}
}

struct run {
	int64_t acc[ROWS][D];
	float each[ROWS * K][D];
	int32_t bad;
};

/* Rows from .. from+n-1 of the layer, by the library. */
static void
run(struct run *r, const struct layer *l, int from, int n)
{
	void *scratch = in_gpu(lib->mlp_scratch(D, WIDTH, n * K, PRECISION_FP8));
	struct expert_pairs c = {.E = E, .pairs = n * K};
	void *x = to_gpu(l->x[from], sizeof(l->x[0]) * (size_t)n), *acc = in_gpu(sizeof(r->acc[0]) * (size_t)n);
	void *each = in_gpu(sizeof(r->each[0]) * (size_t)(n * K)), *mlps = to_gpu(l->there, sizeof(l->there));
	void *idx = to_gpu(l->idx + from * K, (size_t)(n * K) * 4), *w = to_gpu(l->w + from * K, (size_t)(n * K) * 4);
	int32_t none = INT32_MAX, *bad = to_gpu(&none, sizeof(none));

	c.start = in_gpu((E + 1) * sizeof(int32_t));
	c.row = in_gpu((size_t)(n * K) * 4);
	c.slot = in_gpu((size_t)(n * K) * 4);
	c.w = in_gpu((size_t)(n * K) * 4);
	gpu_must(lib->fill(gpu, acc, 0, sizeof(r->acc[0]) * (size_t)n));
	gpu_must(lib->sort(gpu, &c, idx, w, n, K, NULL));
	gpu_must(lib->mlp(gpu, acc, x, D, mlps, &l->there[0], &c, bad, each, scratch, PRECISION_FP8));
	from_gpu(r->acc[from], acc, sizeof(r->acc[0]) * (size_t)n);
	from_gpu(r->each[from * K], each, sizeof(r->each[0]) * (size_t)(n * K));
	from_gpu(&r->bad, bad, sizeof(r->bad));
}

static void
check_mlp(const char *who)
{
	static struct layer l;
	static struct run all, some;
	static double want[D], size[D];
	int good = 1, same_bits;


	layer_make(&l);
	layer_to_gpu(&l);
	run(&all, &l, 0, ROWS);
	good = all.bad == INT32_MAX;
	for (int i = 0; i < ROWS * K; i++) {
		double off = 0, of = 0;

		contribution(&l, i, want, size);
		for (int n = 0; n < D; n++) {
			off += fabs((double)all.each[i][n] - want[n]);
			of += size[n];
		}
		if (!(off <= of * 0x1p-4) && good--)
			printf("# pair %d: off by %g of %g, bad %d\n", i, off, of, (int)all.bad);     /* a neighbour in E4M3 is 1/8 away at most; most numbers are the same */
	}
	ok(good, "%s: the experts' mlps are what plain C makes of the same rounded numbers", who);
	for (int t = 0, n; t < ROWS; t += n) {
		n = t + 1 < ROWS ? 1 + t % 5 : 1;
		n = t + n <= ROWS ? n : ROWS - t;
		run(&some, &l, t, n);
	}
	same_bits = memcmp(all.acc, some.acc, sizeof(all.acc)) == 0 && memcmp(all.each, some.each, sizeof(all.each)) == 0;
	layer_free(&l);
	ok(same_bits && gpu_clear(), "%s: with the same bits in batches of 1 to 5 rows", who);
}

static void
check(const char *who)
{
	check_matmul(who);
	check_wide(who);
	check_recording(who);
	check_mlp(who);
}

int
main(void)
{
	static const char *const capabilities[] = {"90", "89", "100"};
	struct gpu_about about;

	gpu_start();
	gpu_must(lib->about(gpu, &about));
	if (10 * about.major + about.minor < 89) {
		printf("1..0 # SKIP this GPU has no FP8\n");
		return 0;
	}
	if (strcmp(lib->kind, "emulated") != 0) {
		check("the GPU");
	} else {
		for (int i = 0; i < COUNT(capabilities); i++) {
			char who[40];

			lib->close(gpu);
			setenv("DS_EMULATE_CAPABILITY", capabilities[i], 1);
			gpu_must(lib->open(&gpu, 0));
			snprintf(who, sizeof(who), "compute capability %s", capabilities[i]);
			check(who);
		}
		lib->close(gpu);
		setenv("DS_EMULATE_CAPABILITY", "80", 1);
		gpu_must(lib->open(&gpu, 0));
		ok(lib->matmul(gpu, in_gpu(64), 1, in_gpu(64), 1, 1, &(struct mat){.data = in_gpu(64), .rows = 1, .cols = 1, .dtype = F8_E4M3},
		    PRECISION_FP8) == -1 && strstr(lib->error(), "8.9") && gpu_clear(), "compute capability 80 has no FP8: %s", lib->error());
	}
	printf("1..%d\n", points);
	return failures != 0;
}
