#include "stage/attn.h"

#include <inttypes.h>
#include <string.h>

#include "attention/backward.h"
#include "base/fail.h"

/* A tap that is asked for by its name is one that this model's attention has. */
static int
taps_check(const struct stage *s)
{
	const struct attention_kind *kind = attention_of(&s->model->config);
	uint64_t shape[2];
	char name[64];

	for (int i = 0; i < ATTENTION_TAPS && !(s->taps & TAP_ALL); i++)
		if (s->taps & TAP_BIT(TAP_ATTN_NORM + i) && kind->tap(&s->model->config,
		    (enum attention_tap)i, 1, shape) == 0)
			return fail(FAIL_DATA, "--tap: '%s' does not exist in this model, whose "
			    "attention is '%s'", tap_name((enum tap)(TAP_ATTN_NORM + i), -1, name,
			    sizeof(name)), kind->name);
	return 0;
}

int
attn_open(struct attn *a, const struct stage *s)
{
	memset(a, 0, sizeof(*a));
	a->s = s;
	if (stage_has_products(s) < 0 || taps_check(s) < 0)
		return -1;
	if (attention_open(&a->attention, s->model, s->device, s->layers.has) < 0)
		return -1;
	return s->learn ? attention_learn(&a->attention, s->learn) : 0;
}

void
attn_close(struct attn *a)
{
	attention_close(&a->attention);
	scratch_free(&a->rows);
	learn_pages_free(&a->pages);
}

/* --- rows --- */

static int
span_check(const struct attn *a, const struct span *p)
{
	int64_t end = (int64_t)p->pos + p->n, max = a->s->model->config.max_position;

	return end <= max ? 0 : fail(FAIL_DATA, "sequence %" PRIu64 ": position %" PRId64
	    " arrives, the model ends at %" PRId64, p->seq, end - 1, max - 1);
}

/* The sequence of a span whose first row is next, holding what comes before; *again is set
 * instead where that would truncate rows that this call has reserved. */
static struct cache_seq *
span_open(const struct attn *a, struct cache *c, const struct span *p, int *again)
{
	struct cache_seq *s = cache_find(c, p->seq);

	*again = s && s->mark == a->block && s->n > p->pos;
	if (*again || span_check(a, p) < 0)
		return NULL;
	s = cache_at(c, p->seq, p->pos);
	if (s)
		s->mark = a->block;
	return s;
}

/* The rows that attn_reserve collects. */
struct reserved {
	size_t n;
	const struct cache_seq **seq;
	uint32_t *pos;
};

static int
reserved_layout(struct attn *a, size_t most, struct reserved *r)
{
	char *p = scratch_reserve(&a->rows, most, sizeof(*r->seq) + sizeof(*r->pos));

	r->n = 0;
	r->seq = (const struct cache_seq **)(void *)p;
	r->pos = (uint32_t *)(void *)(p + most * sizeof(*r->seq));
	return p ? 0 : -1;
}

/* Rows of a span from at->row on. */
static int
span_reserve(const struct attn *a, struct cache *c, const struct span *p, struct attn_cursor *at,
    struct reserved *r)
{
	int again = 0;
	struct cache_seq *s = at->row > 0 ? cache_find(c, p->seq) : span_open(a, c, p, &again);

	if (!s)
		return again ? 1 : -1;
	s->mark = a->block;
	for (; at->row < p->n; at->row++, r->n++) {
		if (cache_append(c, s) < 0)
			return -1;
		r->seq[r->n] = s;
		r->pos[r->n] = p->pos + at->row;
	}
	return 0;
}

int
attn_reserve(struct attn *a, int layer, const struct frame *f, struct attn_cursor *at,
    struct kv_rows *rows)
{
	struct cache *c = &a->attention.layers[layer].cache;
	struct reserved r;
	int stop = 0;

	*rows = (struct kv_rows){0};
	if (a->size && !a->limited)
		return fail(FAIL_USAGE, "--cache-size: ds-embed, which keeps the limit, has to be "
		    "given one, too");
	if (reserved_layout(a, (size_t)f->rows + 1, &r) < 0)
		return -1;
	a->block++;
	for (; at->span < f->nspans; at->span++, at->row = 0)
		if ((stop = span_reserve(a, c, &f->spans[at->span], at, &r)) != 0)
			break;
	if (stop < 0)
		return -1;
	return r.n > 0 ? attention_set_rows(&a->attention, layer, r.seq, r.pos, (int)r.n, rows) : 0;
}

/* --- a frame --- */

/* The positions of the frame's longest sequence, which is how many attn.probs has for each row. */
static uint64_t
positions(const struct frame *f)
{
	uint64_t longest = 0;

	for (int i = 0; i < f->nspans; i++)
		if (f->spans[i].n > 0 && (uint64_t)f->spans[i].pos + f->spans[i].n > longest)
			longest = (uint64_t)f->spans[i].pos + f->spans[i].n;
	return longest;
}

/* Room for the inner tensors that were asked for. */
static int
taps_add(const struct attn *a, struct frame *f, struct attention_taps *taps)
{
	taps->positions = positions(f);
	for (int i = 0; i < ATTENTION_TAPS; i++) {
		uint64_t shape[3] = {f->rows};
		int rank = a->attention.kind->tap(&a->s->model->config, (enum attention_tap)i,
		    taps->positions, shape + 1);

		if (rank > 0 && tap_add(&taps->to[i], a->s->taps, (enum tap)(TAP_ATTN_NORM + i), f,
		    f->layer, 1 + rank, shape) < 0)
			return -1;
	}
	return 0;
}

static int
batch(struct attn *a, struct frame *f)
{
	struct attention_taps taps = {0};
	struct attn_cursor at = {0};
	struct kv_rows rows;
	float *h = stage_hidden(a->s, f);

	if (!h || taps_add(a, f, &taps) < 0)
		return -1;
	a->s->device->ops->wrote(f, "h");
	while (at.span < f->nspans) {
		if (attn_reserve(a, f->layer, f, &at, &rows) < 0 || attention_add(&a->attention,
		    f->layer, h, &rows, &taps) < 0)
			return -1;
		h += (ptrdiff_t)rows.n * a->s->model->config.hidden_size;
	}
	return 0;
}

/* The positions that all caches of the process have room for; the frame passes on the least of all
 * processes. */
static int
set_limit(struct attn *a, struct frame *f)
{
	const unsigned char *has = a->s->layers.has;
	struct attention_layer *l = a->attention.layers;
	uint64_t size = a->size ? a->size : f->size, row = 0, pages;
	int n = a->s->model->config.num_layers;

	for (int i = 0; i < n; i++)
		row += has[i] ? l[i].cache.row : 0;
	pages = row ? size / (row * CACHE_PAGE) : 0;
	if (row && pages == 0)
		return fail(FAIL_USAGE, "--cache-size %" PRIu64 ": a page of %d positions has %"
		    PRIu64 " bytes here", size, CACHE_PAGE, row * CACHE_PAGE);
	for (int i = 0; i < n; i++)
		l[i].cache.most = pages;
	a->limited = 1;
	if (row && pages * CACHE_PAGE < f->positions) {
		f->positions = pages * CACHE_PAGE;
		f->changed = 1;
	}
	return 0;
}

/* free, fork, files and the error of a sequence reach the caches of all layers. */
static int
attn_control(struct attn *a, struct frame *f)
{
	if (f->op == OP_SAVE || f->op == OP_LOAD)
		return attn_files(a, f);
	if (f->op == OP_CACHE)
		return set_limit(a, f);
	for (int i = 0; i < a->s->model->config.num_layers; i++) {
		if (!a->s->layers.has[i])
			continue;
		if (frame_frees(f))
			cache_release(&a->attention.layers[i].cache, f->seq);
		else if (f->op == OP_FORK && cache_fork(&a->attention.layers[i].cache, f->from,
		    f->to, f->fork_n) < 0)
			return fail_in("layer %d", i);
	}
	return 0;
}

int
attn_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct attn *a = arg;
	int back = stage_learns(a->s, f, AT_ATTN_BACK), layer = f->layer,
	    acts = back ? back : stage_multiplies(a->s, f, AT_ATTN);

	(void)out, (void)nout;
	if (f->op != OP_NONE)
		return attn_control(a, f) < 0 ? -1 : 1;
	if (acts <= 0)
		return acts < 0 ? -1 : 1;
	if (back)
		return attn_back(a, f) < 0 ? fail_in("layer %d", layer) : 1;
	if (attn_keep(a, f) < 0 || batch(a, f) < 0 || attn_release(a, f) < 0)
		return fail_in("layer %d", layer);
	frame_set_next(f, a->s->model->config.num_layers);
	return 1;
}
