/*
 * checkgpu_products: the products of the GPU library in float32, bit for bit those of cpu/matmul_ref.c: all kinds of
 * weights, shapes for wide loads and odd ones, slices that keep their scales, strides, heads, and the mlps of
 * experts that got any number of rows.  Prints TAP.
 */
/* only: asan */
#include "gpu.h"
#include "numbers.h"

static const struct kernels *ref, *fast;
static struct slot s_x;

/* What the GPU should have left in n bytes, and what it did; NULL where it wrote outside. */
struct result {
	void *want, *on_gpu;
	size_t bytes;
};

static struct result
result_new(size_t bytes)
{
	struct result r = { malloc(bytes), in_gpu(bytes), bytes };

	if (!r.want)
		exit(1);
	memset(r.want, GPU_POISON, bytes);
	return r;
}

static int
result_same(struct result *r)
{
	void *got = malloc(r->bytes);
	int same_bits;

	if (!got)
		exit(1);
	from_gpu(got, r->on_gpu, r->bytes);
	same_bits = memcmp(got, r->want, r->bytes) == 0;
	free(got);
	free(r->want);
	return same_bits;
}

/* Sizes of which half are for wide loads, some with a last block that is not full. */
static int
size(void)
{
	static const int wide_sizes[] = { 16, 48, 64, 112, 128, 144, 192, 256, 272, 512, 640, 1152 };

	return below(2) ? wide_sizes[below(COUNT(wide_sizes))] : sizes[below(COUNT(sizes))];
}

static int
rows(void)
{
	return below(3) ? 1 + below(9) : 1 + below(70);
}

static int
check_matmul(enum dtype t, int i)
{
	enum kind kind = (enum kind)(i % KINDS);
	int tall = below(4) == 0;       /* so many rows of w that warps take several */
	int K = tall ? 16 * (1 + below(24)) : size(), N = tall ? 320 + below(60) : 1 + below(below(3) ? 20 : 80);
	int T = tall ? 1 + below(9) : rows();
	int ldx = below(3) ? K : K + 4 * below(3) + below(2), ldo = N + below(3);
	struct mat w = matrix(N, K, t, kind, below(300)), there = mat_to_gpu(&w);
	float *x = floats(&s_x, (T - 1) * ldx + K, below(3) ? kind : PLAIN);
	struct result out = result_new(((size_t)(T - 1) * (size_t)ldo + (size_t)N) * 4);

	fast->matmul(out.want, ldo, x, ldx, T, &w, 0, N);
	gpu_must(lib->matmul(gpu, out.on_gpu, ldo, to_gpu(x, ((size_t)(T - 1) * (size_t)ldx + (size_t)K) * 4), ldx, T, &there,
	    PRECISION_F32));
	gpu_must(lib->matmul(gpu, out.on_gpu, ldo, NULL, ldx, 0, &there, PRECISION_F32));       /* no rows, nothing to do */
	if (result_same(&out) && gpu_clear())
		return 1;
	printf("# %s T %d K %d N %d ldx %d kind %d row0 %d\n", dtype_name(t), T, K, N, ldx, kind, w.row0);
	return 0;
}

/* Heads as MLA has them: some of each head's rows; those of x and out lie side by side. */
static int
check_heads(enum dtype t, int i, int transposed)
{
	enum kind kind = (enum kind)(i % KINDS);
	int H = 1 + below(3), n = below(2) ? 1 + below(40) : 32, step = n + below(3) * 16, first = below(step - n + 1);
	int cols = size(), T = rows(), from = transposed ? n : cols, to = transposed ? cols : n;
	int ldx = H * from + below(2) * 4, ldo = H * to + below(2);
	struct mat w = matrix(H * step, cols, t, kind, below(300)), there = mat_to_gpu(&w);
	size_t taken = ((size_t)(T - 1) * (size_t)ldx + (size_t)(H * from)) * 4;
	float *x = floats(&s_x, (int)(taken / 4), below(3) ? kind : PLAIN);
	struct result out = result_new(((size_t)(T - 1) * (size_t)ldo + (size_t)(H * to)) * 4);

	for (int h = 0; h < H; h++) {
		struct mat head = mat_rows(&w, first + h * step, n);

		(transposed ? fast->matmul_t : fast->matmul)((float *)out.want + h * to, ldo,
		    x + h * from, ldx, T, &head, 0, to);
	}
	gpu_must((transposed ? lib->matmul_t_heads : lib->matmul_heads)(gpu, out.on_gpu, ldo, to, to_gpu(x, taken), ldx, from, T,
	    &there, first, step, n, H, PRECISION_F32));
	if (result_same(&out) && gpu_clear())
		return 1;
	printf("# %s T %d H %d rows %d of %d cols %d ldx %d kind %d row0 %d\n", dtype_name(t), T, H, n, step, cols, ldx, kind, w.row0);
	return 0;
}

static int
check_matmul_heads(enum dtype t, int i)
{
	return check_heads(t, i, 0);
}

static int
check_matmul_t_heads(enum dtype t, int i)
{
	return check_heads(t, i, 1);
}

/*
 * Experts
 */

enum { E_MANY = 40, E_MOST = 260 };     /* the last: more than threads cut into pieces at once */

/* A matrix whose parts stay, as those of matrix() do not. */
static struct mat
kept(int n, int cols, enum dtype t, enum kind k, void *parts[3])
{
	struct mat w = matrix(n, cols, t, k, below(3) * 64);
	size_t bytes[3] = { (size_t)n * dtype_row(t, cols), w.scale ? (size_t)(w.row0 + n + 127) / 128 * (size_t)w.scale_cols * 4 : 0,
	    w.groups ? (size_t)n * (((size_t)cols + 15) / 16) : 0 };
	const void *from[3] = { w.data, w.scale, w.groups };

	for (int i = 0; i < 3; i++) {
		parts[i] = malloc(bytes[i] + 1);
		if (!parts[i])
			exit(1);
		if (bytes[i])
			memcpy(parts[i], from[i], bytes[i]);
	}
	w.data = parts[0];
	w.scale = w.scale ? parts[1] : NULL;
	w.groups = w.groups ? parts[2] : NULL;
	return w;
}

struct experts {
	int E, D, width;
	struct mlp cpu[E_MOST], there[E_MOST];
	void *parts[E_MOST][3][3];
};

static void
experts_make(struct experts *m, enum dtype t, enum kind k)
{
	for (int e = 0; e < m->E; e++) {
		m->cpu[e].gate = kept(m->width, m->D, t, k, m->parts[e][0]);
		m->cpu[e].up = kept(m->width, m->D, t, k, m->parts[e][1]);
		m->cpu[e].down = kept(m->D, m->width, t, k, m->parts[e][2]);
		m->there[e].gate = mat_to_gpu(&m->cpu[e].gate);
		m->there[e].up = mat_to_gpu(&m->cpu[e].up);
		m->there[e].down = mat_to_gpu(&m->cpu[e].down);
	}
}

static void
experts_free(struct experts *m)
{
	for (int i = 0; i < m->E * 9; i++)
		free(m->parts[i / 9][i / 3 % 3][i % 3]);
}

/* One pair on the CPU: 0, or -1 where its contribution is refused. */
static int
pair(const struct mlp *m, int D, const float *x, float weight, int64_t *acc, float *each)
{
	float gate[2048], up[2048], y[2048];
	int r;

	fast->matmul(gate, D, x, D, 1, &m->gate, 0, m->gate.rows);
	fast->matmul(up, D, x, D, 1, &m->up, 0, m->up.rows);
	ref->silu_mul(gate, up, m->gate.rows);
	fast->matmul(y, D, gate, D, 1, &m->down, 0, D);
	r = ref->fixed_add(acc, y, weight, D);
	ref->scale(y, weight, D);
	if (each)
		memcpy(each, y, (size_t)D * 4);
	return r;
}

/* How many pairs each expert gets: none but one, all alike, or by chance. */
static int
share(int how, int e, int E, int most)
{
	return how == 0 ? (e == E / 2 ? most : 0) : how == 1 ? most / E : below(3) ? 0 : below(2 * most / E + 2);
}

static int
check_mlp(enum dtype t, int i)
{
	static struct experts m;
	enum kind kind = below(2) ? PLAIN : (enum kind)(i % KINDS);
	int most = i == 7 && t == F8_E4M3, few = most || below(2), T = few ? 1 + below(4) : 1 + below(40), how = i % 3, pairs = 0, least = below(4) ? INT32_MAX : 1;
	int32_t start[E_MOST + 1], row[512], slot[512], bad = least;
	float w[512], *x;
	struct expert_pairs c = { .pairs = 0 };
	struct result acc, each;
	size_t n;

	m.E = most ? E_MOST : few && below(2) ? E_MANY : 1 + below(6);
	m.D = most ? 16 : below(3) ? 16 * (1 + below(12)) : 1 + below(150);
	m.width = most ? 16 : below(3) ? 16 * (1 + below(12)) : 1 + below(150);
	experts_make(&m, t, kind);
	for (int e = 0; e < m.E; e++) {
		int mine = share(how, e, m.E, most ? m.E : few && m.E == E_MANY ? 1 + below(3) : few ? 6 : 80);

		start[e] = pairs;
		for (int j = 0; j < mine && pairs < 500; j++) {
			row[pairs] = below(T);
			w[pairs] = below(9) ? number(PLAIN) : number(kind);
			pairs++;
		}
	}
	start[m.E] = pairs;
	for (int p = 0; p < pairs; p++)
		slot[p] = pairs - 1 - p;
	n = (size_t)(pairs + 1) * (size_t)m.D;
	x = floats(&s_x, T * m.D, kind);
	acc = result_new((size_t)T * (size_t)m.D * 8);
	memset(acc.want, 1, acc.bytes);
	again_to_gpu(acc.on_gpu, acc.want, acc.bytes);
	each = result_new(n * 4);
	c.E = m.E;
	c.pairs = pairs + below(3);
	c.start = to_gpu(start, sizeof(start[0]) * (size_t)(m.E + 1));
	c.row = to_gpu(row, sizeof(row[0]) * (size_t)(pairs + 2));
	c.slot = to_gpu(slot, sizeof(slot[0]) * (size_t)(pairs + 2));
	c.w = to_gpu(w, sizeof(w[0]) * (size_t)(pairs + 2));
	for (int e = 0; e < m.E; e++)
		for (int p = start[e]; p < start[e + 1]; p++)
			if (pair(&m.cpu[e], m.D, x + row[p] * m.D, w[p], (int64_t *)acc.want + row[p] * m.D,
			    i % 4 ? (float *)each.want + slot[p] * m.D : NULL) < 0 && p < least)
				least = p;
	{
		int32_t *bad_there = to_gpu(&bad, sizeof(bad));
		void *scratch = in_gpu(lib->mlp_scratch(m.D, m.width, c.pairs, PRECISION_F32));

		gpu_must(lib->mlp(gpu, acc.on_gpu, to_gpu(x, (size_t)(T * m.D) * 4), m.D,
		    to_gpu(m.there, sizeof(m.there[0]) * (size_t)m.E), &m.there[0], &c, bad_there, i % 4 ? each.on_gpu : NULL, scratch,
		    PRECISION_F32));
		from_gpu(&bad, bad_there, sizeof(bad));
	}
	experts_free(&m);
	if (result_same(&acc) & result_same(&each) & gpu_clear() & (bad == least))
		return 1;
	printf("# %s E %d D %d width %d T %d pairs %d how %d kind %d: bad %d, should be %d\n", dtype_name(t), m.E, m.D, m.width, T,
	    pairs, how, kind, bad, least);
	return 0;
}

static void
check(const char *name, int (*one)(enum dtype, int), int times)
{
	for (int d = 0; d < COUNT(weights); d++) {
		int good = 1;

		for (int i = 0; i < times && good; i++)
			good = one(weights[d], i);
		ok(good, "%s %s", name, dtype_name(weights[d]));
	}
}

int
main(void)
{
	ref = kernels_named("ref");
	fast = kernels_choose();        /* products have the bits of ref */
	gpu_start();
	check("matmul", check_matmul, 35);
	check("matmul_heads", check_matmul_heads, 21);
	check("matmul_t_heads", check_matmul_t_heads, 28);
	check("mlp", check_mlp, 12);
	lib->close(gpu);
	printf("1..%d\n", points);
	return failures > 0;
}
