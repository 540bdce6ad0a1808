#include "launch/plan_internal.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/memory.h"
#include "launch/keep.h"

const char *const cut_names[] = {"fused", "layer", "stage", NULL};

#define CACHE_SIZE_MIN (UINT64_C(64) << 20)

const struct sampling_option sampling_options[SAMPLING_OPTIONS] = {
	{'T', "-T", "temperature", 1, 1000},
	{'k', "-k", "top_k", 0, INT32_MAX},
	{'p', "-p", "top_p", 1, 1},
	[SAMPLING_SEED] = {'S', "-S", "seed", 0, INT64_MAX},
	{'n', "-n", "max_new", 0, UINT32_MAX},
	{PLAN_THINK_MIN, "--think-min", "think_min", 0, UINT32_MAX},
	{PLAN_THINK_MAX, "--think-max", "think_max", 0, UINT32_MAX},
};

void
command_word(struct command *p, const char *w)
{
	p->words[p->nwords++] = w;
}

void
command_option(struct command *p, const char *letter, const char *value)
{
	command_word(p, letter);
	command_word(p, value);
}

struct command *
plan_program(struct plan *p, const struct plan_options *o, const char *name)
{
	struct command *t = &p->commands[p->n++];

	t->layer = -1;
	snprintf(t->label, sizeof(t->label), "%s", name);
	command_word(t, name);
	command_option(t, "-m", o->model);
	if (o->verbose)
		command_word(t, "-v");
	return t;
}

static void
add_precision(struct command *t, const struct plan_options *o)
{
	if (o->precision)
		command_option(t, "--precision", o->precision);
}

static void
add_cache_type(struct command *t, const struct plan_options *o, int stage)
{
	if (o->cache_type && stage_programs[stage].caches)
		command_option(t, "--cache-type", o->cache_type);
}

struct command *
plan_worker(struct plan *p, const struct plan_options *o, int stage, int layer)
{
	const char *name = stage_programs[stage].name;
	struct command *t = plan_program(p, o, name);

	if (layer >= 0) {
		t->layer = layer;
		snprintf(t->number, sizeof(t->number), "%d", layer);
		snprintf(t->label, sizeof(t->label), "%s -l %d", name, layer);
		command_option(t, "-l", t->number);
	}
	if (o->threads > 0)
		command_option(t, "-t", p->threads);
	if (o->device)
		command_option(t, "-d", o->device);
	if (o->cache_dir && (stage == STAGE_ATTN || stage == STAGE_BLOCK))
		command_option(t, "--cache-dir", o->cache_dir);
	add_precision(t, o);
	if (o->huge_pages)
		command_word(t, "--huge-pages");
	add_cache_type(t, o, stage);
	return t;
}

void
plan_layers(struct plan *p, const struct plan_options *o)
{
	for (int i = 0; i < o->layers && o->cut != CUT_FUSED; i++) {
		if (o->cut == CUT_LAYER) {
			plan_worker(p, o, STAGE_BLOCK, i);
			continue;
		}
		for (enum at at = AT_NONE; at < AT_OTHER; at++)
			if (at_layered(at))
				plan_worker(p, o, (int)(stage_at(at) - stage_programs), i);
	}
	if (o->cut == CUT_FUSED)
		plan_worker(p, o, STAGE_BLOCK, -1);
}

/* Outputs of the program that ends the loop. They begin with the loop: the next batch waits for
 * it. */
static void
add_outputs(struct command *t, const struct plan_options *o)
{
	if (o->loop_out) {
		command_option(t, "-o", o->loop_out);
		command_option(t, "-o", "-");
	}
	if (o->tally)
		command_option(t, "-o", o->tally);
}

static void
add_head(struct plan *p, const struct plan_options *o)
{
	struct command *t = plan_worker(p, o, STAGE_HEAD, -1);

	if (o->draft && strcmp(o->draft, "mtp") == 0)
		command_option(t, "--tap", TAP_HIDDEN);
}

static void
add_draft(struct plan *p, const struct plan_options *o)
{
	if (o->draft)
		command_option(plan_worker(p, o, STAGE_DRAFT, -1), "--by", o->draft);
}

static void
add_vote(struct plan *p, const struct plan_options *o)
{
	struct command *t;

	if (!o->early)
		return;
	t = plan_program(p, o, "ds-vote");
	command_word(t, "--early");
	command_option(t, "--prompts", o->votes_in);
	if (strncmp(o->early, PLAN_EARLY_REGEX, strlen(PLAN_EARLY_REGEX)) == 0)
		command_option(t, "--regex", o->early + strlen(PLAN_EARLY_REGEX));
	else if (strcmp(o->early, "text") != 0)
		command_word(t, strcmp(o->early, "number") == 0 ? "--number" : "--boxed");
}

static void
add_sampler(struct plan *p, const struct plan_options *o)
{
	struct command *t = plan_program(p, o, stage_programs[STAGE_SAMPLE].name);

	if (o->greedy)
		command_word(t, "-g");
	for (int i = 0; i < SAMPLING_OPTIONS; i++)
		if (o->sampling[i])
			command_option(t, sampling_options[i].word, o->sampling[i]);
	if (o->draft)
		command_word(t, "--draft");
}

static void
add_chat(struct command *t, const struct plan_options *o)
{
	if (o->chat)
		command_word(t, "-c");
	if (o->chat && o->template)
		command_option(t, "--template", o->template);
	if (o->chat && o->thinking)
		command_option(t, "--thinking", o->thinking);
}

static void
add_tokenizer(struct plan *p, const struct plan_options *o)
{
	struct command *t = plan_program(p, o, "ds-tokenize");

	add_chat(t, o);
	if (o->jsonl)
		command_word(t, "--jsonl");
	else if (o->texts || o->lines || o->messages)
		command_word(t, o->messages ? "--messages" : o->texts ? "-0" : "--lines");
	if (o->samples)
		command_option(t, "--samples", o->samples);
	if (!o->jsonl)
		return;
	if (o->sampling[SAMPLING_SEED])
		command_option(t, "-S", o->sampling[SAMPLING_SEED]);
	if (o->logprobs)
		command_word(t, "--logprobs");
	if (o->resume)
		command_option(t, "--done", o->out);
	command_option(t, "-o", "-");
	command_option(t, "-o", o->copy_out);
	if (o->early)
		command_option(t, "-o", o->votes_out);
}

static void
add_scheduler(struct plan *p, const struct plan_options *o)
{
	struct command *t = plan_program(p, o, stage_programs[STAGE_EMBED].name);

	command_option(t, "-i", "-");
	command_option(t, "-i", o->loop_in);
	if (o->batches)
		command_option(t, "--batches", o->batches);
	if (o->cache_size)
		command_option(t, "--cache-size", o->cache_size);
	if (o->cache_dir)
		command_option(t, "--cache-dir", o->cache_dir);
	add_precision(t, o);
	add_cache_type(t, o, STAGE_EMBED);
}

static void
add_detokenizer(struct plan *p, const struct plan_options *o)
{
	struct command *t = plan_program(p, o, "ds-detokenize");

	if (o->jsonl) {
		command_word(t, "--jsonl");
		command_option(t, "--prompts", o->copy_in);
		if (o->prompt_ids)
			command_word(t, "--prompt-ids");
	} else {
		add_chat(t, o);
	}
	if (o->ordered)
		command_word(t, "--ordered");
	if (o->quiet)
		command_word(t, "-q");
	if (o->asks)
		command_word(t, "-0");
	if (o->dim)
		command_word(t, "--dim");
}

int
plan_size(struct plan *p, const struct plan_options *o)
{
	p->n = 0;
	snprintf(p->threads, sizeof(p->threads), "%d", o->threads);
	p->commands = mem_new(7 + AT_OTHER * (size_t)o->layers, sizeof(*p->commands));
	return p->commands ? 0 : -1;
}

int
plan_make(struct plan *p, const struct plan_options *o)
{
	if (plan_size(p, o) < 0)
		return -1;
	add_tokenizer(p, o);
	add_scheduler(p, o);
	plan_layers(p, o);
	add_head(p, o);
	add_sampler(p, o);
	add_draft(p, o);
	add_vote(p, o);
	add_outputs(&p->commands[p->n - 1], o);
	add_detokenizer(p, o);
	return o->keep ? keep_plan(p, o->keep) : 0;
}

void
plan_free(struct plan *p)
{
	for (int i = 0; i < p->n && p->commands; i++)
		free(p->commands[i].keep);
	free(p->commands);
	p->commands = NULL;
}

const char *
plan_cache_size(enum cut cut, int n)
{
	static char text[24];
	uint64_t bytes = memory_free() / 2 / (uint64_t)(cut == CUT_FUSED || n < 1 ? 1 : n);

	bytes = bytes > CACHE_SIZE_MIN ? bytes : CACHE_SIZE_MIN;
	snprintf(text, sizeof(text), "%" PRIu64 "M", bytes >> 20);
	return text;
}
