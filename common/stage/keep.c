#include "stage/keep.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "frame/learn.h"

struct key {
	uint64_t id;
	int64_t at, layer;
};

struct kept {
	struct key key;
	struct frame f;                 /* spans and tensors */
	size_t bytes;
};

/* The layer of frames for the head is the number of layers. */
static struct key
key_of(uint64_t id, enum at at, int layer)
{
	return (struct key){id, at, at_layered(at) ? layer : -1};
}

static void
kept_free(struct kept *p)
{
	frame_free(&p->f);
	free(p);
}

void
keep_free(struct keep *k)
{
	for (struct table_slot *s = NULL; (s = table_next(&k->kept, s)); )
		kept_free(s->value);
	table_free(&k->kept);
}

static int
copy_tensor(struct kept *p, const struct tensor *from)
{
	struct tensor *to = frame_add(&p->f, from->name, from->dtype, from->rank, from->shape);

	if (!to)
		return -1;
	memcpy(to->data, from->data, from->bytes);
	p->bytes += from->bytes;
	return 0;
}

static int
copy_rows(struct kept *p, struct frame *f, const char *const *names)
{
	if (frame_set_spans(&p->f, f->spans, f->nspans) < 0)
		return -1;
	for (; *names; names++) {
		struct tensor *t = frame_tensor(f, *names);

		if (t && (frame_fetch(t) < 0 || copy_tensor(p, t) < 0))
			return -1;
	}
	return 0;
}

int
keep_rows(struct keep *k, struct frame *f, const char *const *names)
{
	struct frame_learn l;
	struct kept *p;
	int learns = k ? frame_learn(f, &l) : 0;

	if (learns <= 0 || l.score)
		return learns < 0 ? -1 : 0;
	if (!(p = mem_new(1, sizeof(*p))))
		return -1;
	frame_init(&p->f);
	p->key = key_of(l.id, f->at, f->layer);
	if (table_get(&k->kept, &p->key, sizeof(p->key))) {
		fail(FAIL_DATA, "%s: learn %" PRIu64 " passes a second time: give each frame an id "
		    "of its own", f->at_text, l.id);
	} else if (copy_rows(p, f, names) == 0 &&
	    table_put(&k->kept, &p->key, sizeof(p->key), p) == 0) {
		k->bytes += p->bytes;
		k->most = k->bytes > k->most ? k->bytes : k->most;
		return 0;
	}
	kept_free(p);
	return -1;
}

int
keep_more(struct keep *k, const struct frame *f, const char *name, uint64_t rows, uint64_t cols,
    float **to)
{
	struct frame_learn l;
	int learns = k ? frame_learn(f, &l) : 0;
	struct key key = learns > 0 ? key_of(l.id, f->at, f->layer) : (struct key){0};
	struct kept *p = learns > 0 ? table_get(&k->kept, &key, sizeof(key)) : NULL;
	struct tensor *t;
	size_t n;

	*to = NULL;
	if (!p || size_mul(rows, cols, &n) < 0 || n > KEEP_MOST / sizeof(**to) ||
	    k->bytes + n * sizeof(**to) > KEEP_MOST)
		return learns < 0 ? -1 : 0;
	if (!(t = frame_add(&p->f, name, F32, 2, (uint64_t[]){rows, cols})))
		return -1;
	*to = t->data;
	p->bytes += t->bytes;
	k->bytes += t->bytes;
	k->most = k->bytes > k->most ? k->bytes : k->most;
	return 0;
}

static int
same_rows(const struct frame *a, const struct frame *b)
{
	if (a->nspans != b->nspans)
		return 0;
	for (int i = 0; i < a->nspans; i++)
		if (a->spans[i].seq != b->spans[i].seq || a->spans[i].pos != b->spans[i].pos ||
		    a->spans[i].n != b->spans[i].n)
			return 0;
	return 1;
}

int
keep_take(struct keep *k, const struct frame *f, enum at forward, struct frame *to)
{
	uint64_t seq = f->nspans > 0 ? f->spans[0].seq : 0;
	struct frame_learn l;
	struct kept *p;
	struct key key;
	int learns = frame_learn(f, &l);

	if (learns < 0)
		return -1;
	if (learns == 0)
		return fail(FAIL_DATA, "%s: sequence %" PRIu64 ": the frame has no key 'learn'",
		    f->at_text, seq);
	key = key_of(l.id, forward, f->layer);
	p = table_get(&k->kept, &key, sizeof(key));
	if (!p)
		return fail(FAIL_DATA, "%s: learn %" PRIu64 ", sequence %" PRIu64 ": nothing was "
		    "kept: it did not pass here, or it has come back twice", f->at_text, l.id, seq);
	if (!same_rows(&p->f, f))
		return fail(FAIL_DATA, "%s: learn %" PRIu64 ", sequence %" PRIu64 ": it has come "
		    "back with other spans than it passed with", f->at_text, l.id, seq);
	(void)table_del(&k->kept, &p->key, sizeof(p->key));
	k->bytes -= p->bytes;
	frame_move(to, &p->f);
	kept_free(p);
	return 0;
}

void
keep_report(const struct keep *k)
{
	char most[32];

	if (k->most > 0)
		warn("kept for backward passes: %s at most", mem_text((double)k->most, most));
}
