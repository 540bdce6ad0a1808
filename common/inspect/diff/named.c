#include "inspect/diff/named.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/file_kind.h"
#include "inspect/frame_json.h"
#include "inspect/npy.h"

#define CHOSEN_MAX 1024        /* the largest number of experts that a router chooses */

/* The group of a tensor that no map names: from ds-dump's description of its frame, or from the
 * name. NULL, without a message, if the run decides. */
static struct group *
group_by_name(struct named *n, struct groups *g, const char *name)
{
	struct tensor t = {.name = name};
	struct frame any = {.at = AT_NONE, .at_text = "", .layer = -1};
	const char *at = strrchr(name, '@');

	/* names of npy files lack the layer of head and the experts in a sum */
	if (n->frame.known &&
	    (n->frame.spans_known || (n->frame.f.at != AT_HEAD && strcmp(name, "expert.acc") != 0)))
		return group_of(g, &n->frame.f, &t);
	if (strcmp(name, "head.norm") == 0 ||
	    (at && at[1] && strspn(at + 1, "0123456789") == strlen(at + 1)))
		return group_of(g, &any, &t);
	return NULL;
}

/* Why the tensor cannot be compared with rows, or NULL. */
static const char *
why_not(const struct named *n, const struct named_tensor *t)
{
	const struct extent *e = &t->extent;
	int is_head = rows_are_listed(t->name);
	int wanted = rows_have_list(&n->frame.f) && is_head, fits = !n->frame.spans_known;

	if (e->rank == 0)
		return "it has no rows";
	for (int i = 0; i < e->rank; i++)
		if (e->shape[i] == 0)
			return "it has no elements";
	for (int i = 0; i < e->rank && (i == 0 || e->shape[i - 1] == 1); i++)
		fits |= e->shape[i] == n->frame.f.rows ||
		    (wanted && e->shape[i] == (n->which ? n->nwhich : n->frame.wanted));
	return fits ? NULL : "no row for each position";
}

/* Register a tensor under its group or, if the run decides, under its name. Returns 0, or -1 and
 * a message. */
static int
register_tensor(struct named *n, struct named_tensor *t)
{
	if (t->why)
		return 0;
	if (!t->group)
		return table_put(&n->late, t->name, strlen(t->name), t);
	if (table_get(&n->groups, &t->group, sizeof(t->group))) {
		t->why = "another tensor is mapped to the same";
		return 0;
	}
	return table_put(&n->groups, &t->group, sizeof(t->group), t);
}

/* Add a tensor of the file. Returns 0, or -1 and a message. */
static int
add(struct named *n, struct groups *g, const char *name, const char *type, int dtype,
    int rank, const uint64_t *shape, const void *data)
{
	struct named_tensor *t = &n->tensors[n->n];
	int found;

	*t = (struct named_tensor){
	    .name = name, .dtype = (enum dtype)dtype, .extent.rank = rank, .data = data};
	memcpy(t->extent.shape, shape, (size_t)rank * sizeof(*shape));
	found = names_find(&n->names, g, name, &t->group, &t->line);
	if (found < 0)
		return -1;
	if (found && !t->line && n->frame.known) /* ds-dump's own `ids` and `logits` included */
		t->group = NULL;
	if (!t->group)
		t->group = group_by_name(n, g, name);
	if (t->group && !t->line && strcmp(t->group->tensor, "expert.idx") == 0 && dtype != I32 &&
	    dtype != I64) {
		t->group = NULL;        /* some versions of a gate return logits first */
		t->why = "its elements are not integers";
	}
	n->n++;
	if (!t->why)
		t->why = why_not(n, t);
	if (dtype < 0 && t->group)
		return fail(FAIL_DATA, "tensor '%.200s' has dtype %s, which frames do not support", name, type);
	if (dtype < 0 && !t->why)
		t->why = "frames do not support its dtype";
	if (t->why && t->line)
		return fail(FAIL_USAGE, "'%s' line %d: tensor '%.200s': %s", n->names.path, t->line,
		    name, t->why);
	if (register_tensor(n, t) < 0)
		return -1;
	if (t->why && t->line)
		return fail(FAIL_USAGE, "'%s' line %d: tensor '%.200s': %s", n->names.path, t->line,
		    name, t->why);
	return 0;
}

/* Find the experts of a router whose experts are not in ascending order; rows are sorted on
 * access. */
static void
find_router(struct named *n, struct groups *g, struct named_tensor *t)
{
	struct group *o = t->group;
	struct named_tensor *idx = t;

	if (o && strcmp(o->tensor, "expert.w") == 0) {
		o = group_named(g, o->stage, o->layer, "expert.idx", NULL);
		idx = o ? table_get(&n->groups, &o, sizeof(o)) : NULL;
	}
	if (o && idx && strcmp(o->tensor, "expert.idx") == 0 &&
	    (idx->dtype == I32 || idx->dtype == I64) && idx->extent.rank == t->extent.rank &&
	    t->extent.rank > 0 && t->extent.shape[t->extent.rank - 1] <= CHOSEN_MAX &&
	    memcmp(idx->extent.shape, t->extent.shape, sizeof(t->extent.shape)) == 0)
		t->by = idx;
}

/* The dtype of a tensor, ROW_F64 included, or -1 if unsupported. -2 and a message if its bytes
 * do not match its shape. */
static int
type_of(const struct tensor_entry *t)
{
	uint64_t bytes = 8;

	if (strcmp(t->dtype_text, "F64") != 0)
		return t->dtype;
	for (int i = 0; i < t->rank; i++)
		if (__builtin_mul_overflow(bytes, t->shape[i], &bytes))
			bytes = UINT64_MAX;
	if (bytes == t->end - t->begin)
		return ROW_F64;
	fail(FAIL_DATA, "tensor '%.200s': its shape does not fill the bytes of its data_offsets",
	    t->name);
	return -2;
}

/* Read the file's tensor `row`, which lists the rows of its frame with logits. */
static int
read_logit_rows(struct named *n, const struct tensor_entry *t)
{
	struct tensor row = {.dtype = (enum dtype)t->dtype, .rank = t->rank, .shape = {t->shape[0]},
	    .data = (void *)(uintptr_t)tensor_file_data(&n->st, t)};

	if (!row.data || rows_check_list(&row, n->frame.f.rows) < 0)
		return -1;
	n->which = row.data;
	n->nwhich = t->shape[0];
	return 0;
}

static int
add_safetensors(struct named *n, struct groups *g)
{
	const struct tensor_entry *row = tensor_file_find(&n->st, "row");

	if (named_frame_metadata(&n->frame, &n->st) < 0)
		return -1;
	if (!n->frame.spans_known || !rows_have_list(&n->frame.f))
		row = NULL;
	if (row && read_logit_rows(n, row) < 0)
		return -1;
	for (size_t i = 0; i < n->st.n; i++) {
		const struct tensor_entry *t = &n->st.tensors[i];
		const void *data = tensor_file_data(&n->st, t);
		int type = type_of(t);

		if (!data || type == -2 ||
		    (t != row &&
			add(n, g, t->name, t->dtype_text, type, t->rank, t->shape, data) < 0))
			return -1;
	}
	return 0;
}

static int
open_safetensors(struct named *n, struct groups *g)
{
	if (tensor_file_open(&n->st, n->path) < 0)
		return -1;
	if (!(n->tensors = mem_new(n->st.n, sizeof(*n->tensors))))
		return -1;
	if (add_safetensors(n, g) == 0)
		return 0;
	return fail_status() == FAIL_USAGE ? -1 : fail_in("'%s'", n->path);
}

static int
open_npy(struct named *n, struct groups *g)
{
	const char *slash = strrchr(n->path, '/'), *base = slash ? slash + 1 : n->path;
	size_t len = strlen(base);
	char *tensor;
	struct npy a;

	if (file_map(&n->map, n->path) < 0)
		return -1;
	if (npy_parse(&a, n->map.p, n->map.n) < 0)
		return fail_in("'%s'", n->path);
	len -= len > 4 && strcmp(base + len - 4, ".npy") == 0 ? 4 : 0;
	if (!(n->own_name = strndup(base, len)) || !(n->npy = mem_raw(a.bytes, 1)) ||
	    !(n->tensors = mem_new(1, sizeof(*n->tensors))))
		return fail(FAIL_SYSTEM, "no memory for '%s'", n->path);
	if (named_frame_file(&n->frame, n->own_name, &tensor) < 0)
		return fail_in("'%s'", n->path);
	if (tensor) {
		free(n->own_name);
		n->own_name = tensor;
	}
	memcpy(n->npy, n->map.p + a.data, a.bytes);       /* npy does not align every type */
	return add(n, g, n->own_name, "", (int)a.dtype, a.rank, a.shape, n->npy);
}

int
named_open(struct named *n, struct groups *g, const char *path, const char *map_path)
{
	memset(n, 0, sizeof(*n));
	n->path = path;
	if (names_open(&n->names, map_path) < 0 ||
	    (file_kind(path) == FILE_NPY ? open_npy(n, g) : open_safetensors(n, g)) < 0 ||
	    names_check(&n->names, path) < 0)
		return -1;
	for (size_t i = 0; i < n->n; i++)
		find_router(n, g, &n->tensors[i]);
	return 0;
}

int
named_set_seq(struct named *n, uint64_t seq)
{
	if (n->frame.spans_known && named_frame_rename(&n->frame, seq) < 0)
		return fail(FAIL_USAGE,
		    "--seq %llu: '%s' records the sequences of its rows, and has several",
		    (unsigned long long)seq, n->path);
	return 0;
}

int
named_has(struct named *n, struct group *g)
{
	struct named_tensor *t = table_get(&n->groups, &g, sizeof(g));
	char a[128], b[128];

	if (t)
		return 1;
	if (n->late.n == 0 || !(t = table_get(&n->late, g->tensor, strlen(g->tensor))))
		return 0;
	if (t->late)
		return fail(FAIL_USAGE,
		    "'%s': the run has a '%.200s' of %s and one of %s: add a line to --map",
		    n->path, t->name, group_where(t->group, a, sizeof(a)),
		    group_where(g, b, sizeof(b)));
	t->late = 1;
	t->group = g;
	return table_put(&n->groups, &t->group, sizeof(t->group), t) < 0 ? -1 : 1;
}

static int64_t
chosen(const struct named_tensor *idx, uint64_t row, uint64_t count, uint64_t i)
{
	struct tensor t = {.dtype = idx->dtype, .data = (void *)(uintptr_t)idx->data};

	return tensor_int(&t, row * count + i);
}

/* Sort row number `row` of t by its experts. Returns 0, or -1 and a message. */
static int
sort_row(struct named *n, const struct named_tensor *t, uint64_t row, struct row *r)
{
	size_t size = row_size(t->dtype), bytes = (size_t)t->count * size;

	if (mem_grow(&n->sorted.p, &n->sorted.cap, bytes, 1) < 0)
		return -1;
	for (uint64_t i = 0; i < t->count; i++) {
		int64_t e = chosen(t->by, row, t->count, i);
		uint64_t before = 0;

		for (uint64_t j = 0; j < t->count; j++) {
			int64_t o = chosen(t->by, row, t->count, j);

			before += o < e || (o == e && j < i);
		}
		memcpy(n->sorted.p + before * size, (const char *)r->data + i * size, size);
	}
	r->data = n->sorted.p;
	return 0;
}

/* Elements of a row, `lead` leading axes excluded. */
static uint64_t
row_count(const struct extent *e, int lead)
{
	uint64_t n = 1;

	for (int i = lead + 1; i < e->rank; i++)
		n *= e->shape[i];               /* the file's size was checked */
	return n;
}

/*
 * Find the axis of rows: the first one, or one after leading axes of size 1, such that a row has as
 * many elements as ours; failing that, the one followed by as many axes as our rows have.
 */
static int
fit(struct named_tensor *t, const struct row *ours)
{
	struct extent *e = &t->extent;
	int lead = 0, rank = ours->ragged ? 3 : ours->extent.rank;

	for (; !ours->ragged && lead < e->rank; lead++)
		if (row_count(e, lead) == row_count(&ours->extent, 0) || e->shape[lead] != 1)
			break;
	if (ours->ragged || lead == e->rank || row_count(e, lead) != row_count(&ours->extent, 0))
		for (lead = 0; e->rank - lead > rank && e->shape[lead] == 1; )
			lead++;
	e->lead = lead;
	t->rows = e->shape[lead];
	t->count = row_count(e, lead);
	t->fitted = 1;
	return (t->seen = mem_new(t->rows, sizeof(*t->seen))) ? 0 : -1;
}

static int
by_number(const void *a, const void *b)
{
	const int32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The row of t for the position of our row, or -1. */
static int64_t
row_of(const struct named *n, const struct named_tensor *t, const struct row *ours)
{
	int64_t row = ours->pos, wanted;

	if (n->frame.spans_known)
		row = named_frame_row(&n->frame, ours->seq, ours->pos, &wanted);
	if (n->frame.spans_known && t->rows != n->frame.f.rows && row >= 0) {
		if (n->which) {
			int32_t key = (int32_t)row;
			const int32_t *at =
			    bsearch(&key, n->which, n->nwhich, sizeof(key), by_number);

			row = at ? at - n->which : -1;
		} else {
			row = wanted;
		}
	}
	return row < 0 || (uint64_t)row >= t->rows ? -1 : row;
}

int
named_row(struct named *n, const struct row *ours, struct row *theirs)
{
	struct named_tensor *t = table_get(&n->groups, &ours->group, sizeof(ours->group));
	uint64_t d = row_digest(ours);
	int64_t row;

	if (!t || (!t->fitted && fit(t, ours) < 0))
		return t ? -1 : 0;
	if ((row = row_of(n, t, ours)) < 0)
		return 0;
	*theirs = (struct row){.group = ours->group, .seq = ours->seq, .pos = ours->pos, .dtype = t->dtype,
	    .count = t->count, .bytes = (size_t)t->count * row_size(t->dtype), .extent = t->extent};
	theirs->data = t->data + (uint64_t)row * theirs->bytes;
	if (t->seen[row] == d)
		return 2;
	t->compared += t->seen[row] == 0;
	t->seen[row] = d;
	if (ours->ragged && t->extent.rank - t->extent.lead == 3) {
		const uint64_t *shape = t->extent.shape + t->extent.lead;

		return row_trim(&n->sorted, shape[1], shape[2], theirs) < 0 ? -1 : 1;
	}
	return t->by && sort_row(n, t, (uint64_t)row, theirs) < 0 ? -1 : 1;
}

int
named_check(const struct named *n, const char *name)
{
	for (size_t i = 0; i < n->n; i++) {
		const struct named_tensor *t = &n->tensors[i];
		char where[128];
		int compared = 0;

		for (size_t j = 0; t->line && j < n->n; j++)
			compared |= n->tensors[j].line == t->line && n->tensors[j].compared > 0;
		if (t->line && !compared)
			return fail(FAIL_USAGE,
			    "'%s' line %d: '%s' has no '%.200s' of %s, to which '%.200s' is mapped",
			    n->names.path, t->line, name, t->group->tensor,
			    group_where(t->group, where, sizeof(where)), t->name);
	}
	return 0;
}

int
named_is_whole(const struct named_tensor *t)
{
	return t->fitted && t->compared == t->rows;
}

void
named_close(struct named *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->tensors[i].seen);
	free(n->tensors);
	table_free(&n->groups);
	table_free(&n->late);
	names_close(&n->names);
	named_frame_close(&n->frame);
	free(n->own_name);
	free(n->npy);
	buf_free(&n->sorted);
	file_unmap(&n->map);
	tensor_file_close(&n->st);
	memset(n, 0, sizeof(*n));
}
