/*
 * Surprisal of each token of a text: -log2 of the probability that the model gave it.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "kernels.h"
#include "inspect/plot/plot.h"
#include "inspect/plot/svg.h"

#define TEXTS_MAX 12            /* maximum number of sequences */
#define STRIP 60                /* tokens per strip */
/* maximum number of strips of a sequence; a longer one becomes one strip whose columns share
 * tokens */
#define STRIPS_MAX 8
#define CELL 13                 /* pixels of a token */
#define LEFT 76
#define TOP 90
#define HIGH 96                 /* height of bars */

struct word {
	uint32_t pos;
	int32_t id;
	float bits;           /* NaN: not finite; below 0: unknown, the token precedes all logits */
};

struct text {
	uint64_t seq;
	struct word last;               /* the last row */
	const float *logits;    /* [vocab] logits of that row, in the frame or copied; NULL: none */
	float *copy;
	uint64_t vocab, copied;
	struct word *words;             /* [n] */
	size_t n, cap, scored;
	double sum;                     /* sum of bits */
};

struct surprise {
	struct text texts[TEXTS_MAX];
	int n;
	uint64_t others;                /* rows of sequences beyond TEXTS_MAX */
};

static double
surprise_of(const float *x, uint64_t n, int32_t id)
{
	double max = -INFINITY, sum = 0;

	for (uint64_t i = 0; i < n; i++)
		max = (double)x[i] <= max ? max : (double)x[i];         /* keeps a NaN */
	for (uint64_t i = 0; i < n; i++)
		sum += fixed_exp((double)x[i] - max);
	return (fixed_log(sum) + max - (double)x[id]) * M_LOG2E;
}

static struct text *
text_of(struct surprise *s, uint64_t seq)
{
	for (int i = 0; i < s->n; i++)
		if (s->texts[i].seq == seq)
			return &s->texts[i];
	if (s->n == TEXTS_MAX) {
		s->others++;
		return NULL;
	}
	s->texts[s->n].seq = seq;
	return &s->texts[s->n++];
}

static int
add_word(struct text *t, uint32_t pos, int32_t id, double bits)
{
	if (mem_grow(&t->words, &t->cap, t->n + 1, sizeof(*t->words)) < 0)
		return -1;
	t->words[t->n++] = (struct word){pos, id, (float)bits};
	return 0;
}

/* Add the next row of a text; score its token if the previous row had logits. */
static int
add_row(struct plot *p, struct text *t, uint32_t pos, int32_t id, const float *logits, uint64_t vocab)
{
	while (t->n > 0 && t->words[t->n - 1].pos >= pos) {     /* rolled back */
		struct word *w = &t->words[--t->n];

		t->scored -= w->bits >= 0;
		t->sum -= w->bits >= 0 ? w->bits : 0;
		p->missing -= isnan(w->bits);
	}
	if (t->logits && t->last.pos + 1 == pos) {
		double bits;

		if (id < 0 || (uint64_t)id >= t->vocab)
			return fail(FAIL_DATA, "sequence %" PRIu64 ": position %" PRIu32 ": token %" PRId32 " of %" PRIu64, t->seq, pos, id, t->vocab);
		bits = surprise_of(t->logits, t->vocab, id);
		bits = isfinite(bits) ? fmax(bits, 0) : NAN;
		if ((t->n == 0 || t->words[t->n - 1].pos + 1 != pos) && add_word(t, t->last.pos, t->last.id, -1) < 0)
			return -1;
		if (add_word(t, pos, id, bits) < 0)
			return -1;
		t->scored += bits >= 0;
		t->sum += bits >= 0 ? t->words[t->n - 1].bits : 0;
		p->missing += isnan(bits);
	}
	t->last = (struct word){pos, id, 0};
	t->logits = logits;
	t->vocab = vocab;
	return 0;
}

/* Copy the logits that predict tokens of a later frame. */
static int
keep_logits(struct surprise *s)
{
	for (int i = 0; i < s->n; i++) {
		struct text *t = &s->texts[i];

		if (!t->logits || t->logits == t->copy)
			continue;
		if (t->copied != t->vocab) {
			free(t->copy);
			t->copied = 0;
			if (!(t->copy = mem_raw(t->vocab, sizeof(float))))
				return -1;
			t->copied = t->vocab;
		}
		memcpy(t->copy, t->logits, t->vocab * sizeof(float));
		t->logits = t->copy;
	}
	return 0;
}

static int
add_rows(struct plot *p, struct frame *f, const struct tensor *ids, const struct tensor *logits, const uint32_t *rows)
{
	struct plot_row r = {0};
	uint64_t i = 0;

	while (plot_next(f, &r)) {
		const float *x = NULL;
		struct text *t;

		while (i < logits->shape[0] && rows[i] < r.row)
			i++;
		if (i < logits->shape[0] && rows[i] == r.row)
			x = (const float *)logits->data + i * logits->shape[1];
		if (select_row(&p->select, r.seq, r.pos) && (t = text_of(p->state, r.seq)) &&
		    add_row(p, t, r.pos, ((const int32_t *)ids->data)[r.row], x, logits->shape[1]) < 0)
			return -1;
	}
	return keep_logits(p->state);
}

static int
surprise_frame(struct plot *p, struct frame *f)
{
	const struct tensor *logits = frame_tensor(f, "logits"), *ids;
	uint32_t *rows;
	int r;

	if (f->at != AT_SAMPLE || !logits)
		return 0;
	if (!(ids = frame_require(f, "ids", I32, f->rows, 0)))
		return -1;
	if (logits->dtype != F32 || logits->rank != 2 || logits->shape[1] == 0)
		return fail(FAIL_DATA, "tensor 'logits' is not F32 [rows, vocab]");
	r = select_rows_of(f, logits, &rows);
	if (r <= 0)
		return r < 0 ? -1 : fail(FAIL_DATA, "tensor 'logits' does not have the rows that 'row' lists");
	r = add_rows(p, f, ids, logits, rows);
	free(rows);
	return r;
}

struct strips {
	FILE *to;
	struct plot *plot;
	double most;                    /* bits */
	double step;                    /* pixels between strips */
};

/* Draw the bar of words from..to-1: their mean, and in a lighter colour the largest. */
static void
draw_bar(const struct strips *c, const struct text *t, size_t from, size_t to, double x, double w, const struct axis *y, const char *token)
{
	double sum = 0, most = 0;
	int n = 0, bad = 0;
	char tip[160];

	for (size_t i = from; i < to; i++) {
		bad += isnan(t->words[i].bits);
		if (t->words[i].bits >= 0) {
			sum += t->words[i].bits;
			most = fmax(most, t->words[i].bits);
			n++;
		}
	}
	if (to == from + 1)
		snprintf(tip, sizeof(tip), bad ? "position %" PRIu32 ", token %" PRId32 "%s%s: missing" :
		    "position %" PRIu32 ", token %" PRId32 "%s%s: %.4g bits", t->words[from].pos, t->words[from].id, *token ? " " : "", token, most);
	else
		snprintf(tip, sizeof(tip), "positions %" PRIu32 " to %" PRIu32 ": mean %.4g bits, largest %.4g, %d missing",
		    t->words[from].pos, t->words[to - 1].pos, n ? sum / n : NAN, most, bad);
	if (bad)
		svg_box(c->to, "no", x, y->to, w, y->from - y->to, tip);
	if (n > 1)
		svg_box(c->to, "core", x, axis_at(y, most), w, y->from - axis_at(y, most), tip);
	if (n > 0)
		svg_box(c->to, "bar", x, axis_at(y, sum / n), w, fmax(0.5, y->from - axis_at(y, sum / n)), tip);
}

/* Interval of the positions that are labelled. */
static uint32_t
label_step(size_t each, double cell)
{
	double step = 5;

	for (int i = 0; step / (double)each * cell < 44; i++)
		step *= i % 2 ? 5 : 2;
	return (uint32_t)step;
}

/* Draw words from..to-1 side by side, `each` per column. */
static int
draw_strip(const struct strips *c, const struct text *t, size_t from, size_t to, size_t each, double top)
{
	double cell = each == 1 ? CELL : 780.0 / (double)((to - from + each - 1) / each), right;
	struct buf b = {0};
	struct axis y;
	char text[24];
	uint32_t step = label_step(each, cell);
	int r = 0;

	axis_set(&y, 0, c->most, top + HIGH, top, 0, 1, 4);
	right = LEFT + cell * (double)((to - from + each - 1) / each);
	axis_draw_y(c->to, &y, LEFT, right, "bits");
	for (size_t i = from; r == 0 && i < to; i += each) {
		double x = LEFT + (double)((i - from) / each) * cell;

		if ((r = plot_token(c->plot, each == 1 ? t->words[i].id : -1, 9, &b)) < 0)
			break;
		draw_bar(c, t, i, i + each < to ? i + each : to, x + cell * 0.12, cell * 0.76, &y, (char *)b.p);
		snprintf(text, sizeof(text), "%" PRIu32, t->words[i].pos / step * step);
		if (b.n > 0) {
			svg_text(c->to, "mono", x + cell / 2 + 4, y.from + 6, 'e', 1, (char *)b.p);
		} else if (t->words[i].pos / step > (i >= each ? t->words[i - each].pos / step : 0) || t->words[i].pos % step == 0) {
			svg_text(c->to, "tick", x + cell / 2, y.from + 16, 'm', 0, text);
		}
	}
	svg_line(c->to, "base", LEFT, y.from, right, y.from);
	buf_free(&b);
	return r;
}

static int
strips_of(const struct text *t)
{
	size_t n = (t->n + STRIP - 1) / STRIP;

	return n > STRIPS_MAX ? 1 : (int)n;
}

static int
draw_text(const struct strips *c, const struct text *t, double *y)
{
	size_t n = (size_t)strips_of(t), each = n == 1 ? (t->n + STRIP * STRIPS_MAX - 1) / (STRIP * STRIPS_MAX) : 1;
	char about[128];

	snprintf(about, sizeof(about), "sequence %" PRIu64 ": %zu tokens, mean %.4g bits, perplexity %.4g%s", t->seq, t->scored,
	    t->sum / (double)t->scored, exp2(t->sum / (double)t->scored), each > 1 ? "; a bar is a mean, lighter the largest" : "");
	svg_text(c->to, "axis", LEFT, *y - 12, 's', 0, about);
	for (size_t i = 0; i < n; i++) {
		size_t from = i * STRIP, to = n == 1 || from + STRIP > t->n ? t->n : from + STRIP;

		if (draw_strip(c, t, from, to, each, *y) < 0)
			return -1;
		*y += each == 1 ? c->step : HIGH + 40;
	}
	*y += 28;
	return 0;
}

static int
surprise_draw(struct plot *p, FILE *to)
{
	struct surprise *s = p->state;
	struct strips c = {.to = to, .plot = p, .step = HIGH + (p->tokens ? 84 : 40)};
	double y = TOP, high = TOP, widest = 0;
	int texts = 0;
	char about[160], left[64];

	for (int i = 0; i < s->n; i++) {
		if (s->texts[i].scored == 0)
			continue;
		texts++;
		widest = fmax(widest, s->texts[i].n > STRIP ? STRIP * CELL : (double)s->texts[i].n * CELL);
		high += strips_of(&s->texts[i]) * (s->texts[i].n > STRIP * STRIPS_MAX ? HIGH + 40 : c.step) + 28;
		for (size_t j = 0; j < s->texts[i].n; j++)
			c.most = fmax(c.most, s->texts[i].words[j].bits);
	}
	if (texts == 0)
		return 0;
	snprintf(about, sizeof(about), "bits: -log2 of the probability that the model gave to each token%s%s",
	    s->others ? "; further sequences are left out" : "", plot_missing(p, left, sizeof(left)));
	svg_begin(to, fmax(LEFT + 24 + widest, 40 + 0.88 * svg_width(about, 12)), high - 16, "Surprise of each token", about);
	for (int i = 0; i < s->n; i++)
		if (s->texts[i].scored > 0 && draw_text(&c, &s->texts[i], &y) < 0)
			return -1;
	svg_end(to);
	return 1;
}

static void
surprise_free(void *state)
{
	struct surprise *s = state;

	for (int i = 0; i < s->n; i++) {
		free(s->texts[i].copy);
		free(s->texts[i].words);
	}
}

const struct plot_kind plot_surprise = {"surprise", sizeof(struct surprise), surprise_frame, surprise_draw, surprise_free,
	"no frame at sample had logits of a row with a next token: use ds-tokenize -a ... | ds-head"};
