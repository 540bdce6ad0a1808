#include "inspect/diff/diff.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/file_kind.h"

static struct measure *
measure_of(struct diff *d, const struct group *g)
{
	size_t had = d->cap;

	if (mem_grow(&d->measures, &d->cap, (size_t)g->id + 1, sizeof(*d->measures)) < 0)
		return NULL;
	for (; had < d->cap; had++)
		measure_init(&d->measures[had]);
	return &d->measures[g->id];
}

/* 1 if the row precedes the first difference so far. */
static int
precedes(const struct first *f, const struct row *r)
{
	if (!f->group || r->seq != f->seq)
		return !f->group || r->seq < f->seq;
	return r->pos != f->pos ? r->pos < f->pos : group_cmp(r->group, f->group) < 0;
}

static int
on_pair(void *arg, const struct row *a, const struct row *b, int again)
{
	struct diff *d = arg;
	struct measure *m = measure_of(d, a->group);
	struct difference at = {0};
	int differs = 1;

	if (again)
		return 0;
	if (!m)
		return -1;
	if (a->data && b->data)
		differs = measure_rows(m, a, b, d->tol, &at);
	else
		measure_digest_only(m);
	d->unlocated += !a->data || !b->data;
	d->rows++;
	d->differ += (uint64_t)differs;
	if (differs && precedes(&d->first, a))
		d->first = (struct first){a->group, a->seq, a->pos, at, !a->data || !b->data, -1};
	return 0;
}

/* --- two streams --- */

struct arrival {
	struct diff *d;
	int side;
};

static int
on_row(void *arg, const struct row *r)
{
	struct arrival *a = arg;

	return pair_row(&a->d->pair, a->side, r);
}

/* Choose the side to read from: the one that lags. If it has nothing to read, the other may run
 * ahead as long as its rows fit into memory. Returns -1 and a message on failure. */
static int
choose(struct diff *d)
{
	struct source *s = d->src;
	const uint64_t *w = d->pair.waiting;
	uint64_t read[2] = {s[0].bytes + s[0].in.bytes, s[1].bytes + s[1].in.bytes};
	int lagging = w[0] != w[1] ? w[0] > w[1] : read[0] > read[1];
	struct pollfd p[2] = {{.fd = source_fd(&s[0]), .events = POLLIN}, {.fd = source_fd(&s[1]), .events = POLLIN}};

	if (s[0].ended || s[1].ended)
		return s[0].ended;
	if (w[!lagging] > d->hold)
		return lagging;
	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return fail(FAIL_SYSTEM, "cannot wait for input:");
	return p[lagging].revents ? lagging : !lagging;
}

static int
run_streams(struct diff *d)
{
	struct frame f;
	int r = 0;

	frame_init(&f);
	pair_init(&d->pair, d->hold, on_pair, d);
	while (r >= 0 && !(d->src[0].ended && d->src[1].ended)) {
		struct arrival a = {d, choose(d)};

		if (a.side < 0 || (r = source_next(&d->src[a.side], &f, 0)) == -1) {
			r = -1;
			break;
		}
		if (r == 1 && (r = rows_walk(&d->groups, &f, on_row, &a, &d->odd)) < 0)
			fail_in("%s: frame %llu", d->names[a.side], (unsigned long long)d->src[a.side].frames);
		else if (r == -2)
			r = 0;
		frame_free(&f);
	}
	frame_free(&f);
	return r < 0 ? -1 : 0;
}

static int
on_unpaired(void *arg, int side, const struct row *r)
{
	struct diff *d = arg;
	struct measure *m = measure_of(d, r->group);

	if (!m)
		return -1;
	m->only[side]++;
	if (m->rows == 0 && d->common)
		return 0;
	if (mem_grow(&d->only, &d->only_cap, d->nonly + 1, sizeof(*d->only)) < 0)
		return -1;
	d->missed += !d->src[!side].cut;
	d->only[d->nonly++] = (struct only){r->group, r->seq, r->pos, r->pos, side};
	return 0;
}

/* --- a stream and a file --- */

static int
look_up(void *arg, const struct row *ours)
{
	struct diff *d = arg;
	struct measure *m = measure_of(d, ours->group);
	struct row theirs;
	int r;

	if (!m)
		return -1;
	if (!d->seq_known)
		d->seq = ours->seq;
	d->seq_known = 1;
	if ((r = named_has(&d->named, ours->group)) < 0)
		return -1;
	if (r > 0)
		r = d->named.frame.spans_known || ours->seq == d->seq ?
		    named_row(&d->named, ours, &theirs) : 0;
	if (r < 0 || r == 2)            /* 2: a repeated row, such as ids at each stage */
		return r < 0 ? -1 : 0;
	if (r == 0) {
		m->only[!d->named_side]++;
		return 0;
	}
	return d->named_side == 0 ? on_pair(d, &theirs, ours, 0) : on_pair(d, ours, &theirs, 0);
}

/* Count the rows of the file that no row of the run was compared with. */
static int
count_left(struct diff *d)
{
	for (size_t i = 0; i < d->named.n; i++) {
		const struct named_tensor *t = &d->named.tensors[i];
		struct measure *m = t->group ? measure_of(d, t->group) : NULL;

		if (t->group && !m)
			return -1;
		if (m && t->fitted)
			m->only[d->named_side] += t->rows - t->compared;
	}
	return 0;
}

static int
run_named(struct diff *d)
{
	struct source *s = &d->src[!d->named_side];
	struct frame f;
	int r;

	if (d->seq_known && named_set_seq(&d->named, d->seq) < 0)
		return -1;
	frame_init(&f);
	while ((r = source_next(s, &f, 1)) > 0) {
		r = rows_walk(&d->groups, &f, look_up, d, &d->odd);
		frame_free(&f);
		if (r < 0 && fail_status() != FAIL_USAGE)
			fail_in("%s: frame %llu", s->name, (unsigned long long)s->frames);
		if (r < 0)
			return -1;
	}
	frame_free(&f);
	if (r == -1 || count_left(d) < 0 || (!s->cut && named_check(&d->named, s->name) < 0))
		return -1;
	return 0;
}

/* --- both --- */

static int
by_order(const void *a, const void *b)
{
	const struct only *x = a, *y = b;
	int c = x->side - y->side;

	c = c ? c : group_cmp(x->group, y->group);
	c = c ? c : (x->seq > y->seq) - (x->seq < y->seq);
	return c ? c : (x->from > y->from) - (x->from < y->from);
}

/* Merge the rows that only one side has into ranges, and make the first one the first difference
 * if there is no other. */
static void
merge_only(struct diff *d)
{
	int none = !d->first.group;
	size_t n = 0;

	for (size_t i = 0; none && i < d->nonly; i++) {
		const struct only *o = &d->only[i];
		struct row r = {.group = o->group, .seq = o->seq, .pos = o->from};

		if (!d->src[!o->side].cut && precedes(&d->first, &r))
			d->first = (struct first){o->group, o->seq, o->from, {0}, 1, o->side};
	}
	if (d->nonly > 1)
		qsort(d->only, d->nonly, sizeof(*d->only), by_order);
	for (size_t i = 0; i < d->nonly; i++) {
		struct only *o = &d->only[i], *last = &d->only[n - (n > 0)];

		if (n > 0 && last->side == o->side && last->group == o->group && last->seq == o->seq &&
		    o->from <= last->to + 1)
			last->to = o->to;
		else
			d->only[n++] = *o;
	}
	d->nonly = n;
}

static int
open_sides(struct diff *d)
{
	int named[2];

	for (int i = 0; i < 2; i++)
		named[i] = file_kind(d->names[i]) != FILE_FRAMES;
	d->named_side = named[0] ? 0 : named[1] ? 1 : -1;
	if (named[0] && named[1])
		return fail(FAIL_USAGE, "'%s' and '%s' are both files of named tensors: one side must be frames",
		    d->names[0], d->names[1]);
	if (d->map && d->named_side < 0)
		return fail(FAIL_USAGE, "--map '%s': neither side is a safetensors or npy file", d->map);
	if (d->seq_known && d->named_side < 0)
		return fail(FAIL_USAGE, "--seq %" PRIu64 ": neither side is a safetensors or npy file", d->seq);
	if (strcmp(d->names[0], "-") == 0 && strcmp(d->names[1], "-") == 0)
		return fail(FAIL_USAGE, "only one side can be standard input");
	for (int i = 0; i < 2; i++)
		if (i == d->named_side ? named_open(&d->named, &d->groups, d->names[i], d->map) < 0 :
		    source_open(&d->src[i], d->names[i]) < 0)
			return -1;
	return 0;
}

/* Report why there was nothing to compare. */
static int
fail_empty(const struct diff *d)
{
	const char *cut = d->src[0].cut ? d->src[0].cut : d->src[1].cut;

	if (cut)
		return fail(FAIL_DATA, "nothing to compare: %s", cut);
	if (d->named_side < 0)
		return fail(FAIL_DATA, "nothing to compare: '%s' and '%s' have no row in common",
		    d->names[0], d->names[1]);
	for (size_t i = 0; i < d->named.n; i++)
		if (d->named.tensors[i].why)
			return fail(FAIL_DATA, "nothing to compare: tensor '%.200s' of '%s': %s",
			    d->named.tensors[i].name, d->named.path, d->named.tensors[i].why);
	return fail(FAIL_DATA, "nothing to compare: no row of '%s' is in a tensor of '%s' that the "
	    "name map knows (see --map)", d->src[!d->named_side].name, d->named.path);
}

/* 1 if each row that either side has of the group was compared. */
static int
is_whole(const struct measure *m, const struct group *g)
{
	return m->rows > 0 && m->only[0] + m->only[1] + g->odd == 0;
}

/* Count the comparable tensors, and those that were compared completely. */
static void
count_tensors(struct diff *d)
{
	int file = d->named_side;

	for (size_t i = 0; i < d->groups.n; i++) {
		const struct group *g = d->groups.all[i];
		const struct measure *m = &d->measures[g->id];
		struct named_tensor *t =
		    file < 0 ? NULL : table_get(&d->named.groups, &g, sizeof(g));

		d->nan += m->nan;
		if (file < 0) {
			d->tensors += m->rows + m->only[0] + m->only[1] + g->odd > 0;
			d->whole += (uint64_t)is_whole(m, g);
			d->apart += g->odd > 0 ||
			    (d->common && m->rows == 0 && m->only[0] + m->only[1] > 0);
		} else {
			d->extra_tensors += !t && m->only[!file] > 0;
			d->longer += t && m->only[!file] > 0;
		}
	}
	for (size_t i = 0; i < d->named.n; i++)
		d->whole += (uint64_t)named_is_whole(&d->named.tensors[i]);
	d->tensors += d->named.n;
	d->apart += file < 0 ? 0 : d->tensors - d->whole;
}

int
diff_run(struct diff *d)
{
	if (open_sides(d) < 0 || (d->named_side < 0 ? run_streams(d) : run_named(d)) < 0)
		return -1;
	if (d->named_side < 0 && pair_left(&d->pair, on_unpaired, d) < 0)
		return -1;
	if (d->groups.n > 0 && !measure_of(d, d->groups.all[d->groups.n - 1]))
		return -1;
	merge_only(d);
	count_tensors(d);
	if (d->differ > 0 || d->missed > 0)
		return DIFF_DIFFERS;
	if (d->rows == 0)
		return fail_empty(d);
	if (d->src[0].cut || d->src[1].cut)
		return DIFF_CUT;
	return d->whole < d->tensors ? DIFF_PART : DIFF_SAME;
}

void
diff_close(struct diff *d)
{
	pair_free(&d->pair);
	named_close(&d->named);
	source_close(&d->src[0]);
	source_close(&d->src[1]);
	groups_free(&d->groups);
	free(d->measures);
	free(d->only);
}
