/*
 * Tensors as a table with one element per line and the same columns for all.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/dump/dump_kinds.h"

#define CHUNK 1024              /* elements converted at a time */

void
dump_csv_head(FILE *to)
{
	fputs("frame,at,layer,seq,pos,tensor,row,i,j,k,value\n", to);
}

/* Print a field, quoted if necessary (RFC 4180). */
static void
put_text(FILE *to, const char *s)
{
	if (!strpbrk(s, ",\"\r\n")) {
		fputs(s, to);
		return;
	}
	putc('"', to);
	for (; *s; s++) {
		if (*s == '"')
			putc('"', to);
		putc(*s, to);
	}
	putc('"', to);
}

/* Print the fields that all elements of a row share, which come before their indices. */
static void
put_row(FILE *to, const struct frame *f, unsigned long long number, const struct tensor *t, const uint32_t *rows, uint64_t row)
{
	const struct span *p = f->spans;
	uint32_t r = rows ? rows[row] : 0;

	fprintf(to, "%llu,", number);
	put_text(to, f->at_text);
	if (f->layer >= 0)
		fprintf(to, ",%d,", f->layer);
	else
		fputs(",,", to);
	for (; rows && r >= p->n; p++)
		r -= p->n;
	if (rows)
		fprintf(to, "%" PRIu64 ",%" PRIu32 ",", p->seq, p->pos + r);
	else
		fputs(",,", to);
	put_text(to, t->name);
	if (t->rank > 0)
		fprintf(to, ",%" PRIu64, row);
	else
		putc(',', to);
}

/* Print the indices of element i of a row in dimensions 1 to 3, empty if there is no such
 * dimension. */
static void
put_index(FILE *to, const struct tensor *t, size_t i)
{
	for (int d = 1; d < FRAME_RANK_MAX; d++) {
		size_t inner = 1;

		for (int e = d + 1; e < t->rank; e++)
			inner *= t->shape[e];
		if (d < t->rank)
			fprintf(to, ",%zu", i / inner % t->shape[d]);
		else
			putc(',', to);
	}
	putc(',', to);
}

static void
put_value(FILE *to, double v)
{
	if (isnan(v))
		fputs("nan\n", to);
	else
		fprintf(to, "%.9g\n", v);
}

/* Print elements from..from+n-1, which form a row. */
static void
put_elements(FILE *to, const struct tensor *t, size_t from, size_t n, const char *row)
{
	float v[CHUNK];

	for (size_t i = 0; i < n; i++) {
		if (tensor_is_float(t) && i % CHUNK == 0)
			tensor_floats(t, from + i, (int)(n - i < CHUNK ? n - i : CHUNK), v);
		fputs(row, to);
		put_index(to, t, i);
		if (tensor_is_float(t))
			put_value(to, (double)v[i % CHUNK]);
		else
			fprintf(to, "%" PRId64 "\n", tensor_int(t, from + i));
	}
}

static int
put_tensor(FILE *to, const struct frame *f, unsigned long long number, const struct tensor *t, const uint32_t *rows)
{
	size_t count = tensor_count(t), width = t->rank > 0 && count > 0 ? count / t->shape[0] : 1;

	for (size_t i = 0; i < count; i += width) {
		char *row = NULL;
		size_t n;
		FILE *m = open_memstream(&row, &n);

		if (m)
			put_row(m, f, number, t, rows, i / width);
		if (!m || fclose(m) != 0) {
			free(row);
			return fail(FAIL_SYSTEM, "no memory for a line:");
		}
		put_elements(to, t, i, width, row);
		free(row);
	}
	return 0;
}

int
dump_csv(FILE *to, struct frame *f, unsigned long long number, struct select *select)
{
	for (int i = 0; i < f->ntensors; i++) {
		const struct tensor *t = &f->tensors[i];
		uint32_t *rows;
		int r;

		if (!select_tensor(select, t->name))
			continue;
		if (select_rows_of(f, t, &rows) < 0)
			return -1;
		r = put_tensor(to, f, number, t, rows);
		free(rows);
		if (r < 0)
			return -1;
	}
	return 0;
}
