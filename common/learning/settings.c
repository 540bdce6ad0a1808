#include <stdio.h>
#include <stdlib.h>

#include "base/fail.h"
#include "learning/learning_internal.h"

const char *const learning_schedules[] = {"constant", "linear", "cosine", NULL};

static void
add_text(struct setting **s, const char *name, const char *text)
{
	*(*s)++ = (struct setting){.name = name, .text = text};
}

static void
add(struct setting **s, const char *name, double v)
{
	struct setting *t = (*s)++;

	*t = (struct setting){.name = name};
	snprintf(t->value, sizeof(t->value), "%.15g", v);
	if (strtod(t->value, NULL) != v)
		snprintf(t->value, sizeof(t->value), "%.17g", v);
}

static void
add_adamw(struct setting **s, const struct learning_options *o)
{
	add(s, "--rate", o->rate);
	add(s, "--betas (first)", o->beta1);
	add(s, "--betas (second)", o->beta2);
	add(s, "--eps", o->eps);
	add(s, "--decay", o->decay);
	add(s, "--clip-norm", o->clip_norm);
	add(s, "--balance", o->balance);
	add(s, "--warmup", (double)o->warmup);
	add_text(s, "--schedule", learning_schedules[o->schedule]);
}

static void
add_policy(struct setting **s, const struct learning_options *o)
{
	add(s, "--clip (lower)", o->clip[0]);
	add(s, "--clip (upper)", o->clip[1]);
	add(s, "--beta", o->beta);
	add_text(s, "--advantage", advantage_names[o->advantage]);
	if (o->beta > 0)
		add_text(s, "--reference", o->reference ? o->reference : "");
}

static void
add_sampling(struct setting **s, const struct learning_options *o)
{
	const struct sampling_options *p = &o->sampling;

	add(s, "--group", (double)o->group);
	add_text(s, "--grade", o->grade);
	add(s, "-T", p->temperature);
	add(s, "-p", p->top_p);
	add(s, "-k", (double)p->top_k);
	add(s, "-n", (double)p->max_new);
}

#define HEAD 4096        /* bytes of a tensor that identify it */

static int
add_heads(struct model *m, int layer, uint32_t *crc)
{
	for (struct weight w = {0}; weight_next(&w, &m->config, layer); ) {
		const void *data;
		const struct tensor_entry *t;

		if (!checkpoint_has(&m->weights, w.name))
			continue;
		if (!(t = checkpoint_data(&m->weights, w.name, &data)))
			return -1;
		*crc = crc32c(*crc, data, t->end - t->begin < HEAD ? t->end - t->begin : HEAD);
	}
	return 0;
}

int
settings_weights(struct run *r)
{
	const struct config *c = &r->model.config;
	uint32_t crc = 0;

	if (r->o->balance > 0 && c->topk_method != TOPK_NOAUX_TC)
		return fail(FAIL_USAGE, "--balance: the routers of '%s' have no biases",
		    r->o->model);
	for (int layer = -1; layer < c->num_layers; layer++)
		if (add_heads(&r->model, layer, &crc) < 0)
			return -1;
	snprintf(r->weights, sizeof(r->weights), "%08x", crc);
	return 0;
}

int
settings_list(const struct run *r, struct setting to[SETTINGS_MAX])
{
	static const char *const data[] = {"", "--sft", "--grpo", "--records"};
	const struct learning_options *o = r->o;
	struct setting *s = to;

	add_text(&s, "weights", r->weights);
	add_text(&s, "kind of records", data[o->data]);
	add(&s, "--seed", (double)o->sampling.seed);
	add(&s, "--batch", (double)o->batch);
	add_adamw(&s, o);
	if (o->schedule != SCHEDULE_CONSTANT)
		add(&s, "number of steps", (double)r->steps);
	if (o->data != LEARNING_SFT)
		add_policy(&s, o);
	if (o->data == LEARNING_GRPO)
		add_sampling(&s, o);
	for (struct setting *t = to; t < s; t++)
		t->text = t->text ? t->text : t->value;
	return (int)(s - to);
}
