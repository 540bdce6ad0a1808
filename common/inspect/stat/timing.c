#include "inspect/stat/timing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/times.h"

struct timing_sum {
	struct buf key;         /* memory of the names */
	/* from.program NULL: a stage, else the link between two stages */
	struct times_stage from, to;
	uint64_t frames, bytes;
	double seconds;
};

static int
append_stage(struct buf *b, const struct times_stage *p)
{
	return buf_add(b, &p->layer, sizeof(p->layer)) < 0 || buf_add(b, &p->nprogram, sizeof(p->nprogram)) < 0 ||
	    buf_add(b, &p->nhost, sizeof(p->nhost)) < 0 || buf_add(b, p->program, p->nprogram) < 0 ||
	    buf_add(b, p->host, p->nhost) < 0 ? -1 : 0;
}

/* Set p's pointers into the key at `at`, written by append_stage. Returns the end of its part. */
static const char *
point_into(struct times_stage *p, const char *at)
{
	p->program = at + sizeof(p->layer) + sizeof(p->nprogram) + sizeof(p->nhost);
	p->host = p->program + p->nprogram;
	return p->host + p->nhost;
}

/* Find or add the sum of a stage or, with from, of the link to it. NULL and a message on
 * failure. */
static struct timing_sum *
find(struct timing *t, const struct times_stage *from, const struct times_stage *to)
{
	struct buf key = {0};
	struct timing_sum *s = NULL;
	const char *at;

	if ((from && append_stage(&key, from) < 0) || append_stage(&key, to) < 0)
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
	at = from ? point_into(&s->from, (char *)key.p) : (char *)key.p;
	point_into(&s->to, at);
	s->key = key;
	return t->all[t->n++] = s;
end:
	buf_free(&key);
	return s;
}

static int
add(struct timing *t, const struct times_entry *before, const struct times_entry *e)
{
	struct timing_sum *s = find(t, before ? &before->at : NULL, &e->at);

	if (!s)
		return -1;
	s->frames++;
	s->bytes += e->bytes;
	s->seconds += 1e-9 * (double)(before ? e->start - before->end : e->end - e->start);
	return 0;
}

/* 1 for experts of one layer that ran at the same time. */
static int
overlaps(const struct times_entry *a, const struct times_entry *b)
{
	return a->at.layer == b->at.layer && a->at.nprogram == b->at.nprogram &&
	    memcmp(a->at.program, b->at.program, a->at.nprogram) == 0 && b->start < a->end;
}

/* State while walking the entries of one frame. */
struct way {
	struct timing *t;
	/* of parallel entries, `before` is the one that ended last */
	struct times_entry parent, before;
	int64_t first;
	int n, has_parent;
};

static int
add_entry(void *arg, const struct times_entry *e)
{
	struct way *w = arg;
	int beside = w->n > 0 && overlaps(&w->before, e);

	if (w->n++ == 0) {
		w->first = e->start;
	} else if (!beside) {
		w->parent = w->before;
		w->has_parent = 1;
	}
	if (add(w->t, NULL, e) < 0 || (w->has_parent && add(w->t, &w->parent, e) < 0))
		return -1;
	if (!beside || e->end > w->before.end)
		w->before = *e;
	return 0;
}

int
timing_frame(struct timing *t, const struct frame *f)
{
	struct way w = {.t = t};

	if (times_read(f, add_entry, &w) < 0)
		return -1;
	if (w.n > 0) {
		t->seconds += 1e-9 * (double)(w.before.end - w.first);
		t->frames++;
	}
	return 0;
}

static void
print_stage(struct record *r, const struct times_stage *p)
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
				print_stage(r, &s->from);
			print_stage(r, &s->to);
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
