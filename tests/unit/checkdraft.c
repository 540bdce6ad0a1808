/*
 * checkdraft           TAP: drafts (run in the repository's root): the layer for multi-token
 *                      prediction against golden vectors of tests/golden/mtp/make.py, and what
 *                      ds-draft makes of the frames of ds-sample.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/draft_internal.h"
#include "point.h"

#define HIDDEN "head.hidden"

static void
must(int r, const char *what)
{
	if (r < 0) {
		printf("Bail out! %s: %s\n", what, fail_text());
		exit(1);
	}
}

/* A model, and what its layer must compute. */
struct golden {
	struct model model;
	struct stage stage;
	struct tensor_file file;
	const int32_t *ids, *guess;     /* [T + 1], [T] */
	const float *hidden, *after;    /* [T][D] */
	int T, D;
};

static const void *
vector(struct golden *g, const char *name)
{
	const struct tensor_entry *t = tensor_file_find(&g->file, name);
	const void *data = t ? tensor_file_data(&g->file, t) : NULL;

	must(data ? 0 : -1, name);
	return data;
}

static void
golden_open(struct golden *g, const char *dir, const char *vectors)
{
	memset(g, 0, sizeof(*g));
	must(model_open(&g->model, dir), dir);
	must(tensor_file_open(&g->file, vectors), vectors);
	g->stage.model = &g->model;
	g->stage.k = kernels_choose();
	g->stage.pool = pool_new(2);
	g->stage.device = device_new(-1, g->stage.pool, g->stage.k);
	g->ids = vector(g, "ids");
	g->guess = vector(g, "guess");
	g->hidden = vector(g, "hidden");
	g->after = vector(g, "after");
	g->T = (int)tensor_file_find(&g->file, "hidden")->shape[0];
	g->D = g->model.config.hidden_size;
}

static void
golden_close(struct golden *g)
{
	device_close(g->stage.device);
	pool_free(g->stage.pool);
	tensor_file_close(&g->file);
	model_close(&g->model);
}

/* --- the layer --- */

/* Rows from..to of the vectors as a sequence, all of them wanted: results at guess and after. */
static int
rows(struct golden *g, struct mtp *m, uint64_t seq, int from, int to, int32_t *guess, float *after)
{
	struct span span = {seq, (uint32_t)from, (uint32_t)(to - from), 0};
	int32_t wanted[256];
	struct mtp_rows r = {.spans = &span, .nspans = 1, .T = to - from, .next = g->ids + from + 1,
	    .hidden = g->hidden + (ptrdiff_t)from * g->D, .wanted = wanted, .n = to - from,
	    .guess = guess + from, .after = after + (ptrdiff_t)from * g->D};

	for (int i = 0; i < to - from; i++)
		wanted[i] = i;
	return mtp_guess(m, &r);
}

static double
error(const float *got, const float *want, size_t n)
{
	double worst = 0, most = 0;

	for (size_t i = 0; i < n; i++) {
		worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
		most = fmax(most, fabs((double)want[i]));
	}
	return worst / most;
}

static void
check_layer(const char *dir, const char *vectors)
{
	struct golden g;
	struct mtp m = {0};
	int32_t guess[256], again[256];
	float *after, *other;
	double e;

	golden_open(&g, dir, vectors);
	must(mtp_open(&m, &g.stage), dir);
	after = mem_new((size_t)g.T * (size_t)g.D, sizeof(*after));
	other = mem_new((size_t)g.T * (size_t)g.D, sizeof(*other));
	must(rows(&g, &m, 7, 0, g.T, guess, after), "rows");
	e = error(after, g.after, (size_t)g.T * (size_t)g.D);
	printf("# %s: relative error %.3g\n", dir, e);
	point(e < 1e-5, "hidden states are those of an independent implementation");
	point(memcmp(guess, g.guess, (size_t)g.T * sizeof(*guess)) == 0, "so are the guesses");
	for (int from = 0, n = 1; from < g.T; from += n, n = n % 5 + 1)
		must(rows(&g, &m, 8, from, from + n < g.T ? from + n : g.T, again, other),
		    "chunks");
	point(memcmp(after, other, (size_t)g.T * (size_t)g.D * sizeof(*after)) == 0,
	    "chunks have the same bits");
	must(rows(&g, &m, 8, 4, 9, again, other), "again");
	point(memcmp(after, other, (size_t)g.T * (size_t)g.D * sizeof(*after)) == 0,
	    "rows that come again truncate the cache, and have the same bits");
	free(after);
	free(other);
	mtp_close(&m);
	golden_close(&g);
}

/* --- frames --- */

/* A frame of ds-sample: rows from..to of a sequence, and the token after them if newest is set:
 * with flag 1.  right: guesses among the rows, which were right. */
static void
make_frame(struct golden *g, struct frame *f, uint64_t seq, int from, int to, int newest, int right,
    int with_hidden)
{
	struct span spans[] = {{seq, (uint32_t)from, (uint32_t)(to - from),
	    SPAN_HELD | (right ? SPAN_DRAFT : 0)}, {seq, (uint32_t)to, 1, SPAN_SAMPLE}};
	uint64_t n = (uint64_t)(to - from + newest), D = (uint64_t)g->D;
	struct tensor *t;

	frame_init(f);
	frame_set_at(f, AT_DRAFT, -1);
	must(frame_set_spans(f, spans, 1 + newest), "spans");
	must((t = frame_add(f, "ids", I32, 1, &n)) ? 0 : -1, "ids");
	memcpy(t->data, g->ids + from, n * sizeof(int32_t));
	if (!with_hidden)
		return;
	must((t = frame_add(f, HIDDEN, F32, 2, (uint64_t[]){n, D})) ? 0 : -1, HIDDEN);
	memset(t->data, 0, t->bytes);
	memcpy(t->data, g->hidden + (size_t)from * D, (size_t)(to - from) * D * sizeof(float));
}

/* The guesses of a frame for ds-embed, after the newest token at position pos: how many; -1: it is
 * not as it must be. */
static int
guesses(struct frame *f, uint64_t seq, uint32_t pos, int32_t *to)
{
	const struct span *s = f->nspans > 0 ? &f->spans[f->nspans - 1] : NULL;
	const struct tensor *t = frame_tensor(f, "ids");
	uint32_t flags = s && s->n > 1 ? SPAN_SAMPLE | SPAN_LOGITS | SPAN_DRAFT : SPAN_SAMPLE;

	if (!s || !t || f->at != AT_EMBED || s->seq != seq || s->pos != pos || s->flags != flags ||
	    f->ntensors != 1)
		return -1;
	memcpy(to, (const int32_t *)t->data + f->rows - s->n + 1, (s->n - 1) * sizeof(*to));
	return (int)s->n - 1;
}

/* ds-draft gets rows from..to and the token after them: how many guesses there are. */
static int
step(struct draft *d, struct golden *g, uint64_t seq, int from, int to, int with_hidden,
    int32_t *guess)
{
	struct frame f;
	int n;

	make_frame(g, &f, seq, from, to, 1, 0, with_hidden);
	must(draft_frame(d, &f, NULL, 0), "draft");
	n = guesses(&f, seq, (uint32_t)to, guess);
	frame_free(&f);
	return n;
}

static int
control(struct draft *d, enum op op, uint64_t seq, uint64_t to, uint32_t n, enum at at)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = op;
	f.seq = f.from = seq;
	f.to = to;
	f.fork_n = n;
	if (at != AT_NONE)
		frame_set_at(&f, at, -1);
	r = draft_frame(d, &f, NULL, 0);
	frame_free(&f);
	return r;
}

static void
check_sequences(struct golden *g)
{
	struct draft_options o = {DRAFT_MTP, 1};
	struct draft d;
	struct frame f;
	int32_t got[GUESSES_MAX], other[GUESSES_MAX];

	must(draft_open(&d, &g->stage, &o), "draft_open");
	make_frame(g, &f, 1, 0, 6, 0, 0, 1);
	point(draft_frame(&d, &f, NULL, 0) == 0, "a chunk of a prompt is consumed");
	frame_free(&f);
	point(step(&d, g, 1, 6, 10, 1, got) == 1 && got[0] == g->guess[9],
	    "the guess after two chunks is the golden one");
	make_frame(g, &f, 1, 10, 12, 1, 1, 1);
	must(draft_frame(&d, &f, NULL, 0), "accepted");
	point(guesses(&f, 1, 12, got) == 1 && got[0] == g->guess[11] && f.nspans == 2 &&
	    f.spans[0].pos == 11 && f.spans[0].n == 1 && f.spans[0].flags == SPAN_HELD,
	    "a guess that was right is sent as held");
	point(d.accepted[0] == 1 && d.proposed[0] == 1, "it is counted");
	frame_free(&f);

	point(control(&d, OP_FORK, 1, 2, 9, AT_DRAFT) == 0 && step(&d, g, 2, 9, 14, 1, got) == 1 &&
	    got[0] == g->guess[13], "a fork goes on like its original");
	point(control(&d, OP_FORK, 1, 3, 12, AT_DRAFT) == 0 &&
	    step(&d, g, 3, 12, 13, 1, got) == 1 && got[0] == g->guess[12], "also of all positions");
	point(control(&d, OP_FORK, 99, 4, 9, AT_DRAFT) == 0 && step(&d, g, 4, 9, 14, 1, got) == 1,
	    "a fork of an unknown sequence starts where it can");
	point(step(&d, g, 5, 20, 24, 1, got) == 1 && step(&d, g, 5, 24, 25, 1, other) == 1,
	    "and so does a sequence whose beginning is missing");

	make_frame(g, &f, 1, 0, 0, 0, 0, 1);
	point(draft_frame(&d, &f, NULL, 0) == 0 && step(&d, g, 1, 0, 11, 1, got) == 1 &&
	    got[0] == g->guess[10], "a sequence that was preempted starts again");
	frame_free(&f);
	point(step(&d, g, 1, 5, 8, 1, got) == 1 && got[0] == g->guess[7],
	    "a sequence that goes back is truncated");
	point(step(&d, g, 1, 8, 9, 0, got) == 0, "without hidden states there is no guess");
	point(step(&d, g, 1, 9, 12, 1, got) == 1, "with them there is one again");

	make_frame(g, &f, 6, 0, 4, 1, 0, 1);
	((float *)frame_tensor(&f, HIDDEN)->data)[5] = NAN;
	must(draft_frame(&d, &f, NULL, 0), "NaN");
	point(guesses(&f, 6, 4, got) == 0 && !d.broken, "a hidden state of NaN gets no guess");
	frame_free(&f);
	point(control(&d, OP_FREE, 1, 0, 0, AT_NONE) == 1 && draft_find(&d, 1),
	    "a free on its way to ds-embed passes");
	for (uint64_t i = 1; i <= 6; i++)
		must(control(&d, OP_FREE, i, 0, 0, AT_DRAFT), "free");
	point(d.seqs.n == 0 && mtp_cache(&d.mtp)->seqs.n == 0,
	    "one that has come round frees all of a sequence");
	draft_close(&d);
}

/* --- wrong bytes --- */

static void
put_crc(unsigned char *p, size_t n)
{
	size_t header = (size_t)p[7] << 16 | (size_t)p[8] << 8 | p[9];
	size_t data = FRAME_PREAMBLE + header + 5;
	uint32_t crc = crc32c(crc32c(0, p + FRAME_PREAMBLE, header), p + data, n - data);

	for (int i = 0; i < 4; i++)
		p[14 + i] = (unsigned char)(crc >> (24 - 8 * i));
}

/* The frame of n bytes through ds-draft: 0, 1, or -1 and a message. */
static int
feed(struct draft *d, const unsigned char *p, size_t n)
{
	unsigned char *raw = mem_raw(n, 1);
	struct frame f;
	int r;

	must(raw ? 0 : -1, "memory");
	memcpy(raw, p, n);
	frame_init(&f);
	r = frame_parse(&f, raw, n);
	if (r == 0)
		r = draft_frame(d, &f, NULL, 0);
	frame_free(&f);
	return r;
}

/* Each byte of the header, ids, and some of the hidden states gets other values. */
static void
check_damage(struct golden *g, enum draft_by by)
{
	struct draft_options o = {by, 2};
	struct draft d;
	struct frame f;
	struct buf b = {0};
	int32_t want[GUESSES_MAX], got[GUESSES_MAX];
	int taken = 0, refused = 0, good = 1, n;

	must(draft_open(&d, &g->stage, &o), "draft_open");
	n = step(&d, g, 9, 0, 8, 1, want);
	make_frame(g, &f, 1, 3, 6, 1, 1, 1);
	must(frame_bytes(&f, &b), "frame");
	frame_free(&f);
	for (size_t i = FRAME_PREAMBLE; i < b.n && i < 700; i++) {
		for (int bit = 0; bit < 8; bit++) {
			b.p[i] ^= (unsigned char)(1u << bit);
			put_crc(b.p, b.n);
			if (feed(&d, b.p, b.n) >= 0)
				taken++;
			else
				refused++, good &= *fail_text() && !strchr(fail_text(), '\n');
			b.p[i] ^= (unsigned char)(1u << bit);
		}
	}
	printf("# %d frames refused, %d taken\n", refused, taken);
	point(good && taken > 0 && refused > 0 && !d.broken,
	    "a wrong byte is refused with a message, or makes other guesses");
	point(step(&d, g, 9, 0, 8, 1, got) == n && memcmp(want, got, (size_t)n * sizeof(*got)) == 0,
	    "afterwards guesses are as before");
	buf_free(&b);
	draft_close(&d);
}

/* More guesses than one, and the model's end. */
static void
check_many(struct golden *g)
{
	struct draft_options o = {DRAFT_MTP, 3};
	struct draft d;
	int32_t got[GUESSES_MAX], again[GUESSES_MAX];
	int max = g->model.config.max_position;

	must(draft_open(&d, &g->stage, &o), "draft_open");
	point(step(&d, g, 1, 0, 10, 1, got) == 3 && got[0] == g->guess[9], "three guesses");
	point(step(&d, g, 1, 10, 11, 1, again) == 3 && again[0] == g->guess[10],
	    "the layer's own rows are gone from its cache afterwards");
	g->model.config.max_position = 13;
	point(step(&d, g, 1, 11, 12, 1, got) == 0 && step(&d, g, 1, 9, 11, 1, got) == 1,
	    "no guess is beyond the last position");
	g->model.config.max_position = max;
	draft_close(&d);
}

static void
check_prompt(void)
{
	static const int32_t ids[] = {5, 6, 7, 8, 9, 1, 6, 7, 8, 2, 3, 7, 8};
	static const int32_t run[] = {4, 4, 4, 4};
	int32_t got[4];

	point(draft_prompt(ids, 13, got, 2) == 2 && got[0] == 2 && got[1] == 3,
	    "prompt: what followed the last occurrence");
	point(draft_prompt(ids, 9, got, 4) == 4 && got[0] == 9 && got[1] == 1 && got[3] == 7,
	    "prompt: what followed the longest one");
	point(draft_prompt(ids, 6, got, 4) == 0 && draft_prompt(ids, 1, got, 4) == 0 &&
	    draft_prompt(ids, 0, got, 4) == 0, "prompt: nothing was there before");
	point(draft_prompt(run, 4, got, 4) == 4 && got[0] == 4 && got[3] == 4,
	    "prompt: a repetition goes on");
}

int
main(void)
{
	struct golden g;

	check_layer("tests/golden/mtp", "tests/golden/mtp/expected.safetensors");
	check_layer("examples/tiny-r1", "tests/golden/mtp/tiny-r1.safetensors");
	golden_open(&g, "tests/golden/mtp", "tests/golden/mtp/expected.safetensors");
	check_sequences(&g);
	check_many(&g);
	check_damage(&g, DRAFT_MTP);
	check_damage(&g, DRAFT_PROMPT);
	golden_close(&g);
	check_prompt();
	printf("1..%d\n", points);
	return failures > 0;
}
