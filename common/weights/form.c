#include "weights/form.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"

#define BLOCK 128               /* side of the squares that share an FP8 scale */
#define NAME_BYTES 600

static int
wrong(const struct safetensor *t, const char *why)
{
	char is[200];

	return fail(FAIL_DATA, "tensor '%s' is %s, %s", t->name, safetensor_describe(t, is, sizeof(is)), why);
}

/* The entry of that name and shape; cols 0: a vector. */
static const struct safetensor *
find_shaped(struct form *f, struct model *m, const char *name, size_t rows, size_t cols)
{
	const struct safetensor *t = model_entry(m, name);
	char why[100];

	if (!t)
		return NULL;
	if (cols > 0 ? t->rank == 2 && t->shape[0] == rows && t->shape[1] == cols : t->rank == 1 && t->shape[0] == rows) {
		f->bytes += t->end - t->begin;
		return t;
	}
	snprintf(why, sizeof(why), cols > 0 ? "must be [%zu, %zu]" : "must be [%zu]", rows, cols);
	wrong(t, why);
	return NULL;
}

/* What goes with the weight: its name with a suffix. */
static const struct safetensor *
find_scale(struct form *f, struct model *m, const char *suffix, enum dtype dtype, size_t rows, size_t cols)
{
	char name[NAME_BYTES], why[40];
	const struct safetensor *t;

	snprintf(name, sizeof(name), "%s%s", f->data->name, suffix);
	if (!(t = find_shaped(f, m, name, rows, cols)))
		return NULL;
	if (t->dtype == (int)dtype)
		return t;
	snprintf(why, sizeof(why), "must be %s", dtype_name(dtype));
	wrong(t, why);
	return NULL;
}

static int
find_groups(struct form *f, struct model *m, size_t rows, size_t cols)
{
	f->scale = find_scale(f, m, "_scale", F8_E4M3, rows, (cols + QUANT_GROUP - 1) / QUANT_GROUP);
	f->factor = f->scale ? find_scale(f, m, "_scale_2", F32, 1, 0) : NULL;
	return f->factor ? 0 : -1;
}

/* I8 is no dtype of a tensor elsewhere, so the file's reader has not held its size against its shape. */
static int
is_i8(const struct safetensor *t)
{
	return strcmp(t->dtype_text, "I8") == 0;
}

int
form_find(struct form *f, struct model *m, const char *name, size_t rows, size_t cols)
{
	const struct safetensor *t = model_entry(m, name);
	size_t width = t && cols > 0 && t->dtype == U8 ? dtype_row(Q4, (int)cols) : cols;

	*f = (struct form){0};
	if (!t || !(f->data = t = find_shaped(f, m, name, rows, width)))
		return -1;
	if (t->dtype == F32 || t->dtype == BF16 || t->dtype == F16 || (t->dtype == F8_E4M3 && cols > 0)) {
		f->dtype = (enum dtype)t->dtype;
		if (f->dtype != F8_E4M3)
			return 0;
		f->scale = find_scale(f, m, "_scale_inv", F32, (rows + BLOCK - 1) / BLOCK, (cols + BLOCK - 1) / BLOCK);
		return f->scale ? 0 : -1;
	}
	if (cols == 0)
		return wrong(t, "must be F32, BF16 or F16");
	if (t->dtype != U8 && !is_i8(t))
		return wrong(t, "must be F32, BF16, F16 or F8_E4M3, or I8 or U8 as ds-quant writes them");
	f->dtype = is_i8(t) ? Q8 : Q4;
	if (t->end - t->begin != rows * width)
		return wrong(t, "which does not fill the bytes of its data_offsets");
	return find_groups(f, m, rows, cols);
}
