#include "inspect/poke/poke.h"

#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "kernels.h"

/* Load FILE:NAME, split at the last colon. */
static int
load_vector(struct poke *p, const char *text)
{
	const char *name = strrchr(text, ':') + 1;
	char *path = strndup(text, (size_t)(name - 1 - text));
	struct tensor_file s = {0};
	struct tensor_entry *t;
	struct mat row;
	int r = -1;

	if (!path)
		return fail(FAIL_SYSTEM, "no memory for a path");
	if (tensor_file_open(&s, path) < 0)
		goto out;
	t = tensor_file_find(&s, name);
	if (!t) {
		fail(FAIL_DATA, "'%s' has no tensor '%s'", path, name);
		goto out;
	}
	p->width = t->dtype == F32 || t->dtype == F16 || t->dtype == BF16 ? (t->end - t->begin) / dtype_size((enum dtype)t->dtype) : 0;
	if (p->width == 0 || p->width > INT32_MAX) {
		fail(FAIL_DATA, "'%s': tensor '%s' is not a vector of F32, F16 or BF16", path, name);
		goto out;
	}
	row = (struct mat){.data = tensor_file_data(&s, t), .rows = 1, .cols = (int)p->width, .dtype = (enum dtype)t->dtype};
	p->vector = mem_raw(p->width, sizeof(float));
	if (row.data && p->vector) {
		kernels_named("ref")->row(p->vector, &row, 0);
		r = 0;
	}
out:
	tensor_file_close(&s);
	free(path);
	return r;
}

int
poke_operand(struct poke *p, enum poke_what what, const char *text)
{
	char *end;

	if (p->what != POKE_NOTHING)
		return fail(FAIL_USAGE, "more than one of --scale, --zero, --set, --add");
	p->what = what;
	p->index = -1;
	p->number = strtod(text, &end);
	if (end != text && !*end)
		return 0;
	if (what == POKE_SCALE)
		return fail(FAIL_USAGE, "--scale '%s': give a number", text);
	if (*text == '@') {
		p->tensor = strdup(text + 1);
		if (!p->tensor)
			return fail(FAIL_SYSTEM, "no memory for a name");
		if ((end = strchr(p->tensor, '/'))) {
			*end = 0;
			p->index = strtol(end + 1, &end, 10);
			if (*end || p->index < 0)
				return fail(FAIL_USAGE, "'%s': after / give an index in the second dimension", text);
		}
		return 0;
	}
	if (strrchr(text, ':'))
		return load_vector(p, text);
	return fail(FAIL_USAGE, "'%s' is not a number, FILE:TENSOR or @TENSOR", text);
}

/* Source of the values that are added or set, for one tensor. */
struct operand {
	const float *data;      /* NULL: a constant */
	uint64_t stride;        /* elements between rows; 0: the same for all rows */
};

static int
find_operand(const struct poke *p, struct frame *f, const struct tensor *t, uint64_t width, struct operand *o)
{
	struct tensor *from;
	uint64_t inner;

	*o = (struct operand){p->vector, 0};
	if (p->vector && p->width != width)
		return fail(FAIL_DATA, "tensor '%s' has %llu columns, the vector %llu", t->name,
		    (unsigned long long)width, (unsigned long long)p->width);
	if (!p->tensor)
		return 0;
	from = frame_tensor(f, p->tensor);
	if (!from || from->dtype != F32 || from->rank < 2 || from->shape[0] != t->shape[0])
		return fail(FAIL_DATA, "the frame has no tensor '%s' of F32 with %llu rows", p->tensor, (unsigned long long)t->shape[0]);
	o->stride = t->shape[0] ? from->bytes / sizeof(float) / t->shape[0] : 0;
	inner = p->index < 0 ? o->stride : from->shape[1] ? o->stride / from->shape[1] : 0;
	if (inner != width || (p->index >= 0 && (uint64_t)p->index >= from->shape[1]))
		return fail(FAIL_DATA, "tensor '%s' has no %llu values a row for '%s'%s", p->tensor,
		    (unsigned long long)width, t->name, p->index < 0 ? ": select one of its second dimension with /I" : "");
	o->data = (const float *)from->data + (p->index < 0 ? 0 : (uint64_t)p->index * inner);
	return 0;
}

/* Edit one row. Returns the number of edited elements. */
static uint64_t
edit_row(struct poke *p, float *x, uint64_t width, const float *from, const int32_t *idx)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < width; i++) {
		double v = (from ? from[i] : p->number) * p->by;

		if (!select_element(&p->select, i, idx ? idx[i] : -1))
			continue;
		x[i] = (float)(p->what == POKE_SCALE ? x[i] * p->number : p->what == POKE_SET ? v : x[i] + v);
		n++;
	}
	return n;
}

/* Fill names[row] with the sequence and position of each row. */
static void
name_rows(const struct frame *f, uint64_t (*names)[2])
{
	uint32_t row = 0;

	for (int i = 0; i < f->nspans; i++)
		for (uint32_t k = 0; k < f->spans[i].n; k++, row++) {
			names[row][0] = f->spans[i].seq;
			names[row][1] = (uint64_t)f->spans[i].pos + k;
		}
}

/* Edit the selected rows of a tensor. Returns the number of edited elements, or -1 and a
 * message. */
static int64_t
edit_tensor(struct poke *p, struct frame *f, struct tensor *t)
{
	struct tensor *idx = p->select.experts.n > 0 ? frame_tensor(f, "expert.idx") : NULL;
	uint64_t width = t->rank > 0 && t->shape[0] ? t->bytes / sizeof(float) / t->shape[0] : 0;
	uint64_t (*names)[2] = NULL;
	struct operand o;
	uint32_t *rows = NULL;
	int64_t n = 0;

	if (t->dtype != F32)
		return fail(FAIL_DATA, "tensor '%s' is %s: only F32 can be edited", t->name, dtype_name(t->dtype));
	if (p->select.experts.n > 0 && (!idx || idx->dtype != I32 || idx->bytes != t->bytes))
		return fail(FAIL_DATA, "tensor '%s' has no value for each of expert.idx: --expert goes with --tensor expert.w", t->name);
	if (find_operand(p, f, t, width, &o) < 0 || select_rows_of(f, t, &rows) < 0)
		return -1;
	names = rows ? mem_raw(f->rows, sizeof(*names)) : NULL;
	if (rows && !names)
		n = -1;
	else if (names)
		name_rows(f, names);
	for (uint64_t i = 0; names && i < t->shape[0]; i++)
		if (select_row(&p->select, names[rows[i]][0], names[rows[i]][1])) {
			uint64_t edited = edit_row(p, (float *)t->data + i * width, width,
			    o.data ? o.data + i * o.stride : NULL,
			    idx ? (const int32_t *)idx->data + i * width : NULL);

			p->rows += edited > 0;
			n += (int64_t)edited;
		}
	free(names);
	free(rows);
	return n;
}

static int
record(const struct poke *p, struct frame *f)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	int r;

	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	msgpack_pack_str(&k, strlen(p->record));
	msgpack_pack_str_body(&k, p->record, strlen(p->record));
	r = frame_append(f, "edits", b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

int
poke_frame(struct poke *p, struct frame *f)
{
	int64_t edited = 0;

	if (p->what == POKE_NOTHING || !select_frame(&p->select, f))
		return 0;
	for (int i = 0; i < f->ntensors; i++) {
		int64_t n = select_tensor(&p->select, f->tensors[i].name) ? edit_tensor(p, f, &f->tensors[i]) : 0;

		if (n < 0)
			return -1;
		edited += n;
	}
	if (edited == 0)
		return 0;
	p->frames++;
	p->elements += (unsigned long long)edited;
	f->changed = 1;
	return record(p, f) < 0 ? -1 : 1;
}

void
poke_free(struct poke *p)
{
	select_free(&p->select);
	free(p->vector);
	free(p->tensor);
	free(p->record);
}
