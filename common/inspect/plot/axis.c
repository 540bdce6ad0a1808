#include <math.h>
#include <string.h>

#include "inspect/plot/svg.h"

#define TICKS_MAX (int)(sizeof(((struct axis *)0)->tick) / sizeof(double))

static void
add_tick(struct axis *a, double v, double lo, double hi)
{
	double near = (hi - lo) * 1e-9;

	if (v >= lo - near && v <= hi + near && a->nticks < TICKS_MAX)
		a->tick[a->nticks++] = v;
}

/* The smallest 1, 2 or 5 times a power of ten that is at least v. */
static double
round_step(double v)
{
	double ten = pow(10, floor(log10(v)));

	for (int i = 0; i < 3; i++)
		if ((double[]){1, 2, 5}[i] * ten >= v * (1 - 1e-9))
			return (double[]){1, 2, 5}[i] * ten;
	return 10 * ten;
}

static void
set_linear(struct axis *a, int grow, int n)
{
	double step = round_step((a->hi - a->lo) / (n > 1 ? n : 1));

	if (grow) {
		a->lo = floor(a->lo / step + 1e-9) * step;
		a->hi = ceil(a->hi / step - 1e-9) * step;
	}
	a->digits = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
	for (double k = ceil(a->lo / step - 1e-9); k * step <= a->hi + step * 1e-9 && a->nticks < TICKS_MAX; k++)
		add_tick(a, k * step, a->lo, a->hi);
}

/* Ticks at powers of ten; at 2 and 5 times these as well in a short range; at every n-th power
 * in a long one. */
static void
set_log(struct axis *a)
{
	double lo = log10(a->lo), hi = log10(a->hi);
	int from = (int)floor(lo), to = (int)ceil(hi), fine = hi - lo < 3, step = 1 + (to - from) / 8;

	for (int e = from; e <= to; e += step)
		for (int i = 0; i < (fine ? 3 : 1); i++)
			add_tick(a, (double[]){1, 2, 5}[i] * pow(10, e), a->lo, a->hi);
}

void
axis_set(struct axis *a, double lo, double hi, double from, double to, int log, int grow, int n)
{
	if (!(hi > lo))
		hi = log ? lo * 2 : lo + (lo != 0 ? fabs(lo) / 2 : 1);
	*a = (struct axis){.lo = lo, .hi = hi, .from = from, .to = to, .log = log};
	if (log)
		set_log(a);
	else
		set_linear(a, grow, n);
}

double
axis_at(const struct axis *a, double v)
{
	double share = a->log ? log(v / a->lo) / log(a->hi / a->lo) : (v - a->lo) / (a->hi - a->lo);

	return a->from + (a->to - a->from) * share;
}

/* Write the label of tick i to buf. Returns it. */
static const char *
tick_label(const struct axis *a, int i, char *buf, size_t size)
{
	double v = a->tick[i];

	if (a->log || fabs(v) >= 1e6 || a->digits > 6)
		snprintf(buf, size, "%.6g", v);
	else
		snprintf(buf, size, "%.*f", a->digits, v + 0.0);
	return buf;
}

void
axis_draw_y(FILE *to, const struct axis *a, double x1, double x2, const char *what)
{
	char text[32];
	double widest = 0;

	for (int i = 0; i < a->nticks; i++) {
		double y = axis_at(a, a->tick[i]), w = svg_width(tick_label(a, i, text, sizeof(text)), 11);

		svg_line(to, "grid", x1, y, x2, y);
		svg_text(to, "tick", x1 - 8, y + 4, 'e', 0, text);
		widest = w > widest ? w : widest;
	}
	svg_text(to, "axis", x1 - 18 - widest, (a->from + a->to) / 2, 'm', 1, what);
}

void
axis_draw_x(FILE *to, const struct axis *a, double y, const char *what)
{
	char text[32];

	for (int i = 0; i < a->nticks; i++) {
		double x = axis_at(a, a->tick[i]);

		svg_line(to, "base", x, y, x, y + 4);
		svg_text(to, "tick", x, y + 17, 'm', 0, tick_label(a, i, text, sizeof(text)));
	}
	svg_text(to, "axis", (a->from + a->to) / 2, y + 36, 'm', 0, what);
}

void
svg_legend(FILE *to, double x, double y, double h, double max, int root, const char *what)
{
	struct axis a;
	char text[32];
	double step = h / SVG_COLOURS, last = -INFINITY;

	svg_text(to, "axis", x, y - 10, 's', 0, what);
	fputs("<g class=\"cells\">\n", to);
	for (int i = 0; i < SVG_COLOURS; i++)
		svg_cell(to, (i + 0.5) / SVG_COLOURS, x, y + h - (i + 1) * step, 12, step + 0.4, NULL);
	fputs("</g>\n", to);
	axis_set(&a, 0, max, 0, 1, 0, 0, root ? 10 : 5);
	for (int i = a.nticks; i-- > 0; ) {
		double share = axis_at(&a, a.tick[i]), at = y + h * (1 - (root ? sqrt(share) : share));

		if (at - last < 13)
			continue;
		last = at;
		svg_line(to, "base", x + 12, at, x + 16, at);
		svg_text(to, "tick", x + 20, at + 4, 's', 0, tick_label(&a, i, text, sizeof(text)));
	}
}

void
svg_legend_missing(FILE *to, double x, double y, const char *what)
{
	svg_box(to, "no", x, y, 12, 12, NULL);
	svg_text(to, "tick", x + 20, y + 10, 's', 0, what);
}
