#include "inspect/times.h"

#include <msgpack.h>

#include "base/fail.h"

#define TIME_MAX (INT64_MAX / 2)        /* so that differences do not overflow */

static int
get_text(const msgpack_object *o, const char **s, uint32_t *n)
{
	if (o->type != MSGPACK_OBJECT_STR)
		return -1;
	*s = o->via.str.size > 0 ? o->via.str.ptr : "";
	*n = o->via.str.size;
	return 0;
}

static int
get_uint(const msgpack_object *o, uint64_t max, uint64_t *v)
{
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > max)
		return -1;
	*v = o->via.u64;
	return 0;
}

/* A stage without a layer writes nil or a negative number. */
static int
get_entry(const msgpack_object *o, struct times_entry *e)
{
	const msgpack_object *v = o->via.array.ptr;
	uint64_t start, end, layer = 0;
	int none;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 6)
		return -1;
	none = v[2].type == MSGPACK_OBJECT_NIL || v[2].type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
	if (get_text(&v[0], &e->at.program, &e->at.nprogram) < 0 || get_text(&v[1], &e->at.host, &e->at.nhost) < 0 ||
	    (!none && get_uint(&v[2], INT32_MAX, &layer) < 0) || get_uint(&v[3], TIME_MAX, &start) < 0 ||
	    get_uint(&v[4], TIME_MAX, &end) < 0 || get_uint(&v[5], UINT64_MAX, &e->bytes) < 0)
		return -1;
	e->at.layer = none ? -1 : (int64_t)layer;
	e->start = (int64_t)start;
	e->end = (int64_t)end;
	return 0;
}

static int
read_array(const msgpack_object *o, int (*fn)(void *arg, const struct times_entry *e), void *arg)
{
	struct times_entry e;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return fail(FAIL_DATA, "header: 'trace' is not an array");
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		if (get_entry(&o->via.array.ptr[i], &e) < 0)
			return fail(FAIL_DATA, "header: entry %u of 'trace' is not [program, host, layer, start, end, bytes]", i + 1);
		if (fn(arg, &e) < 0)
			return -1;
	}
	return 0;
}

int
times_read(const struct frame *f, int (*fn)(void *arg, const struct times_entry *e), void *arg)
{
	const struct frame_key *k = f->op == OP_NONE ? frame_other(f, "trace") : NULL;
	msgpack_unpacked u;
	int r;

	if (!k)
		return 0;
	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) == MSGPACK_UNPACK_SUCCESS)
		r = read_array(&u.data, fn, arg);
	else
		r = fail(FAIL_SYSTEM, "no memory for a trace");
	msgpack_unpacked_destroy(&u);
	return r;
}
