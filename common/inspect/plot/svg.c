#include "inspect/plot/svg.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"

/* Low to high in even steps of OKLab lightness: 0.967 to 0.267 on light, 0.225 to 0.925 on dark,
 * so that low values are close to either background. */
static const unsigned light[SVG_COLOURS] = {
	0xf0f5f5, 0xd9eff0, 0xc4e8eb, 0xb0e0e8, 0x9cd8e5, 0x8acfe2, 0x78c6df, 0x69bcdc,
	0x5bb2d9, 0x4fa7d5, 0x479cd0, 0x4191ca, 0x3d86c4, 0x3c7bbc, 0x3b70b4, 0x3c65aa,
	0x3c5aa0, 0x3b5094, 0x3a4688, 0x393d7b, 0x36346e, 0x322b60, 0x2e2453, 0x291d45,
}, dark[SVG_COLOURS] = {
	0x1b1b21, 0x20222f, 0x232a3c, 0x24324a, 0x233b58, 0x1e4564, 0x154f6f, 0x015a79,
	0x03647d, 0x016f82, 0x027a86, 0x048589, 0x01908c, 0x049b8d, 0x1ca68c, 0x40af8a,
	0x5bb889, 0x74bf89, 0x8cc78b, 0xa2cd8f, 0xb7d496, 0xcbdba0, 0xdce2ac, 0xece9bb,
};

/* Categorical colours, distinguishable for colour-blind readers. */
static const unsigned kinds_light[SVG_KINDS] = {
	0x8a8f98, 0x5b4a9e, 0x0072b2, 0xcc79a7, 0xe69f00, 0x009e73, 0xd55e00, 0x7b3f61,
	0x56b4e9, 0x9a8b00,
}, kinds_dark[SVG_KINDS] = {
	0x8a8f98, 0xa99bea, 0x4aa3df, 0xdf93bd, 0xf0b429, 0x2dc898, 0xf07d33, 0xc78aa8,
	0x8accf2, 0xf0e442,
};

/* Styles: common, light, dark. */
static const char shared[] =
	"svg{font-family:system-ui,'Segoe UI',Roboto,Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:12px}\n"
	".head{font-size:17px;font-weight:600}.tick,.mark{font-size:11px}\n"
	".mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:11px}\n"
	".line,.edge,.lead{fill:none;stroke-width:2;stroke-linejoin:round}.edge,.lead{stroke-width:1}.thin{stroke-width:1.5}\n"
	".grid,.base{fill:none;stroke-width:1}.cells{shape-rendering:crispEdges}.ring{stroke-width:1.5}\n";
static const char on_light[] =
	".back{fill:#fff}text{fill:#1f2430}.sub,.tick,.axis{fill:#5b6270}.grid{stroke:#e6e8ec}.base{stroke:#9aa1ad}\n"
	".band{fill:#dbe9f5}.core{fill:#b3d1ec}.line{stroke:#1663a6}.edge,.lead{stroke:#8a93a3}.full{fill:#1663a6}.ring{fill:#fff;stroke:#1663a6}\n"
	".bar{fill:#3d86c4}.lane{fill:#f3f4f6}.no{fill:url(#no)}.hatch{stroke:#b4bac4}.hatched{fill:#fff}\n";
static const char on_dark[] =
	".back{fill:#15171c}text{fill:#e8eaee}.sub,.tick,.axis{fill:#a3aab6}.grid{stroke:#2b2f38}.base{stroke:#676e7b}\n"
	".band{fill:#1c2f42}.core{fill:#27496b}.line{stroke:#63b0ee}.edge,.lead{stroke:#7d8695}.full{fill:#63b0ee}.ring{fill:#15171c;stroke:#63b0ee}\n"
	".bar{fill:#4aa3df}.lane{fill:#1d2027}.hatch{stroke:#59606d}.hatched{fill:#15171c}\n";

/* Coordinates in tenths of a pixel, which print short. */
static double
tenths(double v)
{
	return round(v * 10) / 10 + 0.0;
}

static void
colours(FILE *to, const unsigned *map, const unsigned *kinds)
{
	for (int i = 0; i < SVG_COLOURS; i++)
		fprintf(to, ".c%d{fill:#%06x}%s", i, map[i], i % 8 == 7 ? "\n" : "");
	for (int i = 0; i < SVG_KINDS; i++)
		fprintf(to, ".k%d{fill:#%06x}.s%d{stroke:#%06x}", i, kinds[i], i, kinds[i]);
	putc('\n', to);
}

/* The code point of a well-formed character. */
static unsigned
code_point(const unsigned char *p, size_t len)
{
	unsigned c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

/* Characters that XML cannot represent, or that would change the direction of text. */
static int
unprintable(unsigned c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xfffe || c == 0xffff ||
	    (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Print n untrusted bytes, cleaned and escaped. */
static void
put_escaped(FILE *to, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len;

	for (size_t i = 0; i < n; i += len) {
		if (utf8_next(p + i, n - i, &len) != UTF8_CHAR || unprintable(code_point(p + i, len)))
			fputs(UTF8_REPLACEMENT, to);
		else if (p[i] == '&' || p[i] == '<' || p[i] == '>')
			fputs(p[i] == '&' ? "&amp;" : p[i] == '<' ? "&lt;" : "&gt;", to);
		else
			fwrite(p + i, 1, len, to);
	}
}

void
svg_begin(FILE *to, double width, double height, const char *title, const char *subtitle)
{
	fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g %g\" "
	    "role=\"img\" aria-labelledby=\"title about\">\n<style>\n%s%s",
	    ceil(width), ceil(height), ceil(width), ceil(height), shared, on_light);
	colours(to, light, kinds_light);
	fprintf(to, "@media (prefers-color-scheme:dark){\n%s", on_dark);
	colours(to, dark, kinds_dark);
	fputs("}\n</style>\n<defs><pattern id=\"no\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
	    "<rect class=\"hatched\" width=\"6\" height=\"6\"/><path class=\"hatch\" d=\"M0 6L6 0\"/></pattern></defs>\n"
	    "<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n<text id=\"title\" class=\"head\" x=\"20\" y=\"30\">", to);
	put_escaped(to, title, strlen(title));
	fputs("</text>\n<text id=\"about\" class=\"sub\" x=\"20\" y=\"50\">", to);
	put_escaped(to, subtitle, strlen(subtitle));
	fputs("</text>\n", to);
}

void
svg_end(FILE *to)
{
	fputs("</svg>\n", to);
}

void
svg_text(FILE *to, const char *class, double x, double y, int anchor, int turned, const char *s)
{
	fprintf(to, "<text class=\"%s\" ", class);
	if (turned)
		fprintf(to, "transform=\"translate(%g %g) rotate(-90)\"", tenths(x), tenths(y));
	else
		fprintf(to, "x=\"%g\" y=\"%g\"", tenths(x), tenths(y));
	fputs(anchor == 'm' ? " text-anchor=\"middle\">" : anchor == 'e' ? " text-anchor=\"end\">" : ">", to);
	put_escaped(to, s, strlen(s));
	fputs("</text>\n", to);
}

void
svg_line(FILE *to, const char *class, double x1, double y1, double x2, double y2)
{
	fprintf(to, "<path class=\"%s\" d=\"M%g %gL%g %g\"/>\n", class, tenths(x1), tenths(y1), tenths(x2), tenths(y2));
}

static void
put_tip(FILE *to, const char *shape, const char *tip)
{
	if (!tip) {
		fputs("/>\n", to);
		return;
	}
	fputs("><title>", to);
	put_escaped(to, tip, strlen(tip));
	fprintf(to, "</title></%s>\n", shape);
}

void
svg_box(FILE *to, const char *class, double x, double y, double w, double h, const char *tip)
{
	fprintf(to, "<rect class=\"%s\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"", class, tenths(x), tenths(y),
	    tenths(w), tenths(h));
	put_tip(to, "rect", tip);
}

void
svg_dot(FILE *to, const char *class, double x, double y, double r, const char *tip)
{
	fprintf(to, "<circle class=\"%s\" cx=\"%g\" cy=\"%g\" r=\"%g\"", class, tenths(x), tenths(y), tenths(r));
	put_tip(to, "circle", tip);
}

void
svg_path_begin(FILE *to, const char *class)
{
	fprintf(to, "<path class=\"%s\" d=\"", class);
}

void
svg_path_point(FILE *to, int first, double x, double y)
{
	fprintf(to, "%c%g %g", first ? 'M' : 'L', tenths(x), tenths(y));
}

void
svg_path_end(FILE *to, int closed)
{
	fputs(closed ? "Z\"/>\n" : "\"/>\n", to);
}

void
svg_cell(FILE *to, double share, double x, double y, double w, double h, const char *tip)
{
	char class[8];

	snprintf(class, sizeof(class), isnan(share) ? "no" : "c%d",
	    share <= 0 ? 0 : share >= 1 ? SVG_COLOURS - 1 : (int)(share * SVG_COLOURS));
	svg_box(to, class, x, y, w, h, tip);
}

double
svg_width(const char *s, double size)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n = strlen(s), len;
	double w = 0;

	for (size_t i = 0; i < n; i += len)
		w += utf8_next(p + i, n - i, &len) == UTF8_CHAR && code_point(p + i, len) >= 0x1100 ? 1.02 : 0.62;
	return w * size;
}

int
svg_token(struct buf *b, const char *s, size_t n, int max)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len;

	for (size_t i = 0; i < n; i += len) {
		int bad = utf8_next(p + i, n - i, &len) != UTF8_CHAR, c = p[i];
		const char *seen = bad ? UTF8_REPLACEMENT : c == ' ' ? "\u2423" : c == '\n' ? "\u21b5" : c == '\t' ? "\u21e5" : NULL;

		if (max-- == 1 && i + len < n)
			seen = "\u2026";
		if (buf_add(b, seen ? seen : s + i, seen ? strlen(seen) : len) < 0)
			return -1;
		if (max == 0)
			break;
	}
	if (buf_addc(b, 0) < 0)
		return -1;
	b->n--;
	return 0;
}
