#include "inspect/record.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/frame_json.h"

#define BLANK "\xe2\x90\xa3"            /* U+2423 */

void
record_begin(struct record *r, const char *columns)
{
	size_t kind = strcspn(columns, " "), n = strlen(columns);

	while (n > 0 && columns[n - 1] == ' ')
		n--;
	if (!r->json && r->columns != columns)
		fprintf(r->to, "# %.*s\n", (int)n, columns);
	fprintf(r->to, r->json ? "{\"record\": \"%.*s\"" : "%.*s", (int)kind, columns);
	r->columns = columns;
	r->name = columns + kind + strspn(columns + kind, " ");
	r->pad = 2 + (int)(r->name - columns - (ptrdiff_t)kind);
}

void
record_field(struct record *r)
{
	int n = (int)strcspn(r->name, " ");

	if (r->json)
		fprintf(r->to, ", \"%.*s\": ", n, r->name);
	else
		fprintf(r->to, "%*s", r->pad > 0 ? r->pad : 1, "");
	r->pad = n + (int)strspn(r->name + n, " ");
	r->name += r->pad;
}

void
record_end(struct record *r)
{
	fputs(r->json ? "}\n" : "\n", r->to);
}

/* Print text with visible blanks. Returns its width. */
static int
put_visible(FILE *to, const char *s, size_t n)
{
	int width = 0;

	for (size_t i = 0, run; i < n; i += run) {
		for (run = 0; i + run < n && s[i + run] != ' ' && (n - i - run < 3 || memcmp(s + i + run, BLANK, 3) != 0); run++)
			;
		frame_json_string(to, s + i, run);
		width += (int)run;
		if (i + run == n)
			break;
		fputs(s[i + run] == ' ' ? BLANK : "\\u2423", to);
		width += s[i + run] == ' ' ? 1 : 6;
		run += s[i + run] == ' ' ? 1 : 3;
	}
	return width;
}

void
record_put_string(struct record *r, const char *s, size_t n)
{
	putc('"', r->to);
	if (r->json)
		frame_json_string(r->to, s, n);
	else
		r->pad -= 2 + put_visible(r->to, s, n);
	putc('"', r->to);
}

void
record_text(struct record *r, const char *s, size_t n)
{
	record_field(r);
	if (n == 0)
		r->pad -= fprintf(r->to, r->json ? "null" : "-");
	else if (r->json)
		record_put_string(r, s, n);
	else
		r->pad -= put_visible(r->to, s, n);
}

void
record_uint(struct record *r, uint64_t v)
{
	record_field(r);
	r->pad -= fprintf(r->to, "%" PRIu64, v);
}

void
record_int(struct record *r, int64_t v)
{
	record_field(r);
	if (v < 0)
		r->pad -= fprintf(r->to, r->json ? "null" : "-");
	else
		r->pad -= fprintf(r->to, "%" PRId64, v);
}

void
record_put_number(struct record *r, double v, int digits)
{
	char text[32];

	if (isnan(v))
		snprintf(text, sizeof(text), r->json ? "null" : "-");
	else if (isinf(v))
		snprintf(text, sizeof(text), r->json ? "\"%sInfinity\"" : "%sinf", v < 0 ? "-" : "");
	else if (!r->json)
		snprintf(text, sizeof(text), "%.*g", digits, v);
	else
		for (int n = 15; snprintf(text, sizeof(text), "%.*g", n, v), n < 17 && strtod(text, NULL) != v; n++)
			;
	fputs(text, r->to);
	r->pad -= (int)strlen(text);
}

void
record_number(struct record *r, double v, int digits)
{
	record_field(r);
	record_put_number(r, v, digits);
}
