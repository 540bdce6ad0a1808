#include "tool/timing.h"

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#define TIME_MAX (INT64_MAX / 2)        /* differences fit */

struct place {                  /* text in the frame's memory, or in the key of a sum */
	const char *program, *host;
	uint32_t nprogram, nhost;
	int64_t layer;          /* -1: none */
};

struct entry {
	struct place at;
	int64_t start, end;     /* ns */
	uint64_t bytes;         /* that came in */
};

struct timing_sum {
	struct buf key;         /* owns the text */
	struct place from, to;  /* from.program NULL: a stage, else what lies between two */
	uint64_t frames, bytes;
	double seconds;
};

static int
read_text(const msgpack_object *o, const char **s, uint32_t *n)
{
	*s = o->type == MSGPACK_OBJECT_STR && o->via.str.size > 0 ? o->via.str.ptr : "";
	*n = o->type == MSGPACK_OBJECT_STR ? o->via.str.size : 0;
	return o->type == MSGPACK_OBJECT_STR ? 0 : -1;
}

static int
read_uint(const msgpack_object *o, uint64_t max, uint64_t *v)
{
	*v = o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? o->via.u64 : 0;
	return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && *v <= max ? 0 : -1;
}

/* [program, host, layer, start, end, bytes]; a stage without a layer says nil or a negative one. */
static int
read_entry(const msgpack_object *o, struct entry *e)
{
	const msgpack_object *v = o->via.array.ptr;
	uint64_t start, end, layer = 0;
	int none;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 6)
		return -1;
	none = v[2].type == MSGPACK_OBJECT_NIL || v[2].type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
	if (read_text(&v[0], &e->at.program, &e->at.nprogram) < 0 || read_text(&v[1], &e->at.host, &e->at.nhost) < 0 ||
	    (!none && read_uint(&v[2], INT32_MAX, &layer) < 0) || read_uint(&v[3], TIME_MAX, &start) < 0 ||
	    read_uint(&v[4], TIME_MAX, &end) < 0 || read_uint(&v[5], UINT64_MAX, &e->bytes) < 0)
		return -1;
	e->at.layer = none ? -1 : (int64_t)layer;
	e->start = (int64_t)start;
	e->end = (int64_t)end;
	return 0;
}

static int
add_place(struct buf *b, const struct place *p)
{
	return buf_add(b, &p->layer, sizeof(p->layer)) < 0 || buf_add(b, &p->nprogram, sizeof(p->nprogram)) < 0 ||
	    buf_add(b, &p->nhost, sizeof(p->nhost)) < 0 || buf_add(b, p->program, p->nprogram) < 0 ||
	    buf_add(b, p->host, p->nhost) < 0 ? -1 : 0;
}

/* Let p, whose text add_place put at `at`, point there; returns where the next one is. */
static const char *
own_place(struct place *p, const char *at)
{
	p->program = at + sizeof(p->layer) + sizeof(p->nprogram) + sizeof(p->nhost);
	p->host = p->program + p->nprogram;
	return p->host + p->nhost;
}

/* The sum of a stage, or with from of the way to it. NULL and a message without memory. */
static struct timing_sum *
find(struct timing *t, const struct place *from, const struct place *to)
{
	struct buf key = {0};
	struct timing_sum *s = NULL;
	const char *at;

	if ((from && add_place(&key, from) < 0) || add_place(&key, to) < 0)
		goto end;
	if ((s = table_get(&t->names, key.p, key.n)))
		goto end;
	if (mem_grow(&t->all, &t->cap, t->n + 1, sizeof(*t->all)) < 0 || !(s = mem_new(1, sizeof(*s))))
		goto end;
	if (table_put(&t->names, key.p, key.n, s) < 0) {
		free(s);
		s = NULL;
		goto end;
	}
	s->to = *to;
	if (from)
		s->from = *from;
	at = from ? own_place(&s->from, (char *)key.p) : (char *)key.p;
	own_place(&s->to, at);
	s->key = key;
	return t->all[t->n++] = s;
end:
	buf_free(&key);
	return s;
}

static int
add(struct timing *t, const struct entry *before, const struct entry *e)
{
	struct timing_sum *s = find(t, before ? &before->at : NULL, &e->at);

	if (!s)
		return -1;
	s->frames++;
	s->bytes += e->bytes;
	s->seconds += 1e-9 * (double)(before ? e->start - before->end : e->end - e->start);
	return 0;
}

/* Experts of one layer that worked at the same time. */
static int
side_by_side(const struct entry *a, const struct entry *b)
{
	return a->at.layer == b->at.layer && a->at.nprogram == b->at.nprogram &&
	    memcmp(a->at.program, b->at.program, a->at.nprogram) == 0 && b->start < a->end;
}

static int
add_entries(struct timing *t, const msgpack_object_array *a)
{
	struct entry e, parent, before;         /* of those side by side, before is the one that ended last */
	int64_t first = 0;
	int beside, has_parent = 0;

	for (uint32_t i = 0; i < a->size; i++) {
		if (read_entry(&a->ptr[i], &e) < 0)
			return fail(FAIL_DATA, "header: entry %u of 'trace' is not [program, host, layer, start, end, bytes]", i + 1);
		first = i == 0 ? e.start : first;
		beside = i > 0 && side_by_side(&before, &e);
		if (i > 0 && !beside) {
			parent = before;
			has_parent = 1;
		}
		if (add(t, NULL, &e) < 0 || (has_parent && add(t, &parent, &e) < 0))
			return -1;
		if (!beside || e.end > before.end)
			before = e;
	}
	if (a->size > 0) {
		t->seconds += 1e-9 * (double)(before.end - first);
		t->frames++;
	}
	return 0;
}

int
timing_frame(struct timing *t, const struct frame *f)
{
	const struct frame_key *k = f->op == OP_NONE ? frame_other(f, "trace") : NULL;
	msgpack_unpacked u;
	int r;

	if (!k)
		return 0;
	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) == MSGPACK_UNPACK_SUCCESS &&
	    u.data.type == MSGPACK_OBJECT_ARRAY)
		r = add_entries(t, &u.data.via.array);
	else
		r = fail(FAIL_DATA, "header: 'trace' is not an array");
	msgpack_unpacked_destroy(&u);
	return r;
}

static void
print_place(struct record *r, const struct place *p)
{
	record_text(r, p->program, p->nprogram);
	record_text(r, p->host, p->nhost);
	record_int(r, p->layer);
}

static void
print_sum(struct record *r, uint64_t frames, uint64_t bytes, double seconds, double all)
{
	record_uint(r, frames);
	record_uint(r, bytes);
	record_number(r, seconds, 6);
	record_number(r, all > 0 ? seconds / all : NAN, 4);
	record_end(r);
}

void
timing_print(const struct timing *t, struct record *r)
{
	static const char stage[] = "stage program      host         layer frames bytes        seconds    share";
	static const char link[] = "link  from         from_host    from_layer to           to_host      to_layer "
	    "frames bytes        seconds    share";
	static const char total[] = "total frames seconds";

	for (int links = 0; links < 2; links++)
		for (size_t i = 0; i < t->n; i++) {
			const struct timing_sum *s = t->all[i];

			if ((s->from.program != NULL) != links)
				continue;
			record_begin(r, links ? link : stage);
			if (links)
				print_place(r, &s->from);
			print_place(r, &s->to);
			print_sum(r, s->frames, s->bytes, s->seconds, t->seconds);
		}
	record_begin(r, total);
	record_uint(r, t->frames);
	record_number(r, t->seconds, 6);
	record_end(r);
}

void
timing_free(struct timing *t)
{
	for (size_t i = 0; i < t->n; i++) {
		buf_free(&t->all[i]->key);
		free(t->all[i]);
	}
	free(t->all);
	table_free(&t->names);
	memset(t, 0, sizeof(*t));
}
