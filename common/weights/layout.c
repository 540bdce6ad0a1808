#include "weights/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

#define NAME_BYTES 600

/* Of all layouts: those of F8_E4M3, then those of Q8 and Q4. */
static const char block_scale[] = "_scale_inv", group_scale[] = "_scale", factor[] = "_scale_2";

/* --- the tensors of a matrix --- */

static const char *
stored_dtype(enum dtype t)
{
	return t == Q8 ? "I8" : t == Q4 ? "U8" : dtype_name(t);
}

int
layout_parts(struct layout_part parts[LAYOUT_PARTS], enum dtype dtype, uint64_t rows,
    uint64_t cols)
{
	uint64_t groups = (cols + QUANT_GROUP - 1) / QUANT_GROUP;
	uint64_t down = fp8_blocks(rows), across = fp8_blocks(cols);
	uint64_t row = dtype_row(dtype, (int)cols);

	if (cols == 0) {
		parts[0] = (struct layout_part){"", dtype_name(dtype), 1, {rows, 0},
		    rows * dtype_size(dtype)};
		return 1;
	}
	parts[0] = (struct layout_part){"", stored_dtype(dtype), 2,
	    {rows, dtype == Q4 ? row : cols}, rows * row};
	if (dtype == F8_E4M3) {
		parts[1] = (struct layout_part){block_scale, "F32", 2, {down, across},
		    down * across * sizeof(float)};
		return 2;
	}
	if (dtype != Q8 && dtype != Q4)
		return 1;
	parts[1] = (struct layout_part){group_scale, "F8_E4M3", 2, {rows, groups}, rows * groups};
	parts[2] = (struct layout_part){factor, "F32", 1, {1, 0}, sizeof(float)};
	return 3;
}

uint64_t
layout_bytes(enum dtype dtype, uint64_t rows, uint64_t cols)
{
	struct layout_part parts[LAYOUT_PARTS];
	uint64_t bytes = 0;

	for (int i = layout_parts(parts, dtype, rows, cols); i-- > 0; )
		bytes += parts[i].bytes;
	return bytes;
}

int
layout_is_scale(const char *name, size_t *n)
{
	static const char *const all[] = {block_scale, group_scale, factor};

	for (int i = 0; i < 3; i++) {
		size_t len = strlen(name), end = strlen(all[i]);

		if (len > end && strcmp(name + len - end, all[i]) == 0) {
			*n = len - end;
			return 1;
		}
	}
	return 0;
}

/* --- in a checkpoint --- */

static int
wrong(const struct tensor_entry *t, const char *why)
{
	char is[200];

	return fail(FAIL_DATA, "tensor '%s' is %s, %s", t->name,
	    tensor_entry_describe(t, is, sizeof(is)), why);
}

static int
check_shape(const struct tensor_entry *t, const struct layout_part *part)
{
	char why[100];

	if (t->rank == part->rank && t->shape[0] == part->shape[0] &&
	    (t->rank == 1 || t->shape[1] == part->shape[1]))
		return 0;
	snprintf(why, sizeof(why), part->rank == 2 ? "must be [%llu, %llu]" : "must be [%llu]",
	    (unsigned long long)part->shape[0], (unsigned long long)part->shape[1]);
	return wrong(t, why);
}

/* Releases of Qwen3 in FP8 have the scales of blocks in BF16. */
static int
is_scale_dtype(const struct tensor_entry *t, const struct layout_part *part)
{
	return strcmp(t->dtype_text, part->dtype) == 0 ||
	    (part->suffix == block_scale && t->dtype == BF16);
}

/* The scales that go with the matrix. */
static int
find_scale(struct layout *l, struct checkpoint *c, int i, const struct layout_part *part)
{
	char name[NAME_BYTES], why[40];
	const struct tensor_entry *t;

	snprintf(name, sizeof(name), "%s%s", l->part[0]->name, part->suffix);
	if (!(l->part[i] = t = checkpoint_entry(c, name)) || check_shape(t, part) < 0)
		return -1;
	if (is_scale_dtype(t, part))
		return 0;
	snprintf(why, sizeof(why), "must be %s%s", part->dtype,
	    part->suffix == block_scale ? " or BF16" : "");
	return wrong(t, why);
}

/* I8 is no dtype of a tensor elsewhere, so the file's reader has not held its size against its
 * shape. */
static int
is_i8(const struct tensor_entry *t)
{
	return strcmp(t->dtype_text, "I8") == 0;
}

/* The dtype of a matrix, or of a vector where cols is 0, by how it is stored: 0, or -1. */
static int
find_dtype(struct layout *l, const struct tensor_entry *t, size_t cols)
{
	int plain = t->dtype == F32 || t->dtype == BF16 || t->dtype == F16;
	int coded = t->dtype == F8_E4M3 || t->dtype == U8 || t->dtype > Q4 || is_i8(t);

	if (!plain && (cols == 0 || !coded))
		return -1;
	l->dtype = is_i8(t) ? Q8 : t->dtype == U8 ? Q4 : (enum dtype)t->dtype;
	return 0;
}

/* Heads [cols][turned]. */
static uint64_t
turned_bytes(const struct tensor_entry *t)
{
	return t->shape[0] / (uint64_t)t->turned * t->shape[1] *
	    dtype_row((enum dtype)t->dtype, t->turned);
}

int
layout_find(struct layout *l, struct checkpoint *c, const char *name, size_t rows, size_t cols)
{
	const struct tensor_entry *t = checkpoint_entry(c, name);
	struct layout_part parts[LAYOUT_PARTS];
	int known, n;

	*l = (struct layout){.part = {t}};
	if (!t)
		return -1;
	known = find_dtype(l, t, cols) == 0;
	n = layout_parts(parts, l->dtype, rows, cols);
	if (t->turned)
		parts[0].bytes = turned_bytes(t);
	if (check_shape(t, &parts[0]) < 0)
		return -1;
	if (!known)
		return wrong(t, cols == 0 ? "must be F32, BF16 or F16" :
		    "must be F32, BF16, F16 or F8_E4M3, or I8 or U8 as ds-quant writes them");
	if (t->end - t->begin != parts[0].bytes)
		return wrong(t, "which does not fill the bytes of its data_offsets");
	for (int i = 1; i < n; i++)
		if (find_scale(l, c, i, &parts[i]) < 0)
			return -1;
	for (int i = 0; i < n; i++)
		l->bytes += l->part[i]->end - l->part[i]->begin;
	return 0;
}

/* The factor of the groups' scales: a power of two within its bounds, or 0, as in a sparse file. */
static int
read_factor(struct mat *w, const struct tensor_entry *t, const void *data)
{
	uint32_t bits;

	memcpy(&w->factor, data, sizeof(w->factor));
	memcpy(&bits, data, sizeof(bits));
	if (bits == 0 || (bits << 9 == 0 && w->factor >= QUANT_FACTOR_MIN &&
	    w->factor <= QUANT_FACTOR_MAX))
		return 0;
	return fail(FAIL_DATA, "tensor '%s' is %g, must be 0 or a power of two from %g to %g",
	    t->name, (double)w->factor, (double)QUANT_FACTOR_MIN, (double)QUANT_FACTOR_MAX);
}

/* The scales of blocks as float32. */
static const float *
block_scales(struct checkpoint *c, const struct tensor_entry *t, const void *data)
{
	struct mat from = {.data = data, .rows = 1, .dtype = BF16};
	size_t len = strlen(t->name);
	char *name;             /* t's may be closed before c */
	float *to;

	if (t->dtype != BF16)
		return data;
	if ((to = table_get(&c->floats, t->name, len)))
		return to;
	from.cols = (int)(t->shape[0] * t->shape[1]);
	if (!(name = mem_raw(len + 1, 1)))
		return NULL;
	memcpy(name, t->name, len + 1);
	if ((to = mem_raw((size_t)from.cols, sizeof(*to)))) {
		kernels_named("ref")->row(to, &from, 0);
		if (table_put(&c->floats, name, len, to) == 0)
			return to;
	}
	free(to);
	free(name);
	return NULL;
}

int
layout_mat(struct checkpoint *c, struct mat *w, int rows, int cols, const char *name)
{
	struct layout l;
	const void *data[LAYOUT_PARTS] = {NULL};

	if (layout_find(&l, c, name, (size_t)rows, (size_t)cols) < 0)
		return -1;
	for (int i = 0; i < LAYOUT_PARTS && l.part[i]; i++)
		if (!checkpoint_data(c, l.part[i]->name, &data[i]))
			return -1;
	*w = (struct mat){.data = data[0], .rows = rows, .cols = cols, .dtype = l.dtype,
	    .zipped = l.part[0]->zipped, .turned = l.part[0]->turned};
	if (l.dtype == F8_E4M3) {
		w->scale_cols = (int)l.part[1]->shape[1];
		if (!(w->scale = block_scales(c, l.part[1], data[1])))
			return -1;
	} else if (l.part[2]) {
		w->groups = data[1];
		return read_factor(w, l.part[2], data[2]);
	}
	return 0;
}

/* The order of the model; rows is [n] in that of the file. */
static void
unzip(const float *rows, float *sorted, int n, int head)
{
	for (int i = 0; i < n; i++) {
		int at = i % head;

		sorted[i - at + at % 2 * (head / 2) + at / 2] = rows[i];
	}
}

float *
layout_vector(struct checkpoint *c, int n, const char *name)
{
	struct layout l;
	struct mat row = {.rows = 1, .cols = n};
	float *out, *sorted;

	if (layout_find(&l, c, name, (size_t)n, 0) < 0 || !checkpoint_data(c, name, &row.data))
		return NULL;
	row.dtype = l.dtype;
	if ((out = mem_raw((size_t)n, sizeof(*out))))
		kernels_named("ref")->row(out, &row, 0);
	if (!out || !l.part[0]->zipped)
		return out;
	if ((sorted = mem_raw((size_t)n, sizeof(*sorted))))
		unzip(out, sorted, n, l.part[0]->zipped);
	free(out);
	return sorted;
}
