/*
 * The tensors of a safetensors file, such as gradients, in the formats that need no frame.
 */
#include <string.h>

#include "base/fail.h"
#include "inspect/dump/dump_kinds.h"
#include "weights/tensor_file.h"

static int
print_tensor(struct dump *d, struct tensor_file *f, const struct tensor_entry *e)
{
	struct tensor t = {.name = e->name, .dtype = (enum dtype)e->dtype, .rank = e->rank,
	    .bytes = e->end - e->begin};
	const void *data = tensor_file_data(f, e);
	char is[200];

	if (!data)
		return -1;
	if (e->dtype < 0 || e->rank > FRAME_RANK_MAX)
		return fail(FAIL_DATA, "tensor '%s' is %s, which frames do not have", e->name,
		    tensor_entry_describe(e, is, sizeof(is)));
	memcpy(t.shape, e->shape, (size_t)e->rank * sizeof(*e->shape));
	memcpy(&t.data, &data, sizeof(data));   /* only read */
	if (d->format == DUMP_TEXT)
		dump_tensor(d->to, &t);
	else
		dump_npy(d->to, &t);
	d->tensors++;
	return 0;
}

int
dump_file(struct dump *d, const char *path)
{
	struct tensor_file f = {0};
	int r = 0;

	if ((d->format != DUMP_TEXT && d->format != DUMP_NPY) || d->dir)
		return fail(FAIL_USAGE, "'%s' has no frames: give -f text or npy, without --dir",
		    path);
	if (tensor_file_open_own(&f, path) < 0)
		return -1;
	d->select.frames++;
	for (size_t i = 0; i < f.n && r == 0; i++)
		if (select_tensor(&d->select, f.tensors[i].name) &&
		    (r = print_tensor(d, &f, &f.tensors[i])) < 0)
			fail_in("'%s'", path);
	tensor_file_close(&f);
	return r;
}
