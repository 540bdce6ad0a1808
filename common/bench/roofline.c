/*
 * The roofline (Williams, Waterman and Patterson 2009): memory limits at few operations per byte,
 * arithmetic at many.
 */
#include <math.h>

#include "bench/bench.h"
#include "inspect/plot/svg.h"

#define WIDTH 900
#define HEIGHT 560
#define LEFT 90
#define RIGHT 640               /* the legend is right of it */
#define TOP 80
#define BOTTOM 490
#define POINTS_MAX 512

struct picture {
	FILE *to;
	const struct limit *l;
	struct axis x, y;
	struct { double x, y; int rows; } point[POINTS_MAX];
	int points;
	int drawn[BENCH_STAGES + 1];    /* 1: the part has points */
};

static const int kinds[BENCH_STAGES + 1] = {2, 3, 5, 4, 0}; /* attn, route, expert, head, all */

static const struct stage_cost *
cost_of(const struct measured *m, int part)
{
	return part < BENCH_STAGES ? &m->part[part] : &m->all;
}

static int
drawable(const struct stage_cost *c)
{
	return c->seconds > 0 && c->bytes > 0 && c->operations > 0;
}

/* Set the axes to whole decades around the points. */
static void
set_axes(struct picture *p, const struct measured *m, int n)
{
	double ridge = p->l->fma / p->l->read, x0 = ridge / 4, x1 = ridge * 4, y0 = p->l->fma / 10, y1 = p->l->fma * 1.6;

	for (int i = 0; i < n; i++)
		for (int j = 0; j <= BENCH_STAGES; j++) {
			const struct stage_cost *c = cost_of(&m[i], j);

			if (!drawable(c))
				continue;
			x0 = fmin(x0, c->operations / c->bytes / 1.5);
			x1 = fmax(x1, c->operations / c->bytes * 1.5);
			y0 = fmin(y0, c->operations / c->seconds / 1.5);
			y1 = fmax(y1, c->operations / c->seconds * 1.5);
		}
	axis_set(&p->x, x0, x1, LEFT, RIGHT, 1, 0, 8);
	axis_set(&p->y, y0 * 1e-9, y1 * 1e-9, BOTTOM, TOP, 1, 0, 8);
}

static void
draw_roof(struct picture *p)
{
	double ridge = p->l->fma / p->l->read, top = p->l->fma * 1e-9, lo = p->x.lo * p->l->read * 1e-9, from = p->x.lo;
	char text[64];

	if (lo < p->y.lo) {
		from = p->y.lo * 1e9 / p->l->read;
		lo = p->y.lo;
	}
	svg_path_begin(p->to, "line");
	svg_path_point(p->to, 1, axis_at(&p->x, from), axis_at(&p->y, lo));
	svg_path_point(p->to, 0, axis_at(&p->x, ridge), axis_at(&p->y, top));
	svg_path_point(p->to, 0, RIGHT, axis_at(&p->y, top));
	svg_path_end(p->to, 0);
	snprintf(text, sizeof(text), "%.3g GFLOP/s", top);
	svg_text(p->to, "mark", RIGHT, axis_at(&p->y, top) - 6, 'e', 0, text);
	snprintf(text, sizeof(text), "%.3g GB/s", p->l->read * 1e-9);
	svg_text(p->to, "mark", axis_at(&p->x, sqrt(from * ridge)) - 8, axis_at(&p->y, sqrt(lo * top)) - 2, 'e', 0, text);
}

static void
draw_point(struct picture *p, const struct measured *m, int part)
{
	const struct stage_cost *c = cost_of(m, part);
	char tip[160], class[8];
	double x, y;

	if (!drawable(c))
		return;
	x = axis_at(&p->x, c->operations / c->bytes);
	y = axis_at(&p->y, c->operations / c->seconds * 1e-9);
	snprintf(tip, sizeof(tip), "%s %d rows, %s: %.3g ms, %.3g GB/s, %.3g GFLOP/s", m->prefill ? "prefill" : "decode", m->rows,
	    part < BENCH_STAGES ? bench_stage_name(part) : "all", c->seconds * 1e3, c->bytes / c->seconds * 1e-9, c->operations / c->seconds * 1e-9);
	snprintf(class, sizeof(class), "k%d", kinds[part]);
	if (m->prefill)
		svg_box(p->to, class, x - 4, y - 4, 8, 8, tip);
	else
		svg_dot(p->to, class, x, y, 4.5, tip);
	p->drawn[part] = 1;
	if (p->points < POINTS_MAX) {
		p->point[p->points].x = x;
		p->point[p->points].y = y;
		p->point[p->points++].rows = m->rows;
	}
}

/* Label points with their number of rows where there is room; the others have tooltips. */
static void
draw_labels(struct picture *p)
{
	for (int i = 0; i < p->points; i++) {
		double x = p->point[i].x, y = p->point[i].y;
		char text[16];
		int free = 1;

		snprintf(text, sizeof(text), "%d", p->point[i].rows);
		for (int j = 0; j < p->points; j++)
			if (j != i && p->point[j].x > x - 2 && p->point[j].x < x + 14 + svg_width(text, 11) && fabs(p->point[j].y - y) < 10)
				free = 0;
		if (free)
			svg_text(p->to, "tick", x + 7, y + 4, 's', 0, text);
	}
}

static void
draw_key(struct picture *p)
{
	char class[8];
	double y = TOP + 20;

	for (int i = 0; i <= BENCH_STAGES; i++) {
		if (!p->drawn[i])
			continue;
		snprintf(class, sizeof(class), "k%d", kinds[i]);
		svg_box(p->to, class, RIGHT + 40, y - 9, 10, 10, NULL);
		svg_text(p->to, "mark", RIGHT + 58, y, 's', 0, i < BENCH_STAGES ? bench_stage_name(i) : "all of them");
		y += 22;
	}
	y += 10;
	svg_dot(p->to, "k0", RIGHT + 45, y - 4, 4.5, NULL);
	svg_text(p->to, "mark", RIGHT + 58, y, 's', 0, "decode, with its rows");
	svg_box(p->to, "k0", RIGHT + 41, y + 14, 8, 8, NULL);
	svg_text(p->to, "mark", RIGHT + 58, y + 22, 's', 0, "prefill, with its rows");
	svg_line(p->to, "line", RIGHT + 36, y + 40, RIGHT + 54, y + 40);
	svg_text(p->to, "mark", RIGHT + 58, y + 44, 's', 0, "measured limit of the machine");
}

void
bench_draw(FILE *to, const struct limit *l, const struct measured *m, int n, const char *title, const char *subtitle)
{
	struct picture p = {.to = to, .l = l};

	set_axes(&p, m, n);
	svg_begin(to, WIDTH, HEIGHT, title, subtitle);
	axis_draw_y(to, &p.y, LEFT, RIGHT, "GFLOP/s");
	svg_line(to, "base", LEFT, BOTTOM, RIGHT, BOTTOM);
	axis_draw_x(to, &p.x, BOTTOM, "operations per byte that must be read");
	draw_roof(&p);
	for (int part = BENCH_STAGES; part >= 0; part--)
		for (int i = 0; i < n; i++)
			draw_point(&p, &m[i], part);
	draw_labels(&p);
	draw_key(&p);
	svg_end(to);
}
