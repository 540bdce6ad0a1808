/*
 * Tensors as npy and safetensors files.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/dump/dump_kinds.h"

#define CHUNK 1024              /* elements converted at a time */

/* numpy has neither BF16 nor F8_E4M3: they are widened to F32, which is exact. */
static int
is_widened(const struct tensor *t)
{
	return t->dtype == BF16 || t->dtype == F8_E4M3;
}

static void
put_data(FILE *to, const struct tensor *t)
{
	size_t count = tensor_count(t);
	float v[CHUNK];

	if (!is_widened(t)) {
		fwrite(t->data, 1, t->bytes, to);
		return;
	}
	for (size_t i = 0; i < count; i += CHUNK) {
		size_t n = count - i < CHUNK ? count - i : CHUNK;

		tensor_floats(t, i, (int)n, v);
		fwrite(v, sizeof(v[0]), n, to);
	}
}

/* Version 1.0. The header is padded so that the data start at a multiple of 64 bytes. */
void
dump_npy(FILE *to, const struct tensor *t)
{
	static const char *const types[DTYPES] = {[F32] = "<f4", [BF16] = "<f4", [F16] = "<f2", [F8_E4M3] = "<f4",
	    [I32] = "<i4", [I64] = "<i8", [U8] = "|u1"};
	char text[192];
	int n = snprintf(text, sizeof(text), "{'descr': '%s', 'fortran_order': False, 'shape': (", types[t->dtype]);
	int size;

	for (int d = 0; d < t->rank; d++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%" PRIu64 ",%s", t->shape[d], d + 1 < t->rank ? " " : "");
	n += snprintf(text + n, sizeof(text) - (size_t)n, "), }");
	size = (10 + n + 1 + 63) / 64 * 64 - 10;
	fprintf(to, "\x93NUMPY\x01%c%c%c%-*s\n", 0, size & 255, size >> 8, size - 1, text);
	put_data(to, t);
}

static int
by_width(const void *a, const void *b)
{
	const struct tensor *const *s = a, *const *t = b;
	size_t m = dtype_size((*s)->dtype), n = dtype_size((*t)->dtype);

	return m != n ? (m < n) - (m > n) : (*s > *t) - (*s < *t);
}

/* Print the rest of the frame's header, as strings, which the format requires. */
static void
put_metadata(FILE *to, const struct frame *f, unsigned long long number)
{
	fprintf(to, "{\"__metadata__\": {\"frame\": \"%llu\", \"at\": \"", number);
	frame_json_string(to, f->at_text, strlen(f->at_text));
	putc('"', to);
	if (f->layer >= 0)
		fprintf(to, ", \"layer\": \"%d\"", f->layer);
	if (f->model[0])
		fprintf(to, ", \"model\": \"%s\"", f->model);
	if (f->precision != PRECISION_F32)
		fprintf(to, ", \"precision\": \"%s\"", precision_name(f->precision));
	if (f->cache_type != F32)
		fprintf(to, ", \"cache_type\": \"%s\"", cache_type_name(f->cache_type));
	if (f->experts_done) {
		fputs(", \"experts_done\": \"", to);
		frame_json_string(to, f->experts_done, strlen(f->experts_done));
		putc('"', to);
	}
	fputs(", \"spans\": \"[", to);
	for (int i = 0; i < f->nspans; i++)
		fprintf(to, "%s[%" PRIu64 ", %" PRIu32 ", %" PRIu32 ", %" PRIu32 "]", i ? ", " : "",
		    f->spans[i].seq, f->spans[i].pos, f->spans[i].n, f->spans[i].flags);
	fputs("]\"}", to);
}

static void
put_entry(FILE *to, const struct tensor *t, size_t at)
{
	fputs(", \"", to);
	frame_json_string(to, t->name, strlen(t->name));
	fprintf(to, "\": {\"dtype\": \"%s\", \"shape\": [", dtype_name(t->dtype));
	for (int d = 0; d < t->rank; d++)
		fprintf(to, "%s%" PRIu64, d ? ", " : "", t->shape[d]);
	fprintf(to, "], \"data_offsets\": [%zu, %zu]}", at, at + t->bytes);
}

/* Print the tensors with the widest elements first, which aligns each without the gaps that the
 * format forbids. */
int
dump_safetensors(FILE *to, const struct frame *f, unsigned long long number)
{
	const struct tensor *sorted[FRAME_TENSORS_MAX];
	unsigned char length[8] = {0};
	size_t at = 0, n = 0;
	char *header = NULL;
	FILE *h = open_memstream(&header, &n);

	if (!h)
		return fail(FAIL_SYSTEM, "no memory for a header:");
	for (int i = 0; i < f->ntensors; i++)
		sorted[i] = &f->tensors[i];
	qsort(sorted, (size_t)f->ntensors, sizeof(sorted[0]), by_width);
	put_metadata(h, f, number);
	for (int i = 0; i < f->ntensors; i++) {
		put_entry(h, sorted[i], at);
		at += sorted[i]->bytes;
	}
	putc('}', h);
	fflush(h);
	for (size_t pad = -n & 7; pad > 0; pad--)
		putc(' ', h);
	if (ferror(h) | fclose(h)) {
		free(header);
		return fail(FAIL_SYSTEM, "no memory for a header:");
	}
	for (int i = 0; i < 8; i++)
		length[i] = (unsigned char)(n >> 8 * i);
	fwrite(length, 1, 8, to);
	fwrite(header, 1, n, to);
	for (int i = 0; i < f->ntensors; i++)
		fwrite(sorted[i]->data, 1, sorted[i]->bytes, to);
	free(header);
	return 0;
}
