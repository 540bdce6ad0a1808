/*
 * The sequences of ds-sample: parameters, and the next token of each.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/logprob.h"
#include "stage/sample_internal.h"

void
sample_seq_free(struct sample_seq *q)
{
	if (q) {
		think_free(&q->think);
		stops_free(&q->p.stop_text);
		free(q->why);
	}
	free(q);
}

struct sample_seq *
sample_seq_find(struct sample *s, uint64_t seq)
{
	struct sample_seq *q = table_get(&s->seqs, &seq, sizeof(seq));

	if (q)
		return q;
	if (!(q = mem_new(1, sizeof(*q))))
		return NULL;
	q->seq = seq;
	if (sampling_copy(&q->p, &s->base) < 0 ||
	    table_put(&s->seqs, &q->seq, sizeof(q->seq), q) < 0) {
		sample_seq_free(q);
		return NULL;
	}
	return q;
}

void
sample_seq_forget(struct sample *s, uint64_t seq)
{
	sample_seq_free(table_del(&s->seqs, &seq, sizeof(seq)));
}

int
sample_seq_refuse(struct sample_seq *q)
{
	fail_in("%s", program);
	q->failed = 1;
	return (q->why = strdup(fail_text())) ? 0 : fail(FAIL_SYSTEM, "no memory for a message");
}

int
sample_seq_read(struct sample *s, const struct frame *f)
{
	for (int i = 0; i < f->nseqs; i++) {
		struct sample_seq *q = sample_seq_find(s, f->seqs[i].seq);

		if (!q)
			return -1;
		if (!q->failed && (sampling_read(&q->p, f->seqs[i].params, f->seqs[i].n) < 0 ||
		    (q->n > 0 && think_changed(&s->vocab, &q->p) < 0)) &&
		    sample_seq_refuse(q) < 0)
			return -1;
	}
	return 0;
}

int
sample_seq_keep(struct sample *s, struct frame *f, const struct span *at, int32_t row)
{
	struct sample_seq *q = table_get(&s->seqs, &at->seq, sizeof(at->seq));
	const struct tensor *ids;

	if (!q || q->failed || q->n > 0 || !think_replays(&q->p))
		return 0;
	if (!(ids = frame_require(f, "ids", I32, f->rows, 0)))
		return sample_seq_refuse(q);
	if (at->pos + at->n > (uint32_t)s->stage->model->config.max_position) {
		fail(FAIL_DATA, "position %u is after the model's last", at->pos + at->n - 1);
		return sample_seq_refuse(q);
	}
	return think_keep(&q->think, at->pos, (const int32_t *)ids->data + row, at->n);
}

/* Choose the token at pos, with the thinking budget.  logits are the same afterwards.  0, or -1 and
 * a message.  */
static int
choose(struct sample *s, const struct sample_seq *q, uint32_t pos, float *logits, int32_t *id)
{
	struct think_held held;
	int stuck;

	if ((*id = think_force(&q->think, &s->vocab, &q->p)) >= 0)
		return 0;
	think_hold(&q->think, &s->vocab, &q->p, logits, &held);
	*id = sample_choose(s->stage->k, &q->p, logits, s->stage->model->config.vocab_size,
	    sample_random(q->p.seed, q->p.has_stream ? q->p.stream : q->seq, pos),
	    s->choices, s->weights);
	stuck = held.n > 0 && logits[*id] == -INFINITY;
	think_release(logits, &held);
	return stuck ? fail(FAIL_DATA, "position %u: think_min leaves no possible token", pos) : 0;
}

int
sample_seq_next(struct sample *s, struct sample_seq *q, const struct span *at, float *logits,
    struct span *to, int32_t *id, float *logprob)
{
	const struct config *c = &s->stage->model->config;
	uint32_t pos = at->pos + at->n;         /* the new token's */
	double norm = 0;
	int r, ended;

	for (int i = 0; i < c->vocab_size; i++)
		if (!(logits[i] < INFINITY))
			return fail(FAIL_DATA, "position %u: the logit of token %d is %s", pos - 1,
			    i, isnan(logits[i]) ? "not a number" : "infinite");
	if (q->p.max_new <= q->p.had)
		return 0;
	if (q->n == 0 && (r = think_begin(&q->think, &s->vocab, &q->p, pos)) != 0) {
		q->stopped = r > 0;
		return r < 0 ? -1 : 0;
	}
	if (choose(s, q, pos, logits, id) < 0)
		return -1;
	if (q->p.logprobs &&
	    logprob_norm(s->stage->k, logits, (uint64_t)c->vocab_size, pos - 1, &norm) < 0)
		return -1;
	*logprob = q->p.logprobs ? (float)logprob_of(logits, (uint64_t)*id, norm) : NAN;
	if ((q->stopped = think_add(&q->think, &s->vocab, &q->p, *id)) < 0)
		return -1;
	for (int i = 0; i < q->p.nstop; i++)
		q->stopped |= *id == q->p.stop[i];
	ended = ++q->n >= q->p.max_new - q->p.had || pos >= (uint32_t)c->max_position || q->stopped;
	*to = (struct span){q->seq, pos, 1, ended ? SPAN_LAST : SPAN_SAMPLE};
	s->tokens++;
	return 1;
}
