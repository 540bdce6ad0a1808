/*
 * Load of experts: a heat map with a row per layer and a column per expert, and each layer's
 * imbalance beside it.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "inspect/plot/plot.h"
#include "inspect/plot/svg.h"

#define LEFT 76
#define TOP 84
#define WIDTH 820               /* of the map, maximum */

struct load {
	/* [EXPERTS_MAX] rows that chose each expert; NULL: no frames of the layer */
	uint64_t *chosen[LAYERS_MAX];
	uint64_t rows[LAYERS_MAX];
	int experts;                    /* 1 + the highest chosen */
	int k;                          /* experts per row */
	int partial;                    /* 1: frames of partial expert sums were skipped */
};

static int
count_rows(struct plot *p, struct frame *f, const struct tensor *t)
{
	struct load *s = p->state;
	struct plot_row r = {0};

	while (plot_next(f, &r)) {
		const int32_t *e = (const int32_t *)t->data + r.row * t->shape[1];

		if (!select_row(&p->select, r.seq, r.pos))
			continue;
		s->rows[f->layer]++;
		for (uint64_t j = 0; j < t->shape[1]; j++) {
			if (e[j] < 0 || e[j] >= (p->experts ? p->experts : EXPERTS_MAX))
				return fail(FAIL_DATA, "layer %d: sequence %" PRIu64 ": position %" PRIu32 ": expert %" PRId32
				    " of %d", f->layer, r.seq, r.pos, e[j], p->experts ? p->experts : EXPERTS_MAX);
			s->chosen[f->layer][e[j]]++;
			s->experts = e[j] >= s->experts ? e[j] + 1 : s->experts;
		}
	}
	return 0;
}

static int
load_frame(struct plot *p, struct frame *f)
{
	struct load *s = p->state;
	const struct tensor *t = frame_tensor(f, "expert.idx");

	if (f->at != AT_EXPERT || !t || !ranges_has(&p->select.layers, (uint64_t)f->layer))
		return 0;
	if (f->experts_done) {       /* its rows were counted when the frame came from the router */
		s->partial = 1;
		return 0;
	}
	if (t->dtype != I32 || t->rank != 2 || t->shape[0] != f->rows || t->shape[1] < 1 || t->shape[1] > EXPERTS_MAX)
		return fail(FAIL_DATA, "tensor 'expert.idx' is not I32 [%" PRIu32 ", k]", f->rows);
	if (f->layer < 0 || f->layer >= LAYERS_MAX)
		return fail(FAIL_DATA, "layer %d: a plot has at most %d", f->layer, LAYERS_MAX);
	if (!s->chosen[f->layer] && !(s->chosen[f->layer] = mem_new(EXPERTS_MAX, sizeof(uint64_t))))
		return -1;
	s->k = (int)t->shape[1];
	return count_rows(p, f, t);
}

struct map {
	FILE *to;
	struct load *s;
	int first, last, experts;       /* layers, and number of experts */
	double cell, high, gap;         /* pixels of a cell, and of the gap between cells */
	double most;                    /* the largest share */
	double uneven;                  /* the largest max / mean */
	int lacks;                      /* 1: a layer between first and last has no frames */
};

static double
share(const struct map *m, int layer, int e)
{
	return (double)m->s->chosen[layer][e] / (double)m->s->rows[layer];
}

/* The load of the layer's busiest expert over the mean. */
static double
imbalance(const struct map *m, int layer)
{
	double max = 0, sum = 0;

	for (int e = 0; e < m->experts; e++) {
		sum += share(m, layer, e);
		max = fmax(max, share(m, layer, e));
	}
	return max * m->experts / sum;
}

static void
draw_layer(const struct map *m, int layer)
{
	double y = TOP + (layer - m->first) * m->high;
	char tip[128];

	if (m->s->rows[layer] == 0) {
		snprintf(tip, sizeof(tip), "layer %d: no frames", layer);
		svg_box(m->to, "no", LEFT, y, m->cell * m->experts, m->high, tip);
		return;
	}
	for (int e = 0; e < m->experts; e++) {
		snprintf(tip, sizeof(tip), "layer %d, expert %d: %.4g %% (%" PRIu64 " of %" PRIu64 " rows)", layer, e,
		    100 * share(m, layer, e), m->s->chosen[layer][e], m->s->rows[layer]);
		svg_cell(m->to, share(m, layer, e) / m->most, LEFT + e * m->cell, y, m->cell - m->gap, m->high - m->gap, tip);
	}
}

static void
draw_labels(const struct map *m)
{
	struct axis x;
	int step = 1;
	char text[16];

	while (step * m->high < 13)
		step += step == 1 ? 1 : step == 2 ? 3 : 5;
	for (int l = m->first; l <= m->last; l++) {
		if (l % step != 0)
			continue;
		snprintf(text, sizeof(text), "%d", l);
		svg_text(m->to, "tick", LEFT - 8, TOP + (l - m->first + 0.5) * m->high + 4, 'e', 0, text);
	}
	svg_text(m->to, "axis", 28, TOP + (m->last - m->first + 1) * m->high / 2, 'm', 1, "layer");
	axis_set(&x, 0, m->experts, LEFT + m->cell / 2, LEFT + m->cell / 2 + m->experts * m->cell, 0, 0,
	    m->cell >= 20 ? m->experts : m->experts < 40 ? 8 : 16);
	if (x.nticks > 0 && x.tick[x.nticks - 1] >= m->experts)    /* the last expert is one less */
		x.nticks--;
	axis_draw_x(m->to, &x, TOP + (m->last - m->first + 1) * m->high, "expert");
}

/* Draw the bars on the right: max / mean of each layer. */
static void
draw_imbalance(const struct map *m, double x)
{
	struct axis a;
	double bottom = TOP + (m->last - m->first + 1) * m->high;
	char tip[64];

	axis_set(&a, 0, m->uneven, x, x + 90, 0, 0, 3);
	svg_text(m->to, "axis", x, TOP - 10, 's', 0, "busiest / mean");
	for (int i = 0; i < a.nticks; i++)
		svg_line(m->to, "grid", axis_at(&a, a.tick[i]), TOP, axis_at(&a, a.tick[i]), bottom);
	for (int l = m->first; l <= m->last; l++) {
		if (m->s->rows[l] == 0)
			continue;
		snprintf(tip, sizeof(tip), "layer %d: busiest / mean %.4g", l, imbalance(m, l));
		svg_box(m->to, "bar", x, TOP + (l - m->first + 0.15) * m->high, axis_at(&a, imbalance(m, l)) - x, 0.7 * m->high, tip);
	}
	svg_line(m->to, "base", axis_at(&a, 1), TOP, axis_at(&a, 1), bottom);
	axis_draw_x(m->to, &a, bottom, "1 is even");
}

/* Returns 0 if no row was counted. */
static int
measure(struct map *m, const struct plot *p)
{
	m->first = LAYERS_MAX;
	m->experts = p->experts ? p->experts : m->s->experts;
	for (int l = 0; l < LAYERS_MAX; l++) {
		if (m->s->rows[l] == 0)
			continue;
		m->first = l < m->first ? l : m->first;
		m->last = l;
		for (int e = 0; e < m->experts; e++)
			m->most = fmax(m->most, share(m, l, e));
		m->uneven = fmax(m->uneven, imbalance(m, l));
	}
	if (m->first == LAYERS_MAX)
		return 0;
	m->cell = fmin(28, (double)WIDTH / m->experts);
	m->high = fmin(40, fmax(9, floor(240.0 / (m->last - m->first + 1))));
	m->gap = m->cell >= 10 && m->high >= 10;
	return 1;
}

static int
load_draw(struct plot *p, FILE *to)
{
	struct map m = {.to = to, .s = p->state};
	double right, high;
	uint64_t most = 0;
	char about[200];

	if (!measure(&m, p))
		return m.s->partial ? fail(FAIL_DATA, "nothing to draw: the frames hold partial sums of experts: use the stream "
		    "between ds-route and the first ds-expert") : 0;
	for (int l = m.first; l <= m.last; l++) {
		most = m.s->rows[l] > most ? m.s->rows[l] : most;
		m.lacks |= m.s->rows[l] == 0;
	}
	right = LEFT + m.cell * m.experts;
	high = m.high * (m.last - m.first + 1);
	snprintf(about, sizeof(about), "%d of %d experts for each of %" PRIu64 " rows%s; an even load would be %.3g %%", m.s->k, m.experts, most,
	    p->experts ? "" : " (experts as far as chosen)", 100.0 * m.s->k / m.experts);
	svg_begin(to, fmax(right + 250, 620), TOP + fmax(high, m.lacks ? 150 : 120) + 56, "Expert load", about);
	fputs("<g class=\"cells\">\n", to);
	for (int l = m.first; l <= m.last; l++)
		draw_layer(&m, l);
	fputs("</g>\n", to);
	draw_labels(&m);
	draw_imbalance(&m, right + 20);
	svg_legend(to, right + 140, TOP, fmax(120, fmin(high, 260)), 100 * m.most, 0, "% of the rows");
	if (m.lacks)
		svg_legend_missing(to, right + 140, TOP + fmax(120, fmin(high, 260)) + 16, "no frames");
	svg_end(to);
	return 1;
}

static void
load_free(void *state)
{
	struct load *s = state;

	for (int l = 0; l < LAYERS_MAX; l++)
		free(s->chosen[l]);
}

const struct plot_kind plot_load = {"load", sizeof(struct load), load_frame, load_draw, load_free,
	"no frame at expert had rows of expert.idx: use streams of ds-route, with an -i for each"};
