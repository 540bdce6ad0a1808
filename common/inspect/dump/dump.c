#include "inspect/dump/dump.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/io.h"
#include "inspect/dump/dump_kinds.h"

static const struct {
	const char *name, *suffix;
	int rows;               /* 1: control frames are not printed */
	const char *requires;   /* what a frame must have to be printed; NULL: nothing */
} formats[] = {
	[DUMP_TEXT] = {"text", ".txt", 0, NULL},
	[DUMP_JSON] = {"json", ".json", 0, NULL},
	[DUMP_IDS] = {"ids", ".ids", 1, "tokens ('ids')"},
	[DUMP_CSV] = {"csv", ".csv", 1, "tensors"},
	[DUMP_NPY] = {"npy", ".npy", 1, "tensors"},
	[DUMP_SAFETENSORS] = {"safetensors", ".safetensors", 1, "tensors"},
	[DUMP_TRACE] = {"trace", ".json", 1, "a trace: ds-embed --trace asks for it"},
};

int
dump_format_parse(const char *name)
{
	for (int i = DUMP_TEXT; i <= DUMP_TRACE; i++)
		if (strcmp(name, formats[i].name) == 0)
			return i;
	return fail(FAIL_USAGE, "-f '%s': give text, json, ids, csv, npy, safetensors or trace", name);
}

int
dump_begin(struct dump *d)
{
	if (d->select.names && (d->format == DUMP_IDS || d->format == DUMP_TRACE))
		return fail(FAIL_USAGE, "--tensor: -f %s prints no tensors", formats[d->format].name);
	if (d->dir && d->format == DUMP_TRACE)
		return fail(FAIL_USAGE, "--dir: -f trace writes one file for all frames");
	if (d->dir && mkdir(d->dir, 0777) < 0 && errno != EEXIST)
		return fail(FAIL_SYSTEM, "cannot create the folder '%s':", d->dir);
	if (d->format == DUMP_CSV && !d->dir)
		dump_csv_head(d->to);
	return 0;
}

/* Append text from a frame to a file name, other bytes as %XX, so that different texts give
 * different names. */
static int
add_name(struct buf *b, const char *s)
{
	int r = 0;

	for (; *s && r == 0; s++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@", *s))
			r = buf_addc(b, *s);
		else
			r = buf_addf(b, "%%%02X", (unsigned char)*s);
	return r;
}

/* Append "000012-attn-l3", and "-NAME" for a tensor. Names sort in stream order. */
static int
add_frame(struct buf *b, const struct frame *f, unsigned long long number, const struct tensor *t)
{
	const char *op = op_name(f->op), *name = f->op == OP_NONE ? f->at_text : op ? op : "control";

	if (buf_addf(b, "%06llu-", number) < 0 || add_name(b, name) < 0 ||
	    (f->op == OP_NONE && frame_in_layer(f) && buf_addf(b, "-l%d", f->layer) < 0))
		return -1;
	return t && (buf_addc(b, '-') < 0 || add_name(b, t->name) < 0) ? -1 : 0;
}

/* Open the file of a frame, or of one of its tensors. NULL and a message on failure. */
static FILE *
open_file(const struct dump *d, const struct frame *f, unsigned long long number, const struct tensor *t)
{
	struct buf b = {0};
	FILE *to = NULL;

	if (buf_addf(&b, "%s/", d->dir) == 0 && add_frame(&b, f, number, t) == 0 &&
	    buf_addf(&b, "%s", formats[d->format].suffix) == 0 && buf_addc(&b, 0) == 0 &&
	    !(to = fopen((char *)b.p, "we")))
		fail(FAIL_SYSTEM, "cannot open '%s':", (char *)b.p);
	buf_free(&b);
	return to;
}

static int
close_file(const struct dump *d, FILE *to)
{
	int bad = ferror(to);

	return fclose(to) != 0 || bad ? fail(FAIL_SYSTEM, "cannot write to '%s':", d->dir) : 0;
}

static int
print(struct dump *d, FILE *to, struct frame *f, unsigned long long number)
{
	switch (d->format) {
	case DUMP_TEXT:
		dump_text(to, f, number);
		return 0;
	case DUMP_JSON:
		frame_json_header(to, f, 1);
		putc('\n', to);
		return 0;
	case DUMP_IDS:
		return dump_ids(to, f);
	case DUMP_CSV:
		if (d->dir)
			dump_csv_head(to);
		return dump_csv(to, f, number, &d->select);
	case DUMP_NPY:
		for (int i = 0; i < f->ntensors; i++)
			dump_npy(to, &f->tensors[i]);
		return 0;
	case DUMP_SAFETENSORS:
		if (!d->dir && d->printed > 0)
			return fail(FAIL_USAGE, "frame %llu is the second one with tensors, but safetensors holds one: "
			    "give --dir, or select with ds-cut", number);
		return dump_safetensors(to, f, number);
	default:
		return dump_trace(d, f, number);
	}
}

/* A file in npy format holds one array. */
static int
print_arrays(const struct dump *d, const struct frame *f, unsigned long long number)
{
	for (int i = 0; i < f->ntensors; i++) {
		FILE *to = open_file(d, f, number, &f->tensors[i]);

		if (!to)
			return -1;
		dump_npy(to, &f->tensors[i]);
		if (close_file(d, to) < 0)
			return -1;
	}
	return 0;
}

int
dump_frame(struct dump *d, struct frame *f, unsigned long long number)
{
	FILE *to = d->to;
	int r;

	if (formats[d->format].rows && f->op != OP_NONE)
		return 0;
	d->select.frames += f->rows > 0;
	for (int i = f->ntensors; i-- > 0; )    /* csv needs `row`, printed or not */
		if (d->format != DUMP_CSV && !select_tensor(&d->select, f->tensors[i].name))
			frame_drop(f, f->tensors[i].name);
	if (d->format == DUMP_IDS ? !frame_tensor(f, "ids") : d->format == DUMP_SAFETENSORS && f->ntensors == 0)
		return 0;
	d->tensors += (unsigned long long)f->ntensors;
	if (d->dir && d->format == DUMP_NPY)
		return print_arrays(d, f, number);
	if (d->dir && !(to = open_file(d, f, number, NULL)))
		return -1;
	r = print(d, to, f, number);
	d->printed += d->format != DUMP_TRACE;
	if (d->dir && close_file(d, to) < 0)
		return -1;
	return r;
}

int
dump_check(const struct dump *d)
{
	int arrays = d->format == DUMP_CSV || d->format == DUMP_NPY || d->format == DUMP_SAFETENSORS;

	if (d->select.names && d->select.met[SELECT_TENSOR] == 0)
		return select_fail_empty(&d->select, "printed");
	if (formats[d->format].requires && (arrays ? d->tensors : d->printed) == 0)
		return fail(FAIL_DATA, "nothing was printed: no frame has %s", formats[d->format].requires);
	return select_check_names(&d->select);
}

void
dump_end(struct dump *d)
{
	if (d->format == DUMP_TRACE)
		dump_trace_end(d);
}

void
dump_free(struct dump *d)
{
	dump_trace_free(d);
	select_free(&d->select);
}
