#include "stage/trace.h"

#include <msgpack.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fail.h"

int64_t
trace_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static const char *
host(void)
{
	static char name[256];

	if (!name[0] && (gethostname(name, sizeof(name) - 1) < 0 || !name[0]))
		strcpy(name, "localhost");
	return name;
}

static void
pack_text(msgpack_packer *k, const char *s)
{
	msgpack_pack_str(k, strlen(s));
	msgpack_pack_str_body(k, s, strlen(s));
}

int
trace_add(struct frame *f, int layer, int64_t start, uint64_t bytes)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	int r;

	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	msgpack_pack_array(&k, 6);
	pack_text(&k, program);
	pack_text(&k, host());
	msgpack_pack_int(&k, layer);
	msgpack_pack_int64(&k, start);
	msgpack_pack_int64(&k, trace_now());
	msgpack_pack_uint64(&k, bytes);
	r = frame_append(f, "trace", b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

struct trace
trace_begin(const struct frame *f)
{
	const struct frame_key *k = f->op == OP_NONE && f->nothers > 0 ? frame_other(f, "trace") : NULL;

	if (!k)
		return (struct trace){0};
	return (struct trace){trace_now(), at_layered(f->at) ? f->layer : -1, f->nraw, k->value};
}

int
trace_end(const struct trace *t, struct frame *f)
{
	const struct frame_key *k = t->start && f->changed ? frame_other(f, "trace") : NULL;

	return k && k->value == t->seen ? trace_add(f, t->layer, t->start, t->bytes) : 0;
}

int
trace_merge(struct frame *to, const struct frame *from)
{
	return frame_unite(to, from, "trace");
}
