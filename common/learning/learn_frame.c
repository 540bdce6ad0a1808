#include "learning/learn_frame.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#define LOGITS_BYTES (512u << 20)       /* of the logits of a frame with several records */

/* Rows of the record that predict nothing: before its first token with a weight. */
static uint32_t
silent(const struct learn_record *r)
{
	uint32_t t = 1;

	while (t < r->n && r->weight[t] == 0)
		t++;
	return t - 1;
}

size_t
learn_frame_fit(const struct learn_frames *s, const struct batch *b, size_t from)
{
	uint64_t rows = 0, logits = 0;
	size_t i = from;

	for (; i < b->n && 2 * (i - from) + 2 <= FRAME_SPANS_MAX; i++) {
		uint32_t n = learn_record_rows(b->p[i]);

		rows += n;
		logits += n - silent(b->p[i]);
		if (i > from && (rows > s->rows || logits * s->vocab * 4 > LOGITS_BYTES))
			break;
	}
	return i - from;
}

static int
set_spans(struct frame *f, struct pipeline *p, const struct batch *b, size_t from, size_t n)
{
	struct span *spans = mem_new(2 * n, sizeof(*spans));
	int k = 0, r;

	if (!spans)
		return -1;
	for (size_t i = 0; i < n; i++) {
		uint32_t rows = learn_record_rows(b->p[from + i]), quiet = silent(b->p[from + i]);
		uint64_t seq = p->sequence++;

		if (quiet > 0)
			spans[k++] = (struct span){seq, 0, quiet, 0};
		spans[k++] = (struct span){seq, quiet, rows - quiet, SPAN_LOGITS};
	}
	r = frame_set_spans(f, spans, k);
	free(spans);
	return r;
}

static void
pack_text(msgpack_packer *k, const char *s)
{
	msgpack_pack_str(k, strlen(s));
	msgpack_pack_str_body(k, s, strlen(s));
}

/* The lines of n records, for messages. */
static void
pack_lines(msgpack_packer *k, const struct batch *b, size_t from, size_t n)
{
	pack_text(k, "lines");
	msgpack_pack_array(k, n);
	for (size_t i = from; i < from + n; i++)
		msgpack_pack_uint64(k, b->p[i]->line);
}

static int
set_key(struct frame *f, const struct learn_frames *s, uint64_t id, int policy,
    const struct batch *batch, size_t from, size_t n)
{
	int lines = batch->p[from]->line > 0, clip = policy && !s->score;
	msgpack_sbuffer b;
	msgpack_packer k;
	int r;

	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	msgpack_pack_map(&k, 1 + (size_t)(s->score + clip + (clip && s->beta > 0) + lines));
	pack_text(&k, "id");
	msgpack_pack_uint64(&k, id);
	if (s->score) {
		pack_text(&k, "score");
		msgpack_pack_true(&k);
	}
	if (clip) {
		pack_text(&k, "clip");
		msgpack_pack_array(&k, 2);
		msgpack_pack_double(&k, s->clip[0]);
		msgpack_pack_double(&k, s->clip[1]);
	}
	if (clip && s->beta > 0) {
		pack_text(&k, "beta");
		msgpack_pack_double(&k, s->beta);
	}
	if (lines)
		pack_lines(&k, batch, from, n);
	r = frame_set_other(f, "learn", b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

/* A tensor with a number for each row. */
static void *
add(struct frame *f, const char *name, enum dtype dtype)
{
	struct tensor *t = frame_add(f, name, dtype, 1, (uint64_t[]){f->rows});

	return t ? t->data : NULL;
}

/* Row t predicts token t + 1. */
static void
fill_record(const struct learn_record *r, uint32_t rows, int32_t *ids, int32_t *target,
    float *weight)
{
	memcpy(ids, r->ids, rows * sizeof(*ids));
	for (uint32_t t = 0; t < rows; t++) {
		weight[t] = r->weight[t + 1];
		target[t] = weight[t] != 0 ? r->ids[t + 1] : -1;
	}
}

static int
fill(struct frame *f, const struct batch *b, size_t from, size_t n)
{
	int32_t *ids = add(f, "ids", I32), *target = ids ? add(f, "learn.target", I32) : NULL;
	float *weight = target ? add(f, "learn.weight", F32) : NULL;

	if (!weight)
		return -1;
	for (size_t i = from; i < from + n; i++) {
		uint32_t rows = learn_record_rows(b->p[i]);

		fill_record(b->p[i], rows, ids, target, weight);
		ids += rows;
		target += rows;
		weight += rows;
	}
	return 0;
}

/* Advantages and log probabilities. */
static int
fill_policy(struct frame *f, const struct batch *b, size_t from, size_t n, int with_reference)
{
	float *advantage = add(f, "learn.advantage", F32);
	float *old = advantage ? add(f, "learn.old", F32) : NULL;
	float *reference = old && with_reference ? add(f, "learn.reference", F32) : NULL;

	if (!old || (with_reference && !reference))
		return -1;
	for (size_t i = from; i < from + n; i++) {
		const struct learn_record *r = b->p[i];
		uint32_t rows = learn_record_rows(r);

		for (uint32_t t = 0; t < rows; t++)
			*advantage++ = r->advantage;
		memcpy(old, r->old + 1, rows * sizeof(*old));
		old += rows;
		if (with_reference) {
			memcpy(reference, r->reference + 1, rows * sizeof(*reference));
			reference += rows;
		}
	}
	return 0;
}

int
learn_frame_make(struct frame *f, const struct learn_frames *s, struct pipeline *p,
    const struct batch *b, size_t from, size_t n)
{
	int policy = b->p[from]->old != NULL && !s->score;

	frame_set_at(f, AT_EMBED, -1);
	if (set_spans(f, p, b, from, n) < 0 || set_key(f, s, p->learn++, policy, b, from, n) < 0 ||
	    fill(f, b, from, n) < 0)
		return -1;
	return policy ? fill_policy(f, b, from, n, s->beta > 0) : 0;
}
