#include "stage/frame_rows.h"

#include "base/fail.h"

struct span
row_at(const struct frame *f, uint32_t t)
{
	const struct span *p = f->spans;

	for (; t >= p->n; p++)
		t -= p->n;
	return (struct span){p->seq, p->pos + t, 1, 0};
}

int
logit_rows_read(struct logit_rows *to, struct frame *f, const char *name, int V)
{
	struct tensor *row = frame_tensor(f, "row"), *x;

	if (!row || row->dtype != I32 || row->rank != 1 || row->shape[0] > f->rows)
		return fail(FAIL_DATA, "the frame has no tensor 'row' of rank 1 and dtype I32");
	if (frame_fetch(row) < 0 ||
	    !(x = frame_require(f, name, F32, row->shape[0], (uint64_t)V)))
		return -1;
	*to = (struct logit_rows){(int)row->shape[0], row->data, x->data};
	for (int i = 0; i < to->n; i++)
		if (to->row[i] < 0 || to->row[i] >= (int64_t)f->rows ||
		    (i > 0 && to->row[i] <= to->row[i - 1]))
			return fail(FAIL_DATA, "tensor 'row' is not ascending in 0 to %lld",
			    (long long)f->rows - 1);
	return 0;
}
