#include "stage/stages.h"

#include <string.h>

#include "base/fail.h"
#include "stage/block.h"
#include "stage/embed.h"
#include "stage/head.h"
#include "stage/join.h"
#include "stage/loss.h"
#include "stage/relay.h"

/* Functions of the table that only pass their arguments on. */
#define OPEN(name) \
	static int \
	open_##name(void *state, const struct stage *s, const struct stage_options *o) \
	{ \
		(void)o; \
		return name##_open(state, s); \
	}
#define CLOSE(name) static void close_##name(void *state) { name##_close(state); }

OPEN(route)
CLOSE(embed)
CLOSE(attn)
CLOSE(route)
CLOSE(expert)
CLOSE(block)
CLOSE(head)
CLOSE(loss)
CLOSE(sample)
CLOSE(draft)

static int
open_embed(void *state, const struct stage *s, const struct stage_options *o)
{
	struct embed *e = state;

	if (embed_open(e, s, s->in, s->nin, s->out, s->nout, (uint32_t)o->rows) < 0)
		return -1;
	e->batches = o->batches ? (int)o->batches : 1;
	e->tune.on = o->batches == 0;
	e->tune.direction = 1;
	e->ring = o->ring;
	e->trace = o->trace;
	if (o->cache && kv_open(e, o->cache) < 0)
		return -1;
	return o->cache_dir ? files_open(e, o->cache_dir) : 0;
}

static void
report_embed(const void *state)
{
	const struct embed *e = state;

	kv_report(e);
	files_report(e);
}

static int
run_embed(void *state, const struct stage *s)
{
	return embed_run(state) < 0 ? stage_fail(s->out, s->nout, program) : 0;
}

static int
open_caches(struct attn *a, const struct stage_options *o)
{
	a->size = o->cache;
	a->dir = o->cache_dir;
	return a->dir ? cache_folder_open(a->dir) : 0;
}

static int
open_attn(void *state, const struct stage *s, const struct stage_options *o)
{
	return attn_open(state, s) < 0 ? -1 : open_caches(state, o);
}

static void
report_attn(const void *state)
{
	attn_report(state);
}

static int
open_block(void *state, const struct stage *s, const struct stage_options *o)
{
	struct block *b = state;

	return block_open(b, s) < 0 ? -1 : open_caches(&b->attn, o);
}

static int
open_expert(void *state, const struct stage *s, const struct stage_options *o)
{
	s->device->prefetch.counts = o->verbose;
	return expert_open(state, s, o->experts);
}

static void
report_expert(const void *state)
{
	const struct expert *x = state;
	const struct prefetch *p = &x->s->device->prefetch;

	if (!device_is_gpu(x->s->device))
		warn("%llu batches, %.1f of %.1f MB of the experts they chose were in memory%s",
		    (unsigned long long)p->batches,
		    (double)p->held * 1e-6, (double)p->bytes * 1e-6,
		    p->asked ? "; the rest was prefetched" : "");
}

static void
report_block(const void *state)
{
	const struct block *b = state;

	attn_report(&b->attn);
	if (device_is_gpu(b->s->device))
		warn("%llu batches, %llu of them replayed, of %llu graphs",
		    (unsigned long long)b->batches,
		    (unsigned long long)b->replayed, (unsigned long long)b->recorded);
}

static int
open_head(void *state, const struct stage *s, const struct stage_options *o)
{
	struct head *h = state;

	if (head_open(h, s) < 0)
		return -1;
	h->ring = o->ring;
	return 0;
}

static int
open_loss(void *state, const struct stage *s, const struct stage_options *o)
{
	struct loss *l = state;

	if (loss_open(l, s) < 0)
		return -1;
	l->quiet = o->quiet;
	return 0;
}

static void
report_loss(const void *state)
{
	const struct loss *l = state;

	warn("%llu tokens", (unsigned long long)(l->tokens + l->sums.tokens));
}

static int
open_sample(void *state, const struct stage *s, const struct stage_options *o)
{
	struct sample *p = state;
	struct sampling base = sampling_defaults(&s->model->config);

	if (sampling_set(&base, &o->sampling) < 0 || sample_open(p, s, &base) < 0)
		return -1;
	p->ring = o->ring;
	p->draft = o->draft;
	return 0;
}

static void
report_sample(const void *state)
{
	warn("%llu tokens", (unsigned long long)((const struct sample *)state)->tokens);
}

static int
open_draft(void *state, const struct stage *s, const struct stage_options *o)
{
	return draft_open(state, s, &o->drafts);
}

static void
report_draft(const void *state)
{
	draft_report(state);
}

static int
run_join(void *state, const struct stage *s)
{
	(void)state;
	return join_run(s, s->in, s->nin, s->out, s->nout);
}

static int
run_relay(void *state, const struct stage *s)
{
	(void)state;
	return relay_run(s->in, s->nin, s->out, s->nout);
}

#define ONE_INPUT .max_in = 1
#define COMPUTES .model = 1, .weights = 1, .gpu = GPU_COMPUTES, ONE_INPUT

const struct stage_program stage_programs[STAGE_PROGRAMS] = {
	[STAGE_EMBED] = {"ds-embed", AT_EMBED, .model = 1, .weights = 1, .caches = 1,
	    .max_in = LINKS_MAX, .ring_in = 2,
	    .size = sizeof(struct embed), .open = open_embed, .run = run_embed,
	    .report = report_embed,
	    .close = close_embed},
	[STAGE_ATTN] = {"ds-attn", AT_ATTN, TAPS_ATTN, COMPUTES, .caches = 1,
	    .size = sizeof(struct attn), .open = open_attn, .frame = attn_frame,
	    .report = report_attn, .close = close_attn},
	[STAGE_ROUTE] = {"ds-route", AT_ROUTE, TAPS_ROUTE, COMPUTES,
	    .size = sizeof(struct route), .open = open_route, .frame = route_frame,
	    .close = close_route},
	[STAGE_EXPERT] = {"ds-expert", AT_EXPERT, TAPS_EXPERT, COMPUTES,
	    .size = sizeof(struct expert), .open = open_expert, .frame = expert_frame,
	    .report = report_expert, .close = close_expert},
	[STAGE_BLOCK] = {"ds-block", AT_ATTN, TAPS_BLOCK, COMPUTES, .caches = 1,
	    .size = sizeof(struct block), .open = open_block, .frame = block_frame,
	    .report = report_block, .close = close_block},
	[STAGE_HEAD] = {"ds-head", AT_HEAD, TAPS_HEAD, COMPUTES,
	    .size = sizeof(struct head), .open = open_head, .frame = head_frame,
	    .close = close_head},
	/* of the frames for ds-sample it acts on frames with `learn` */
	[STAGE_LOSS] = {"ds-loss", AT_NONE, .model = 1, ONE_INPUT,
	    .size = sizeof(struct loss), .open = open_loss, .frame = loss_frame,
	    .report = report_loss, .close = close_loss},
	[STAGE_SAMPLE] = {"ds-sample", AT_SAMPLE, .model = 1, ONE_INPUT,
	    .size = sizeof(struct sample), .open = open_sample, .frame = sample_frame,
	    .report = report_sample, .close = close_sample},
	[STAGE_DRAFT] = {"ds-draft", AT_DRAFT, COMPUTES, .caches = 1,
	    .size = sizeof(struct draft), .open = open_draft, .frame = draft_frame,
	    .report = report_draft, .close = close_draft},
	[STAGE_JOIN] = {"ds-join", AT_NONE, TAP_BIT(TAP_EXPERT_OUT), .model = 1, .min_in = 2,
	    .max_in = LINKS_MAX, .run = run_join},
	[STAGE_RELAY] = {"ds-relay", AT_NONE, .gpu = GPU_OPTION, .max_in = LINKS_MAX,
	    .run = run_relay},
};

const struct stage_program *
stage_find(const char *name)
{
	for (int i = 0; i < STAGE_PROGRAMS; i++)
		if (strcmp(stage_programs[i].name, name) == 0)
			return &stage_programs[i];
	return NULL;
}

const struct stage_program *
stage_at(enum at at)
{
	for (int i = 0; i < STAGE_PROGRAMS && at != AT_NONE; i++)
		if (stage_programs[i].at == at)
			return &stage_programs[i];
	return NULL;
}
