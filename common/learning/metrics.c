#include <math.h>
#include <msgpack.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/io.h"
#include "frame/text.h"
#include "learning/learning_internal.h"

/* The number under a key of a map; NAN: none. */
static double
get(const msgpack_object *map, const char *key)
{
	for (uint32_t i = 0; i < map->via.map.size; i++) {
		const msgpack_object *v = &map->via.map.ptr[i].val;

		if (!is_text(&map->via.map.ptr[i].key, key))
			continue;
		if (v->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
			return (double)v->via.u64;
		if (v->type == MSGPACK_OBJECT_FLOAT32 || v->type == MSGPACK_OBJECT_FLOAT64)
			return v->via.f64;
	}
	return NAN;
}

int
metrics_read(const struct frame *f, struct step_result *s)
{
	const struct frame_key *k = frame_other(f, "loss");
	msgpack_unpacked u;
	int r = 0;

	if (!k)
		return fail(FAIL_DATA, "the pipeline has no ds-loss");
	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) !=
	    MSGPACK_UNPACK_SUCCESS || u.data.type != MSGPACK_OBJECT_MAP) {
		r = fail(FAIL_DATA, "norm: 'loss' is not a map");
	} else {
		s->loss = get(&u.data, "sum") / s->weight;
		s->tokens = get(&u.data, "tokens");
		s->clipped = get(&u.data, "clipped");
		s->ratio = get(&u.data, "ratio");
		s->exact = get(&u.data, "exact");
		s->kl = get(&u.data, "kl");
		s->entropy = get(&u.data, "entropy");
		if (!isfinite(s->loss))
			r = fail(FAIL_DATA, "the loss is %g", s->loss);
	}
	msgpack_unpacked_destroy(&u);
	return r;
}

/* A key and its value; nothing if it is not known. */
static int
put(struct buf *b, const char *key, double v)
{
	if (!isfinite(v))
		return 0;
	return buf_addf(b, "%s\"%s\": %.9g", b->n > 1 ? ", " : "", key, v);
}

/* Means over the records of what only policy gradients have. */
static int
put_answers(struct buf *b, const struct batch *batch, const struct step_result *s)
{
	double reward = 0, length = 0, n = (double)batch->n;

	if (batch->n == 0 || !batch->p[0]->old)
		return 0;
	for (size_t i = 0; i < batch->n; i++) {
		reward += batch->p[i]->reward;
		length += batch->p[i]->n - batch->p[i]->prompt;
	}
	return put(b, "answers", n) < 0 || put(b, "reward", reward / n) < 0 ||
	    put(b, "length", length / n) < 0 || put(b, "clipped", s->clipped / s->tokens) < 0 ||
	    put(b, "ratio", s->ratio) < 0 || put(b, "exact", s->exact) < 0 ||
	    put(b, "kl", s->kl) < 0 || put(b, "entropy", s->entropy) < 0 ? -1 : 0;
}

int
metrics_print(const struct run *r, const struct step_result *s, uint64_t step)
{
	double seconds = clock_now() - s->began;
	struct buf b = {0};
	int e = buf_addc(&b, '{');

	if (e == 0 && step > 0)
		e = put(&b, "step", (double)step) < 0 ||
		    put(&b, "steps", (double)r->steps) < 0 ? -1 : 0;
	if (e == 0)
		e = put(&b, "loss", s->loss) < 0 || put_answers(&b, &r->batch, s) < 0 ||
		    put(&b, "grad_norm", s->norm) < 0 ? -1 : 0;
	if (e == 0 && step > 0)
		e = put(&b, "rate", s->rate);
	if (e == 0)
		e = put(&b, "weight", s->weight) < 0 || put(&b, "tokens", s->tokens) < 0 ||
		    put(&b, "positions", (double)s->positions) < 0 ||
		    put(&b, "seconds", seconds) < 0 ||
		    put(&b, "tokens_per_second", (double)s->positions / seconds) < 0 ? -1 : 0;
	if (e == 0 && (e = buf_addf(&b, "}\n")) == 0 && (e = io_write(1, b.p, b.n)) < 0)
		fail_in("standard output");
	buf_free(&b);
	return e;
}
