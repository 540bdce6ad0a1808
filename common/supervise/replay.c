#include "supervise/replay.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/text.h"

#define SEQS_MAX 1024           /* more than the pipeline samples at a time */
#define IDS_MAX (32u << 20)     /* tokens, 128 MiB; a single prompt may be longer */
#define LLU(n) ((unsigned long long)(n))

struct replay_seq {
	uint64_t seq;
	struct replay_seq *before, *after;
	int32_t *ids;                   /* [n] */
	size_t prompt, n, cap;          /* prompt: number of prompt tokens */
	uint32_t flags;
	int complete;                   /* 1: only its `free` is missing */
	struct buf params;              /* its entry of seqs, a msgpack map; empty: it had none */
};

static void
forget(struct replay *r, struct replay_seq *s)
{
	*(s->before ? &s->before->after : &r->first) = s->after;
	*(s->after ? &s->after->before : &r->last) = s->before;
	if (r->next == s)
		r->next = s->after;
	(void)table_del(&r->seqs, &s->seq, sizeof(s->seq));
	r->ids -= s->n;
	free(s->ids);
	buf_free(&s->params);
	free(s);
}

void
replay_close(struct replay *r)
{
	while (r->first)
		forget(r, r->first);
	table_free(&r->seqs);
}

int
replay_has_room(const struct replay *r)
{
	return r->seqs.n < SEQS_MAX && r->ids < IDS_MAX;
}

size_t
replay_left(const struct replay *r)
{
	return r->seqs.n;
}

void
replay_rewind(struct replay *r)
{
	r->next = r->first;
}

static int
add_ids(struct replay *r, struct replay_seq *s, const int32_t *ids, size_t n)
{
	if (mem_grow(&s->ids, &s->cap, s->n + n, sizeof(*ids)) < 0)
		return -1;
	if (n > 0)
		memcpy(s->ids + s->n, ids, n * sizeof(*ids));
	s->n += n;
	r->ids += n;
	return 0;
}

int
replay_add(struct replay *r, struct frame *f)
{
	struct tensor *ids = f->op == OP_NONE && f->at == AT_EMBED ? frame_require(f, "ids", I32, f->rows, 0) : NULL;
	struct replay_seq *s;

	if (!ids || f->nspans != 1 || f->spans[0].pos != 0 || table_get(&r->seqs, &f->spans[0].seq, sizeof(uint64_t)))
		return fail(FAIL_DATA, "ds-tokenize sent a frame that is not a prompt");
	if (!(s = mem_new(1, sizeof(*s))))
		return -1;
	s->seq = f->spans[0].seq;
	s->flags = f->spans[0].flags;
	s->prompt = f->rows;
	memcpy(r->model, f->model, sizeof(r->model));
	if (table_put(&r->seqs, &s->seq, sizeof(s->seq), s) < 0) {
		free(s);
		return -1;
	}
	s->before = r->last;
	*(r->last ? &r->last->after : &r->first) = s;
	r->last = s;
	if (!r->next)
		r->next = s;
	for (int i = 0; i < f->nseqs; i++) {
		const struct frame_seq *q = &f->seqs[i];

		if (q->seq == s->seq && buf_add(&s->params, q->params, q->n) < 0)
			return -1;
	}
	return add_ids(r, s, ids->data, f->rows);
}

/* --- sending prompts --- */

static void
pack_name(msgpack_packer *p, const char *name)
{
	msgpack_pack_str(p, strlen(name));
	msgpack_pack_str_body(p, name, strlen(name));
}

static int
has_key(const msgpack_object_map *m, const char *name)
{
	for (uint32_t i = 0; i < m->size; i++)
		if (is_text(&m->ptr[i].key, name))
			return 1;
	return 0;
}

/* Pack what the options give and the entry does not; p NULL: only count. As in ds-sample, a
 * temperature of the entry overrides -g. */
static size_t
pack_options(const struct plan_options *o, const msgpack_object_map *entry, msgpack_packer *p)
{
	size_t n = 0;

	for (int i = 0; i < SAMPLING_OPTIONS; i++) {
		const struct sampling_option *s = &sampling_options[i];

		if (!o->sampling[i] || has_key(entry, s->key))
			continue;
		n++;
		if (!p)
			continue;
		pack_name(p, s->key);
		if (s->real)
			msgpack_pack_double(p, strtod(o->sampling[i], NULL));
		else
			msgpack_pack_uint64(p, strtoull(o->sampling[i], NULL, 10));
	}
	if (o->greedy && !has_key(entry, "greedy") && !has_key(entry, "temperature")) {
		n++;
		if (p) {
			pack_name(p, "greedy");
			msgpack_pack_true(p);
		}
	}
	return n;
}

/* Pack the sequence's own entry, sampling options as defaults, and how many tokens count as
 * generated already. Returns the number of keys. */
static size_t
pack_params(const struct replay *r, const struct replay_seq *s, const msgpack_object_map *entry,
    msgpack_packer *p)
{
	size_t fresh = s->n - s->prompt - (size_t)s->complete;
	size_t n = entry->size + pack_options(r->o, entry, NULL) + (fresh > 0);

	msgpack_pack_map(p, n);
	for (uint32_t i = 0; i < entry->size; i++) {
		msgpack_pack_object(p, entry->ptr[i].key);
		msgpack_pack_object(p, entry->ptr[i].val);
	}
	(void)pack_options(r->o, entry, p);
	if (fresh > 0) {
		pack_name(p, "new");
		msgpack_pack_uint64(p, fresh);
	}
	return n;
}

static int
add_params(const struct replay *r, const struct replay_seq *s, struct frame *f)
{
	struct frame_seq q = {.seq = s->seq};
	msgpack_unpacked u;
	msgpack_object_map none = {0};
	msgpack_sbuffer b;
	msgpack_packer p;
	const char *entry = (const char *)s->params.p;
	int result = 0;

	msgpack_unpacked_init(&u);
	if (entry && (msgpack_unpack_next(&u, entry, s->params.n, NULL) != MSGPACK_UNPACK_SUCCESS ||
	    u.data.type != MSGPACK_OBJECT_MAP)) {
		msgpack_unpacked_destroy(&u);
		return fail(FAIL_DATA, "sequence %llu: its parameters are not a map", LLU(s->seq));
	}
	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&p, &b, msgpack_sbuffer_write);
	if (pack_params(r, s, entry ? &u.data.via.map : &none, &p) > 0) {
		q.params = (unsigned char *)b.data;
		q.n = b.size;
		result = q.params ? frame_add_seq(f, &q) :
		    fail(FAIL_SYSTEM, "no memory for a frame");
	}
	msgpack_sbuffer_destroy(&b);
	msgpack_unpacked_destroy(&u);
	return result;
}

int
replay_next(struct replay *r, struct frame *f)
{
	struct replay_seq *s = r->next;
	struct span span;
	struct tensor *ids;
	size_t n;

	if (!s)
		return 0;
	n = s->n - (size_t)s->complete; /* the last token is sampled again, for the `free` */
	span = (struct span){s->seq, 0, (uint32_t)n, s->flags};
	frame_set_at(f, AT_EMBED, -1);
	memcpy(f->model, r->model, sizeof(f->model));
	if (frame_set_spans(f, &span, 1) < 0 ||
	    !(ids = frame_add(f, "ids", I32, 1, (uint64_t[]){n})) || add_params(r, s, f) < 0)
		return -1;
	if (n > 0)
		memcpy(ids->data, s->ids, ids->bytes);
	r->next = s->after;
	return 1;
}

/* --- receiving tokens --- */

static struct replay_seq *
find(const struct replay *r, uint64_t seq)
{
	return table_get(&r->seqs, &seq, sizeof(seq));
}

int
replay_receive(struct replay *r, struct frame *f)
{
	struct tensor *ids;
	const int32_t *id;

	if (frame_frees(f) && find(r, f->seq))
		forget(r, find(r, f->seq));
	if (f->op != OP_NONE)
		return 0;
	if (f->at != AT_EMBED)
		return fail(FAIL_DATA, "received frames are not from ds-sample");
	if (!(ids = frame_require(f, "ids", I32, f->rows, 0)))
		return -1;
	id = ids->data;
	for (int i = 0; i < f->nspans; i++) {
		const struct span *p = &f->spans[i];
		struct replay_seq *s = find(r, p->seq);

		if (!s)
			return fail(FAIL_DATA, "sequence %llu arrived, which has no prompt", LLU(p->seq));
		if (s->complete && p->pos + 1 == s->n && span_tokens(p) == 1 && *id == s->ids[p->pos]) {
			s->complete = (p->flags & SPAN_LAST) != 0;
			id += p->n;
			continue;
		}
		if (p->pos != s->n || s->complete)
			return fail(FAIL_DATA, "sequence %llu: position %u arrived, expected %zu", LLU(p->seq), p->pos, s->n);
		if (add_ids(r, s, id, span_tokens(p)) < 0)
			return -1;
		id += p->n;
		r->tokens += span_tokens(p);
		s->complete = r->o->jsonl && p->flags & SPAN_LAST;
		if (p->flags & SPAN_LAST && !s->complete)
			forget(r, s);
	}
	return 0;
}
