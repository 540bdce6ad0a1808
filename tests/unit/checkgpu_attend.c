/*
 * Attention on the GPU.  In f32 against the CPU's plain kernels, page by page as
 * device/cpu_attend.c: bit for bit.  In bf16 against the CPU's bf16, within what the formats
 * allow; and the bits of a row are the same alone and among others, with pages after its own or
 * without them, set or not.
 */
/* only: asan */
/* first: yes */
#include "numbers.h"
#include "gpu.h"
#include "append.h"

#include "cpu/cpu.h"
#include "device/cpu.h"

enum { SEQS = 3, ROWS = 6, WIDTH_MOST = 640 };

struct shape {
	int H, window;                  /* query heads; positions that a row sees, 0: all */
	struct kv_shape kv;
	int rope, width;                /* numbers of a key and a query that are rotated; of a query before that */
	uint32_t held[SEQS];
};

#define MLA(H, R, rope, nope) H, 0, {1, R + rope, R, 1}, rope, nope + rope
#define WINDOW(W, H, G, key, value, rope) H, W, {G, key, value, 0}, rope, key
#define GQA(H, G, key, value, rope) WINDOW(0, H, G, key, value, rope)

static const struct shape shapes[] = {
	{MLA(1, 1, 2, 1), {1, 65, 130}},
	{MLA(3, 20, 6, 5), {70, 64, 200}},
	{MLA(16, 64, 16, 8), {260, 66, 127}},
	{MLA(17, 33, 6, 7), {63, 129, 260}},
	{MLA(40, 100, 4, 1), {130, 128, 2}},
	{MLA(2, 600, 10, 4), {66, 70, 64}},             /* too wide for tensor cores */
	{MLA(5, 512, 64, 128), {260, 64, 10}},
	{MLA(70, 24, 8, 3), {520, 80, 3}},              /* more than 64 heads: parts of 512 */
	{MLA(33, 512, 64, 128), {66, 1, 3}},            /* a slot is more than all have room for */
	{GQA(1, 1, 3, 1, 2), {2, 65, 130}},
	{GQA(6, 2, 20, 9, 6), {70, 64, 200}},
	{GQA(8, 8, 64, 64, 64), {260, 66, 64}},
	{GQA(16, 2, 128, 128, 128), {260, 66, 10}},
	{GQA(12, 3, 128, 128, 64), {66, 130, 1}},
	{GQA(34, 2, 64, 64, 64), {63, 129, 260}},
	{GQA(66, 1, 128, 128, 64), {520, 80, 2}},       /* parts one by one */
	{GQA(4, 2, 300, 290, 30), {66, 70, 64}},        /* too wide for tensor cores */
	{WINDOW(1, 6, 2, 20, 9, 6), {600, 64, 330}},
	{WINDOW(70, 6, 1, 64, 64, 64), {700, 129, 520}},
	{WINDOW(256, 17, 1, 48, 48, 48), {1100, 300, 257}},
};

/* Sequences in the cache. */
struct world {
	const struct shape *s;
	enum precision p;
	int pages, most, list[SEQS];
	size_t page;                    /* bytes */
	int *at;                        /* [pages]: where in the image */
	unsigned char *image;           /* of all pages, NaN where nothing is set */
	float *key[SEQS], *value[SEQS]; /* [kv.heads][held][..] */
};

struct rows {
	int n, seq[ROWS];
	uint32_t pos[ROWS];
};

struct result {
	size_t positions;
	float *out, *max, *sum, *probs; /* [n][H][..] */
};

static const struct kernels *ref;

static const char *
shape_name(const struct shape *s)
{
	static char name[80];

	snprintf(name, sizeof(name), "%d heads over %d of %d and %d numbers", s->H, s->kv.heads, s->kv.key, s->kv.value);
	return name;
}

static void *
memory(size_t n)
{
	void *p = calloc(n + !n, 1);

	if (!p) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	return p;
}

/* --- the cache --- */

/* The first position that a row at pos sees. */
static uint32_t
first_seen(const struct shape *s, uint32_t pos)
{
	return s->window == 0 || pos < (uint32_t)s->window ? 0 : pos + 1 - (uint32_t)s->window;
}

/* Key head g of a position, and its value. */
static const float *
key_of(const struct world *w, int seq, int g, size_t pos)
{
	return w->key[seq] + ((size_t)g * w->s->held[seq] + pos) * (size_t)w->s->kv.key;
}

static const float *
value_of(const struct world *w, int seq, int g, size_t pos)
{
	return w->s->kv.shared ? key_of(w, seq, g, pos) :
	    w->value[seq] + ((size_t)g * w->s->held[seq] + pos) * (size_t)w->s->kv.value;
}

/* n numbers as the cache has them. */
static void
numbers_put(const struct world *w, unsigned char *to, const float *row, int n)
{
	for (int i = 0; i < n; i++) {
		uint32_t b = bits_of_float(w->p == PRECISION_F32 ? row[i] : bf16_of_float(row[i]));

		if (w->p == PRECISION_F32)
			memcpy(to + 4 * i, &b, 4);
		else
			memcpy(to + 2 * i, (unsigned char *)&b + 2, 2);
	}
}

/* The key of head g and its value where the image has that position. */
static void
head_put(const struct world *w, unsigned char *image, int seq, int g, uint32_t pos, const float *key, const float *value)
{
	const struct kv_shape *kv = &w->s->kv;
	size_t pitch = gpu_kv_pitch(kv->key, w->p), at = pos % CACHE_PAGE;
	unsigned char *head = image + (size_t)w->at[w->list[seq] + (int)(pos / CACHE_PAGE)] * w->page +
	    (size_t)g * (w->page / (size_t)kv->heads);

	numbers_put(w, head + at * pitch, key, kv->key);
	if (!kv->shared)
		numbers_put(w, head + CACHE_PAGE * pitch + at * gpu_kv_pitch(kv->value, w->p), value, kv->value);
}

static void
position_put(const struct world *w, unsigned char *image, int seq, uint32_t pos)
{
	for (int g = 0; g < w->s->kv.heads; g++)
		head_put(w, image, seq, g, pos, key_of(w, seq, g, pos), value_of(w, seq, g, pos));
}

static void
shuffle(int *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = i;
	for (int i = n - 1; i > 0; i--) {
		int j = below(i + 1), kept = x[i];

		x[i] = x[j];
		x[j] = kept;
	}
}

/* n numbers as factors of products in bf16. */
static void
factors(float *to, const float *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = bf16_of_float(from[i]);
}

/* shared: the second sequence begins with the first page of the first, if both have so many
 * positions. */
static struct world
world_new(const struct shape *s, enum precision p, enum kind kind, int shared)
{
	struct world w = {.s = s, .p = p, .page = CACHE_PAGE * gpu_kv_position(&s->kv, p)};
	size_t key = (size_t)s->kv.key, value = (size_t)s->kv.value, heads = (size_t)s->kv.heads;

	for (int i = 0; i < SEQS; i++) {
		int pages = (int)(s->held[i] + CACHE_PAGE - 1) / CACHE_PAGE;

		w.list[i] = w.pages;
		w.pages += pages;
		w.most = pages > w.most ? pages : w.most;
		w.key[i] = memory(heads * s->held[i] * key * 4);
		w.value[i] = memory(heads * s->held[i] * value * 4);
		numbers(w.key[i], heads * s->held[i] * key, kind);
		numbers(w.value[i], heads * s->held[i] * value, kind);
		if (p == PRECISION_BF16) {      /* as the cache has them */
			factors(w.key[i], w.key[i], heads * s->held[i] * key);
			factors(w.value[i], w.value[i], heads * s->held[i] * value);
		}
	}
	w.at = memory((size_t)w.pages * sizeof(*w.at));
	shuffle(w.at, w.pages);
	if (shared && s->held[0] >= CACHE_PAGE && s->held[1] >= CACHE_PAGE) {
		w.at[w.list[1]] = w.at[w.list[0]];
		for (size_t g = 0; g < heads; g++) {
			memcpy(w.key[1] + g * s->held[1] * key, w.key[0] + g * s->held[0] * key, CACHE_PAGE * key * 4);
			memcpy(w.value[1] + g * s->held[1] * value, w.value[0] + g * s->held[0] * value, CACHE_PAGE * value * 4);
		}
	}
	w.image = memory((size_t)w.pages * w.page);
	memset(w.image, 0xff, (size_t)w.pages * w.page);
	for (int i = 0; i < SEQS; i++)
		for (uint32_t k = 0; k < s->held[i]; k++)
			position_put(&w, w.image, i, k);
	return w;
}

static void
world_free(struct world *w)
{
	for (int i = 0; i < SEQS; i++) {
		free(w->key[i]);
		free(w->value[i]);
	}
	free(w->at);
	free(w->image);
}

/* The last of each sequence, and some of the first as a piece of its prompt, over the end of a page
 * where there is one. */
static struct rows
rows_of(const struct world *w)
{
	struct rows r = {0};
	uint32_t held = w->s->held[0], from = held > CACHE_PAGE ? CACHE_PAGE - 2 : 0;

	for (int i = SEQS - 1; i >= 0; i--) {
		r.seq[r.n] = i;
		r.pos[r.n++] = w->s->held[i] - 1;
	}
	for (uint32_t pos = from; pos + 1 < held && r.n < ROWS; pos++, r.n++)
		r.pos[r.n] = pos;
	return r;
}

/* As the library wants them; the pages of `image`, of which *cache becomes the beginning. */
static struct kv_rows
rows_to_gpu(const struct world *w, const struct rows *r, const unsigned char *image, int most, unsigned char **cache)
{
	struct kv_rows g = {.n = r->n, .most = most, .window = w->s->window,
	    .pos = to_gpu(r->pos, (size_t)r->n * 4)};
	void **pages = memory((size_t)w->pages * sizeof(*pages));
	int32_t list[ROWS];

	*cache = to_gpu(image, (size_t)w->pages * w->page);
	for (int i = 0; i < w->pages; i++)
		pages[i] = *cache + (size_t)w->at[i] * w->page;
	for (int t = 0; t < r->n; t++)
		list[t] = w->list[r->seq[t]];
	g.list = to_gpu(list, (size_t)r->n * 4);
	g.pages = to_gpu(pages, (size_t)w->pages * sizeof(*pages));
	free(pages);
	return g;
}

/* --- angles and append --- */

static int
angles(int T, int half, double largest)
{
	double *freq = memory((size_t)half * sizeof(*freq)), factor = 1 + 0.1 * below(4);
	struct device cpu = {.pool = pool_new(1)};
	size_t n = (size_t)T * (size_t)half;
	uint32_t *pos = memory((size_t)T * 4);
	float *got = memory(n * 8), *want = memory(n * 8), *dev;
	int good = 1;

	for (int i = 0; i < half; i++)
		freq[i] = largest / (1 + i * 0.37);
	for (int t = 0; t < T; t++)
		pos[t] = t ? random32() >> below(32) : 0;
	(void)cpu_angles(&cpu, want, want + n, pos, T, freq, half, factor);
	for (size_t i = 0; i < 2 * n; i++)
		want[i] = canonical(want[i]);
	dev = in_gpu(n * 8);
	gpu_must(lib->angles(gpu, dev, dev + n, to_gpu(pos, (size_t)T * 4), T, to_gpu(freq, (size_t)half * 8), half, factor));
	from_gpu(got, dev, n * 8);
	good = memcmp(got, want, n * 8) == 0;
	pool_free(cpu.pool);
	free(freq);
	free(pos);
	free(got);
	free(want);
	return gpu_clear() && good;
}

/* What a batch brings to the cache: host arrays as struct kv_append has them, all [n][..]. */
struct brought {
	float *k, *v, *q, *query, *norm, *turn;
	float *k_bias, *v_bias, *q_bias, *q_norm;
	size_t nk, nv, nq, nquery, half;
};

/* What is done to heads: these bits. */
enum { HALVES = 1, BIASES = 2, NORMS = 4, ZIPPED = 8, WAYS = 16 };

static struct brought
brought_new(const struct shape *s, size_t n, enum kind kind)
{
	size_t heads = n * (size_t)s->kv.heads, half = (size_t)s->rope / 2;
	struct brought b = {.nk = heads * (size_t)s->kv.key, .nv = s->kv.shared ? 0 : heads * (size_t)s->kv.value,
	    .nq = n * (size_t)(s->H * s->width), .nquery = s->kv.shared ? n * (size_t)(s->H * s->kv.key) : 0, .half = half};

	b.k = memory(b.nk * 4);
	b.v = memory(b.nv * 4);
	b.q = memory(b.nq * 4);
	b.query = memory(b.nquery * 4);
	b.norm = memory((size_t)s->kv.value * 4);
	b.turn = memory(n * half * 8);
	b.k_bias = memory(b.nk / n * 4);
	b.v_bias = memory(b.nv / n * 4);
	b.q_bias = memory(b.nq / n * 4);
	b.q_norm = memory((size_t)s->width * 4);
	numbers(b.k_bias, b.nk / n, kind);
	numbers(b.v_bias, b.nv / n, kind);
	numbers(b.q_bias, b.nq / n, kind);
	numbers(b.q_norm, (size_t)s->width, PLAIN);
	numbers(b.k, b.nk, kind);
	numbers(b.v, b.nv, kind);
	numbers(b.q, b.nq, kind);
	numbers(b.norm, (size_t)s->kv.value, PLAIN);
	numbers(b.turn, n * half * 2, PLAIN);
	memset(b.query, 0xff, b.nquery * 4);
	return b;
}

static void
brought_free(struct brought *b)
{
	free(b->k);
	free(b->v);
	free(b->q);
	free(b->query);
	free(b->norm);
	free(b->turn);
	free(b->k_bias);
	free(b->v_bias);
	free(b->q_bias);
	free(b->q_norm);
}

/* The same in the GPU: with a norm and apart from q a query where values are shared, as MLA has
 * them; norms of whole heads need a value as wide as a key. */
static struct kv_append
brought_to_gpu(const struct brought *b, const struct shape *s, size_t n, int how)
{
	struct kv_append a = {.kv = s->kv, .eps = 1e-6f, .H = s->H, .width = s->width,
	    .half = (int)b->half, .halves = (how & HALVES) > 0, .zipped = (how & ZIPPED) > 0};
	float *turn = to_gpu(b->turn, n * b->half * 8);

	a.k = to_gpu(b->k, b->nk * 4);
	a.q = to_gpu(b->q, b->nq * 4);
	a.cosine = turn;
	a.sine = turn + n * b->half;
	if (s->kv.shared) {
		a.norm = to_gpu(b->norm, (size_t)s->kv.value * 4);
		a.query = to_gpu(b->query, b->nquery * 4);
	} else {
		a.v = to_gpu(b->v, b->nv * 4);
		a.v_bias = how & BIASES ? to_gpu(b->v_bias, b->nv / n * 4) : NULL;
		a.norm = how & NORMS ? to_gpu(b->norm, (size_t)s->kv.value * 4) : NULL;
	}
	a.k_bias = how & BIASES ? to_gpu(b->k_bias, b->nk / n * 4) : NULL;
	a.q_bias = how & BIASES ? to_gpu(b->q_bias, b->nq / n * 4) : NULL;
	a.q_norm = how & NORMS ? to_gpu(b->q_norm, (size_t)s->width * 4) : NULL;
	return a;
}

/* What row t's part of the arrays becomes, and its position in the image; `on` is what the GPU
 * got. */
static void
append_expect(const struct world *w, const struct rows *r, int t, unsigned char *image,
    struct brought *b, const struct kv_append *on)
{
	const struct shape *s = w->s;
	const struct kv_shape *kv = &s->kv;
	struct kv_append a = *on;

	a.cosine = b->turn;
	a.sine = b->turn + (size_t)r->n * b->half;
	for (int g = 0; g < kv->heads; g++) {
		int head = t * kv->heads + g;
		float *k = b->k + head * kv->key, *v = b->v + head * kv->value;

		append_head(ref, &a, t, k, kv->key, a.k_bias ? b->k_bias + g * kv->key : NULL,
		    a.norm ? b->norm : NULL, kv->value);
		if (a.v_bias)
			ref->add(v, b->v_bias + g * kv->value, kv->value);
		head_put(w, image, r->seq[t], g, r->pos[t], k, v);
	}
	for (int h = 0; h < s->H; h++) {
		float *q = b->q + (t * s->H + h) * s->width;

		append_head(ref, &a, t, q, s->width, a.q_bias ? b->q_bias + h * s->width : NULL,
		    a.q_norm ? b->q_norm : NULL, s->width);
		if (a.query)
			memcpy(b->query + (t * s->H + h + 1) * kv->key - s->rope,
			    q + s->width - s->rope, (size_t)s->rope * 4);
	}
}

static int
same_in_gpu(const void *want, const void *dev, size_t n)
{
	void *got = memory(n);
	int good;

	from_gpu(got, dev, n);
	good = memcmp(got, want, n) == 0;
	free(got);
	return good;
}

static int
appended(const struct shape *s, enum precision p, enum kind kind, int how)
{
	struct world w = world_new(s, p, PLAIN, 0);
	struct rows r = rows_of(&w);
	struct brought b = brought_new(s, (size_t)r.n, kind);
	struct kv_append a = brought_to_gpu(&b, s, (size_t)r.n, how);
	unsigned char *cache;
	struct kv_rows rows;
	int good;

	memset(w.image, 0xff, (size_t)w.pages * w.page);
	rows = rows_to_gpu(&w, &r, w.image, w.most, &cache);
	gpu_must(lib->kv_append(gpu, &a, &rows, p));
	for (int t = 0; t < r.n; t++)
		append_expect(&w, &r, t, w.image, &b, &a);
	good = same_in_gpu(b.k, a.k, b.nk * 4) & same_in_gpu(b.q, a.q, b.nq * 4) &
	    same_in_gpu(w.image, cache, (size_t)w.pages * w.page) &
	    (!a.v || same_in_gpu(b.v, a.v, b.nv * 4));
	if (a.query)
		good &= same_in_gpu(b.query, a.query, b.nquery * 4);
	brought_free(&b);
	world_free(&w);
	return gpu_clear() && good;
}

/* --- attend and probs --- */

static struct result
result_new(const struct world *w, int n, size_t positions)
{
	size_t heads = (size_t)n * (size_t)w->s->H;

	return (struct result){positions, memory(heads * (size_t)w->s->kv.value * 4), memory(heads * 4), memory(heads * 4),
	    memory(heads * positions * 4)};
}

static void
result_free(struct result *o)
{
	free(o->out);
	free(o->max);
	free(o->sum);
	free(o->probs);
}

static float
scale_of(const struct world *w)
{
	return 1.5f / sqrtf((float)w->s->kv.key);
}

/* n keys of head g from position `at` on as a matrix, and their values: what a page is to the
 * CPU. */
static struct mat
keys_mat(const struct world *w, int seq, int g, int at, int n)
{
	return (struct mat){.data = key_of(w, seq, g, (size_t)at), .rows = n, .cols = w->s->kv.key, .dtype = F32};
}

static struct mat
values_mat(const struct world *w, int seq, int g, int at, int n)
{
	return (struct mat){.data = value_of(w, seq, g, (size_t)at), .rows = n,
	    .cols = w->s->kv.shared ? w->s->kv.key : w->s->kv.value, .dtype = F32};
}

/* Head h of row t as the CPU does it, with k's products. */
static void
head_expect(const struct world *w, const struct kernels *k, const struct rows *r, int t, int h, const float *query,
    struct result *o)
{
	const struct kv_shape *kv = &w->s->kv;
	const int H = w->s->H, V = kv->value, i = t * H + h, g = h / (H / kv->heads), held = (int)r->pos[t] + 1;
	float *max = o->max + i, *sum = o->sum + i, *bo = memory((size_t)V * 4), p[CACHE_PAGE], bmax, bsum;

	*max = -INFINITY;
	for (int twice = 0; twice < 2; twice++) {
		for (int at = (int)first_seen(w->s, r->pos[t]), n; at < held; at += n) {
			n = CACHE_PAGE - at % CACHE_PAGE;
			n = n < held - at ? n : held - at;
			struct mat keys = keys_mat(w, r->seq[t], g, at, n), values = values_mat(w, r->seq[t], g, at, n);
			float factor;

			k->matmul(p, CACHE_PAGE, query + i * kv->key, kv->key, 1, &keys, 0, n);
			k->softmax_block(p, n, scale_of(w), &bmax, &bsum);
			if (twice) {
				factor = bmax - *max;
				k->exp(&factor, 1);
				k->scale(p, factor / *sum, n);
				memcpy(o->probs + (size_t)i * o->positions + at, p, (size_t)n * 4);
			} else {
				k->matmul_t(bo, V, p, CACHE_PAGE, 1, &values, 0, V);
				k->softmax_join(o->out + i * V, max, sum, bo, bmax, bsum, V);
			}
		}
		if (!twice)
			k->scale(o->out + i * V, 1.0f / *sum, V);
	}
	free(bo);
}

static void
rows_expect(const struct world *w, const struct kernels *k, const struct rows *r, const float *query, struct result *o)
{
	for (int t = 0; t < r->n; t++)
		for (int h = 0; h < w->s->H; h++)
			head_expect(w, k, r, t, h, query, o);
}

/* The rows r as the GPU does them.  0 where a guard was written. */
static int
attended(const struct world *w, const struct rows *r, const float *query, const unsigned char *image, int most,
    struct result *o)
{
	const struct shape *s = w->s;
	size_t heads = (size_t)r->n * (size_t)s->H, outs = heads * (size_t)s->kv.value * 4;
	size_t scratch = lib->attend_scratch(gpu, r->n, most, s->H, &s->kv, w->p);
	unsigned char *cache;
	struct kv_rows rows = rows_to_gpu(w, r, image, most, &cache);
	float *out = in_gpu(outs), *max = in_gpu(heads * 4), *sum = in_gpu(heads * 4);
	float *probs = in_gpu(heads * o->positions * 4), *q = to_gpu(query, heads * (size_t)s->kv.key * 4);

	gpu_must(lib->attend(gpu, out, max, sum, q, &rows, s->H, &s->kv, scale_of(w), in_gpu(scratch), w->p));
	gpu_must(lib->probs(gpu, probs, o->positions, max, sum, q, &rows, s->H, &s->kv, scale_of(w), w->p));
	from_gpu(o->out, out, outs);
	from_gpu(o->max, max, heads * 4);
	from_gpu(o->sum, sum, heads * 4);
	from_gpu(o->probs, probs, heads * o->positions * 4);
	return gpu_clear();
}

static size_t
most_held(const struct world *w)
{
	size_t n = 0;

	for (int i = 0; i < SEQS; i++)
		n = w->s->held[i] > n ? w->s->held[i] : n;
	return n;
}

static int
same_result(const struct world *w, const struct result *a, int ta, const struct result *b, int tb)
{
	size_t H = (size_t)w->s->H, V = (size_t)w->s->kv.value, P = a->positions, i = (size_t)ta, j = (size_t)tb;

	return memcmp(a->out + i * H * V, b->out + j * H * V, H * V * 4) == 0 &&
	    memcmp(a->max + i * H, b->max + j * H, H * 4) == 0 && memcmp(a->sum + i * H, b->sum + j * H, H * 4) == 0 &&
	    memcmp(a->probs + i * H * P, b->probs + j * H * P, H * P * 4) == 0;
}

/* Nothing but what row t sees, and what its pages have before, is set. */
static unsigned char *
image_alone(const struct world *w, const struct rows *r, int t)
{
	size_t bytes = (size_t)w->pages * w->page;
	unsigned char *image = memory(bytes);

	memset(image, 0xff, bytes);
	for (uint32_t k = first_seen(w->s, r->pos[t]) / CACHE_PAGE * CACHE_PAGE; k <= r->pos[t]; k++)
		position_put(w, image, r->seq[t], k);
	return image;
}

/* Each row by itself, and all in another order: the bits of `all`. */
static int
alike(const struct world *w, const struct rows *r, const float *query, const struct result *all)
{
	size_t each = (size_t)(w->s->H * w->s->kv.key);
	struct result o = result_new(w, r->n, all->positions);
	float *turned = memory((size_t)r->n * each * 4);
	struct rows back = {.n = r->n};
	int good = 1;

	for (int t = 0; t < r->n; t++) {
		struct rows one = {1, {r->seq[t]}, {r->pos[t]}};
		unsigned char *image = image_alone(w, r, t);

		good &= attended(w, &one, query + (size_t)t * each, image,
		    t % 2 ? (int)(r->pos[t] / CACHE_PAGE) + 1 : w->most + 5, &o);
		good &= same_result(w, all, t, &o, 0);
		free(image);
		back.seq[r->n - 1 - t] = r->seq[t];
		back.pos[r->n - 1 - t] = r->pos[t];
		memcpy(turned + (size_t)(r->n - 1 - t) * each, query + (size_t)t * each, each * 4);
	}
	good &= attended(w, &back, turned, w->image, w->most + 1, &o);
	for (int t = 0; t < r->n; t++)
		good &= same_result(w, all, t, &o, r->n - 1 - t);
	free(turned);
	result_free(&o);
	return good;
}

/* Head h's query of row t as factors of its products; keys and values are such. */
static void
query_factors(float to[WIDTH_MOST], const struct world *w, int t, int h, const float *query)
{
	const int key = w->s->kv.key;

	if (w->p == PRECISION_BF16)
		factors(to, query + (t * w->s->H + h) * key, (size_t)key);
	else
		memcpy(to, query + (t * w->s->H + h) * key, (size_t)key * sizeof(*to));
}

static double
dot_of_magnitudes(const float *a, const float *b, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += fabs((double)a[i] * (double)b[i]);
	return sum;
}

/*
 * How far two sums in float32 of the same n exact products may be apart, for each unit of their
 * magnitudes.  f32 rounds at most once for each term, and 5 times more.  In bf16 the CPU rounds 17
 * times in a step of 32 and once for each; a tensor core may cut off each of 17 terms of a step of
 * 16 below the last place of the largest, which is a unit of 2^-23.
 */
static double
apart(const struct world *w, int n)
{
	return w->p == PRECISION_F32 ? (n + 5) * 0x1p-24 : (17 + n / 32 + 1) * 0x1p-24 + (n / 16 + 2) * 17 * 0x1p-23;
}

/* The largest difference that there may be between the scores of row t and head h. */
static double
score_apart(const struct world *w, const struct rows *r, int t, int h, const float *query)
{
	const int key = w->s->kv.key, g = h / (w->s->H / w->s->kv.heads);
	float q[WIDTH_MOST];
	double most = 0;

	query_factors(q, w, t, h, query);
	for (uint32_t j = 0; j <= r->pos[t]; j++) {
		double sum = dot_of_magnitudes(q, key_of(w, r->seq[t], g, j), key);

		most = sum > most ? sum : most;
	}
	return most * scale_of(w) * (apart(w, key) + 0x1p-22);
}

/* Row t, head h of `got` beside `want`.  A weight is exp(score - some largest): twice the score's
 * error in it and the sum, and in bf16 it is rounded to BF16 (2^-9) beside another largest by
 * each. */
static int
near_enough(const struct world *w, const struct rows *r, int t, int h, const float *query, const struct result *got,
    const struct result *want)
{
	const size_t i = (size_t)t * (size_t)w->s->H + (size_t)h, V = (size_t)w->s->kv.value, held = r->pos[t] + 1, P = want->positions;
	double score = score_apart(w, r, t, h, query), in_sum = (double)held * 0x1p-23 + 2.2 * score;
	double weight = (w->p == PRECISION_F32 ? 0 : 2 * 0x1p-9 * 1.01) + in_sum + ((double)held / CACHE_PAGE + 1) * (apart(w, CACHE_PAGE) + 8 * 0x1p-23);
	const int g = h / (w->s->H / w->s->kv.heads);
	double sum[WIDTH_MOST] = {0};
	int good = fabs((double)got->max[i] - want->max[i]) <= score;

	good &= fabs((double)got->sum[i] - want->sum[i]) <= in_sum * want->sum[i];
	for (size_t j = 0; j < P; j++)
		good &= fabs((double)got->probs[i * P + j] - want->probs[i * P + j]) <=
		    (in_sum + 8 * 0x1p-23) * want->probs[i * P + j];
	for (size_t j = 0; j < held; j++) {
		const float *v = value_of(w, r->seq[t], g, j);

		for (size_t c = 0; c < V; c++)
			sum[c] += (double)want->probs[i * P + j] * fabs((double)v[c]);
	}
	for (size_t c = 0; c < V; c++)
		good &= fabs((double)got->out[i * V + c] - want->out[i * V + c]) <=
		    weight * sum[c] + 0x1p-120;
	return good;
}

/* Head h of row t as the mathematics have it, in double, from the numbers that the GPU
 * multiplies. */
static void
head_specify(const struct world *w, const struct rows *r, int t, int h, const float *query, struct result *o)
{
	const struct kv_shape *kv = &w->s->kv;
	const int i = t * w->s->H + h, g = h / (w->s->H / kv->heads), held = (int)r->pos[t] + 1;
	const int first = (int)first_seen(w->s, r->pos[t]);
	double *p = memory((size_t)held * sizeof(*p)), most = -INFINITY, sum = 0;
	double out[WIDTH_MOST] = {0};
	float q[WIDTH_MOST];

	query_factors(q, w, t, h, query);
	for (int j = first; j < held; j++) {
		p[j] = dot(q, key_of(w, r->seq[t], g, (size_t)j), kv->key) * scale_of(w);
		most = p[j] > most ? p[j] : most;
	}
	for (int j = first; j < held; j++)
		sum += p[j] = exp(p[j] - most);
	o->max[i] = (float)most;
	o->sum[i] = (float)sum;
	for (int j = 0; j < held; j++)
		o->probs[(size_t)i * o->positions + (size_t)j] = (float)(p[j] / sum);
	for (int j = first; j < held; j++) {
		const float *v = value_of(w, r->seq[t], g, (size_t)j);

		for (int c = 0; c < kv->value; c++)
			out[c] += p[j] / sum * (double)v[c];
	}
	for (int c = 0; c < kv->value; c++)
		o->out[i * kv->value + c] = (float)out[c];
	free(p);
}

/* Is `got` near what doubles give?  want: of its size. */
static int
specified(const struct world *w, const struct rows *r, const float *query,
    const struct result *got, struct result *want)
{
	int good = 1;

	for (int t = 0; t < r->n; t++)
		for (int h = 0; h < w->s->H; h++) {
			head_specify(w, r, t, h, query, want);
			good &= near_enough(w, r, t, h, query, got, want);
		}
	return good;
}

/* f32: the CPU's bits; *near, if not NULL: are they near what doubles give? */
static int
exact(const struct shape *s, enum kind of_query, enum kind of_cache, int *near)
{
	struct world w = world_new(s, PRECISION_F32, of_cache, 1);
	struct rows r = rows_of(&w);
	size_t queries = (size_t)r.n * (size_t)(s->H * s->kv.key);
	struct result want = result_new(&w, r.n, most_held(&w) + 3), got = result_new(&w, r.n, most_held(&w) + 3);
	float *query = memory(queries * 4);
	int good;

	numbers(query, queries, of_query);
	rows_expect(&w, ref, &r, query, &want);
	good = attended(&w, &r, query, w.image, w.most, &got);
	for (int t = 0; t < r.n; t++)
		good &= same_result(&w, &got, t, &want, t);
	if (near)
		*near = specified(&w, &r, query, &got, &want);
	free(query);
	result_free(&want);
	result_free(&got);
	world_free(&w);
	return good;
}

static int
hurt(int shape, enum kind of_query, enum kind of_cache)
{
	return exact(&shapes[shape], of_query, of_cache, NULL);
}

static void
rounded(const struct shape *s, int f32_near)
{
	const struct kernels *k = kernels_precision(ref, PRECISION_BF16);
	struct world w = world_new(s, PRECISION_BF16, PLAIN, 1);
	struct rows r = rows_of(&w);
	size_t queries = (size_t)r.n * (size_t)(s->H * s->kv.key);
	struct result want = result_new(&w, r.n, most_held(&w) + 3), got = result_new(&w, r.n, most_held(&w) + 3);
	float *query = memory(queries * 4);
	int good, near = 1;

	numbers(query, queries, PLAIN);
	for (size_t i = 0; i < queries; i++)
		query[i] *= 3;
	rows_expect(&w, k, &r, query, &want);
	good = attended(&w, &r, query, w.image, w.most, &got);
	for (int t = 0; t < r.n; t++)
		for (int h = 0; h < s->H; h++)
			near &= near_enough(&w, &r, t, h, query, &got, &want);
	ok(good && near, "bf16 of %s is near the CPU's", shape_name(s));
	ok(alike(&w, &r, query, &got), "and has the same bits alone, among others, with more pages");
	ok(specified(&w, &r, query, &got, &want) && f32_near, "both are near what doubles give");
	free(query);
	result_free(&want);
	result_free(&got);
	world_free(&w);
}

/* Attention recorded for the row at one position, and done again after the sequence has grown: the
 * bits of `attended`. */
static int
replayed(const struct shape *s, enum precision p)
{
	struct world w = world_new(s, p, PLAIN, 1);
	struct rows r = {1, {0}, {s->held[0] / 2}};
	size_t heads = (size_t)s->H, bytes = heads * (size_t)s->kv.value * 4, queries = heads * (size_t)s->kv.key;
	struct result want = result_new(&w, 1, most_held(&w));
	float *query = memory(queries * 4), *again = memory(bytes), *out, *max, *sum, *q;
	struct gpu_graph *graph;
	struct kv_rows rows;
	unsigned char *cache;
	void *scratch;
	int good = 1;

	numbers(query, queries, PLAIN);
	rows = rows_to_gpu(&w, &r, w.image, w.most, &cache);
	out = in_gpu(bytes);
	max = in_gpu(heads * 4);
	sum = in_gpu(heads * 4);
	q = to_gpu(query, queries * 4);
	scratch = in_gpu(lib->attend_scratch(gpu, 1, w.most, s->H, &s->kv, p));
	gpu_must(lib->record(gpu));
	gpu_must(lib->attend(gpu, out, max, sum, q, &rows, s->H, &s->kv, scale_of(&w), scratch, p));
	gpu_must(lib->recorded(gpu, &graph));
	r.pos[0] = s->held[0] - 1;
	gpu_must(lib->upload(gpu, (void *)(uintptr_t)rows.pos, r.pos, 4));
	gpu_must(lib->replay(gpu, graph));
	from_gpu(again, out, bytes);
	lib->graph_free(graph);
	good &= gpu_clear();
	good &= attended(&w, &r, query, w.image, w.most, &want) && memcmp(want.out, again, bytes) == 0;
	free(again);
	free(query);
	result_free(&want);
	world_free(&w);
	return good;
}

int
main(void)
{
	int good = 1;

	ref = kernels_choose();         /* (with the bits of ref, sooner) */
	gpu_start();
	ok(angles(1, 1, 1) & angles(5, 32, 1) & angles(33, 3, 7.5) & angles(4, 17, 0x1p-3), "angles are those of the CPU");
	for (int i = 0; i < COUNT(shapes); i++) {
		const struct shape *s = &shapes[i];
		int near;

		ok(appended(s, PRECISION_F32, PLAIN, 0) & appended(s, PRECISION_BF16, PLAIN, 0) &
		    appended(s, PRECISION_F32, WORST, 0) & appended(s, PRECISION_BF16, WIDE, 0),
		    "append with %s", shape_name(s));
		ok(exact(s, PLAIN, PLAIN, &near), "f32 of %s: the CPU's bits", shape_name(s));
		rounded(s, near);
	}
	for (int i = 9; i < 15; i++)
		for (int how = 1 + i % 3; how < WAYS; how += 3)
			good &= appended(&shapes[i], how % 2 ? PRECISION_F32 : PRECISION_BF16,
			    how % 3 ? PLAIN : WORST, how);
	ok(good, "append with biases, norms, halves that rotate, pairs that are sorted");
	ok(hurt(1, WORST, PLAIN) & hurt(3, PLAIN, WORST) & hurt(1, WIDE, WIDE) & hurt(2, EDGE, EDGE) &
	    hurt(3, HUGE_X, PLAIN), "f32 of numbers that hurt");
	ok(hurt(10, WORST, PLAIN) & hurt(10, PLAIN, WORST) & hurt(10, WIDE, WIDE) &
	    hurt(11, EDGE, EDGE) & hurt(11, HUGE_X, PLAIN), "and with more key heads than one");
	ok(replayed(&shapes[3], PRECISION_F32) & replayed(&shapes[3], PRECISION_BF16) & replayed(&shapes[14], PRECISION_F32) &
	    replayed(&shapes[14], PRECISION_BF16), "recorded, and done again at a later position");
	printf("1..%d\n", points);
	return failures != 0;
}
