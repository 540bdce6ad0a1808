/*
 * Self-contained SVG. Shapes and text have classes whose colours are defined in the image, for
 * light and dark mode. Lengths are pixels; y grows downwards. Check `to` for write errors with
 * ferror().
 */
#ifndef DS_SVG_H
#define DS_SVG_H

#include <stdio.h>

#include "base/mem.h"

/*
 * Classes. Text: `head` title, `sub` subtitle, `axis` axis label, `tick` tick label, `mono` token,
 * `mark` line label. Lines: `grid` `base` `line` `edge` `lead`. Areas: `no` missing value, `band`
 * `core` `bar` `lane`. Dots: `full` `ring`. Fills: `c0` .. `c23` a colour map from low to high,
 * `k0` .. `k9` categories; `s0` .. `s9` are strokes in the same colours as these.
 */
#define SVG_COLOURS 24
#define SVG_KINDS 10

/* title is the first line, and what a screen reader reads. */
void svg_begin(FILE *to, double width, double height, const char *title, const char *subtitle);
void svg_end(FILE *to);

/* Print text at its baseline. anchor: 's' start, 'm' middle, 'e' end; turned: rotated by 90
 * degrees, upwards. */
void svg_text(FILE *to, const char *class, double x, double y, int anchor, int turned, const char *s);

void svg_line(FILE *to, const char *class, double x1, double y1, double x2, double y2);

/* Shapes; tip is a tooltip, or NULL. */
void svg_box(FILE *to, const char *class, double x, double y, double w, double h, const char *tip);
void svg_dot(FILE *to, const char *class, double x, double y, double r, const char *tip);

/* A path: svg_path_begin, points (the first of each run with first = 1), svg_path_end. */
void svg_path_begin(FILE *to, const char *class);
void svg_path_point(FILE *to, int first, double x, double y);
void svg_path_end(FILE *to, int closed);

/* A cell of a colour map, for a share 0..1 of its maximum; NaN: missing. */
void svg_cell(FILE *to, double share, double x, double y, double w, double h, const char *tip);

/* Upper bound on the width of text in pixels. */
double svg_width(const char *s, double size);

/* Append a token's text with visible white space, at most max characters, and a NUL that is not
 * counted. Returns 0, or -1 and a message. */
int svg_token(struct buf *b, const char *s, size_t n, int max);

/* --- axes --- */

struct axis {
	double lo, hi;          /* range of values */
	double from, to;        /* their pixels */
	int log;
	double tick[16];
	int nticks;
	int digits;             /* decimals of tick labels */
};

/* Set up an axis for lo..hi with about n ticks at round numbers. With grow the range extends to
 * enclosing ticks (not with log, which requires lo > 0). axis_at returns the pixel of a value. */
void axis_set(struct axis *a, double lo, double hi, double from, double to, int log, int grow, int n);
double axis_at(const struct axis *a, double v);

/* Draw a y axis: ticks left of x1, grid lines to x2, and the label. */
void axis_draw_y(FILE *to, const struct axis *a, double x1, double x2, const char *what);
/* Draw an x axis: ticks below y, and the label. */
void axis_draw_x(FILE *to, const struct axis *a, double y, const char *what);

/* Draw the scale of a colour map with height h. Share s stands for max * s, or max * s * s with
 * root. */
void svg_legend(FILE *to, double x, double y, double h, double max, int root, const char *what);
/* Draw the legend of missing values. */
void svg_legend_missing(FILE *to, double x, double y, const char *what);

#endif
