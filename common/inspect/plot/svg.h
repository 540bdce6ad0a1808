/*
 * A picture as SVG text that needs nothing beside it: shapes and text in classes whose colours the picture
 * itself defines, for light and for dark.  Lengths are pixels, y grows downwards.  What the
 * stream could not take is for the caller to notice (ferror).
 */
#ifndef DS_SVG_H
#define DS_SVG_H

#include <stdio.h>

#include "base/mem.h"

/*
 * Classes.  Text: `head` the title, `sub` what stands below it, `axis` what an axis shows, `tick` a number of
 * an axis, `mono` a token, `mark` the label of a line.  Shapes: `grid` `base` `line` `edge` `lead` lines,
 * `no` a value that is missing, `band` `core` `bar` `lane` areas, `full` `ring` dots, `c0` .. `c23` the fill of a colour map
 * from little to much, `k0` .. `k7` fills that differ in kind, `s0` .. `s7` the same as strokes.
 */
#define SVG_COLOURS 24
#define SVG_KINDS 8

/* title is the first line of the picture and what a screen reader says. */
void svg_begin(FILE *to, double width, double height, const char *title, const char *subtitle);
void svg_end(FILE *to);

/* Text from outside, cleaned and escaped: n bytes. */
void svg_escape(FILE *to, const char *s, size_t n);

/* Text at its baseline.  anchor: 's' start, 'm' middle, 'e' end; turned: it reads upwards. */
void svg_text(FILE *to, const char *class, double x, double y, int anchor, int turned, const char *s);

void svg_line(FILE *to, const char *class, double x1, double y1, double x2, double y2);

/* Shapes with a text that is shown where the pointer is: the number behind the picture. */
void svg_box(FILE *to, const char *class, double x, double y, double w, double h, const char *tip);
void svg_dot(FILE *to, const char *class, double x, double y, double r, const char *tip);

/* A path, in pieces: svg_path_begin, then points (the first of each run with 1), then svg_path_end. */
void svg_path_begin(FILE *to, const char *class);
void svg_path_point(FILE *to, int first, double x, double y);
void svg_path_end(FILE *to, int closed);

/* A cell of a colour map for share 0..1 of its largest value; NaN: missing. */
void svg_cell(FILE *to, double share, double x, double y, double w, double h, const char *tip);

/* Pixels that text takes at that size, about; never too few. */
double svg_width(const char *s, double size);

/* The text of a token for people: white space made visible, at most max characters.  Appended to b with a NUL that
 * is not counted; 0, or -1 and a message. */
int svg_token(struct buf *b, const char *s, size_t n, int max);

/* --- axes --- */

struct axis {
	double lo, hi;          /* what is shown */
	double from, to;        /* the pixels where they are */
	int log;
	double tick[16];
	int nticks;
	int digits;             /* behind the point of a tick's text */
};

/* An axis for values lo..hi with about n ticks at round numbers; with grow it is lengthened to ticks that
 * enclose them (only without log, which needs lo > 0). */
void axis_set(struct axis *a, double lo, double hi, double from, double to, int log, int grow, int n);
double axis_at(const struct axis *a, double v);
const char *axis_tick(const struct axis *a, int i, char *buf, size_t size);

/* The y axis: ticks left of x1, a grid line of each to x2, and what it shows in front of them. */
void axis_draw_y(FILE *to, const struct axis *a, double x1, double x2, const char *what);
/* The x axis: its ticks below y, and what it shows. */
void axis_draw_x(FILE *to, const struct axis *a, double y, const char *what);

/* The scale of a colour map, a bar of height h: the value of share s is max * s (or max * s * s with root). */
void svg_legend(FILE *to, double x, double y, double h, double max, int root, const char *what);
/* What a missing value looks like. */
void svg_legend_missing(FILE *to, double x, double y, const char *what);

#endif
