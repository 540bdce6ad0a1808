/*
 * What ds-sample sends: new tokens, ends of sequences.
 */
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/sample_internal.h"
#include "stage/tap.h"

static int
carry_trace(struct frame *to, const struct frame *from, const struct trace *trace)
{
	return !trace->start ? 0 : trace_merge(to, from) < 0 ? -1 :
	    trace_add(to, -1, trace->start, trace->bytes);
}

static int
add_tokens(struct frame *g, const struct tokens *t)
{
	const uint64_t shape[] = {(uint64_t)t->nids};
	struct tensor *ids = frame_add(g, "ids", I32, 1, shape), *logprob;

	if (!ids)
		return -1;
	memcpy(ids->data, t->ids, ids->bytes);
	if (!t->has_logprobs)
		return 0;
	if (!(logprob = frame_add(g, "logprob", F32, 1, shape)))
		return -1;
	memcpy(logprob->data, t->logprobs, logprob->bytes);
	return 0;
}

static void
pack_pair(msgpack_packer *k, const char *key, const char *text)
{
	msgpack_pack_str_with_body(k, key, strlen(key));
	msgpack_pack_str_with_body(k, text, strlen(text));
}

/* The end of a sequence; that of a request names the reason, and what has computed the answer.  */
static int
set_free(struct frame *g, const struct frame *f, const struct freed *freed)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	int r;

	g->op = OP_FREE;
	g->seq = freed->seq;
	if (!freed->reason)
		return 0;
	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	msgpack_pack_map(&k, 3);
	pack_pair(&k, "reason", freed->reason);
	pack_pair(&k, "model", f->model);
	pack_pair(&k, "precision", precision_text(f->precision, f->cache_type));
	r = frame_set_other(g, "ended", b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

/* For ds-draft: the hidden state of all rows, 0 for new tokens.  */
static int
add_hidden(struct frame *to, struct frame *f, const struct tokens *t, uint64_t D)
{
	const struct tensor *from;
	struct tensor *h;
	float *row;

	if (!frame_tensor(f, TAP_HIDDEN))
		return 0;
	if (!(from = frame_require(f, TAP_HIDDEN, F32, f->rows, D)) ||
	    !(h = frame_add(to, TAP_HIDDEN, F32, 2, (uint64_t[]){(uint64_t)t->nids, D})))
		return -1;
	row = h->data;
	for (int i = 0; i < t->nids; i++, row += D)
		if (t->from[i] < 0)
			memset(row, 0, D * sizeof(*row));
		else
			memcpy(row, (const float *)from->data + (uint64_t)t->from[i] * D,
			    D * sizeof(*row));
	return 0;
}

int
sample_send(const struct sample *s, struct frame *f, const struct tokens *t,
    const struct trace *trace, struct link *out, int nout)
{
	struct frame g;
	int r = 0;

	frame_init(&g);
	if (t->n > 0) {
		frame_set_at(&g, s->draft ? AT_DRAFT : AT_EMBED, -1);
		memcpy(g.model, f->model, sizeof(g.model));
		r = frame_set_spans(&g, t->spans, t->n);
		if (r == 0)
			r = add_tokens(&g, t);
		if (r == 0 && s->draft)
			r = add_hidden(&g, f, t, (uint64_t)s->stage->model->config.hidden_size);
		if (r == 0 && (r = carry_trace(&g, f, trace)) == 0)
			r = stage_send(out, nout, &g);
	}
	for (int i = 0; i < t->nfreed && r == 0; i++) {
		frame_free(&g);
		if ((r = set_free(&g, f, &t->freed[i])) == 0)
			r = stage_send(out, nout, &g);
	}
	frame_free(&g);
	return r;
}
