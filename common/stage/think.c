#include "stage/think.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#define CLOSE "</think>"

/* --- the vocabulary --- */

static int
vocab_read(struct think_vocab *v)
{
	int64_t id;

	if (v->t)
		return 0;
	if (v->why)
		return fail(FAIL_DATA, "%s", v->why);
	if (!(v->t = tokenizer_open(v->model))) {
		v->why = strdup(fail_text());
		return -1;
	}
	id = tokenizer_id(v->t, CLOSE);
	v->close = id < v->size ? (int32_t)id : -1;
	return 0;
}

void
think_vocab_close(struct think_vocab *v)
{
	tokenizer_close(v->t);
	free(v->why);
}

static int
has_budget(const struct sampling *p)
{
	return p->think_min > 0 || p->think_max < THINK_MAX;
}

/* Read what the parameters need.  0, or -1 and a message.  */
static int
need(struct think_vocab *v, const struct sampling *p, int status)
{
	if (!has_budget(p) && p->stop_text.n == 0)
		return 0;
	if (vocab_read(v) < 0)
		return -1;
	if (has_budget(p) && v->close < 0)
		return fail(status, "%s: the vocabulary has no token '" CLOSE "'",
		    p->think_min > 0 ? "think_min" : "think_max");
	return 0;
}

int
think_check(struct think_vocab *v, const struct sampling *options)
{
	return need(v, options, FAIL_USAGE);
}

int
think_changed(struct think_vocab *v, const struct sampling *p)
{
	return need(v, p, FAIL_DATA);
}

/* --- sequences --- */

void
think_free(struct think *a)
{
	buf_free(&a->text.tail);
	free(a->prompt);
}

int
think_replays(const struct sampling *p)
{
	return p->had > 0 && (has_budget(p) || p->stop_text.n > 0);
}

int
think_keep(struct think *a, uint32_t pos, const int32_t *ids, uint32_t n)
{
	size_t end = (size_t)pos + n;

	if (mem_grow(&a->prompt, &a->cap, end, sizeof(*ids)) < 0)
		return -1;
	for (; a->nprompt < pos; a->nprompt++)
		a->prompt[a->nprompt] = -1;
	memcpy(a->prompt + pos, ids, n * sizeof(*ids));
	if (a->nprompt < end)
		a->nprompt = end;
	return 0;
}

int
think_begin(struct think *a, struct think_vocab *v, const struct sampling *p, uint32_t pos)
{
	uint32_t from = p->had < pos ? pos - p->had : 0;
	int r = need(v, p, FAIL_DATA);

	if (r < 0 || !think_replays(p)) {
		a->n = p->had;
		return r;
	}
	for (uint32_t i = from; i < pos && r == 0; i++)
		r = i < a->nprompt && a->prompt[i] >= 0 ? think_add(a, v, p, a->prompt[i]) :
		    fail(FAIL_DATA, "seqs: new %u: the token at position %u did not arrive",
		    p->had, i);
	free(a->prompt);
	a->prompt = NULL;
	a->nprompt = a->cap = 0;
	a->n = p->had;
	return r;
}

int32_t
think_force(const struct think *a, const struct think_vocab *v,
    const struct sampling *p)
{
	return !a->closed && a->n >= p->think_max ? v->close : -1;
}

static void
hold(float *logits, int32_t id, struct think_held *held)
{
	held->id[held->n] = id;
	held->logit[held->n++] = logits[id];
	logits[id] = -INFINITY;
}

void
think_hold(const struct think *a, const struct think_vocab *v, const struct sampling *p,
    float *logits, struct think_held *held)
{
	held->n = 0;
	if (a->closed || a->n >= p->think_min)
		return;
	hold(logits, v->close, held);
	for (int i = 0; i < p->nstop; i++)
		if (p->stop[i] >= 0 && p->stop[i] < v->size)
			hold(logits, p->stop[i], held);
}

void
think_release(float *logits, const struct think_held *held)
{
	for (int i = held->n; i-- > 0; )        /* an id that is held twice has its logit first */
		logits[held->id[i]] = held->logit[i];
}

int
think_add(struct think *a, const struct think_vocab *v, const struct sampling *p,
    int32_t id)
{
	const char *bytes;
	size_t n;

	a->n++;
	if (v->t && id == v->close)
		a->closed = 1;
	if (p->stop_text.n == 0 || tokenizer_is_special(v->t, id) ||
	    !(bytes = tokenizer_bytes(v->t, id, &n)))
		return 0;
	return stops_find(&p->stop_text, &a->text, bytes, n, NULL);
}
