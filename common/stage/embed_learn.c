/*
 * Frames that learn, at ds-embed: the driver's begin their pass in their turn and undivided, the
 * loop's go on with their backward pass or end.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "learn/control.h"
#include "learn/pages.h"
#include "stage/embed_internal.h"
#include "stage/trace.h"

/* A frame under way, as the loop brought it last. */
struct embed_learn {
	uint64_t id;
	enum at at;                     /* AT_NONE: not yet */
	int layer;
	int back;                       /* it has been at embed.back */
	char *done;                     /* experts_done, or NULL */
};

static void
forget(struct embed *e, uint64_t id)
{
	struct embed_learn *l = table_del(&e->learning, &id, sizeof(id));

	if (l)
		free(l->done);
	free(l);
}

void
embed_learn_free(struct embed *e)
{
	for (struct table_slot *s = NULL; (s = table_next(&e->learning, s)); ) {
		struct embed_learn *l = s->value;

		free(l->done);
		free(l);
	}
	table_free(&e->learning);
}

/* --- a frame of the driver --- */

static int
expect(struct embed *e, uint64_t id)
{
	struct embed_learn *l;

	if (e->loop < 0)
		return 0;
	if (table_get(&e->learning, &id, sizeof(id)))
		return fail(FAIL_DATA, "it is under way already: give each frame an id of its own");
	if (!(l = mem_new(1, sizeof(*l))))
		return -1;
	l->id = id;
	if (table_put(&e->learning, &l->id, sizeof(l->id), l) == 0)
		return 0;
	free(l);
	return -1;
}

/* Whole sequences of tokens in the vocabulary. */
static int
check_tokens(const struct embed *e, const struct frame *f, const int32_t *ids)
{
	struct learn_pages pages = {0};
	int r = learn_pages_open(&pages, f);

	learn_pages_free(&pages);
	for (int i = 0; i < f->nspans && r == 0; i++) {
		const struct span *s = &f->spans[i];

		for (uint32_t k = 0; k < s->n && r == 0; k++, ids++)
			if (*ids < 0 || *ids >= e->table.rows)
				r = fail(FAIL_DATA, SEQ ": token id %d at position %u is not in "
				    "the vocabulary of %d", LLU(s->seq), *ids, s->pos + k,
				    e->table.rows);
	}
	return r;
}

static int
embed_rows(struct embed *e, struct frame *f)
{
	uint64_t shape[2] = {f->rows, (uint64_t)e->table.cols};
	struct tensor *t = frame_require(f, "ids", I32, f->rows, 0);
	const int32_t *ids = t ? t->data : NULL;
	float *h;

	if (!ids || check_tokens(e, f, ids) < 0 || !(t = frame_add(f, "h", F32, 2, shape)))
		return -1;
	h = t->data;
	for (uint32_t i = 0; i < f->rows; i++, h += e->table.cols)
		e->stage->k->row(h, &e->table, ids[i]);
	return 0;
}

int
embed_learn_begin(struct embed *e, struct frame *f)
{
	int64_t start = trace_now();
	size_t bytes = f->nraw;
	struct frame_learn l;

	if (f->op != OP_NONE)
		return e->stage->learn ? learn_control(e->stage->learn, f) : 0;
	if (f->at != AT_EMBED)
		return 0;
	if (frame_learn(f, &l) < 0)
		return -1;
	if (e->kv.on)
		return fail(FAIL_DATA, "embed: learn %" PRIu64 ": with --cache-size the caches "
		    "get rows from ds-embed alone", l.id);
	if (embed_rows(e, f) < 0 || expect(e, l.id) < 0)
		return fail_in("embed: learn %" PRIu64, l.id);
	stage_stamp(e->stage, f);
	frame_set_at(f, AT_ATTN, 0);
	if (e->trace || frame_other(f, "trace"))
		return trace_add(f, -1, start, bytes);
	return 0;
}

/* --- the loop --- */

static int
unchanged(const struct embed_learn *l, const struct frame *f)
{
	const char *a = l->done ? l->done : "", *b = f->experts_done ? f->experts_done : "";

	return l->at == f->at && l->layer == f->layer && strcmp(a, b) == 0;
}

/* A frame that comes round as it was would do so for ever. */
static int
came_round(struct embed *e, const struct frame *f, uint64_t id)
{
	struct embed_learn *l = table_get(&e->learning, &id, sizeof(id));
	char where[64];

	if (!l)
		return fail(FAIL_DATA, "%s: the loop brings learn %" PRIu64 ", which did not begin "
		    "here", frame_where(f, where, sizeof(where)), id);
	if (f->at == AT_EMBED_BACK || unchanged(l, f))
		return fail(FAIL_DATA, "%s: no stage of the line acts on it: %s",
		    frame_where(f, where, sizeof(where)),
		    at_is_back(f->at) ? "start its stages with --learn" :
		    f->at == AT_SAMPLE ? "give it ds-loss" : "is a stage missing?");
	free(l->done);
	l->done = f->experts_done ? strdup(f->experts_done) : NULL;
	if (f->experts_done && !l->done)
		return fail(FAIL_SYSTEM, "no memory for a text");
	l->at = f->at;
	l->layer = f->layer;
	return 0;
}

/* The gradient of a frame is added once. */
static int
came_back(struct embed *e, uint64_t id)
{
	struct embed_learn *l = table_get(&e->learning, &id, sizeof(id));

	if (!l || l->back)
		return fail(FAIL_DATA,
		    "embed.back: the loop brings learn %" PRIu64 ", which %s", id,
		    l ? "has come back before" : "did not begin here");
	l->back = 1;
	return 0;
}

/* 1 the frame goes on, 0 it is over, -1 and a message. */
static int
go_on(struct embed *e, struct frame *f, const struct frame_learn *l)
{
	struct trace t = trace_begin(f);
	int acts = stage_learns(e->stage, f, AT_EMBED_BACK);

	if (f->at == AT_LEARN) {
		forget(e, l->id);
		return 0;
	}
	if (acts < 0)
		return -1;
	if (acts == 0)
		return came_round(e, f, l->id) < 0 ? -1 : 1;
	return came_back(e, l->id) < 0 || embed_back(e, f) < 0 || trace_end(&t, f) < 0 ? -1 : 1;
}

int
embed_learn_receive(struct embed *e, int input, struct frame *f, const struct frame_learn *l)
{
	int r = input == e->loop ? go_on(e, f, l) : 1;

	if (r <= 0)
		return r;
	return embed_push_frame(e, input, input == e->loop ? &e->passing : &e->prompts, f, NULL);
}
