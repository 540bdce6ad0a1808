#include "stage/sampling.h"

#include <math.h>
#include <msgpack.h>
#include <string.h>

#include "base/fail.h"
#include "frame/text.h"

struct sampling
sampling_defaults(const struct config *c)
{
	const struct generation *g = &c->generation;
	struct sampling p = {.greedy = !g->do_sample, .temperature = g->temperature,
	    .top_k = g->top_k,
	    .top_p = g->top_p, .max_new = UINT32_MAX, .think_max = THINK_MAX};

	for (int i = 0; i < g->neos; i++)
		p.stop[p.nstop++] = g->eos[i];
	return p;
}

static int
check_thinking(const struct sampling *p, int status, const char *min, const char *max)
{
	return p->think_min <= p->think_max ? 0 : fail(status, "%s %u is more than %s %u", min,
	    p->think_min, max, p->think_max);
}

int
sampling_copy(struct sampling *to, const struct sampling *from)
{
	*to = *from;
	to->stop_text = (struct stops){0};
	return stops_copy(&to->stop_text, &from->stop_text);
}

int
sampling_set(struct sampling *p, const struct sampling_options *o)
{
	if (!isnan(o->temperature)) {
		p->temperature = o->temperature;
		p->greedy = o->temperature == 0;
	}
	if (o->top_k >= 0)
		p->top_k = (int)o->top_k;
	if (!isnan(o->top_p))
		p->top_p = o->top_p;
	if (o->max_new >= 0)
		p->max_new = (uint32_t)o->max_new;
	if (o->greedy)
		p->greedy = 1;
	p->logprobs = o->logprobs;
	p->seed = (uint64_t)o->seed;
	if (o->think_min >= 0)
		p->think_min = (uint32_t)o->think_min;
	if (o->think_max >= 0)
		p->think_max = (uint32_t)o->think_max;
	p->stop_text = o->stop_text;
	return check_thinking(p, FAIL_USAGE, "--think-min", "--think-max");
}

static int
get_number(const msgpack_object *o, const char *what, double min, double max, double *out)
{
	if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
		*out = (double)o->via.u64;
	else if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64)
		*out = o->via.f64;
	else
		return fail(FAIL_DATA, "seqs: '%s' is not a number from %g to %g", what, min, max);
	if (!(*out >= min && *out <= max))
		return fail(FAIL_DATA, "seqs: '%s' %g is not from %g to %g", what, *out, min, max);
	return 0;
}

/* Add the ids of an array to the ids that end the sequence.  */
static int
get_stop(struct sampling *p, const char *what, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > (uint32_t)(STOPS_MAX - p->nstop))
		return fail(FAIL_DATA, "seqs: '%s' is not an array of at most %d ids", what,
		    STOPS_MAX - p->nstop);
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		const msgpack_object *v = &o->via.array.ptr[i];

		if (v->type != MSGPACK_OBJECT_POSITIVE_INTEGER || v->via.u64 > INT32_MAX)
			return fail(FAIL_DATA, "seqs: '%s' has an element that is not an id", what);
		p->stop[p->nstop++] = (int32_t)v->via.u64;
	}
	return 0;
}

static int
get_stop_text(struct sampling *p, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_ARRAY)
		return fail(FAIL_DATA, "seqs: 'stop_text' is not an array of strings");
	stops_free(&p->stop_text);
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		const msgpack_object *v = &o->via.array.ptr[i];

		if (v->type != MSGPACK_OBJECT_STR && v->type != MSGPACK_OBJECT_BIN)
			return fail(FAIL_DATA,
			    "seqs: 'stop_text' has an element that is not a string");
		if (stops_add(&p->stop_text, v->via.bin.ptr, v->via.bin.size) < 0) {
			fail_in("seqs: 'stop_text'");
			return -1;
		}
	}
	return 0;
}

/* An integer, or a float of the same value.  */
static int
get_count(const msgpack_object *o, const char *what, double max, uint32_t *out)
{
	double n;

	if (get_number(o, what, 0, max, &n) < 0)
		return -1;
	*out = (uint32_t)n;
	return *out == n ? 0 : fail(FAIL_DATA, "seqs: '%s' %g is not an integer", what, n);
}

static int
get_bool(const msgpack_object *o, const char *what, int *out)
{
	if (o->type != MSGPACK_OBJECT_BOOLEAN)
		return fail(FAIL_DATA, "seqs: '%s' is neither true nor false", what);
	*out = o->via.boolean;
	return 0;
}

static int
get_u64(const msgpack_object *o, const char *what, uint64_t *out)
{
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return fail(FAIL_DATA, "seqs: '%s' is not an integer of 64 bits, 0 or more", what);
	*out = o->via.u64;
	return 0;
}

static int
read_param(struct sampling *p, const msgpack_object *key, const msgpack_object *o)
{
	double n = 0;

	if (is_text(key, "stop")) {
		p->nstop = 0;
		return get_stop(p, "stop", o);
	} else if (is_text(key, "stop_text")) {
		return get_stop_text(p, o);
	} else if (is_text(key, "stop_ids")) {
		return get_stop(p, "stop_ids", o);
	} else if (is_text(key, "greedy")) {
		return get_bool(o, "greedy", &p->greedy);
	} else if (is_text(key, "logprobs")) {
		return get_bool(o, "logprobs", &p->logprobs);
	} else if (is_text(key, "request")) {
		p->request = 1;
	} else if (is_text(key, "stream")) {
		p->has_stream = 1;
		return get_u64(o, "stream", &p->stream);
	} else if (is_text(key, "seed")) {
		return get_u64(o, "seed", &p->seed);
	} else if (is_text(key, "temperature")) {
		if (get_number(o, "temperature", 0, 1000, &p->temperature) < 0)
			return -1;
		p->greedy = p->temperature == 0;
	} else if (is_text(key, "top_p")) {
		return get_number(o, "top_p", 0, 1, &p->top_p);
	} else if (is_text(key, "top_k")) {
		if (get_number(o, "top_k", 0, INT32_MAX, &n) < 0)
			return -1;
		p->top_k = (int)n;
	} else if (is_text(key, "max_new")) {
		return get_count(o, "max_new", UINT32_MAX, &p->max_new);
	} else if (is_text(key, "new")) {
		return get_count(o, "new", UINT32_MAX, &p->had);
	} else if (is_text(key, "think_min")) {
		return get_count(o, "think_min", THINK_MAX, &p->think_min);
	} else if (is_text(key, "think_max")) {
		return get_count(o, "think_max", THINK_MAX, &p->think_max);
	}
	return 0;
}

/* In any order, greedy overrides a temperature, and stop_ids are added to stop.  */
static int
is_last(const msgpack_object *key)
{
	return is_text(key, "greedy") || is_text(key, "stop_ids");
}

int
sampling_read(struct sampling *p, const unsigned char *params, size_t n)
{
	msgpack_unpacked u;
	const msgpack_object_map *m;
	int r = 0;

	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)params, n, NULL) != MSGPACK_UNPACK_SUCCESS ||
	    u.data.type != MSGPACK_OBJECT_MAP) {
		msgpack_unpacked_destroy(&u);
		return fail(FAIL_DATA, "seqs: the parameters of a sequence are not a map");
	}
	m = &u.data.via.map;
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < m->size && r == 0; i++)
			if (is_last(&m->ptr[i].key) == pass)
				r = read_param(p, &m->ptr[i].key, &m->ptr[i].val);
	msgpack_unpacked_destroy(&u);
	return r < 0 ? -1 : check_thinking(p, FAIL_DATA, "seqs: think_min", "think_max");
}

uint32_t
sampling_new(const unsigned char *params, size_t n)
{
	struct sampling p = {.think_max = THINK_MAX};
	int r = sampling_read(&p, params, n);

	stops_free(&p.stop_text);
	return r < 0 ? 0 : p.had;
}

int
sampling_request(const unsigned char *params, size_t n)
{
	struct sampling p = {.think_max = THINK_MAX};
	int r = sampling_read(&p, params, n);

	stops_free(&p.stop_text);
	return r == 0 && p.request;
}
