#include "stage/join.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "frame/learn.h"
#include "stage/join_merge.h"
#include "stage/trace.h"

struct join {
	const struct stage *s;
	struct link *in, *out;
	int nin, nout;
	struct frame *f;        /* [nin] one of each input */
	int error_sent;         /* 1: an error frame was sent downstream */
};

static int
same_bytes(const void *a, size_t na, const void *b, size_t nb)
{
	return na == nb && (na == 0 || memcmp(a, b, na) == 0);
}

/* Tensors that each process may have changed on its own.  */
static int
is_own(const struct tensor *t, int moved)
{
	static const char *const results[] = {"h", "x.grad", "w.grad"};

	if (strcmp(t->name, "expert.acc") == 0 || strcmp(t->name, "expert.wacc") == 0 ||
	    merge_is_tap(t) || (moved && strncmp(t->name, "expert.", 7) == 0))
		return 1;
	for (int i = 0; i < 3 && moved; i++)
		if (strcmp(t->name, results[i]) == 0)
			return 1;
	return 0;
}

/* Keys that each process may have changed on its own.  */
static const char *const own_keys[] = {"trace", "squares", "shards"};

static int
is_own_key(const struct frame *f, const struct frame_key *k)
{
	for (int i = 0; i < 3; i++)
		if (frame_other(f, own_keys[i]) == k)
			return 1;
	return 0;
}

static int
count_shared(const struct frame *f, int moved)
{
	int n = 0;

	for (int i = 0; i < f->ntensors; i++)
		n += !is_own(&f->tensors[i], moved);
	return n;
}

static int
same_tensors(struct frame *a, struct frame *b, int moved)
{
	if (count_shared(a, moved) != count_shared(b, moved))
		return 0;
	for (int i = 0; i < a->ntensors; i++) {
		const struct tensor *t = &a->tensors[i], *u;

		if (is_own(t, moved))
			continue;
		u = frame_tensor(b, t->name);
		if (!u || t->dtype != u->dtype || t->rank != u->rank ||
		    memcmp(t->shape, u->shape, sizeof(t->shape[0]) * (size_t)t->rank) != 0 ||
		    !same_bytes(t->data, t->bytes, u->data, u->bytes))
			return 0;
	}
	return 1;
}

static int
same_spans(const struct frame *a, const struct frame *b)
{
	if (a->nspans != b->nspans)
		return 0;
	for (int i = 0; i < a->nspans; i++)
		if (a->spans[i].seq != b->spans[i].seq || a->spans[i].pos != b->spans[i].pos ||
		    a->spans[i].n != b->spans[i].n || a->spans[i].flags != b->spans[i].flags)
			return 0;
	return 1;
}

static int
same_seqs(const struct frame *a, const struct frame *b)
{
	if (a->nseqs != b->nseqs)
		return 0;
	for (int i = 0; i < a->nseqs; i++)
		if (a->seqs[i].seq != b->seqs[i].seq ||
		    !same_bytes(a->seqs[i].params, a->seqs[i].n, b->seqs[i].params, b->seqs[i].n))
			return 0;
	return 1;
}

static int
same_others(const struct frame *a, const struct frame *b)
{
	if (a->nothers != b->nothers)
		return 0;
	for (int i = 0; i < a->nothers; i++)
		if (!same_bytes(a->others[i].key, a->others[i].nkey, b->others[i].key, b->others[i].nkey) ||
		    (!is_own_key(a, &a->others[i]) &&
		    !same_bytes(a->others[i].value, a->others[i].nvalue, b->others[i].value, b->others[i].nvalue)))
			return 0;
	return 1;
}

/* What two frames that ought to be alike differ in, or NULL; moved: one of them has been finished,
 * so h and expert.* may differ.  */
static const char *
difference(struct frame *a, struct frame *b, int moved)
{
	if (a->op != b->op)
		return "op";
	if (a->op == OP_OTHER)
		return same_bytes(a->raw, a->nraw, b->raw, b->nraw) ? NULL : "op";
	if (op_learns(a->op))
		return !frame_same_step(a, b) || !same_others(a, b) ? "op" :
		    same_tensors(a, b, 0) ? NULL : "tensors";
	if (a->op != OP_NONE)
		return a->seq != b->seq || a->from != b->from || a->to != b->to || a->fork_n != b->fork_n ||
		    a->size != b->size || a->positions != b->positions ||
		    strcmp(a->text ? a->text : "", b->text ? b->text : "") != 0 ||
		    strcmp(a->key, b->key) != 0 || !same_others(a, b) ? "op" : NULL;
	if (!moved && (strcmp(a->at_text, b->at_text) != 0 || a->layer != b->layer))
		return "at and layer";
	if (!same_spans(a, b))
		return "spans";
	if (strcmp(a->model, b->model) != 0)
		return "model";
	if (a->precision != b->precision)
		return "precision";
	if (a->cache_type != b->cache_type)
		return "cache_type";
	if (!same_seqs(a, b))
		return "seqs";
	if (!same_others(a, b))
		return "unknown keys";
	return same_tensors(a, b, moved) ? NULL : "tensors";
}

static int
alike(const struct join *j, int a, int b, int moved)
{
	const char *what = difference(&j->f[a], &j->f[b], moved);

	return !what ? 0 : fail(FAIL_DATA, "%s and %s differ in %s", j->in[a].name, j->in[b].name, what);
}

/* A frame that is the same on all inputs, but for what processes report in a control frame.  */
static int
pass_once(const struct join *j)
{
	for (int i = 1; i < j->nin; i++)
		if (alike(j, 0, i, 0) < 0 || (op_learns(j->f[0].op) &&
		    (frame_unite(&j->f[0], &j->f[i], "squares") < 0 ||
		    frame_unite(&j->f[0], &j->f[i], "shards") < 0)))
			return -1;
	return 0;
}

/* One process has finished the layer; others forward the frame as it came.  The index of the
 * finished frame, or -1 and a message.  */
static int
prefer_finished(const struct join *j, int waiting, int finished)
{
	enum at from = j->f[waiting].at, at = from;
	int layer = j->f[waiting].layer;

	(at_is_back(at) ? at_back_next : at_next)(&at, &layer, j->s->model->config.num_layers);
	for (int i = 0; i < j->nin; i++) {
		struct frame *f = &j->f[i];

		if (f->at == from && f->layer == j->f[waiting].layer) {
			if (f->experts_done)
				return fail(FAIL_DATA, "%s has experts '%s' of a layer that %s has finished",
				    j->in[i].name, f->experts_done, j->in[finished].name);
			if (alike(j, waiting, i, 0) < 0)
				return -1;
		} else if (f->at != at || f->layer != layer) {
			return fail(FAIL_DATA, "%s and %s differ in at and layer", j->in[waiting].name, j->in[i].name);
		} else if (alike(j, finished, i, 0) < 0) {
			return -1;
		}
	}
	return alike(j, waiting, finished, 1) < 0 ? -1 : finished;
}

/* Add the gradients of the experts' weights.  An entry is that of one expert.  */
static int
add_weights(const struct join *j, int to, int i)
{
	uint64_t T = j->f[i].rows, K = (uint64_t)j->s->model->config.num_experts_per_tok;
	struct tensor *sum = frame_require(&j->f[to], "expert.wacc", I64, T, K),
	    *t = sum ? frame_require(&j->f[i], "expert.wacc", I64, T, K) : NULL;
	int64_t *a = sum ? sum->data : NULL, *b = t ? t->data : NULL;

	for (uint64_t k = 0; b && k < T * K; k++) {
		if (a[k] != 0 && b[k] != 0)
			return fail(FAIL_DATA, "%s: expert.wacc of row %llu: an input before has "
			    "it, too", j->in[i].name, (unsigned long long)(k / K));
		a[k] |= b[k];
	}
	return b ? 0 : -1;
}

/* Add what input i has to the sum of another.  */
static int
add_partial(const struct join *j, struct partial *sum, const struct partial *p, int to, int i)
{
	const struct config *c = &j->s->model->config;
	size_t n = (size_t)j->f[i].rows * (size_t)c->hidden_size;

	if (expert_set_merge(&sum->done, &p->done, c->n_routed_experts) < 0)
		return fail_in("%s", j->in[i].name);
	if (at_is_back(j->f[i].at) && add_weights(j, to, i) < 0)
		return -1;
	if (merge_taps(&j->f[to], &j->f[i], p, c) < 0 || trace_merge(&j->f[to], &j->f[i]) < 0)
		return fail_in("%s", j->in[i].name);
	for (size_t k = 0; k < n; k++)
		sum->acc[k] += p->acc[k];
	return 0;
}

/* All frames are at the experts of one layer: the index of the frame that holds their sum now.  */
static int
sum_up(const struct join *j)
{
	struct trace t = trace_begin(&j->f[0]);
	struct partial sum = {0}, p;
	int to = -1, added = 0, back = at_is_back(j->f[0].at);
	uint64_t bytes = 0;

	for (int i = 0; i < j->nin; i++) {
		if (alike(j, 0, i, 0) < 0)
			return -1;
		if ((back ? partial_read_back(&p, j->s, &j->f[i], NULL) :
		    partial_read(&p, j->s, &j->f[i])) < 0)
			return fail_in("%s", j->in[i].name);
		bytes += j->f[i].nraw;
		if (!p.begun)
			continue;
		if (to < 0) {
			to = i;
			sum = p;
		} else if (add_partial(j, &sum, &p, to, i) < 0) {
			return -1;
		} else {
			added = 1;
		}
	}
	if (added && ((back ? partial_write_back : partial_write)(&sum, j->s, &j->f[to]) < 0 ||
	    (t.start && trace_add(&j->f[to], t.layer, t.start, bytes) < 0)))
		return -1;
	return to < 0 ? 0 : to;
}

/* The index of the frame to send, or -1 and a message.  */
static int
join_frames(const struct join *j)
{
	int waiting = -1, other = -1;

	for (int i = 0; i < j->nin; i++)
		if (j->f[i].op != OP_NONE)
			return pass_once(j);
	for (int i = 0; i < j->nin; i++) {
		int acts = stage_acts(j->s, &j->f[i],
		    j->f[i].at == AT_EXPERT_BACK ? AT_EXPERT_BACK : AT_EXPERT);

		if (acts < 0)
			return fail_in("%s", j->in[i].name);
		if (acts > 0 && waiting < 0)
			waiting = i;
		else if (acts == 0 && other < 0)
			other = i;
	}
	if (waiting < 0)
		return pass_once(j);
	return other < 0 ? sum_up(j) : prefer_finished(j, waiting, other);
}

/* A frame of each input: 1, 0 if it is the end, or -1 and a message.  */
static int
receive_all(struct join *j)
{
	int ends = 0;

	for (int i = 0; i < j->nin; i++) {
		if (link_receive(&j->in[i], &j->f[i]) < 0)
			return -1;
		if (j->f[i].op == OP_ERROR) {
			(void)stage_send(j->out, j->nout, &j->f[i]);
			j->error_sent = 1;
			return stage_upstream(&j->f[i], &j->in[i]);
		}
		ends += j->f[i].op == OP_END;
	}
	for (int i = 0; i < j->nin && ends < j->nin; i++)
		if (ends > 0 && j->f[i].op == OP_END)
			return fail(FAIL_SYSTEM, "%s: ended before the others", j->in[i].name);
	return ends == 0;
}

static int
join_rounds(struct join *j)
{
	char where[64];
	int more, which;

	while ((more = receive_all(j)) > 0) {
		which = join_frames(j);
		if (which < 0 && j->f[0].op == OP_NONE)
			fail_in("%s", frame_where(&j->f[0], where, sizeof(where)));
		if (which < 0 || stage_send(j->out, j->nout, &j->f[which]) < 0)
			return -1;
	}
	return more < 0 ? -1 : stage_send(j->out, j->nout, &j->f[0]);
}

int
join_run(const struct stage *s, struct link *in, int nin, struct link *out, int nout)
{
	struct join j = {.s = s, .in = in, .nin = nin, .out = out, .nout = nout};
	int r;

	j.f = mem_new((size_t)nin, sizeof(*j.f));
	if (!j.f)
		return -1;
	for (int i = 0; i < nin; i++)
		frame_init(&j.f[i]);
	r = join_rounds(&j);
	if (r < 0 && !j.error_sent)
		stage_fail(out, nout, program);
	for (int i = 0; i < nin; i++)
		frame_free(&j.f[i]);
	free(j.f);
	return r;
}
