#include "launch/plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "launch/keep.h"

static void
word(struct part *p, const char *w)
{
	p->words[p->nwords++] = w;
}

void
part_option(struct part *p, const char *letter, const char *value)
{
	word(p, letter);
	word(p, value);
}

/* The next program, with what all of them take. */
static struct part *
part(struct plan *p, const struct plan_options *o, const char *name)
{
	struct part *t = &p->parts[p->n++];

	t->layer = -1;
	snprintf(t->label, sizeof(t->label), "%s", name);
	word(t, name);
	part_option(t, "-m", o->model);
	if (o->verbose)
		word(t, "-v");
	return t;
}

static void
precision(struct part *t, const struct plan_options *o)
{
	if (o->precision)
		part_option(t, "--precision", o->precision);
}

/* One that computes; layer -1: on all layers. */
static struct part *
worker(struct plan *p, const struct plan_options *o, const char *name, int layer)
{
	struct part *t = part(p, o, name);

	if (layer >= 0) {
		t->layer = layer;
		snprintf(t->number, sizeof(t->number), "%d", layer);
		snprintf(t->label, sizeof(t->label), "%s -l %d", name, layer);
		part_option(t, "-l", t->number);
	}
	if (o->threads > 0)
		part_option(t, "-t", p->threads);
	if (o->device)
		part_option(t, "-d", o->device);
	precision(t, o);
	return t;
}

static void
layers(struct plan *p, const struct plan_options *o)
{
	for (int i = 0; i < o->layers && o->cut != CUT_FUSED; i++) {
		if (o->cut == CUT_LAYER) {
			worker(p, o, "ds-block", i);
			continue;
		}
		worker(p, o, "ds-attn", i);
		worker(p, o, "ds-route", i);
		worker(p, o, "ds-expert", i);
	}
	if (o->cut == CUT_FUSED)
		worker(p, o, "ds-block", -1);
}

/* The loop first: the next batch waits for it, the reader does not. */
static void
sample(struct plan *p, const struct plan_options *o)
{
	static const char *const letters[] = {"-T", "-k", "-p", "-S", "-n"};
	struct part *t = part(p, o, "ds-sample");

	if (o->greedy)
		word(t, "-g");
	for (int i = 0; i < 5; i++)
		if (o->sampling[i])
			part_option(t, letters[i], o->sampling[i]);
	if (o->loop_out) {
		part_option(t, "-o", o->loop_out);
		part_option(t, "-o", "-");
	}
	if (o->tally)
		part_option(t, "-o", o->tally);
}

static void
chat(struct part *t, const struct plan_options *o)
{
	if (o->chat)
		word(t, "-c");
	if (o->chat && o->template)
		part_option(t, "--template", o->template);
	if (o->chat && o->thinking)
		part_option(t, "--thinking", o->thinking);
}

int
plan_make(struct plan *p, const struct plan_options *o)
{
	struct part *t;

	p->n = 0;
	snprintf(p->threads, sizeof(p->threads), "%d", o->threads);
	p->parts = mem_new(5 + 3 * (size_t)o->layers, sizeof(*p->parts));
	if (!p->parts)
		return -1;
	t = part(p, o, "ds-tokenize");
	chat(t, o);
	if (o->texts || o->lines || o->messages)
		word(t, o->messages ? "--messages" : o->texts ? "-0" : "--lines");
	t = part(p, o, "ds-embed");
	part_option(t, "-i", "-");
	part_option(t, "-i", o->loop_in);
	if (o->batches)
		part_option(t, "--batches", o->batches);
	precision(t, o);
	layers(p, o);
	worker(p, o, "ds-head", -1);
	sample(p, o);
	t = part(p, o, "ds-detokenize");
	chat(t, o);
	if (o->quiet)
		word(t, "-q");
	if (o->asks)
		word(t, "-0");
	if (o->dim)
		word(t, "--dim");
	return o->keep ? keep_plan(p, o->keep) : 0;
}

void
plan_free(struct plan *p)
{
	for (int i = 0; i < p->n && p->parts; i++)
		free(p->parts[i].keep);
	free(p->parts);
	p->parts = NULL;
}
