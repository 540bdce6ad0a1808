/*
 * What ds-tokenize and ds-sample say of a sequence that answers a request: maps of msgpack.
 */
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/json.h"
#include "frame/text.h"
#include "stage/replies_internal.h"

/* A copy of the string that ends in a NUL; NULL and a message.  */
static char *
copy_text(const msgpack_object *o, const char *what)
{
	char *s;

	if (o->type != MSGPACK_OBJECT_STR) {
		fail(FAIL_DATA, "%s is not a string", what);
		return NULL;
	}
	if (!(s = malloc(o->via.str.size + 1u))) {
		fail(FAIL_SYSTEM, "no memory for a request");
		return NULL;
	}
	memcpy(s, o->via.str.ptr, o->via.str.size);
	s[o->via.str.size] = 0;
	return s;
}

/* The id of a request is copied into lines as it is, so it must be JSON, and one line.  */
static int
check_id(const char *id)
{
	cJSON *o = json_parse(id, strlen(id));
	int good = cJSON_IsString(o) || cJSON_IsNumber(o);

	cJSON_Delete(o);
	for (const char *p = id; *p; p++)
		good &= (unsigned char)*p >= ' ';
	return good ? 0 :
	    fail(FAIL_DATA, "request: 'id' is not the JSON text of a string or a number");
}

static int
read_request(struct reply *w, const msgpack_object *o)
{
	for (uint32_t i = 0; o->type == MSGPACK_OBJECT_MAP && i < o->via.map.size; i++) {
		const msgpack_object *key = &o->via.map.ptr[i].key;
		const msgpack_object *v = &o->via.map.ptr[i].val;

		if (is_text(key, "id") && !w->id && !(w->id = copy_text(v, "request: 'id'")))
			return -1;
		if (!is_text(key, "index") && !is_text(key, "n") && !is_text(key, "seed"))
			continue;
		if (v->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
			return fail(FAIL_DATA, "request: 'index', 'n' or 'seed' is not an integer");
		*(is_text(key, "index") ? &w->index : is_text(key, "n") ? &w->paths : &w->seed) =
		    v->via.u64;
	}
	if (!w->id)
		return fail(FAIL_DATA,
		    "the prompt has no request: was it sent by ds-tokenize --jsonl?");
	return check_id(w->id);
}

static int
read_stops(struct reply *w, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_ARRAY)
		return fail(FAIL_DATA, "seqs: 'stop_text' is not an array");
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		const msgpack_object *v = &o->via.array.ptr[i];

		if (v->type != MSGPACK_OBJECT_STR && v->type != MSGPACK_OBJECT_BIN)
			return fail(FAIL_DATA, "seqs: an element of 'stop_text' is not a string");
		/* str and bin have the same members */
		if (stops_add(&w->stops, v->via.str.ptr, v->via.str.size) < 0)
			return fail_in("seqs: 'stop_text'");
	}
	return 0;
}

/* The entry of seqs, or for a prompt that failed the map `request`.  */
static int
read_entry(struct reply *w, const unsigned char *p, size_t n, int whole)
{
	const msgpack_object none = {.type = MSGPACK_OBJECT_NIL}, *request = &none;
	msgpack_unpacked u;
	int r = 0;

	msgpack_unpacked_init(&u);
	if (n > 0 && msgpack_unpack_next(&u, (const char *)p, n, NULL) == MSGPACK_UNPACK_SUCCESS &&
	    u.data.type == MSGPACK_OBJECT_MAP) {
		const msgpack_object_map *m = &u.data.via.map;

		request = whole ? &none : &u.data;
		for (uint32_t i = 0; whole && i < m->size && r == 0; i++) {
			const msgpack_object *v = &m->ptr[i].val;

			if (is_text(&m->ptr[i].key, "request"))
				request = v;
			else if (is_text(&m->ptr[i].key, "stop_text"))
				r = read_stops(w, v);
			else if (is_text(&m->ptr[i].key, "logprobs"))
				w->wants_logprobs =
				    v->type == MSGPACK_OBJECT_BOOLEAN && v->via.boolean;
		}
	}
	if (r == 0)
		r = read_request(w, request);
	msgpack_unpacked_destroy(&u);
	return r;
}

/* 1 if <think> is the last marker after the last special token, so that the answer starts in the
 * reasoning.  A <think> in a user's message is before the special token of the answer.  */
static int
opens_reasoning(const struct speech_rules *r, const int32_t *ids, uint64_t n)
{
	while (n-- > 0) {
		if (ids[n] == r->think || ids[n] == r->unthink)
			return ids[n] == r->think;
		if (tokenizer_is_special(r->t, ids[n]))
			return 0;
	}
	return 0;
}

static int
keep_prompt(struct reply *w, const int32_t *ids)
{
	if (!(w->prompt = mem_new(w->prompt_tokens, sizeof(*w->prompt))))
		return -1;
	memcpy(w->prompt, ids, w->prompt_tokens * sizeof(*ids));
	return 0;
}

int
reply_prompt(const struct replies *a, struct reply *w, struct frame *f)
{
	const struct frame_key *k;
	struct tensor *ids;

	memcpy(w->model, f->model, sizeof(w->model));
	if (f->op == OP_FAILED) {
		k = frame_other(f, "request");
		return read_entry(w, k ? k->value : NULL, k ? k->nvalue : 0, 0);
	}
	if (f->nspans != 1 || f->at != AT_EMBED || f->nseqs > 1)
		return fail(FAIL_DATA, "a frame of more than one prompt");
	if (!(ids = frame_require(f, "ids", I32, f->rows, 0)))
		return -1;
	w->prompt_tokens = f->rows;
	if (a->prompt_ids && keep_prompt(w, ids->data) < 0)
		return -1;
	w->speech.reasoning = w->thought = opens_reasoning(&a->rules, ids->data, f->rows);
	return f->nseqs ? read_entry(w, f->seqs[0].params, f->seqs[0].n, 1) :
	    read_entry(w, NULL, 0, 1);
}

/* A string of the map `ended`, if it is printable ASCII of fewer than size bytes.  */
static void
get_string(const msgpack_object *m, const char *key, char *to, size_t size)
{
	for (uint32_t i = 0; i < m->via.map.size; i++) {
		const msgpack_object *v = &m->via.map.ptr[i].val;
		size_t n = 0;

		if (!is_text(&m->via.map.ptr[i].key, key) || v->type != MSGPACK_OBJECT_STR ||
		    v->via.str.size >= size)
			continue;
		while (n < v->via.str.size && v->via.str.ptr[n] >= ' ' && v->via.str.ptr[n] < 127)
			n++;
		if (n < v->via.str.size)
			continue;
		memcpy(to, v->via.str.ptr, n);
		to[n] = 0;
	}
}

const char *
reply_ended(struct reply *w, const struct frame *f)
{
	static const char *const reasons[] = {"stop", "length"};
	const struct frame_key *k = frame_other(f, "ended");
	char reason[16] = "";
	msgpack_unpacked u;

	msgpack_unpacked_init(&u);
	if (k && msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) ==
	    MSGPACK_UNPACK_SUCCESS && u.data.type == MSGPACK_OBJECT_MAP) {
		get_string(&u.data, "reason", reason, sizeof(reason));
		get_string(&u.data, "model", w->model, sizeof(w->model));
		get_string(&u.data, "precision", w->precision, sizeof(w->precision));
	}
	msgpack_unpacked_destroy(&u);
	for (int i = 0; i < 2; i++)
		if (strcmp(reason, reasons[i]) == 0)
			return reasons[i];
	return "stopped";
}
