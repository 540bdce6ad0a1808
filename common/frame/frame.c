/*
 * A frame in memory: making, reading and changing it.  parse.c and encode.c
 * are its way in and out.
 */
#include "frame/frame.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame_internal.h"
#include "base/utf8.h"

struct frame_chunk {
	struct frame_chunk *next;
	unsigned char bytes[];
};

void
frame_init(struct frame *f)
{
	memset(f, 0, offsetof(struct frame, tensors));
	f->layer = -1;
	f->at_text = "";
}

static void
drop_tensor(struct frame *f, int i)
{
	free(f->tensors[i].own);
	f->ntensors--;
	memmove(&f->tensors[i], &f->tensors[i + 1], (size_t)(f->ntensors - i) * sizeof(f->tensors[0]));
}

void
frame_free(struct frame *f)
{
	while (f->ntensors > 0)
		drop_tensor(f, f->ntensors - 1);
	while (f->chunks) {
		struct frame_chunk *c = f->chunks;

		f->chunks = c->next;
		free(c);
	}
	free(f->spans);
	free(f->seqs);
	free(f->others);
	free(f->raw);
	free(f->head);
	frame_init(f);
}

void
frame_move(struct frame *to, struct frame *from)
{
	frame_free(to);
	memcpy(to, from, offsetof(struct frame, tensors) +
	    (size_t)from->ntensors * sizeof(from->tensors[0]));
	frame_init(from);
}

void *
frame_keep(struct frame *f, const void *p, size_t n)
{
	struct frame_chunk *c = malloc(sizeof(*c) + n + 1);

	if (!c) {
		fail(FAIL_SYSTEM, "no memory for %zu bytes of a frame", n);
		return NULL;
	}
	c->next = f->chunks;
	f->chunks = c;
	if (p)
		memcpy(c->bytes, p, n);
	c->bytes[n] = 0;
	return c->bytes;
}

const char *
op_name(enum op op)
{
	static const char *const names[OP_OTHER + 1] = {[OP_END] = "end", [OP_FREE] = "free", [OP_FORK] = "fork",
	    [OP_CACHE] = "cache", [OP_SAVE] = "save", [OP_LOAD] = "load",
	    [OP_NORM] = "norm", [OP_STEP] = "step", [OP_SAVE_WEIGHTS] = "save",
	    [OP_ERROR] = "error", [OP_FAILED] = "error"};

	return names[op];
}

int
op_learns(enum op op)
{
	return op == OP_NORM || op == OP_STEP || op == OP_SAVE_WEIGHTS;
}

int
frame_frees(const struct frame *f)
{
	return f->op == OP_FREE || f->op == OP_FAILED;
}

int
frame_in_layer(const struct frame *f)
{
	return f->layer >= 0 && f->at != AT_HEAD;
}

const char *
frame_where(const struct frame *f, char *buf, size_t size)
{
	if (frame_in_layer(f))
		snprintf(buf, size, "%s layer %d", f->at_text, f->layer);
	else
		snprintf(buf, size, "%s", f->at_text);
	return buf;
}

int
frame_stray(const struct frame *f, const char *hint)
{
	unsigned long long seq = f->nspans > 0 ? f->spans[0].seq : 0;
	const char *done = f->at == AT_EXPERT ? f->experts_done : NULL;
	char where[64];

	if (f->at == AT_OTHER)
		return fail(FAIL_DATA, "sequence %llu waits for '%s': no program has this stage",
		    seq, f->at_text);
	return fail(FAIL_DATA, "sequence %llu still waits for %s%s%s%s: "
	    "is a stage missing, or are they in the wrong order?%s",
	    seq, frame_where(f, where, sizeof(where)),
	    done ? " (only experts " : "", done ? done : "", done ? " are done)" : "", hint);
}

struct tensor *
frame_tensor(struct frame *f, const char *name)
{
	for (int i = 0; i < f->ntensors; i++)
		if (strcmp(f->tensors[i].name, name) == 0)
			return &f->tensors[i];
	return NULL;
}

struct tensor *
frame_find(struct frame *f, const char *name, enum dtype dtype, uint64_t rows, uint64_t cols)
{
	struct tensor *t = frame_tensor(f, name);
	int rank = cols ? 2 : 1;

	if (!t) {
		fail(FAIL_DATA, "the frame has no tensor '%s'", name);
		return NULL;
	}
	if (t->dtype != dtype || t->rank != rank || t->shape[0] != rows || (cols && t->shape[1] != cols)) {
		char want[32] = "";

		if (cols)
			snprintf(want, sizeof(want), ", %llu", (unsigned long long)cols);
		fail(FAIL_DATA, "tensor '%s' is %s of rank %d with %llu rows, not %s [%llu%s]", name,
		    dtype_name(t->dtype), t->rank, t->rank ? (unsigned long long)t->shape[0] : 0,
		    dtype_name(dtype), (unsigned long long)rows, want);
		return NULL;
	}
	return t;
}

int
frame_fetch(struct tensor *t)
{
	if (t->fetch && t->fetch(t) < 0)
		return fail_in("tensor '%s'", t->name);
	t->fetch = NULL;
	return 0;
}

struct tensor *
frame_require(struct frame *f, const char *name, enum dtype dtype, uint64_t rows, uint64_t cols)
{
	struct tensor *t = frame_find(f, name, dtype, rows, cols);

	return t && frame_fetch(t) == 0 ? t : NULL;
}

int
frame_logit_rows(const struct frame *f, int32_t **rows)
{
	int32_t row = 0;
	int n = 0;

	*rows = mem_raw(f->rows, sizeof(**rows));
	if (!*rows)
		return -1;
	for (int i = 0; i < f->nspans; i++)
		for (uint32_t k = 1; k <= f->spans[i].n; k++, row++)
			if (f->spans[i].flags & SPAN_LOGITS ||
			    (f->spans[i].flags & SPAN_SAMPLE && k == f->spans[i].n))
				(*rows)[n++] = row;
	return n;
}

void
frame_set_at(struct frame *f, enum at at, int layer)
{
	f->at = at;
	f->at_text = at_name(at);
	f->layer = layer;
	f->changed = 1;
}

void
frame_set_next(struct frame *f, int layers)
{
	enum at at = f->at;
	int layer = f->layer;

	at_next(&at, &layer, layers);
	frame_set_at(f, at, layer);
}

void
frame_set_back(struct frame *f, int layers)
{
	enum at at = f->at;
	int layer = f->layer;

	at_back_next(&at, &layer, layers);
	frame_set_at(f, at, layer);
}

int
frame_set_spans(struct frame *f, const struct span *spans, int n)
{
	struct span *copy = mem_raw((size_t)n, sizeof(*copy));

	if (!copy)
		return -1;
	if (n > 0)
		memcpy(copy, spans, (size_t)n * sizeof(*copy));
	free(f->spans);
	f->spans = copy;
	f->nspans = n;
	f->rows = 0;
	for (int i = 0; i < n; i++)
		f->rows += copy[i].n;
	f->changed = 1;
	return 0;
}

static int
set_text(struct frame *f, const char **to, const char *text)
{
	*to = text ? frame_keep(f, text, strlen(text)) : NULL;
	f->changed = 1;
	return text && !*to ? -1 : 0;
}

int
frame_set_done(struct frame *f, const char *text)
{
	return set_text(f, &f->experts_done, text);
}

int
frame_set_text(struct frame *f, const char *text)
{
	struct buf b = {0};
	int r = -1;

	f->op = OP_ERROR;
	/* a message quotes bytes that need not be UTF-8, and readers elsewhere may insist on it */
	if (utf8_clean(&b, text, strlen(text)) == 0 && buf_addc(&b, 0) == 0)
		r = set_text(f, &f->text, (const char *)b.p);
	buf_free(&b);
	return r;
}

int
frame_set_failed(struct frame *f, uint64_t seq, const char *text)
{
	if (frame_set_text(f, text) < 0)
		return -1;
	f->op = OP_FAILED;
	f->seq = seq;
	return 0;
}

void
frame_set_n(struct frame *f, uint32_t n)
{
	f->fork_n = n;
	f->changed = 1;
}

int
frame_add_seq(struct frame *f, const struct frame_seq *s)
{
	struct frame_seq *all = realloc(f->seqs, (size_t)(f->nseqs + 1) * sizeof(*all));
	void *params;

	if (!all)
		return fail(FAIL_SYSTEM, "no memory for the sequences of a frame");
	f->seqs = all;
	params = frame_keep(f, s->params, s->n);
	if (!params)
		return -1;
	all[f->nseqs++] = (struct frame_seq){s->seq, params, s->n};
	f->changed = 1;
	return 0;
}

int
frame_add_others(struct frame *f, const struct frame *from)
{
	struct frame_key *all = realloc(f->others, (size_t)(f->nothers + from->nothers + 1) * sizeof(*all));

	if (!all)
		return fail(FAIL_SYSTEM, "no memory for the keys of a frame");
	f->others = all;
	for (int i = 0; i < from->nothers; i++) {
		struct frame_key k = from->others[i];

		k.key = frame_keep(f, k.key, k.nkey);
		k.value = frame_keep(f, k.value, k.nvalue);
		if (!k.key || !k.value)
			return -1;
		all[f->nothers++] = k;
	}
	f->changed = 1;
	return 0;
}

struct tensor *
frame_add(struct frame *f, const char *name, enum dtype dtype, int rank, const uint64_t *shape)
{
	struct tensor t = {.dtype = dtype, .rank = rank, .bytes = dtype_size(dtype)};

	for (int i = 0; i < rank; i++) {
		t.shape[i] = shape[i];
		if (size_mul(t.bytes, shape[i], &t.bytes) < 0 || t.bytes > FRAME_PAYLOAD_MAX)
			goto big;
	}
	frame_drop(f, name);
	if (f->ntensors == FRAME_TENSORS_MAX) {
		fail(FAIL_DATA, "tensor '%s' would be the %dth of the frame", name, FRAME_TENSORS_MAX + 1);
		return NULL;
	}
	if (!(t.name = frame_keep(f, name, strlen(name))) || !(t.own = mem_raw(t.bytes, 1)))
		return NULL;
	t.data = t.own;
	f->tensors[f->ntensors] = t;
	f->changed = 1;
	return &f->tensors[f->ntensors++];
big:
	fail(FAIL_DATA, "tensor '%s' would not fit into a frame of 4 GiB: use smaller batches", name);
	return NULL;
}

void
frame_drop(struct frame *f, const char *name)
{
	struct tensor *t = frame_tensor(f, name);

	if (t) {
		drop_tensor(f, (int)(t - f->tensors));
		f->changed = 1;
	}
}
