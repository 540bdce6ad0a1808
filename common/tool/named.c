#include "tool/named.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "tool/dump_json.h"
#include "tool/names.h"
#include "tool/npy.h"

#define CHOSEN_MAX 1024        /* a router that chooses more is no router */

static int
ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);

	return n > k && strcmp(s + n - k, with) == 0;
}

int
named_is(const char *path)
{
	return ends(path, ".safetensors") || ends(path, ".npy");
}

/* One tensor of theirs; data may be NULL where there is none. */
static int
add(struct named *n, struct groups *g, const struct names *map, const char *name, const char *type, int dtype,
    int rank, const uint64_t *shape, const void *data)
{
	struct named_tensor *t = &n->tensors[n->n];
	struct group *group = NULL;
	int found = names_find(map, g, name, &group);

	if (found < 0)
		return -1;
	if (rank > 2 && shape[0] == 1) {        /* a batch of one */
		shape++;
		rank--;
	}
	if (found && strcmp(group->tensor, "expert.idx") == 0 && dtype != I32 && dtype != I64)
		found = 0;                      /* what a gate returns first are its logits in some versions */
	if (!found || rank == 0) {
		n->unknown[n->nunknown++] = name;
		return 0;
	}
	if (dtype < 0)
		return fail(FAIL_DATA, "tensor '%.200s' is %s, which no frame has", name, type);
	if (named_has(n, group)) {              /* told twice */
		n->unknown[n->nunknown++] = name;
		return 0;
	}
	*t = (struct named_tensor){.name = name, .group = group, .dtype = (enum dtype)dtype, .rows = shape[0],
	    .count = 1, .data = data};
	for (int i = 1; i < rank; i++)
		t->count *= shape[i];           /* (the file's size was checked) */
	if (t->rows == 0 || t->count == 0)
		return 0;
	if (!(t->seen = mem_new(t->rows, sizeof(*t->seen))))
		return -1;
	n->n++;
	return table_put(&n->groups, &t->group, sizeof(t->group), t);
}

/* Routers whose experts are not in ascending order: sorted when a row is asked for. */
static void
find_routers(struct named *n, struct groups *g)
{
	for (size_t i = 0; i < n->n; i++) {
		struct named_tensor *t = &n->tensors[i], *idx = t;
		struct group *o = t->group;

		if (strcmp(o->tensor, "expert.w") == 0) {
			o = group_named(g, o->stage, o->layer, "expert.idx", NULL);
			idx = o ? table_get(&n->groups, &o, sizeof(o)) : NULL;
		}
		if (idx && strcmp(idx->group->tensor, "expert.idx") == 0 && (idx->dtype == I32 || idx->dtype == I64) &&
		    idx->rows == t->rows && idx->count == t->count && t->count <= CHOSEN_MAX)
			t->by = idx;
	}
}

static int
room(struct named *n, size_t tensors)
{
	n->tensors = mem_new(tensors, sizeof(*n->tensors));
	n->unknown = mem_new(tensors, sizeof(*n->unknown));
	return n->tensors && n->unknown ? 0 : -1;
}

static int
open_safetensors(struct named *n, struct groups *g, const struct names *map)
{
	if (safetensors_open(&n->st, n->path) < 0 || room(n, n->st.n) < 0)
		return -1;
	for (size_t i = 0; i < n->st.n; i++) {
		const struct safetensor *t = &n->st.tensors[i];
		const void *data = safetensors_data(&n->st, t);

		if (!data || add(n, g, map, t->name, t->dtype_text, t->dtype, t->rank, t->shape, data) < 0)
			return data ? fail_in("'%s'", n->path) : -1;
	}
	return 0;
}

static int
open_npy(struct named *n, struct groups *g, const struct names *map)
{
	const char *slash = strrchr(n->path, '/'), *base = slash ? slash + 1 : n->path;
	struct npy a;

	if (file_map(&n->map, n->path) < 0)
		return -1;
	if (npy_parse(&a, n->map.p, n->map.n) < 0)
		return fail_in("'%s'", n->path);
	if (!(n->own_name = strndup(base, strlen(base) - 4)) || !(n->npy = mem_raw(a.bytes, 1)) || room(n, 1) < 0)
		return fail(FAIL_SYSTEM, "no memory for '%s'", n->path);
	memcpy(n->npy, n->map.p + a.data, a.bytes);       /* which the format does not align for every type */
	return add(n, g, map, n->own_name, "", (int)a.dtype, a.rank, a.shape, n->npy);
}

int
named_open(struct named *n, struct groups *g, const char *path, const char *map_path)
{
	struct names map;
	int r;

	memset(n, 0, sizeof(*n));
	n->path = path;
	r = names_open(&map, map_path);
	if (r == 0)
		r = ends(path, ".npy") ? open_npy(n, g, &map) : open_safetensors(n, g, &map);
	names_close(&map);
	if (r == 0)
		find_routers(n, g);
	return r;
}

int
named_has(const struct named *n, const struct group *g)
{
	return table_get(&n->groups, &g, sizeof(g)) != NULL;
}

static int64_t
chosen(const struct named_tensor *idx, uint64_t row, uint64_t i)
{
	struct tensor t = {.dtype = idx->dtype, .data = (void *)(uintptr_t)idx->data};

	return dump_int(&t, row * idx->count + i);
}

/* Row pos of t with its elements in the order of the experts that they belong to. */
static int
sort_row(struct named *n, const struct named_tensor *t, uint64_t pos, struct row *r)
{
	size_t size = dtype_size(t->dtype), bytes = (size_t)t->count * size;

	n->sorted.n = 0;
	if (mem_grow(&n->sorted.p, &n->sorted.cap, bytes, 1) < 0)
		return -1;
	for (uint64_t i = 0; i < t->count; i++) {
		int64_t e = chosen(t->by, pos, i);
		uint64_t before = 0;

		for (uint64_t j = 0; j < t->count; j++) {
			int64_t o = chosen(t->by, pos, j);

			before += o < e || (o == e && j < i);
		}
		memcpy(n->sorted.p + before * size, (const char *)r->data + i * size, size);
	}
	r->data = n->sorted.p;
	return 0;
}

int
named_row(struct named *n, const struct row *ours, struct row *theirs)
{
	struct named_tensor *t = table_get(&n->groups, &ours->group, sizeof(ours->group));
	uint64_t d = row_digest(ours);

	if (!t || ours->pos >= t->rows)
		return 0;
	*theirs = (struct row){.group = ours->group, .seq = ours->seq, .pos = ours->pos, .dtype = t->dtype,
	    .count = t->count, .bytes = (size_t)t->count * dtype_size(t->dtype)};
	theirs->data = t->data + ours->pos * theirs->bytes;
	if (t->seen[ours->pos] == d)
		return 2;
	t->seen[ours->pos] = d;
	return t->by && sort_row(n, t, ours->pos, theirs) < 0 ? -1 : 1;
}

void
named_close(struct named *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->tensors[i].seen);
	free(n->tensors);
	free(n->unknown);
	table_free(&n->groups);
	free(n->own_name);
	free(n->npy);
	buf_free(&n->sorted);
	file_unmap(&n->map);
	safetensors_close(&n->st);
	memset(n, 0, sizeof(*n));
}

