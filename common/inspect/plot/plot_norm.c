/*
 * L2 norm of the residual stream by layer: one line per position if there are few, else the
 * distribution over positions.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/plot/plot.h"
#include "inspect/plot/svg.h"
#include "inspect/rows.h"

#define LINES_MAX 8     /* maximum number of positions with lines of their own */
#define LEFT 84
#define RIGHT 750
#define PAD 18                  /* between the frame and the first point */
#define TOP 78
#define BOTTOM 440

struct norm_row {
	uint64_t seq;
	uint32_t pos;
	double norm;                    /* NaN: not finite */
};

/* What was seen after one stage of one layer. */
struct point {
	const struct group *group;
	struct norm_row *rows;          /* sorted by sequence and position before drawing */
	size_t n, cap;
	double *sorted;                 /* [n] norms, ascending */
};

struct norm {
	struct groups groups;
	struct point *points;           /* [n] by group id; finally in pipeline order */
	size_t n, cap;
};

static double
row_norm(const float *h, uint64_t n)
{
	double sum[4] = {0};
	uint64_t i;

	for (i = 0; i + 4 <= n; i += 4)
		for (int j = 0; j < 4; j++)
			sum[j] += (double)h[i + j] * h[i + j];
	for (; i < n; i++)
		sum[0] += (double)h[i] * h[i];
	return sqrt(sum[0] + sum[1] + (sum[2] + sum[3]));
}

static struct point *
point_of(struct norm *s, const struct group *g)
{
	if (g->id >= s->n) {
		if (mem_grow(&s->points, &s->cap, g->id + 1, sizeof(*s->points)) < 0)
			return NULL;
		memset(s->points + s->n, 0, (g->id + 1 - s->n) * sizeof(*s->points));
		s->n = g->id + 1;
	}
	s->points[g->id].group = g;
	return &s->points[g->id];
}

static int
norm_frame(struct plot *p, struct frame *f)
{
	struct norm *s = p->state;
	const struct tensor *t = frame_tensor(f, "h");
	struct plot_row r = {0};
	const struct group *g;
	struct point *o;

	if (!t)
		return 0;
	if (t->dtype != F32 || t->rank != 2 || t->shape[0] != f->rows)
		return fail(FAIL_DATA, "tensor 'h' is not F32 [%" PRIu32 ", hidden]", f->rows);
	if (!(g = group_of(&s->groups, f, t)) || !(o = point_of(s, g)))
		return -1;
	if (p->select.layers.n > 0 && (g->layer < 0 || !ranges_has(&p->select.layers, (uint64_t)g->layer)))
		return 0;
	while (plot_next(f, &r)) {
		double v;

		if (!select_row(&p->select, r.seq, r.pos))
			continue;
		v = row_norm((const float *)t->data + r.row * t->shape[1], t->shape[1]);
		if (mem_grow(&o->rows, &o->cap, o->n + 1, sizeof(*o->rows)) < 0)
			return -1;
		o->rows[o->n++] = (struct norm_row){r.seq, r.pos, isfinite(v) ? v : NAN};
	}
	return 0;
}

static int
by_row(const void *a, const void *b)
{
	const struct norm_row *x = a, *y = b;
	int c = (x->seq > y->seq) - (x->seq < y->seq);

	c = c ? c : (x->pos > y->pos) - (x->pos < y->pos);
	return c ? c : (x->norm > y->norm) - (x->norm < y->norm);
}

static int
by_value(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static int
by_pipeline(const void *a, const void *b)
{
	return group_cmp(((const struct point *)a)->group, ((const struct point *)b)->group);
}

/* Count rows that arrived twice (at `route` and again at `expert`) once, count NaNs separately,
 * and sort the norms. */
static int
finish_point(struct plot *p, struct point *o)
{
	size_t n = 0;

	if (o->n > 0)
		qsort(o->rows, o->n, sizeof(*o->rows), by_row);
	for (size_t i = 0; i < o->n; i++)
		if (n == 0 || o->rows[i].seq != o->rows[n - 1].seq || o->rows[i].pos != o->rows[n - 1].pos)
			o->rows[n++] = o->rows[i];
	o->n = 0;
	for (size_t i = 0; i < n; i++)
		if (isnan(o->rows[i].norm))
			p->missing++;
		else
			o->rows[o->n++] = o->rows[i];
	if (!(o->sorted = mem_raw(o->n, sizeof(*o->sorted))))
		return -1;
	for (size_t i = 0; i < o->n; i++)
		o->sorted[i] = o->rows[i].norm;
	qsort(o->sorted, o->n, sizeof(*o->sorted), by_value);
	return 0;
}

/* Sort the points in pipeline order and drop empty ones. */
static int
finish_points(struct plot *p, struct norm *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (finish_point(p, &s->points[i]) < 0)
			return -1;
	for (size_t i = 0; i < s->n; i++)
		if (s->points[i].n > 0) {
			s->points[n++] = s->points[i];
		} else {
			free(s->points[i].rows);
			free(s->points[i].sorted);
		}
	s->n = n;
	if (n > 0)
		qsort(s->points, n, sizeof(*s->points), by_pipeline);
	return 0;
}

static double
quantile(const struct point *o, double q)
{
	double at = q * (double)(o->n - 1);
	size_t i = (size_t)at;

	return i + 1 < o->n ? o->sorted[i] + (at - (double)i) * (o->sorted[i + 1] - o->sorted[i]) : o->sorted[i];
}

static int
is_attn(const struct group *g)
{
	return strcmp(g->stage, at_name(AT_ATTN)) == 0;
}

/* Horizontal position in layers: attention lies halfway. */
static double
x_of(const struct point *o)
{
	return o->group->layer < 0 ? -1 : o->group->layer - (is_attn(o->group) ? 0.5 : 0);
}

static const char *
name_of(const struct point *o, char *buf, size_t size)
{
	if (o->group->layer < 0)
		snprintf(buf, size, "after %s", o->group->stage);
	else
		snprintf(buf, size, "after %s of layer %d", o->group->stage, o->group->layer);
	return buf;
}

struct chart {
	FILE *to;
	struct norm *s;
	struct axis x, y;
	struct norm_row keys[LINES_MAX + 1];    /* positions; n > LINES_MAX: too many */
	size_t n;
};

/* Collect the positions of all points, up to LINES_MAX + 1. */
static void
collect_keys(struct chart *c)
{
	for (size_t i = 0; i < c->s->n; i++)
		for (size_t j = 0; j < c->s->points[i].n && c->n <= LINES_MAX; j++) {
			size_t k = 0;

			while (k < c->n && (c->keys[k].seq != c->s->points[i].rows[j].seq || c->keys[k].pos != c->s->points[i].rows[j].pos))
				k++;
			if (k == c->n)
				c->keys[c->n++] = c->s->points[i].rows[j];
		}
	qsort(c->keys, c->n, sizeof(*c->keys), by_row);
}

static void
draw_layers(struct chart *c)
{
	double width = (RIGHT - LEFT - 2 * PAD) / (c->x.hi - c->x.lo);
	long step = 1;
	char text[24];

	snprintf(text, sizeof(text), "%.0f", c->x.hi);
	for (int i = 0; (double)step * width < fmax(26, svg_width(text, 11) + 8); i++)
		step *= i % 2 ? 2 : 5;
	svg_line(c->to, "base", LEFT, BOTTOM, RIGHT, BOTTOM);
	for (long l = c->x.lo <= -1 ? -1 : (long)ceil(c->x.lo); l <= (long)c->x.hi; l += l < 0 ? 1 : step - l % step) {
		snprintf(text, sizeof(text), l < 0 ? "embed" : "%ld", l);
		if (l < 0 && step > 1)
			svg_text(c->to, "tick", axis_at(&c->x, (double)l) + 2, BOTTOM + 17, 'e', 0, text);
		else
			svg_text(c->to, "tick", axis_at(&c->x, (double)l), BOTTOM + 17, 'm', 0, text);
		svg_line(c->to, "base", axis_at(&c->x, (double)l), BOTTOM, axis_at(&c->x, (double)l), BOTTOM + 4);
	}
	svg_text(c->to, "axis", (LEFT + RIGHT) / 2.0, BOTTOM + 38, 'm', 0,
	    "after layer  (\u25cf after its experts or MLP, \u25cb after its attention)");
}

static void
set_axes(struct chart *c)
{
	double lo = INFINITY, hi = 0, first = INFINITY, last = -INFINITY;
	int log;

	for (size_t i = 0; i < c->s->n; i++) {
		const struct point *o = &c->s->points[i];

		lo = fmin(lo, o->sorted[0]);
		hi = fmax(hi, o->sorted[o->n - 1]);
		first = fmin(first, x_of(o));
		last = fmax(last, x_of(o));
	}
	log = lo > 0 && hi / lo > 20;
	axis_set(&c->y, log ? lo * 0.8 : 0, log ? hi * 1.25 : hi, BOTTOM, TOP, log, 1, 6);
	axis_set(&c->x, last > first ? first : first - 1, last, LEFT + PAD, RIGHT - PAD, 0, 0, 8);
	axis_draw_y(c->to, &c->y, LEFT, RIGHT, log ? "L2 norm of the residual stream (log scale)" : "L2 norm of the residual stream");
	draw_layers(c);
}

static void
draw_quantile(struct chart *c, const char *class, double q)
{
	svg_path_begin(c->to, class);
	for (size_t i = 0; i < c->s->n; i++)
		svg_path_point(c->to, i == 0, axis_at(&c->x, x_of(&c->s->points[i])), axis_at(&c->y, quantile(&c->s->points[i], q)));
	svg_path_end(c->to, 0);
}

static void
draw_band(struct chart *c, const char *class, double from, double to)
{
	svg_path_begin(c->to, class);
	for (size_t i = 0; i < c->s->n; i++)
		svg_path_point(c->to, i == 0, axis_at(&c->x, x_of(&c->s->points[i])), axis_at(&c->y, quantile(&c->s->points[i], from)));
	for (size_t i = c->s->n; i-- > 0; )
		svg_path_point(c->to, 0, axis_at(&c->x, x_of(&c->s->points[i])), axis_at(&c->y, quantile(&c->s->points[i], to)));
	svg_path_end(c->to, 1);
}

static const char *
dot_class(const struct point *o)
{
	return is_attn(o->group) ? "ring" : "full";
}

/* Label lines at their right ends, from the top down, each at its line or just below the
 * previous label. */
static void
label_line(struct chart *c, double y, double *last, const char *class, const char *text)
{
	*last = fmax(y, *last + 13);
	svg_path_begin(c->to, class);
	svg_path_point(c->to, 1, RIGHT - PAD + 6, y);
	svg_path_point(c->to, 0, RIGHT + 2, *last);
	svg_path_point(c->to, 0, RIGHT + 8, *last);
	svg_path_end(c->to, 0);
	svg_text(c->to, "mark", RIGHT + 12, *last + 4, 's', 0, text);
}

static void
draw_spread(struct chart *c)
{
	static const double q[] = {1, 0.9, 0.5, 0.1, 0};
	static const char *const name[] = {"largest", "90 %", "median", "10 %", "smallest"};
	const struct point *end = &c->s->points[c->s->n - 1];
	double last = -INFINITY, r = c->s->n > 60 ? 1.6 : 3.5;
	char tip[256], where[80];

	draw_band(c, "band", 0.1, 0.9);
	draw_band(c, "core", 0.25, 0.75);
	draw_quantile(c, "edge", 1);
	draw_quantile(c, "edge", 0);
	draw_quantile(c, "line", 0.5);
	for (size_t i = 0; i < c->s->n; i++) {
		const struct point *o = &c->s->points[i];

		snprintf(tip, sizeof(tip), "%s: median %.6g, 10 %% to 90 %% %.6g to %.6g, smallest %.6g, largest %.6g, rows %zu",
		    name_of(o, where, sizeof(where)), quantile(o, 0.5), quantile(o, 0.1), quantile(o, 0.9), quantile(o, 0),
		    quantile(o, 1), o->n);
		svg_dot(c->to, dot_class(o), axis_at(&c->x, x_of(o)), axis_at(&c->y, quantile(o, 0.5)), r, tip);
	}
	for (int i = 0; i < 5; i++)
		label_line(c, axis_at(&c->y, quantile(end, q[i])), &last, "lead", name[i]);
}

static const struct norm_row *
find_row(const struct point *o, const struct norm_row *key)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->rows[i].seq == key->seq && o->rows[i].pos == key->pos)
			return &o->rows[i];
	return NULL;
}

static int
by_end(const void *a, const void *b)
{
	return -by_value(&((const struct norm_row *)a)->norm, &((const struct norm_row *)b)->norm);
}

/* Kind 0, grey, is used last. */
static int
colour_of(size_t k)
{
	return (int)(k + 1) % SVG_KINDS;
}

/* Draw the line of one position. */
static void
draw_line(struct chart *c, size_t k)
{
	const struct norm_row *r;
	char class[24], tip[200], where[80];
	int drawn = 0;

	snprintf(class, sizeof(class), "line thin s%d", colour_of(k));
	svg_path_begin(c->to, class);
	for (size_t i = 0; i < c->s->n; i++)
		if ((r = find_row(&c->s->points[i], &c->keys[k])) != NULL)
			svg_path_point(c->to, drawn++ == 0, axis_at(&c->x, x_of(&c->s->points[i])), axis_at(&c->y, r->norm));
	svg_path_end(c->to, 0);
	for (size_t i = 0; i < c->s->n; i++) {
		const struct point *o = &c->s->points[i];

		if (!(r = find_row(o, &c->keys[k])))
			continue;
		snprintf(tip, sizeof(tip), "%s: sequence %" PRIu64 ", position %" PRIu32 ": %.6g", name_of(o, where, sizeof(where)),
		    r->seq, r->pos, r->norm);
		snprintf(class, sizeof(class), strcmp(dot_class(o), "ring") == 0 ? "ring s%d" : "k%d",
		    colour_of(k));
		svg_dot(c->to, class, axis_at(&c->x, x_of(o)), axis_at(&c->y, r->norm), c->s->n > 60 ? 1.6 : 3, tip);
	}
}

/* The label of a line, with its sequence if there are several. */
static const char *
label_of(const struct chart *c, const struct norm_row *r, char *buf, size_t size)
{
	int one = 1;

	for (size_t k = 1; k < c->n; k++)
		one &= c->keys[k].seq == c->keys[0].seq;
	snprintf(buf, size, one ? "position %" PRIu32 : "%" PRIu32 " of sequence %" PRIu64, r->pos, r->seq);
	return buf;
}

static void
draw_lines(struct chart *c)
{
	struct norm_row ends[LINES_MAX];
	double last = -INFINITY;
	char text[64], class[16];

	for (size_t k = 0; k < c->n; k++) {
		draw_line(c, k);
		ends[k] = c->keys[k];
		for (size_t i = 0; i < c->s->n; i++) {
			const struct norm_row *r = find_row(&c->s->points[i], &c->keys[k]);

			ends[k].norm = r ? r->norm : ends[k].norm;
		}
	}
	qsort(ends, c->n, sizeof(*ends), by_end);
	for (size_t k = 0; k < c->n; k++) {
		for (size_t i = 0; i < c->n; i++)
			if (c->keys[i].seq == ends[k].seq && c->keys[i].pos == ends[k].pos)
				snprintf(class, sizeof(class), "lead s%d", colour_of(i));
		label_line(c, axis_at(&c->y, ends[k].norm), &last, class, label_of(c, &ends[k], text, sizeof(text)));
	}
}

static int
norm_draw(struct plot *p, FILE *to)
{
	struct norm *s = p->state;
	struct chart c = {.to = to, .s = s};
	char about[200], left[64];
	double width = 880;
	size_t most = 0;

	if (finish_points(p, s) < 0)
		return -1;
	if (s->n == 0)
		return 0;
	for (size_t i = 0; i < s->n; i++)
		most = s->points[i].n > most ? s->points[i].n : most;
	collect_keys(&c);
	snprintf(about, sizeof(about), c.n > LINES_MAX ? "the spread of %zu rows of h after each stage: median, the middle half and "
	    "the middle 80 %%%s" : "rows of h after each stage: %zu%s", most, plot_missing(p, left, sizeof(left)));
	for (size_t k = 0; k < c.n; k++)
		width = fmax(width, RIGHT + 24 + svg_width(label_of(&c, &c.keys[k], left, sizeof(left)), 11));
	svg_begin(to, width, 496, "Norm of the residual stream", about);
	set_axes(&c);
	if (c.n > LINES_MAX)
		draw_spread(&c);
	else
		draw_lines(&c);
	svg_end(to);
	return 1;
}

static void
norm_free(void *state)
{
	struct norm *s = state;

	for (size_t i = 0; i < s->n; i++) {
		free(s->points[i].rows);
		free(s->points[i].sorted);
	}
	free(s->points);
	groups_free(&s->groups);
}

const struct plot_kind plot_norm = {"norm", sizeof(struct norm), norm_frame, norm_draw, norm_free,
	"no frame had rows of h: use streams of ds-embed, ds-attn, ds-expert or ds-block, with an -i for each"};
