/*
 * Attention on the GPU.  In f32 against the CPU's plain kernels, page by page as attention/mla_attend.c: bit for bit.  In
 * bf16 against the CPU's bf16, within what the formats allow; and the bits of a row are the same alone and among others,
 * with pages behind its own or without them, set or not.
 */
#include "numbers.h"
#include "gpu.h"

#include "cpu/cpu.h"
#include "attention/rope.h"

enum { SEQS = 3, ROWS = 8 };

struct shape {
	int H, R, rope, nope;
	uint32_t held[SEQS];
};

static const struct shape shapes[] = {
	{1, 1, 2, 1, {1, 65, 130}},
	{3, 20, 6, 5, {70, 64, 200}},
	{16, 64, 16, 8, {300, 66, 190}},
	{17, 33, 6, 7, {63, 129, 330}},
	{40, 100, 4, 1, {200, 128, 2}},
	{2, 600, 10, 4, {66, 70, 64}},          /* too wide for tensor cores */
	{5, 512, 64, 128, {270, 64, 10}},
	{70, 24, 8, 3, {600, 80, 520}},
	{128, 512, 64, 128, {66, 1, 3}},
};

/* Sequences in the cache. */
struct world {
	const struct shape *s;
	enum precision p;
	int width, pages, most, list[SEQS];
	size_t pitch;
	int *at;                        /* [pages]: where in the image */
	unsigned char *image;           /* of all pages, NaN where nothing is set */
	float *row[SEQS];               /* [held][width] */
};

struct rows {
	int n, seq[ROWS];
	uint32_t pos[ROWS];
};

struct result {
	size_t positions;
	float *latent, *max, *sum, *probs;      /* [n][H][..] */
};

static struct kernels ref;

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

static unsigned char *
place_in(const struct world *w, unsigned char *image, int seq, uint32_t pos)
{
	return image + ((size_t)w->at[w->list[seq] + (int)(pos / GPU_PAGE)] * GPU_PAGE + pos % GPU_PAGE) * w->pitch;
}

static void
row_put(const struct world *w, unsigned char *to, const float *row)
{
	for (int i = 0; i < w->width; i++) {
		uint32_t b = bits_of_float(w->p == PRECISION_F32 ? row[i] : bf16_of_float(row[i]));

		if (w->p == PRECISION_F32)
			memcpy(to + 4 * i, &b, 4);
		else
			memcpy(to + 2 * i, (unsigned char *)&b + 2, 2);
	}
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

/* shared: the second sequence begins with the first page of the first, if both have so many positions. */
static struct world
world_new(const struct shape *s, enum precision p, enum kind kind, int shared)
{
	struct world w = {.s = s, .p = p, .width = s->R + s->rope, .pitch = gpu_cache_row(s->R, s->rope, p)};
	size_t width = (size_t)w.width;

	for (int i = 0; i < SEQS; i++) {
		int pages = (int)(s->held[i] + GPU_PAGE - 1) / GPU_PAGE;

		w.list[i] = w.pages;
		w.pages += pages;
		w.most = pages > w.most ? pages : w.most;
		w.row[i] = memory(s->held[i] * width * 4);
		numbers(w.row[i], s->held[i] * width, kind);
	}
	w.at = memory((size_t)w.pages * sizeof(*w.at));
	shuffle(w.at, w.pages);
	if (shared && s->held[0] >= GPU_PAGE && s->held[1] >= GPU_PAGE) {
		w.at[w.list[1]] = w.at[w.list[0]];
		memcpy(w.row[1], w.row[0], GPU_PAGE * width * 4);
	}
	w.image = memory((size_t)w.pages * GPU_PAGE * w.pitch);
	memset(w.image, 0xff, (size_t)w.pages * GPU_PAGE * w.pitch);
	for (int i = 0; i < SEQS; i++)
		for (uint32_t k = 0; k < s->held[i]; k++)
			row_put(&w, place_in(&w, w.image, i, k), w.row[i] + k * width);
	return w;
}

static void
world_free(struct world *w)
{
	for (int i = 0; i < SEQS; i++)
		free(w->row[i]);
	free(w->at);
	free(w->image);
}

/* The last of each sequence, and some of the first as a piece of its prompt, over the end of a page where there is one. */
static struct rows
rows_of(const struct world *w)
{
	struct rows r = {0};
	uint32_t held = w->s->held[0], from = held > GPU_PAGE ? GPU_PAGE - 2 : 0;

	for (int i = SEQS - 1; i >= 0; i--) {
		r.seq[r.n] = i;
		r.pos[r.n++] = w->s->held[i] - 1;
	}
	for (uint32_t pos = from; pos + 1 < held && r.n < ROWS; pos++, r.n++)
		r.pos[r.n] = pos;
	return r;
}

/* As the library wants them; the pages of `image`, of which *cache becomes the beginning. */
static struct gpu_rows
rows_to_gpu(const struct world *w, const struct rows *r, const unsigned char *image, int most, unsigned char **cache)
{
	struct gpu_rows g = {.n = r->n, .most = most, .pos = to_gpu(r->pos, (size_t)r->n * 4)};
	void **pages = memory((size_t)w->pages * sizeof(*pages));
	int32_t list[ROWS];

	*cache = to_gpu(image, (size_t)w->pages * GPU_PAGE * w->pitch);
	for (int i = 0; i < w->pages; i++)
		pages[i] = *cache + (size_t)w->at[i] * GPU_PAGE * w->pitch;
	for (int t = 0; t < r->n; t++)
		list[t] = w->list[r->seq[t]];
	g.list = to_gpu(list, (size_t)r->n * 4);
	g.pages = to_gpu(pages, (size_t)w->pages * sizeof(*pages));
	free(pages);
	return g;
}

/* --- angles and enter --- */

static int
angles(int T, int half, double largest)
{
	double *freq = memory((size_t)half * sizeof(*freq)), factor = 1 + 0.1 * below(4);
	struct rope rope = {.half = half, .freq = freq, .factor = factor};
	size_t n = (size_t)T * (size_t)half;
	uint32_t *pos = memory((size_t)T * 4);
	float *got = memory(n * 8), *want = memory(n * 8), *dev;
	int good = 1;

	for (int i = 0; i < half; i++)
		freq[i] = largest / (1 + i * 0.37);
	for (int t = 0; t < T; t++) {
		pos[t] = t ? random32() >> below(32) : 0;
		rope_angles(&rope, pos[t], want + t * half, want + (T + t) * half);
	}
	for (size_t i = 0; i < 2 * n; i++)
		want[i] = canonical(want[i]);
	dev = in_gpu(n * 8);
	gpu_must(lib->angles(gpu, dev, dev + n, to_gpu(pos, (size_t)T * 4), T, to_gpu(freq, (size_t)half * 8), half, factor));
	from_gpu(got, dev, n * 8);
	good = memcmp(got, want, n * 8) == 0;
	free(freq);
	free(pos);
	free(got);
	free(want);
	return gpu_clear() && good;
}

/* What row t's part of the three arrays becomes, and its place in the image. */
static void
enter_expect(const struct world *w, const struct rows *r, int t, unsigned char *image, float *kv, float *q, float *query,
    const float *norm, const float *cosine, const float *sine)
{
	const struct shape *s = w->s;
	int half = s->rope / 2, qk = s->nope + s->rope;

	ref.rmsnorm(kv, kv, norm, s->R, 1e-6f);
	ref.rope(kv + s->R, cosine, sine, half);
	row_put(w, place_in(w, image, r->seq[t], r->pos[t]), kv);
	for (int h = 0; h < s->H; h++) {
		ref.rope(q + h * qk + s->nope, cosine, sine, half);
		memcpy(query + h * w->width + s->R, q + h * qk + s->nope, (size_t)s->rope * 4);
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
entered(const struct shape *s, enum precision p, enum kind kind)
{
	struct world w = world_new(s, p, PLAIN, 0);
	struct rows r = rows_of(&w);
	size_t n = (size_t)r.n, kvs = n * (size_t)w.width, heads = n * (size_t)s->H, half = (size_t)s->rope / 2;
	size_t qs = heads * (size_t)(s->nope + s->rope), queries = heads * (size_t)w.width;
	float *kv = memory(kvs * 4), *q = memory(qs * 4), *query = memory(queries * 4), *norm = memory((size_t)s->R * 4);
	float *turn = memory(n * half * 8), *kv_dev, *q_dev, *query_dev, *turn_dev;
	unsigned char *cache;
	struct gpu_rows rows;
	int good;

	numbers(kv, kvs, kind);
	numbers(q, qs, kind);
	numbers(norm, (size_t)s->R, PLAIN);
	numbers(turn, n * half * 2, PLAIN);
	memset(query, 0xff, queries * 4);
	memset(w.image, 0xff, (size_t)w.pages * GPU_PAGE * w.pitch);
	rows = rows_to_gpu(&w, &r, w.image, w.most, &cache);
	kv_dev = to_gpu(kv, kvs * 4);
	q_dev = to_gpu(q, qs * 4);
	query_dev = to_gpu(query, queries * 4);
	turn_dev = to_gpu(turn, n * half * 8);
	gpu_must(lib->enter(gpu, kv_dev, q_dev, query_dev, to_gpu(norm, (size_t)s->R * 4), 1e-6f, turn_dev, turn_dev + n * half,
	    &rows, s->H, s->nope, s->R, s->rope, p));
	for (int t = 0; t < r.n; t++)
		enter_expect(&w, &r, t, w.image, kv + t * w.width, q + t * s->H * (s->nope + s->rope),
		    query + t * s->H * w.width, norm, turn + t * (int)half, turn + (r.n + t) * (int)half);
	good = same_in_gpu(kv, kv_dev, kvs * 4) & same_in_gpu(q, q_dev, qs * 4) & same_in_gpu(query, query_dev, queries * 4) &
	    same_in_gpu(w.image, cache, (size_t)w.pages * GPU_PAGE * w.pitch);
	free(kv);
	free(q);
	free(query);
	free(norm);
	free(turn);
	world_free(&w);
	return gpu_clear() && good;
}

/* --- attend and probs --- */

static struct result
result_new(const struct world *w, int n, size_t positions)
{
	size_t heads = (size_t)n * (size_t)w->s->H;

	return (struct result){positions, memory(heads * (size_t)w->s->R * 4), memory(heads * 4), memory(heads * 4),
	    memory(heads * positions * 4)};
}

static void
result_free(struct result *o)
{
	free(o->latent);
	free(o->max);
	free(o->sum);
	free(o->probs);
}

static float
scale_of(const struct world *w)
{
	return 1.5f / sqrtf((float)w->width);
}

/* Row t as the CPU does it, with k's products. */
static void
row_expect(const struct world *w, const struct kernels *k, const struct rows *r, int t, const float *query, struct result *o)
{
	int H = w->s->H, R = w->s->R, held = (int)r->pos[t] + 1;
	float *latent = o->latent + t * H * R, *max = o->max + t * H, *sum = o->sum + t * H;
	float *p = memory((size_t)H * GPU_PAGE * 4), *bo = memory((size_t)H * (size_t)R * 4), bmax, bsum;

	for (int h = 0; h < H; h++)
		max[h] = -INFINITY;
	for (int twice = 0; twice < 2; twice++) {
		for (int at = 0; at < held; at += GPU_PAGE) {
			int n = held - at < GPU_PAGE ? held - at : GPU_PAGE;
			struct mat page = {.data = w->row[r->seq[t]] + at * w->width, .rows = n, .cols = w->width, .dtype = F32};

			k->matmul(p, GPU_PAGE, query + t * H * w->width, w->width, H, &page, 0, n);
			for (int h = 0; h < H; h++) {
				float *ph = p + h * GPU_PAGE, factor;

				k->softmax_block(ph, n, scale_of(w), &bmax, &bsum);
				if (twice) {
					factor = bmax - max[h];
					k->exp(&factor, 1);
					k->scale(ph, factor / sum[h], n);
					memcpy(o->probs + (size_t)(t * H + h) * o->positions + at, ph, (size_t)n * 4);
				} else {
					k->matmul_t(bo + h * R, R, ph, GPU_PAGE, 1, &page, 0, R);
					k->softmax_join(latent + h * R, &max[h], &sum[h], bo + h * R, bmax, bsum, R);
				}
			}
		}
		for (int h = 0; h < H && !twice; h++)
			k->scale(latent + h * R, 1.0f / sum[h], R);
	}
	free(p);
	free(bo);
}

/* The rows r as the GPU does them.  0 where a guard was written. */
static int
attended(const struct world *w, const struct rows *r, const float *query, const unsigned char *image, int most,
    struct result *o)
{
	const struct shape *s = w->s;
	size_t heads = (size_t)r->n * (size_t)s->H, scratch = lib->attend_scratch(gpu, r->n, most, s->H, s->R, s->rope, w->p);
	unsigned char *cache;
	struct gpu_rows rows = rows_to_gpu(w, r, image, most, &cache);
	float *latent = in_gpu(heads * (size_t)s->R * 4), *max = in_gpu(heads * 4), *sum = in_gpu(heads * 4);
	float *probs = in_gpu(heads * o->positions * 4), *q = to_gpu(query, heads * (size_t)w->width * 4);

	gpu_must(lib->attend(gpu, latent, max, sum, q, &rows, s->H, s->R, s->rope, scale_of(w), in_gpu(scratch), w->p));
	gpu_must(lib->probs(gpu, probs, o->positions, max, sum, q, &rows, s->H, s->R, s->rope, scale_of(w), w->p));
	from_gpu(o->latent, latent, heads * (size_t)s->R * 4);
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
	size_t H = (size_t)w->s->H, R = (size_t)w->s->R, P = a->positions, i = (size_t)ta, j = (size_t)tb;

	return memcmp(a->latent + i * H * R, b->latent + j * H * R, H * R * 4) == 0 &&
	    memcmp(a->max + i * H, b->max + j * H, H * 4) == 0 && memcmp(a->sum + i * H, b->sum + j * H, H * 4) == 0 &&
	    memcmp(a->probs + i * H * P, b->probs + j * H * P, H * P * 4) == 0;
}

/* f32: the CPU's bits. */
static int
exact(const struct shape *s, enum kind of_query, enum kind of_cache)
{
	struct world w = world_new(s, PRECISION_F32, of_cache, 1);
	struct rows r = rows_of(&w);
	size_t queries = (size_t)r.n * (size_t)s->H * (size_t)w.width;
	struct result want = result_new(&w, r.n, most_held(&w) + 3), got = result_new(&w, r.n, most_held(&w) + 3);
	float *query = memory(queries * 4);
	int good;

	numbers(query, queries, of_query);
	for (int t = 0; t < r.n; t++)
		row_expect(&w, &ref, &r, t, query, &want);
	good = attended(&w, &r, query, w.image, w.most, &got);
	for (int t = 0; t < r.n; t++)
		good &= same_result(&w, &got, t, &want, t);
	free(query);
	result_free(&want);
	result_free(&got);
	world_free(&w);
	return good;
}

/* Nothing but what row t sees is set. */
static unsigned char *
image_alone(const struct world *w, const struct rows *r, int t)
{
	size_t bytes = (size_t)w->pages * GPU_PAGE * w->pitch;
	unsigned char *image = memory(bytes);

	memset(image, 0xff, bytes);
	for (uint32_t k = 0; k <= r->pos[t]; k++)
		row_put(w, place_in(w, image, r->seq[t], k), w->row[r->seq[t]] + k * (size_t)w->width);
	return image;
}

/* Each row by itself, and all in another order: the bits of `all`. */
static int
alike(const struct world *w, const struct rows *r, const float *query, const struct result *all)
{
	size_t each = (size_t)w->s->H * (size_t)w->width;
	struct result o = result_new(w, r->n, all->positions);
	float *turned = memory((size_t)r->n * each * 4);
	struct rows back = {.n = r->n};
	int good = 1;

	for (int t = 0; t < r->n; t++) {
		struct rows one = {1, {r->seq[t]}, {r->pos[t]}};
		unsigned char *image = image_alone(w, r, t);

		good &= attended(w, &one, query + (size_t)t * each, image,
		    t % 2 ? (int)(r->pos[t] / GPU_PAGE) + 1 : w->most + 5, &o);
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

/*
 * How far two sums in float32 of the same n exact products may be apart, for each unit of their magnitudes: the CPU rounds 17
 * times in a step of 32 and once for each; a tensor core may cut off each of 17 terms of a step of 16 below the
 * last place of the largest, which is a unit of 2^-23.
 */
static double
apart(int n)
{
	return (17 + n / 32 + 1) * 0x1p-24 + (n / 16 + 2) * 17 * 0x1p-23;
}

/* The largest difference that there may be between the scores of row t and head h. */
static double
score_apart(const struct world *w, const struct rows *r, int t, int h, const float *query)
{
	const float *q = query + ((size_t)t * (size_t)w->s->H + (size_t)h) * (size_t)w->width;
	double most = 0;

	for (uint32_t j = 0; j <= r->pos[t]; j++) {
		const float *x = w->row[r->seq[t]] + j * (size_t)w->width;
		double sum = 0;

		for (int i = 0; i < w->width; i++)
			sum += fabs((double)bf16_of_float(q[i]) * bf16_of_float(x[i]));
		most = sum > most ? sum : most;
	}
	return most * scale_of(w) * (apart(w->width) + 0x1p-22);
}

/* Row t, head h of `got` beside the CPU's.  A weight is exp(score - some largest): twice the score's error in it and the
 * sum, and it is rounded to BF16 (2^-9) beside another largest by each. */
static int
near_enough(const struct world *w, const struct rows *r, int t, int h, const float *query, const struct result *got,
    const struct result *want)
{
	const size_t i = (size_t)t * (size_t)w->s->H + (size_t)h, R = (size_t)w->s->R, held = r->pos[t] + 1, P = want->positions;
	double score = score_apart(w, r, t, h, query), in_sum = (double)held * 0x1p-23 + 2.2 * score;
	double weight = 2 * 0x1p-9 * 1.01 + in_sum + ((double)held / GPU_PAGE + 1) * (apart(GPU_PAGE) + 8 * 0x1p-23);
	int good = fabs((double)got->max[i] - want->max[i]) <= score;

	good &= fabs((double)got->sum[i] - want->sum[i]) <= in_sum * want->sum[i];
	for (size_t j = 0; j < P; j++)
		good &= fabs((double)got->probs[i * P + j] - want->probs[i * P + j]) <=
		    (in_sum + 8 * 0x1p-23) * want->probs[i * P + j];
	for (size_t c = 0; c < R; c++) {
		double sum = 0;

		for (size_t j = 0; j < held; j++)
			sum += want->probs[i * P + j] * fabs((double)bf16_of_float(w->row[r->seq[t]][j * (size_t)w->width + c]));
		good &= fabs((double)got->latent[i * R + c] - want->latent[i * R + c]) <= weight * sum + 0x1p-120;
	}
	return good;
}

static void
rounded(const struct shape *s)
{
	const struct kernels *k = kernels_precision(kernels_named("ref"), PRECISION_BF16);
	struct world w = world_new(s, PRECISION_BF16, PLAIN, 1);
	struct rows r = rows_of(&w);
	size_t queries = (size_t)r.n * (size_t)s->H * (size_t)w.width;
	struct result want = result_new(&w, r.n, most_held(&w) + 3), got = result_new(&w, r.n, most_held(&w) + 3);
	float *query = memory(queries * 4);
	int good, near = 1;

	numbers(query, queries, PLAIN);
	for (size_t i = 0; i < queries; i++)
		query[i] *= 3;
	for (int t = 0; t < r.n; t++)
		row_expect(&w, k, &r, t, query, &want);
	good = attended(&w, &r, query, w.image, w.most, &got);
	for (int t = 0; t < r.n; t++)
		for (int h = 0; h < s->H; h++)
			near &= near_enough(&w, &r, t, h, query, &got, &want);
	ok(good && near, "bf16 of %d heads, %d and %d numbers is near the CPU's", s->H, s->R, s->rope);
	ok(alike(&w, &r, query, &got), "and has the same bits alone, among others, with more pages");
	free(query);
	result_free(&want);
	result_free(&got);
	world_free(&w);
}

/* Attention recorded for the row at one position, and done again after the sequence has grown: the bits of `attended`. */
static int
replayed(const struct shape *s, enum precision p)
{
	struct world w = world_new(s, p, PLAIN, 1);
	struct rows r = {1, {0}, {s->held[0] / 2}};
	size_t heads = (size_t)s->H, bytes = heads * (size_t)s->R * 4, queries = heads * (size_t)w.width;
	struct result want = result_new(&w, 1, most_held(&w));
	float *query = memory(queries * 4), *again = memory(bytes), *latent, *max, *sum, *q;
	struct gpu_graph *graph;
	struct gpu_rows rows;
	unsigned char *cache;
	void *scratch;
	int good = 1;

	numbers(query, queries, PLAIN);
	rows = rows_to_gpu(&w, &r, w.image, w.most, &cache);
	latent = in_gpu(bytes);
	max = in_gpu(heads * 4);
	sum = in_gpu(heads * 4);
	q = to_gpu(query, queries * 4);
	scratch = in_gpu(lib->attend_scratch(gpu, 1, w.most, s->H, s->R, s->rope, p));
	gpu_must(lib->record(gpu));
	gpu_must(lib->attend(gpu, latent, max, sum, q, &rows, s->H, s->R, s->rope, scale_of(&w), scratch, p));
	gpu_must(lib->recorded(gpu, &graph));
	r.pos[0] = s->held[0] - 1;
	gpu_must(lib->upload(gpu, (void *)(uintptr_t)rows.pos, r.pos, 4));
	gpu_must(lib->replay(gpu, graph));
	from_gpu(again, latent, bytes);
	lib->graph_free(graph);
	good &= gpu_clear();
	good &= attended(&w, &r, query, w.image, w.most, &want) && memcmp(want.latent, again, bytes) == 0;
	free(again);
	free(query);
	result_free(&want);
	world_free(&w);
	return good;
}

int
main(void)
{
	matmul_ref(&ref);
	vector_ref(&ref);
	gpu_start();
	ok(angles(1, 1, 1) & angles(5, 32, 1) & angles(33, 3, 7.5) & angles(4, 17, 0x1p-3), "angles are those of rope_angles");
	for (int i = 0; i < COUNT(shapes); i++) {
		const struct shape *s = &shapes[i];

		ok(entered(s, PRECISION_F32, PLAIN) & entered(s, PRECISION_BF16, PLAIN) & entered(s, PRECISION_F32, WORST) &
		    entered(s, PRECISION_BF16, WIDE), "enter with %d heads, %d and %d numbers", s->H, s->R, s->rope);
		ok(exact(s, PLAIN, PLAIN), "f32 of %d heads, %d and %d numbers: the CPU's bits", s->H, s->R, s->rope);
		rounded(s);
	}
	ok(exact(&shapes[1], WORST, PLAIN) & exact(&shapes[3], PLAIN, WORST) & exact(&shapes[1], WIDE, WIDE) &
	    exact(&shapes[2], EDGE, EDGE) & exact(&shapes[3], HUGE_X, PLAIN), "f32 of numbers that hurt");
	ok(replayed(&shapes[3], PRECISION_F32) & replayed(&shapes[3], PRECISION_BF16), "recorded, and done again at a later position");
	printf("1..%d\n", points);
	return failures != 0;
}
