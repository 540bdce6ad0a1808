#include "frame/learn.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame_internal.h"
#include "frame/text.h"

#define FIELD(name) offsetof(struct frame_step, name)
#define BOTH (1u << OP_NORM | 1u << OP_STEP)
#define STEP (1u << OP_STEP)

const struct frame_number frame_numbers[] = {
	{"weight", FIELD(weight), DBL_MAX, 1, BOTH | 1u << OP_SAVE_WEIGHTS},
	{"rate", FIELD(rate), DBL_MAX, 0, STEP},
	{"beta1", FIELD(beta1), 1, 0, STEP},
	{"beta2", FIELD(beta2), 1, 0, STEP},
	{"eps", FIELD(eps), DBL_MAX, 1, STEP},
	{"decay", FIELD(decay), DBL_MAX, 0, STEP},
	{"factor", FIELD(factor), 1, 0, STEP},
	{"bias1", FIELD(bias1), 1, 1, STEP},
	{"bias2", FIELD(bias2), 1, 1, STEP},
	{"balance", FIELD(balance), DBL_MAX, 0, STEP},
	{0}};

static const char *const saves[SAVES] = {"weights", "state", "gradients"};

const char *
save_name(enum save what)
{
	return saves[what];
}

int
frame_has_number(const struct frame *f, const struct frame_number *n)
{
	return n->ops >> f->op & 1 &&
	    (f->op != OP_SAVE_WEIGHTS || f->step.what == SAVE_GRADIENTS);
}

int
frame_same_step(const struct frame *a, const struct frame *b)
{
	for (const struct frame_number *n = frame_numbers; n->key; n++)
		if (frame_has_number(a, n) && frame_number(a, n) != frame_number(b, n))
			return 0;
	return a->op != OP_SAVE_WEIGHTS ? a->step.t == b->step.t :
	    a->step.what == b->step.what && strcmp(a->step.folder, b->step.folder) == 0;
}

/* --- msgpack --- */

/* The value under a key of a map.  NULL and a message if there is none, or two.  */
static const msgpack_object *
value_of(const msgpack_object *map, const char *key)
{
	const msgpack_object *o = NULL;

	for (uint32_t i = 0; i < map->via.map.size; i++) {
		if (!is_text(&map->via.map.ptr[i].key, key))
			continue;
		if (o) {
			fail(FAIL_DATA, "header: the key '%s' appears twice", key);
			return NULL;
		}
		o = &map->via.map.ptr[i].val;
	}
	if (!o)
		fail(FAIL_DATA, "header: the key '%s' is missing", key);
	return o;
}

/* 0, or -1: it is no finite number.  */
static int
number_of(const msgpack_object *o, double *to)
{
	if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
		*to = (double)o->via.u64;
	else if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64)
		*to = o->via.f64;
	else
		return -1;
	return isfinite(*to) ? 0 : -1;
}

/* --- control frames --- */

static int
read_number(struct frame *f, const msgpack_object *map, const struct frame_number *n)
{
	const msgpack_object *o = value_of(map, n->key);
	double v;

	if (!o)
		return -1;
	if (number_of(o, &v) < 0 || v < 0 || v > n->most || (n->positive && v == 0)) {
		char most[32] = "";

		if (n->most == 1)
			strcpy(most, " and at most 1");
		return fail(FAIL_DATA, "header: '%s' is not a number %s 0%s", n->key,
		    n->positive ? "above" : "of at least", most);
	}
	memcpy((char *)&f->step + n->offset, &v, sizeof(v));
	return 0;
}

static int
read_count(struct frame *f, const msgpack_object *map)
{
	const msgpack_object *o = value_of(map, "step");

	if (!o)
		return -1;
	f->step.t = o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? o->via.u64 : 0;
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || (f->op == OP_STEP && f->step.t == 0))
		return fail(FAIL_DATA, "header: 'step' is not an integer of at least %d",
		    f->op == OP_STEP);
	return 0;
}

/* What is saved, and the folder.  */
static int
read_save(struct frame *f, const msgpack_object *map)
{
	const msgpack_object *what = value_of(map, "what");
	const msgpack_object *o = what ? value_of(map, "folder") : NULL;
	enum save s = SAVE_WEIGHTS;

	if (!o)
		return -1;
	while (s < SAVES && !is_text(what, saves[s]))
		s++;
	if (s == SAVES)
		return fail(FAIL_DATA, "header: 'what' is not weights, state or gradients");
	if (o->type != MSGPACK_OBJECT_STR || o->via.str.size == 0 ||
	    memchr(o->via.str.ptr, 0, o->via.str.size))
		return fail(FAIL_DATA, "header: 'folder' is not the name of a folder");
	f->step.what = s;
	f->step.folder = frame_keep(f, o->via.str.ptr, o->via.str.size);
	return f->step.folder ? 0 : -1;
}

int
learn_reads(const struct frame *f, const msgpack_object *key)
{
	int save = f->op == OP_SAVE_WEIGHTS;

	if (save && (is_text(key, "what") || is_text(key, "folder")))
		return 1;
	if (!save && op_learns(f->op) && is_text(key, "step"))
		return 1;
	for (const struct frame_number *n = frame_numbers; n->key; n++)
		if (n->ops >> f->op & 1 && is_text(key, n->key))
			return 1;
	return 0;
}

int
learn_read(struct frame *f, const msgpack_object *map)
{
	if ((f->op == OP_SAVE_WEIGHTS ? read_save(f, map) : read_count(f, map)) < 0)
		return -1;
	for (const struct frame_number *n = frame_numbers; n->key; n++)
		if (frame_has_number(f, n) && read_number(f, map, n) < 0)
			return -1;
	return 0;
}

size_t
learn_keys(const struct frame *f)
{
	size_t n = !op_learns(f->op) ? 0 : f->op == OP_SAVE_WEIGHTS ? 2 : 1;

	for (const struct frame_number *m = frame_numbers; m->key; m++)
		n += frame_has_number(f, m);
	return n;
}

static void
pack_key(msgpack_packer *k, const char *s)
{
	msgpack_pack_str(k, strlen(s));
	msgpack_pack_str_body(k, s, strlen(s));
}

void
learn_pack(msgpack_packer *k, const struct frame *f)
{
	if (!op_learns(f->op))
		return;
	if (f->op == OP_SAVE_WEIGHTS) {
		pack_key(k, "folder");
		pack_key(k, f->step.folder);
		pack_key(k, "what");
		pack_key(k, saves[f->step.what]);
	} else {
		pack_key(k, "step");
		msgpack_pack_uint64(k, f->step.t);
	}
	for (const struct frame_number *n = frame_numbers; n->key; n++)
		if (frame_has_number(f, n)) {
			pack_key(k, n->key);
			msgpack_pack_double(k, frame_number(f, n));
		}
}

/* --- the key `learn` of rows --- */

static int
bad_learn(const char *key, const char *want)
{
	return fail(FAIL_DATA, "header: '%s' of 'learn' is not %s", key, want);
}

/* One entry of its map; others are left to later versions.  */
static int
read_learn(struct frame_learn *l, const msgpack_object *key, const msgpack_object *o, int *has_id)
{
	if (is_text(key, "id")) {
		if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
			return bad_learn("id", "an integer of at least 0");
		l->id = o->via.u64;
		*has_id = 1;
	} else if (is_text(key, "score")) {
		if (o->type != MSGPACK_OBJECT_BOOLEAN)
			return bad_learn("score", "true or false");
		l->score = o->via.boolean;
	} else if (is_text(key, "beta")) {
		if (number_of(o, &l->beta) < 0 || l->beta < 0)
			return bad_learn("beta", "a number of at least 0");
	} else if (is_text(key, "clip")) {
		if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 2 ||
		    number_of(&o->via.array.ptr[0], &l->clip[0]) < 0 || l->clip[0] < 0 ||
		    number_of(&o->via.array.ptr[1], &l->clip[1]) < 0 || l->clip[1] < 0)
			return bad_learn("clip", "two numbers of at least 0");
		l->has_clip = 1;
	}
	return 0;
}

static int
read_entries(struct frame_learn *l, const msgpack_object *map)
{
	int has_id = 0;

	if (map->type != MSGPACK_OBJECT_MAP)
		return fail(FAIL_DATA, "header: 'learn' is not a map");
	for (uint32_t i = 0; i < map->via.map.size; i++)
		if (read_learn(l, &map->via.map.ptr[i].key, &map->via.map.ptr[i].val, &has_id) < 0)
			return -1;
	return has_id ? 1 : fail(FAIL_DATA, "header: 'learn' has no 'id'");
}

/* Entry i of the array `lines`, 0 without one.  */
static uint64_t
line_at(const msgpack_object *map, uint32_t i)
{
	for (uint32_t k = 0; map->type == MSGPACK_OBJECT_MAP && k < map->via.map.size; k++) {
		const msgpack_object *o = &map->via.map.ptr[k].val;

		if (is_text(&map->via.map.ptr[k].key, "lines") &&
		    o->type == MSGPACK_OBJECT_ARRAY && i < o->via.array.size &&
		    o->via.array.ptr[i].type == MSGPACK_OBJECT_POSITIVE_INTEGER)
			return o->via.array.ptr[i].via.u64;
	}
	return 0;
}

uint64_t
frame_learn_line(const struct frame *f, uint64_t seq)
{
	const struct frame_key *k = frame_other(f, "learn");
	msgpack_unpacked u;
	uint64_t line = 0;
	uint32_t n = 0;
	int i = 0;

	for (; i < f->nspans && f->spans[i].seq != seq; i++)
		n += i + 1 == f->nspans || f->spans[i + 1].seq != f->spans[i].seq;
	if (!k || i == f->nspans)
		return 0;
	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) ==
	    MSGPACK_UNPACK_SUCCESS)
		line = line_at(&u.data, n);
	msgpack_unpacked_destroy(&u);
	return line;
}

int
frame_learn(const struct frame *f, struct frame_learn *l)
{
	const struct frame_key *k = f->op == OP_NONE ? frame_other(f, "learn") : NULL;
	msgpack_unpacked u;
	int r;

	*l = (struct frame_learn){0};
	if (!k)
		return 0;
	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) ==
	    MSGPACK_UNPACK_SUCCESS)
		r = read_entries(l, &u.data);
	else
		r = fail(FAIL_DATA, "header: 'learn' is not a map");
	msgpack_unpacked_destroy(&u);
	return r;
}
