/*
 * Timeline: a lane per process and a bar per frame, from the header key `trace`.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "inspect/plot/plot.h"
#include "inspect/plot/svg.h"
#include "inspect/times.h"
#include "stage/stages.h"

#define TOP 84
#define WIDTH 760

struct bar {
	int64_t start, end;             /* ns */
	uint64_t bytes;
};

struct lane {
	struct buf key;                 /* program, NUL, host, NUL, layer */
	const char *program, *host;
	int64_t layer;                  /* -1: none */
	struct bar *bars;
	size_t n, cap;
	double busy;                    /* ns */
};

struct trace {
	struct table names;
	struct lane **lanes;            /* [n] in order of appearance, that is of the pipeline */
	size_t n, cap;
	uint64_t frames;
};

/* The colours are those of the first programs in the table of stages; kind 0 is all others. */
_Static_assert(SVG_KINDS - 1 == STAGE_DRAFT + 1, "a colour for each stage");

static const char *
kind_name(int kind)
{
	return kind == 0 ? "other" : stage_programs[kind - 1].name;
}

static struct lane *
lane_of(struct trace *s, const struct times_entry *e)
{
	struct buf b = {0};
	struct lane *l = NULL;

	if (buf_add(&b, e->at.program, e->at.nprogram) < 0 || buf_addc(&b, 0) < 0 || buf_add(&b, e->at.host, e->at.nhost) < 0 ||
	    buf_addc(&b, 0) < 0 || buf_add(&b, &e->at.layer, sizeof(e->at.layer)) < 0)
		goto end;
	if ((l = table_get(&s->names, b.p, b.n)))
		goto end;
	if (mem_grow(&s->lanes, &s->cap, s->n + 1, sizeof(*s->lanes)) < 0 || !(l = mem_new(1, sizeof(*l))))
		goto end;
	if (table_put(&s->names, b.p, b.n, l) < 0) {
		free(l);
		l = NULL;
		goto end;
	}
	l->key = b;
	l->program = (char *)b.p;
	l->host = l->program + e->at.nprogram + 1;
	l->layer = e->at.layer;
	return s->lanes[s->n++] = l;
end:
	buf_free(&b);
	return l;
}

static int
add_entry(void *to, const struct times_entry *e)
{
	struct plot *p = to;
	struct lane *l;

	if (p->select.layers.n > 0 && (e->at.layer < 0 || !ranges_has(&p->select.layers, (uint64_t)e->at.layer)))
		return 0;
	if (!(l = lane_of(p->state, e)) || mem_grow(&l->bars, &l->cap, l->n + 1, sizeof(*l->bars)) < 0)
		return -1;
	/* if a clock was set back, the bar has length 0 */
	l->bars[l->n++] = (struct bar){e->start, e->end > e->start ? e->end : e->start, e->bytes};
	return 0;
}

static int
trace_frame(struct plot *p, struct frame *f)
{
	struct trace *s = p->state;

	s->frames += frame_other(f, "trace") != NULL;
	return times_read(f, add_entry, p);
}

static int
by_time(const void *a, const void *b)
{
	const struct bar *x = a, *y = b;
	int c = (x->start > y->start) - (x->start < y->start);

	c = c ? c : (x->end > y->end) - (x->end < y->end);
	return c ? c : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Sort by time and drop duplicates: an entry arrives with several streams, or on each lap of a
 * loop. */
static void
finish_lane(struct lane *l)
{
	size_t n = 0;

	qsort(l->bars, l->n, sizeof(*l->bars), by_time);
	for (size_t i = 0; i < l->n; i++)
		if (n == 0 || by_time(&l->bars[i], &l->bars[n - 1]) != 0)
			l->bars[n++] = l->bars[i];
	l->n = n;
	for (size_t i = 0; i < n; i++)
		l->busy += (double)(l->bars[i].end - l->bars[i].start);
}

struct chart {
	FILE *to;
	struct trace *s;
	int64_t zero;                   /* ns */
	struct axis x;                  /* ms */
	double left, lane;              /* pixels */
	int hosts;                      /* 1: several hosts */
};

static int
kind_of(const struct lane *l)
{
	for (int i = 1; i < SVG_KINDS; i++)
		if (strcmp(kind_name(i), l->program) == 0)
			return i;
	return 0;
}

static double
at(const struct chart *c, int64_t ns)
{
	return axis_at(&c->x, (double)(ns - c->zero) / 1e6);
}

/* Bars too thin and close to be distinguished are drawn as one, with their number. */
static void
draw_bars(const struct chart *c, const struct lane *l, double y, const char *where)
{
	char class[8], tip[400];
	size_t next;

	snprintf(class, sizeof(class), "k%d", kind_of(l));
	for (size_t i = 0; i < l->n; i = next) {
		int64_t end = l->bars[i].end;
		double busy = (double)(end - l->bars[i].start);

		for (next = i + 1; next < l->n && at(c, l->bars[next].end) - at(c, l->bars[i].start) < 1; next++) {
			end = l->bars[next].end > end ? l->bars[next].end : end;
			busy += (double)(l->bars[next].end - l->bars[next].start);
		}
		if (next == i + 1)
			snprintf(tip, sizeof(tip), "%s: %.3f ms from %.3f ms, %" PRIu64 " bytes in", where, busy / 1e6,
			    (double)(l->bars[i].start - c->zero) / 1e6, l->bars[i].bytes);
		else
			snprintf(tip, sizeof(tip), "%s: %.3f ms for %zu frames from %.3f ms", where, busy / 1e6, next - i,
			    (double)(l->bars[i].start - c->zero) / 1e6);
		svg_box(c->to, class, at(c, l->bars[i].start), y + 0.12 * c->lane, fmax(1, at(c, end) - at(c, l->bars[i].start)),
		    0.76 * c->lane, tip);
	}
}

static const char *
lane_name(const struct chart *c, const struct lane *l, char *buf, size_t size)
{
	const char *who = strncmp(l->program, "ds-", 3) == 0 ? l->program + 3 : l->program;
	int n = c->hosts ? snprintf(buf, size, "%.40s: ", l->host) : 0;

	if (l->layer < 0)
		snprintf(buf + n, size - (size_t)n, "%.40s", who);
	else
		snprintf(buf + n, size - (size_t)n, "%.40s %" PRId64, who, l->layer);
	return buf;
}

static void
draw_lanes(const struct chart *c)
{
	double last = -INFINITY;
	const char *lead = "";    /* program whose lanes are labelled if there is no room for all */
	char name[160], where[200];

	for (size_t i = c->s->n; i-- > 0; )
		lead = c->s->lanes[i]->layer >= 0 ? c->s->lanes[i]->program : lead;

	for (size_t i = 0; i < c->s->n; i++) {
		const struct lane *l = c->s->lanes[i];
		double y = TOP + (double)i * c->lane;

		lane_name(c, l, name, sizeof(name));
		snprintf(where, sizeof(where), "%s", name);
		if (y + c->lane / 2 - last >= 12 && (c->lane >= 12 || l->layer < 0 || strcmp(l->program, lead) == 0)) {
			last = y + c->lane / 2;
			svg_text(c->to, "tick", c->left - 8, last + 4, 'e', 0, name);
		}
		draw_bars(c, l, y, where);
		snprintf(name, sizeof(name), "%.3g ms", l->busy / 1e6);
		if (last == y + c->lane / 2)
			svg_text(c->to, "tick", c->left + WIDTH + 66, last + 4, 'e', 0, name);
	}
	svg_text(c->to, "tick", c->left + WIDTH + 66, TOP - 8, 'e', 0, "busy");
}

static void
draw_kinds(const struct chart *c, double y)
{
	double x = c->left;

	for (int i = 1; i <= SVG_KINDS; i++) {
		int k = i % SVG_KINDS, used = 0;
		char class[8];

		for (size_t j = 0; j < c->s->n; j++)
			used |= kind_of(c->s->lanes[j]) == k;
		if (!used)
			continue;
		snprintf(class, sizeof(class), "k%d", k);
		svg_box(c->to, class, x, y - 9, 10, 10, NULL);
		svg_text(c->to, "tick", x + 15, y, 's', 0, kind_name(k));
		x += 15 + svg_width(kind_name(k), 11) + 16;
	}
}

static int
trace_draw(struct plot *p, FILE *to)
{
	struct chart c = {.to = to, .s = p->state, .zero = INT64_MAX};
	int64_t last = 0;
	uint64_t entries = 0;
	double bottom;
	char about[160], name[160];

	if (c.s->n == 0)
		return 0;
	for (size_t i = 0; i < c.s->n; i++) {
		struct lane *l = c.s->lanes[i];

		finish_lane(l);
		entries += l->n;
		c.hosts |= strcmp(l->host, c.s->lanes[0]->host) != 0;
		for (size_t j = 0; j < l->n; j++) {
			c.zero = l->bars[j].start < c.zero ? l->bars[j].start : c.zero;
			last = l->bars[j].end > last ? l->bars[j].end : last;
		}
	}
	c.lane = fmin(24, fmax(6, 900.0 / (double)c.s->n));
	for (size_t i = 0; i < c.s->n; i++)
		c.left = fmax(c.left, 40 + svg_width(lane_name(&c, c.s->lanes[i], name, sizeof(name)), 11));
	bottom = TOP + (double)c.s->n * c.lane;
	axis_set(&c.x, 0, (double)(last - c.zero) / 1e6, c.left, c.left + WIDTH, 0, 0, 8);
	snprintf(about, sizeof(about), "%" PRIu64 " frames, %" PRIu64 " bars in %zu lanes, %.1f ms", c.s->frames, entries, c.s->n,
	    (double)(last - c.zero) / 1e6);
	svg_begin(to, c.left + WIDTH + 86, bottom + 76, "Who worked when", about);
	for (size_t i = 0; i < c.s->n; i += 2)
		svg_box(to, "lane", c.left, TOP + (double)i * c.lane, WIDTH, c.lane, NULL);
	for (int i = 0; i < c.x.nticks; i++)
		svg_line(to, "grid", axis_at(&c.x, c.x.tick[i]), TOP, axis_at(&c.x, c.x.tick[i]), bottom);
	draw_lanes(&c);
	svg_line(to, "base", c.left, bottom, c.left + WIDTH, bottom);
	axis_draw_x(to, &c.x, bottom, "time (ms)");
	draw_kinds(&c, bottom + 60);
	svg_end(to);
	return 1;
}

static void
trace_free(void *state)
{
	struct trace *s = state;

	for (size_t i = 0; i < s->n; i++) {
		buf_free(&s->lanes[i]->key);
		free(s->lanes[i]->bars);
		free(s->lanes[i]);
	}
	free(s->lanes);
	table_free(&s->names);
}

const struct plot_kind plot_trace = {"trace", sizeof(struct trace), trace_frame, trace_draw, trace_free,
	"no frame had the header key trace: use a run of ds-embed --trace"};
