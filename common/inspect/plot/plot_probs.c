/*
 * Attention probabilities: a lower triangle per head, with a row per position and a column per
 * attended position.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/plot/plot.h"
#include "inspect/plot/svg.h"

#define HEADS_MAX 16            /* maximum number of panels */
#define SPAN_MAX 8192           /* maximum number of positions */
/* cells per side of a panel; more positions share cells */
#define CELLS(heads) ((heads) == 1 ? 128u : 72u)
#define TOP 84

struct probs_row {
	uint32_t pos;
	int32_t id;                     /* of the token, or -1 */
	uint32_t n;                     /* columns up to its own position */
	float *p;                       /* [heads][n] */
};

struct probs {
	int known;                      /* 1: layer and sequence are set, by the first row */
	int layer, heads, head[HEADS_MAX];
	uint64_t seq;
	uint32_t *column;               /* [columns] selected positions, ascending */
	uint32_t columns, columns_cap;
	struct probs_row **at;          /* [at_n] by position; NULL: none */
	size_t at_n, at_cap;
	size_t rows;
};

/* The tap of the layer to draw, or the first selected one. */
static const struct tensor *
find_tap(struct plot *p, struct frame *f)
{
	struct probs *s = p->state;

	for (int i = 0; i < f->ntensors; i++) {
		const char *name = f->tensors[i].name;
		char *end;
		long layer;

		if (strncmp(name, "attn.probs@", 11) != 0)
			continue;
		layer = strtol(name + 11, &end, 10);
		if (*end || end == name + 11 || layer < 0 || layer >= LAYERS_MAX || (s->known && layer != s->layer) ||
		    !ranges_has(&p->select.layers, (uint64_t)layer))
			continue;
		s->layer = (int)layer;
		return &f->tensors[i];
	}
	return NULL;
}

/* Choose the heads to draw, from the first frame. */
static int
choose_heads(struct plot *p, const struct tensor *t)
{
	struct probs *s = p->state;

	if (p->heads.n == 0) {
		s->head[s->heads++] = 0;
		return 0;
	}
	for (uint64_t h = 0; h < t->shape[1]; h++) {
		if (!ranges_has(&p->heads, h))
			continue;
		if (s->heads == HEADS_MAX)
			return fail(FAIL_USAGE, "--head: at most %d heads in a plot", HEADS_MAX);
		s->head[s->heads++] = (int)h;
	}
	if (s->heads == 0)
		return fail(FAIL_USAGE, "--head: the layer has heads 0 to %" PRIu64, t->shape[1] - 1);
	return 0;
}

/* Extend the columns up to position pos. */
static int
add_columns(struct plot *p, uint32_t pos)
{
	struct probs *s = p->state;
	size_t cap = s->columns_cap;

	for (uint32_t i = s->columns ? s->column[s->columns - 1] + 1 : 0; i <= pos; i++) {
		if (!ranges_has(&p->select.positions, i))
			continue;
		if (mem_grow(&s->column, &cap, s->columns + 1, sizeof(*s->column)) < 0)
			return -1;
		s->columns_cap = (uint32_t)cap;
		s->column[s->columns++] = i;
	}
	return 0;
}

static int
add_row(struct plot *p, const struct tensor *t, const struct plot_row *r, int32_t id)
{
	struct probs *s = p->state;
	const float *v = (const float *)t->data + r->row * t->shape[1] * t->shape[2];
	struct probs_row *o;
	uint32_t n = 0;

	if (r->pos >= SPAN_MAX || r->pos >= t->shape[2])
		return fail(FAIL_DATA, "%s: position %" PRIu32 " of at most %" PRIu64, t->name, r->pos,
		    t->shape[2] < SPAN_MAX ? t->shape[2] - 1 : SPAN_MAX - 1);
	if (add_columns(p, r->pos) < 0)
		return -1;
	if (r->pos >= s->at_n) {
		if (mem_grow(&s->at, &s->at_cap, r->pos + 1, sizeof(*s->at)) < 0)
			return -1;
		memset(s->at + s->at_n, 0, (r->pos + 1 - s->at_n) * sizeof(*s->at));
		s->at_n = r->pos + 1;
	}
	while (n < s->columns && s->column[n] <= r->pos)
		n++;
	if (!s->at[r->pos]) {
		if (!(s->at[r->pos] = mem_new(1, sizeof(*o) + (size_t)n * (size_t)s->heads * sizeof(float))))
			return -1;
		s->rows++;
	}
	o = s->at[r->pos];
	o->pos = r->pos;
	o->id = id;
	o->n = n;
	o->p = (float *)(o + 1);
	for (int h = 0; h < s->heads; h++)
		for (uint32_t i = 0; i < n; i++)
			o->p[(uint32_t)h * n + i] = v[(uint64_t)s->head[h] * t->shape[2] + s->column[i]];
	return 0;
}

static int
probs_frame(struct plot *p, struct frame *f)
{
	struct probs *s = p->state;
	const struct tensor *t = find_tap(p, f), *ids = frame_tensor(f, "ids");
	struct plot_row r = {0};

	if (!t)
		return 0;
	if (t->dtype != F32 || t->rank != 3 || t->shape[0] != f->rows || t->shape[1] < 1)
		return fail(FAIL_DATA, "tensor '%s' is not F32 [%" PRIu32 ", heads, positions]", t->name, f->rows);
	if (ids && (ids->dtype != I32 || ids->rank != 1 || ids->shape[0] != f->rows))
		ids = NULL;
	while (plot_next(f, &r)) {
		if (!select_row(&p->select, r.seq, r.pos) || (s->known && r.seq != s->seq))
			continue;
		if (!s->known && choose_heads(p, t) < 0)
			return -1;
		s->known = 1;
		s->seq = r.seq;
		if ((uint64_t)s->head[s->heads - 1] >= t->shape[1])
			return fail(FAIL_DATA, "%s: %" PRIu64 " heads, fewer than before", t->name, t->shape[1]);
		if (add_row(p, t, &r, ids ? ((const int32_t *)ids->data)[r.row] : -1) < 0)
			return -1;
	}
	return 0;
}

struct panels {
	FILE *to;
	struct plot *plot;
	struct probs *s;
	struct probs_row **row;         /* [rows] existing rows by position */
	uint32_t rows, columns;
	uint32_t pool;                  /* positions per cell, in each direction */
	double cell;                    /* pixels */
	double most;                    /* largest probability */
	int labels;                     /* 1: write the tokens */
};

/* The largest value in a cell, and its position; NaN: one is missing; -inf: after all rows. */
static double
cell_value(const struct panels *c, int h, uint32_t i, uint32_t j, const struct probs_row **row, uint32_t *column)
{
	double most = -INFINITY;

	for (uint32_t a = i; a < i + c->pool && a < c->rows; a++) {
		for (uint32_t b = j; b < j + c->pool && b < c->row[a]->n; b++) {
			double v = c->row[a]->p[(uint32_t)h * c->row[a]->n + b];

			if (!isfinite(v) || v > most) {
				*row = c->row[a];
				*column = c->s->column[b];
				most = isfinite(v) ? v : NAN;
			}
			if (isnan(most))
				return most;
		}
	}
	return most;
}

static void
draw_cells(const struct panels *c, int h, double x, double y)
{
	const struct probs_row *row = NULL;
	uint32_t column = 0;
	char tip[128];

	fputs("<g class=\"cells\">\n", c->to);
	for (uint32_t i = 0; i < c->rows; i += c->pool)
		for (uint32_t j = 0; j < c->columns; j += c->pool) {
			double v = cell_value(c, h, i, j, &row, &column);

			if (v == -INFINITY)
				break;
			snprintf(tip, sizeof(tip), "head %d, position %" PRIu32 " looks at %" PRIu32 ": %.4g", c->s->head[h], row->pos,
			    column, v);
			svg_cell(c->to, isnan(v) ? v : sqrt(fmax(0, v) / c->most), x + j / c->pool * c->cell, y + i / c->pool * c->cell,
			    c->cell, c->cell, tip);
		}
	fputs("</g>\n", c->to);
}

static uint32_t
label_step(double cell, double room)
{
	uint32_t step = 1;

	for (int i = 1; step * cell < room; i++)
		step = step / (i % 3 == 2 ? 2 : 1) * (i % 3 == 2 ? 5 : 2);
	return step;
}

/* Draw positions or tokens beside the rows and below the columns. */
static int
draw_labels(const struct panels *c, double x, double y, int tokens)
{
	double cell = c->cell / c->pool, bottom = y + ceil(c->rows / (double)c->pool) * c->cell;
	uint32_t rows = label_step(cell, 13), columns = label_step(cell, tokens ? 13 : 28);
	struct buf b = {0};
	char text[16];
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->rows; i += rows) {
		snprintf(text, sizeof(text), "%" PRIu32, c->row[i]->pos);
		if (tokens && (r = plot_token(c->plot, c->row[i]->id, 9, &b)) < 0)
			break;
		svg_text(c->to, tokens && b.n ? "mono" : "tick", x - 6, y + (i + 0.5) * cell + 4, 'e', 0, tokens && b.n ? (char *)b.p : text);
	}
	for (uint32_t j = 0; r == 0 && j < c->columns; j += columns) {
		uint32_t pos = c->s->column[j];
		const struct probs_row *row = pos < c->s->at_n ? c->s->at[pos] : NULL;

		snprintf(text, sizeof(text), "%" PRIu32, pos);
		b.n = 0;
		if (tokens && row && (r = plot_token(c->plot, row->id, 9, &b)) < 0)
			break;
		if (tokens && b.n)
			svg_text(c->to, "mono", x + (j + 0.5) * cell + 4, bottom + 6, 'e', 1, (char *)b.p);
		else
			svg_text(c->to, "tick", x + (j + 0.5) * cell, bottom + 15, 'm', 0, text);
	}
	buf_free(&b);
	return r;
}

static void
measure(struct panels *c)
{
	uint32_t side = c->rows > c->columns ? c->rows : c->columns;

	c->pool = (side + CELLS(c->s->heads) - 1) / CELLS(c->s->heads);
	side = (side + c->pool - 1) / c->pool;
	c->cell = c->s->heads == 1 ? fmax(4, fmin(22, 620.0 / side)) : fmax(1.5, fmin(14, 210.0 / side));
	if (c->cell > 2)
		c->cell = floor(c->cell * 2) / 2;
	c->labels = c->s->heads == 1 && c->plot->tokens && c->pool == 1 && c->cell >= 12;
	for (int h = 0; h < c->s->heads; h++)
		for (uint32_t i = 0; i < c->rows; i++)
			for (uint32_t j = 0; j < c->row[i]->n; j++) {
				double v = c->row[i]->p[(uint32_t)h * c->row[i]->n + j];

				c->plot->missing += !isfinite(v);
				c->most = isfinite(v) ? fmax(c->most, v) : c->most;
			}
	c->most = c->most <= 0 ? 1 : c->most > 0.2 ? fmin(1, ceil(c->most * 10) / 10) : c->most;
}

static int
draw_panels(struct panels *c)
{
	double left = c->labels ? 120 : 76, below = c->labels ? 92 : 52;
	double wide = ceil(c->columns / (double)c->pool) * c->cell, high = ceil(c->rows / (double)c->pool) * c->cell;
	int across = c->s->heads < 4 ? c->s->heads : (int)ceil(sqrt(c->s->heads)), down = (c->s->heads + across - 1) / across;
	double step = fmax(wide, 180) + 60, right = left + across * step - 60, bottom = TOP + fmax(140, down * (high + 58) - 58);
	char title[64], about[240], text[64];

	snprintf(title, sizeof(title), c->s->heads == 1 ? "Attention of layer %d, head %d" : "Attention of layer %d", c->s->layer, c->s->head[0]);
	*text = 0;
	if (c->pool > 1)
		snprintf(text, sizeof(text), "; a cell is the maximum of %" PRIu32 " by %" PRIu32, c->pool, c->pool);
	snprintf(about, sizeof(about), "sequence %" PRIu64 ": attention of each position (row) to the earlier ones (columns)%s", c->s->seq, text);
	if (c->plot->missing)
		snprintf(about + strlen(about), sizeof(about) - strlen(about), "; %" PRIu64 " not finite", c->plot->missing);
	svg_begin(c->to, fmax(right + 110, 0.88 * svg_width(about, 12) + 40), fmax(bottom, TOP + 130) + below, title, about);
	for (int h = 0; h < c->s->heads; h++) {
		double x = left + h % across * step, y = TOP + h / across * (high + 58);

		snprintf(text, sizeof(text), "head %d", c->s->head[h]);
		if (c->s->heads > 1)
			svg_text(c->to, "axis", x, y - 6, 's', 0, text);
		draw_cells(c, h, x, y);
		svg_line(c->to, "base", x, y, x, y + high);
		svg_line(c->to, "base", x, y + high, x + wide, y + high);
		if (draw_labels(c, x, y, c->labels) < 0)
			return -1;
	}
	svg_text(c->to, "axis", 28, (TOP + bottom) / 2, 'm', 1, c->labels ? "token that looks" : "position that looks");
	svg_text(c->to, "axis", (left + right) / 2, bottom + below - 14, 'm', 0, c->labels ? "token that is looked at" : "attended position");
	svg_legend(c->to, right + 30, TOP + 4, 130, c->most, 1, "share");
	if (c->plot->missing)
		svg_legend_missing(c->to, right + 30, TOP + 150, "not finite");
	svg_end(c->to);
	return 1;
}

static int
probs_draw(struct plot *p, FILE *to)
{
	struct probs *s = p->state;
	struct panels c = {.to = to, .plot = p, .s = s, .columns = s->columns};
	int r;

	if (s->rows == 0)
		return 0;
	if (!(c.row = mem_raw(s->rows, sizeof(*c.row))))
		return -1;
	for (size_t i = 0; i < s->at_n; i++)
		if (s->at[i])
			c.row[c.rows++] = s->at[i];
	measure(&c);
	r = draw_panels(&c);
	free(c.row);
	return r;
}

static void
probs_free(void *state)
{
	struct probs *s = state;

	for (size_t i = 0; i < s->at_n; i++)
		free(s->at[i]);
	free(s->at);
	free(s->column);
}

const struct plot_kind plot_probs = {"probs", sizeof(struct probs), probs_frame, probs_draw, probs_free,
	"no frame had a tensor attn.probs@LAYER: use a stream of ds-attn or ds-block with --tap attn.probs"};
