#include "launch/learn_sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "launch/learn_prompts.h"
#include "launch/learn_rewards.h"
#include "learning/order.h"
#include "learning/records_file.h"
#include "stage/replies.h"
#include "stage/sample.h"

/* Seeds of answers are no more than what a double holds, since answer lines have them. */
#define SEED_BITS 53
#define ORDER_OF_SEEDS ((uint64_t)1 << 63)      /* no epoch of a shuffle */

/* The answers to a prompt: those from `first` on. */
struct group {
	size_t prompt, first, n;
};

struct sampler {
	const struct learning_options *o;
	const struct model *m;
	struct learn_prompts prompts;
	struct order order;             /* of the prompts */
	/* of the current step: */
	struct learn_rewards rewards;
	struct replies replies;
	struct group *groups;           /* [ngroups] */
	size_t ngroups, cap;
	struct learn_record *records;   /* [rewards.n] */
	size_t nrecords;
};

/* --- sampling --- */

/* The random numbers of a prompt's answers in a step. */
static uint64_t
seed_of(uint64_t seed, uint64_t step, uint64_t number)
{
	return (uint64_t)ldexp(sample_random(seed, ORDER_OF_SEEDS + step, number), SEED_BITS);
}

/* The frame of an answer's prompt, for ds-embed. */
static int
send_prompt(struct sampler *s, struct pipeline *p, const struct request *q, int index)
{
	const struct prompt *t = &s->prompts.tokens;
	struct span span = {p->sequence++, 0, (uint32_t)t->n, SPAN_SAMPLE};
	struct buf params = {0};
	struct tensor *ids;
	struct frame f;
	int r = -1;

	frame_init(&f);
	frame_set_at(&f, AT_EMBED, -1);
	memcpy(f.model, s->m->weights.id, sizeof(f.model));
	if (request_entry(q, index, &params) == 0 && frame_set_spans(&f, &span, 1) == 0 &&
	    frame_add_seq(&f, &(struct frame_seq){span.seq, params.p, params.n}) == 0 &&
	    (ids = frame_add(&f, "ids", I32, 1, (uint64_t[]){t->n}))) {
		memcpy(ids->data, t->ids, ids->bytes);
		r = replies_prompt(&s->replies, &f) < 0 || pipeline_send(p, &f) < 0 ? -1 : 0;
	}
	buf_free(&params);
	frame_free(&f);
	return r;
}

/* How many answers to a prompt the step has already: it may be the last of one epoch and among the
 * first of the next. */
static int
answers_before(const struct sampler *s, size_t prompt)
{
	size_t n = 0;

	for (size_t i = 0; i < s->ngroups; i++)
		n += s->groups[i].prompt == prompt ? s->groups[i].n : 0;
	return (int)n;
}

static int
ask(struct sampler *s, struct pipeline *p, uint64_t step, size_t prompt)
{
	int before = answers_before(s, prompt), r = 0;
	struct request q;

	if (learn_prompts_get(&s->prompts, prompt, &q) < 0)
		return -1;
	q.seed = seed_of(q.seed, step, s->prompts.p[prompt].number);
	if (mem_grow(&s->groups, &s->cap, s->ngroups + 1, sizeof(*s->groups)) < 0) {
		request_free(&q);
		return -1;
	}
	s->groups[s->ngroups++] = (struct group){prompt, s->rewards.n, (size_t)q.n};
	for (int i = before; i < before + q.n && r == 0; i++)
		r = learn_rewards_expect(&s->rewards, q.id, i) < 0 ||
		    send_prompt(s, p, &q, i) < 0 ? -1 : 0;
	request_free(&q);
	return r;
}

/* Receive all answers. */
static int
receive(struct sampler *s, struct pipeline *p)
{
	struct buf lines = {0};
	struct frame f;
	int r = 0;

	frame_init(&f);
	while (r == 0 && s->rewards.sampled < s->rewards.n) {
		uint64_t paths;

		if ((r = pipeline_receive(p, &f)) < 0)
			break;
		if (f.op == OP_FAILED) {
			const char *id = replies_request(&s->replies, f.seq, &paths);

			r = fail(FAIL_DATA, "the answer to %s has failed: %s", id ? id : "a prompt",
			    f.text);
			break;
		}
		lines.n = 0;
		r = replies_frame(&s->replies, &f, &lines);
		if (r == 0 && lines.n > 0)
			r = learn_rewards_add(&s->rewards, (char *)lines.p, lines.n);
	}
	frame_free(&f);
	buf_free(&lines);
	return r;
}

/* --- records --- */

static void
forget(struct sampler *s)
{
	for (size_t i = 0; i < s->nrecords; i++)
		learn_record_free(&s->records[i]);
	free(s->records);
	s->records = NULL;
	s->nrecords = 0;
	s->ngroups = 0;
}

/* With its reward, an answer line is one of --records. */
static int
make_record(struct sampler *s, const struct learn_answer *w, struct learn_record *r)
{
	struct records_file f = {.model = s->m};
	cJSON *line = json_parse(w->line, w->n);
	int result = -1;

	if (line && cJSON_AddNumberToObject(line, "reward", w->reward))
		result = records_policy(&f, line, r) < 0 ? fail_in("the answer %s", w->key) : 0;
	else
		fail(FAIL_SYSTEM, "no memory for an answer");
	cJSON_Delete(line);
	return result;
}

static int
make_group(struct sampler *s, const struct group *g, struct batch *b)
{
	size_t before = b->n;

	for (size_t i = g->first; i < g->first + g->n; i++) {
		struct learn_record *r = &s->records[i];

		if (make_record(s, s->rewards.p[i], r) < 0 || batch_add(b, r) < 0)
			return -1;
	}
	learn_record_advantages(b->p + before, g->n, s->o->advantage);
	return 0;
}

static int
next(void *arg, uint64_t step, struct pipeline *p, struct batch *b)
{
	struct sampler *s = arg;
	size_t prompt;
	int r;

	forget(s);
	b->n = 0;
	if (learn_rewards_start(&s->rewards) < 0)
		return -1;
	for (uint64_t k = 0; order_item(&s->order, step, k, &prompt); k++)
		if (ask(s, p, step, prompt) < 0)
			return -1;
	if (receive(s, p) < 0 || (r = learn_rewards_finish(&s->rewards, p->signals)) < 0)
		return -1;
	if (r > 0)
		return pipeline_interrupted(p);
	if (!(s->records = mem_new(s->rewards.n, sizeof(*s->records))))
		return -1;
	s->nrecords = s->rewards.n;
	for (size_t i = 0; i < s->ngroups; i++)
		if (make_group(s, &s->groups[i], b) < 0)
			return -1;
	return 0;
}

/* --- the source --- */

static void
close_sampler(void *arg)
{
	struct sampler *s = arg;

	forget(s);
	free(s->groups);
	learn_rewards_drop(&s->rewards);
	replies_close(&s->replies);
	learn_prompts_close(&s->prompts);
	order_close(&s->order);
	free(s);
}

int
learn_sample_open(struct batch_source *source, const struct learning_options *o,
    const struct model *m)
{
	struct sampler *s = mem_new(1, sizeof(*s));
	const struct request_defaults given = {.seed = (uint64_t)o->sampling.seed,
	    .n = (int)o->group, .logprobs = 1, .sampling = &o->sampling};

	if (!s)
		return -1;
	*s = (struct sampler){.o = o, .m = m,
	    .rewards = {.command = o->grade, .grader = {.in = -1, .out = -1}}};
	*source = (struct batch_source){.arg = s, .next = next, .close = close_sampler};
	if (learn_prompts_open(&s->prompts, o->file, m->weights.dir,
	    (uint32_t)m->config.max_position, &given) < 0 ||
	    order_open(&s->order, s->prompts.n, o) < 0)
		return -1;
	replies_open(&s->replies, s->prompts.tokens.t);
	s->replies.prompt_ids = 1;
	source->steps = s->order.steps;
	source->hash = s->prompts.hash;
	return 0;
}
