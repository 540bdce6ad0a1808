#include "inspect/stat/tensor_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/frame_json.h"
#include "inspect/stat/row_stats.h"

#define CHANNELS_MAX (1 << 20)

struct stats_group {
	const struct group *group;      /* NULL: nothing counted */
	uint64_t location;      /* hash of where the counted frames wait */
	uint64_t rows, width;   /* width 0: it varies */
	int counted;            /* 1: floats, which have norms and NaNs */
	struct row_stats sums;
	double norms, norm_max; /* sum and maximum of the rows' norms */
	float *channels;        /* [width] largest |x| of each channel, or NULL */
};

/* Hash of where a frame waits: `h` from ds-attn is seen again, unchanged, after ds-route. */
static uint64_t
location_of(const struct frame *f)
{
	uint64_t h = hash_bytes(f->at_text, strlen(f->at_text), 0);

	h = hash_bytes(&f->layer, sizeof(f->layer), h);
	return f->experts_done ? hash_bytes(f->experts_done, strlen(f->experts_done), h) : h;
}

static struct stats_group *
group_at(struct tensor_stats *h, const struct group *g)
{
	size_t old = h->cap;

	if (g->id >= h->cap) {
		if (mem_grow(&h->all, &h->cap, g->id + 1, sizeof(*h->all)) < 0)
			return NULL;
		memset(h->all + old, 0, (h->cap - old) * sizeof(*h->all));
	}
	return &h->all[g->id];
}

static int
start(struct stats_group *g, const struct row *r, uint64_t location)
{
	g->group = r->group;
	g->location = location;
	g->width = r->ragged ? 0 : r->count;
	g->counted = r->dtype != I32 && r->dtype != U8 && (r->dtype != I64 || r->group->done);
	row_stats_init(&g->sums);
	if (!g->counted || g->width == 0 || g->width > CHANNELS_MAX)
		return 0;
	return (g->channels = mem_new(g->width, sizeof(*g->channels))) ? 0 : -1;
}

struct walk {
	struct tensor_stats *h;
	uint64_t location;
};

static int
add_row(void *arg, const struct row *r)
{
	struct walk *w = arg;
	struct stats_group *g = group_at(w->h, r->group);
	double squares;

	if (!g || (!g->group && start(g, r, w->location) < 0))
		return -1;
	if (g->location != w->location)
		return 0;
	if (r->count != g->width) {
		g->width = 0;
		free(g->channels);
		g->channels = NULL;
	}
	g->rows++;
	if (!g->counted) {
		row_stats_ints(&g->sums, r);
		return 0;
	}
	squares = row_stats_floats(&g->sums, r, g->channels);
	g->norms += sqrt(squares);
	g->norm_max = fmax(g->norm_max, sqrt(squares));
	return 0;
}

int
tensor_stats_frame(struct tensor_stats *h, struct frame *f)
{
	struct walk w = {h, f->op == OP_NONE ? location_of(f) : 0};

	return rows_walk(&h->groups, f, add_row, &w, &h->odd);
}

/* --- the report --- */

static int
by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* The largest |x| of the median channel; NaN if there are no outliers to find. */
static double
median_channel(const struct stats_group *g)
{
	float *sorted;
	double m;

	if (!g->channels || g->width < 2 || !(sorted = mem_raw(g->width, sizeof(*sorted))))
		return NAN;
	memcpy(sorted, g->channels, g->width * sizeof(*sorted));
	qsort(sorted, g->width, sizeof(*sorted), by_value);
	m = sorted[(g->width - 1) / 2];
	free(sorted);
	return m > 0 ? m : NAN;
}

/* Print the number of outlier channels, and the largest of them. */
static void
print_channels(const struct tensor_stats *h, const struct stats_group *g, struct record *r)
{
	double median = median_channel(g), bound = median * h->outlier, last = INFINITY;
	int64_t n = isnan(median) ? -1 : 0, last_at = -1;

	for (uint64_t i = 0; n >= 0 && i < g->width; i++)
		n += (double)g->channels[i] > bound;
	record_int(r, n);
	record_field(r);
	fputs(r->json ? "[" : n > 0 ? "" : "-", r->to);
	for (int k = 0; k < h->top && k < n; k++) {
		int64_t best = -1;

		/* the next by size, then by index */
		for (int64_t i = 0; i < (int64_t)g->width; i++) {
			double x = (double)g->channels[i];

			if ((x < last || (x == last && i > last_at)) && (best < 0 || x > (double)g->channels[best]))
				best = i;
		}
		last = (double)g->channels[best];
		last_at = best;
		fprintf(r->to, r->json ? "%s[%lld, " : "%s%lld:", k == 0 ? "" : r->json ? ", " : " ", (long long)best);
		record_put_number(r, last / median, 3);
		fputs(r->json ? "]" : "", r->to);
	}
	fputs(r->json ? "]" : "", r->to);
}

static void
print_group(const struct tensor_stats *h, const struct stats_group *g, struct record *r)
{
	static const char columns[] = "tensor stage    layer name             rows     width  norm      norm_max  "
	    "min        max        nan      inf      zero     outliers channels";
	const struct group *o = g->group;
	const struct row_stats *s = &g->sums;
	double n = (double)s->n;
	int finite = s->min <= s->max, digits = g->counted ? 5 : 10;
	char name[256];

	snprintf(name, sizeof(name), o->done ? "%s:%s" : "%s", o->tensor, o->done);
	record_begin(r, columns);
	record_text(r, o->stage, strlen(o->stage));
	record_int(r, o->layer);
	record_text(r, name, strlen(name));
	record_uint(r, g->rows);
	record_int(r, g->width > 0 ? (int64_t)g->width : -1);
	record_number(r, g->counted ? g->norms / (double)g->rows : NAN, 6);
	record_number(r, g->counted ? g->norm_max : NAN, 6);
	record_number(r, finite ? s->min : NAN, digits);
	record_number(r, finite ? s->max : NAN, digits);
	record_number(r, (double)s->nans / n, 3);
	record_number(r, (double)s->infs / n, 3);
	record_number(r, (double)s->zeros / n, 3);
	print_channels(h, g, r);
	record_end(r);
}

static int
by_order(const void *a, const void *b)
{
	return group_cmp((*(const struct stats_group *const *)a)->group, (*(const struct stats_group *const *)b)->group);
}

int
tensor_stats_print(const struct tensor_stats *h, struct record *r)
{
	const struct stats_group **sorted = mem_raw(h->cap, sizeof(*sorted));
	size_t n = 0;

	if (!sorted)
		return -1;
	for (size_t i = 0; i < h->cap; i++)
		if (h->all[i].group)
			sorted[n++] = &h->all[i];
	qsort(sorted, n, sizeof(*sorted), by_order);
	for (size_t i = 0; i < n; i++)
		print_group(h, sorted[i], r);
	free(sorted);
	return 0;
}

int
tensor_stats_any(const struct tensor_stats *h)
{
	for (size_t i = 0; i < h->cap; i++)
		if (h->all[i].group)
			return 1;
	return 0;
}

void
tensor_stats_free(struct tensor_stats *h)
{
	for (size_t i = 0; i < h->cap; i++)
		free(h->all[i].channels);
	free(h->all);
	groups_free(&h->groups);
	memset(h, 0, sizeof(*h));
}
