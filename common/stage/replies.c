#include "stage/replies.h"

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/json.h"
#include "base/utf8.h"
#include "stage/request.h"

#define LLU(x) ((unsigned long long)(x))

struct reply {
	uint64_t seq;                   /* key of `live` */
	struct reply *prev, *next;
	char *id;                       /* JSON text */
	uint64_t index, seed, prompt_tokens;
	char model[17];                 /* of the prompt, then of the logits; "": unknown */
	char precision[8];              /* "": unknown */
	char *stops[REQUEST_STOPS_MAX]; /* strings that end it */
	int nstops;
	int wants_logprobs, started, ended;

	int32_t *ids;                   /* [n] */
	float *logprobs;                /* [n], NaN: none */
	size_t n, ids_cap, logprobs_cap;
	struct speech speech;
	int thought;                    /* 1: it has or had reasoning */
	int trim;                       /* newlines at the start of the answer are dropped */
	struct buf text, reasoning, answer;
	size_t before;                  /* bytes of text before the last token */
	size_t since;                   /* bytes of `answer` or `reasoning` since the last marker */
	struct buf line;                /* if it waits for its turn */
};

void
replies_open(struct replies *a, const struct tokenizer *t)
{
	*a = (struct replies){.rules = speech_rules(t)};
}

/* Free all but the line and the id.  */
static void
clear(struct reply *w)
{
	for (int i = 0; i < w->nstops; i++)
		free(w->stops[i]);
	w->nstops = 0;
	free(w->ids);
	free(w->logprobs);
	w->ids = NULL;
	w->logprobs = NULL;
	buf_free(&w->speech.part);
	buf_free(&w->text);
	buf_free(&w->reasoning);
	buf_free(&w->answer);
}

static void
drop(struct replies *a, struct reply *w)
{
	*(w->prev ? &w->prev->next : &a->first) = w->next;
	*(w->next ? &w->next->prev : &a->last) = w->prev;
	(void)table_del(&a->live, &w->seq, sizeof(w->seq));
	clear(w);
	buf_free(&w->line);
	free(w->id);
	free(w);
}

void
replies_close(struct replies *a)
{
	while (a->first)
		drop(a, a->first);
	table_free(&a->live);
}

static struct reply *
find(const struct replies *a, uint64_t seq)
{
	struct reply *w = table_get(&a->live, &seq, sizeof(seq));

	return w && !w->ended ? w : NULL;
}

/* --- prompts --- */

static int
is_key(const msgpack_object *o, const char *s)
{
	return o->type == MSGPACK_OBJECT_STR && o->via.str.size == strlen(s) &&
	    memcmp(o->via.str.ptr, s, strlen(s)) == 0;
}

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

/* Request's id is copied into lines as it is, so it must be JSON.  */
static int
check_id(const char *id)
{
	cJSON *o = json_parse(id, strlen(id));
	int good = cJSON_IsString(o) || cJSON_IsNumber(o);

	cJSON_Delete(o);
	return good ? 0 : fail(FAIL_DATA, "request: 'id' is not the JSON text of a string or a number");
}

static int
read_request(struct reply *w, const msgpack_object *o)
{
	for (uint32_t i = 0; o->type == MSGPACK_OBJECT_MAP && i < o->via.map.size; i++) {
		const msgpack_object *key = &o->via.map.ptr[i].key, *v = &o->via.map.ptr[i].val;

		if (is_key(key, "id") && !w->id && !(w->id = copy_text(v, "request: 'id'")))
			return -1;
		if (!is_key(key, "index") && !is_key(key, "seed"))
			continue;
		if (v->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
			return fail(FAIL_DATA, "request: 'index' or 'seed' is not an integer");
		*(is_key(key, "index") ? &w->index : &w->seed) = v->via.u64;
	}
	if (!w->id)
		return fail(FAIL_DATA, "the prompt has no request: was it sent by ds-tokenize --jsonl?");
	return check_id(w->id);
}

static int
read_stops(struct reply *w, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > REQUEST_STOPS_MAX || w->nstops > 0)
		return fail(FAIL_DATA, "seqs: 'stop_text' is not one array of at most %d strings", REQUEST_STOPS_MAX);
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		if (!(w->stops[i] = copy_text(&o->via.array.ptr[i], "seqs: an element of 'stop_text'")))
			return -1;
		w->nstops++;
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
			if (is_key(&m->ptr[i].key, "request"))
				request = &m->ptr[i].val;
			else if (is_key(&m->ptr[i].key, "stop_text"))
				r = read_stops(w, &m->ptr[i].val);
			else if (is_key(&m->ptr[i].key, "logprobs"))
				w->wants_logprobs = m->ptr[i].val.type == MSGPACK_OBJECT_BOOLEAN && m->ptr[i].val.via.boolean;
		}
	}
	if (r == 0)
		r = read_request(w, request);
	msgpack_unpacked_destroy(&u);
	return r;
}

/* 1 if the ids end in <think> and white space, so that the answer starts in the reasoning.  */
static int
opens_reasoning(const struct speech_rules *r, const int32_t *ids, uint64_t n)
{
	while (n > 0) {
		size_t len;
		const char *s = tokenizer_bytes(r->t, ids[--n], &len);

		if (ids[n] == r->think)
			return 1;
		for (size_t i = 0; s && i < len; i++)
			if (!strchr(" \t\n", s[i]))
				s = NULL;
		if (!s || tokenizer_is_special(r->t, ids[n]))
			return 0;
	}
	return 0;
}

static int
read_prompt(struct replies *a, struct reply *w, struct frame *f)
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
	w->speech.reasoning = w->thought = opens_reasoning(&a->rules, ids->data, f->rows);
	return read_entry(w, f->nseqs ? f->seqs[0].params : NULL, f->nseqs ? f->seqs[0].n : 0, 1);
}

int
replies_prompt(struct replies *a, struct frame *f)
{
	uint64_t seq = f->op == OP_FAILED ? f->seq : f->nspans > 0 ? f->spans[0].seq : 0;
	struct reply *w;

	if (f->op != OP_FAILED && f->op != OP_NONE)
		return 0;
	if (a->any && seq <= a->newest)
		return fail(FAIL_DATA, "sequence %llu: its prompt comes after that of %llu", LLU(seq), LLU(a->newest));
	if (!(w = mem_new(1, sizeof(*w))))
		return -1;
	w->seq = seq;
	w->prev = a->last;
	*(a->last ? &a->last->next : &a->first) = w;
	a->last = w;
	a->any = 1;
	a->newest = seq;
	a->unstarted++;
	if (read_prompt(a, w, f) < 0)
		return fail_in("sequence %llu", LLU(seq));
	return table_put(&a->live, &w->seq, sizeof(w->seq), w);
}

int
replies_lacks(const struct replies *a, const struct frame *f)
{
	uint64_t most = 0;
	int any = 0;

	for (int i = 0; f->op == OP_NONE && i < f->nspans; i++) {
		most = f->spans[i].seq > most ? f->spans[i].seq : most;
		any = 1;
	}
	if (frame_frees(f)) {
		most = f->seq;
		any = 1;
	}
	return any && (!a->any || most > a->newest);
}

/* --- tokens --- */

static int
add_text(void *to, enum speech_kind kind, const unsigned char *p, size_t n)
{
	struct reply *w = to;

	if (buf_add(&w->text, p, n) < 0)
		return -1;
	if (kind == SPEECH_MARKER) {
		w->since = 0;
		return 0;
	}
	if (kind == SPEECH_ANSWER)
		for (; w->trim && n > 0 && *p == '\n'; n--)
			p++;
	w->trim = w->trim && n == 0;
	w->since += n;
	return buf_add(kind == SPEECH_ANSWER ? &w->answer : &w->reasoning, p, n);
}

static int
add_token(struct replies *a, struct reply *w, int32_t id, float logprob)
{
	int before = w->speech.reasoning;

	if (mem_grow(&w->ids, &w->ids_cap, w->n + 1, sizeof(*w->ids)) < 0 ||
	    mem_grow(&w->logprobs, &w->logprobs_cap, w->n + 1, sizeof(*w->logprobs)) < 0)
		return -1;
	w->ids[w->n] = id;
	w->logprobs[w->n++] = logprob;
	w->before = w->text.n;
	if (speech_add(&a->rules, &w->speech, id, add_text, w) < 0)
		return -1;
	w->thought |= w->speech.reasoning;
	w->trim |= before && !w->speech.reasoning;
	return speech_settle(&w->speech, 0, add_text, w);
}

static int
add_span(struct replies *a, const struct span *p, const int32_t *ids, const float *logprobs)
{
	struct reply *w = find(a, p->seq);
	uint64_t held = w ? w->prompt_tokens + w->n : 0;
	/* a plan's pipeline that was restarted may sample the last token again */
	uint32_t again = held > p->pos ? (uint32_t)(held - p->pos) : 0;

	if (p->n == 0)
		return 0;
	if (!w)
		return fail(FAIL_DATA, "sequence %llu: tokens without a prompt, or after their end", LLU(p->seq));
	if (held < p->pos)
		return fail(FAIL_DATA, "sequence %llu: position %llu: its token is missing", LLU(p->seq), LLU(held));
	a->unstarted -= !w->started;
	w->started = 1;
	for (uint32_t i = again; i < span_tokens(p); i++)
		if (add_token(a, w, ids[i], logprobs ? logprobs[i] : NAN) < 0)
			return fail_in("sequence %llu", LLU(p->seq));
	return 0;
}

static int
add_rows(struct replies *a, struct frame *f)
{
	struct tensor *ids, *logprobs = frame_tensor(f, "logprob");
	uint32_t row = 0;

	if (f->at != AT_EMBED)
		return frame_stray(f, "");
	if (!(ids = frame_require(f, "ids", I32, f->rows, 0)) ||
	    (logprobs && !(logprobs = frame_require(f, "logprob", F32, f->rows, 0))))
		return -1;
	for (int i = 0; i < f->nspans; i++) {
		if (add_span(a, &f->spans[i], (int32_t *)ids->data + row, logprobs ? (float *)logprobs->data + row : NULL) < 0)
			return -1;
		row += f->spans[i].n;
	}
	return 0;
}

/* --- lines --- */

/* The last token has completed a stop string: drop it, and what follows.  */
static void
cut_stop(struct reply *w)
{
	size_t at = w->text.n, gone;

	for (int i = 0; i < w->nstops; i++) {
		size_t n = strlen(w->stops[i]), from = w->before > n ? w->before - n : 0;
		unsigned char *p = w->text.n > from ? memmem(w->text.p + from, w->text.n - from, w->stops[i], n) : NULL;

		if (p && (size_t)(p - w->text.p) < at)
			at = (size_t)(p - w->text.p);
	}
	gone = w->text.n - at;
	gone = gone < w->since ? gone : w->since;
	*(w->speech.reasoning ? &w->reasoning.n : &w->answer.n) -= gone;
	w->text.n = at;
}

static int
put_ids(struct buf *to, const struct reply *w)
{
	int with = w->n > 0 || w->wants_logprobs, r = buf_addf(to, ", \"ids\": [");

	for (size_t i = 0; i < w->n && r == 0; i++) {
		r = buf_addf(to, "%s%d", i ? ", " : "", w->ids[i]);
		with &= !isnan(w->logprobs[i]);
	}
	if (r == 0)
		r = buf_addc(to, ']');
	if (!with)
		return r;
	if (r == 0)
		r = buf_addf(to, ", \"logprobs\": [");
	for (size_t i = 0; i < w->n && r == 0; i++)
		r = buf_addf(to, isinf(w->logprobs[i]) ? "%snull" : "%s%.9g", i ? ", " : "", (double)w->logprobs[i]);
	return r < 0 ? -1 : buf_addc(to, ']');
}

static int
put_text(struct buf *to, const char *key, const struct buf *text)
{
	if (buf_addf(to, ", \"%s\": ", key) < 0)
		return -1;
	return text ? json_quote(to, (const char *)text->p, text->n) : buf_addf(to, "null");
}

/* error: the message of a failed sequence, or NULL.  */
static int
put_line(struct buf *to, const struct reply *w, const char *reason, const char *error)
{
	const struct buf model = {(unsigned char *)(uintptr_t)w->model, strlen(w->model), 0};
	const struct buf precision = {(unsigned char *)(uintptr_t)w->precision, strlen(w->precision), 0};
	struct buf why = {0};
	int r = buf_addf(to, "{\"id\": %s, \"index\": %llu", w->id, LLU(w->index)) < 0 ||
	    put_text(to, "text", &w->text) < 0 ||
	    put_text(to, "reasoning", w->thought ? &w->reasoning : NULL) < 0 ||
	    put_text(to, "answer", &w->answer) < 0 || put_ids(to, w) < 0 ||
	    buf_addf(to, ", \"finish_reason\": \"%s\"", reason) < 0 ? -1 : 0;

	if (r == 0 && error)
		r = utf8_clean(&why, error, strlen(error)) < 0 || put_text(to, "error", &why) < 0 ? -1 : 0;
	buf_free(&why);
	return r < 0 ||
	    buf_addf(to, ", \"usage\": {\"prompt_tokens\": %llu, \"completion_tokens\": %zu}, \"seed\": %llu",
	    LLU(w->prompt_tokens), w->n, LLU(w->seed)) < 0 ||
	    put_text(to, "model", model.n ? &model : NULL) < 0 ||
	    put_text(to, "precision", precision.n ? &precision : NULL) < 0 ||
	    buf_addf(to, "}\n") < 0 ? -1 : 0;
}

/* The first reply from `from` on with the id and index of w; NULL: none.  */
static struct reply *
find_equal(struct reply *from, const struct reply *w)
{
	while (from && (from->index != w->index || strcmp(from->id, w->id) != 0))
		from = from->next;
	return from;
}

/* Append the lines whose turn it is after w, which is dropped.  */
static int
put_waiting(struct replies *a, struct reply *w, struct buf *out)
{
	while (w && w->ended) {
		struct reply *next = a->ordered ? w->next : find_equal(w->next, w);

		if (buf_add(out, w->line.p, w->line.n) < 0)
			return -1;
		drop(a, w);
		w = next;
	}
	return 0;
}

/* The sequence is complete.  */
static int
finish(struct replies *a, struct reply *w, const char *reason, const char *error, struct buf *out)
{
	a->unstarted -= !w->started;
	w->started = 1;
	if (speech_settle(&w->speech, 1, add_text, w) < 0)
		return -1;
	if (strcmp(reason, "stop") == 0)
		cut_stop(w);
	a->lines++;
	if (put_line(&w->line, w, reason, error) < 0)
		return -1;
	w->ended = 1;
	clear(w);
	/* with equal ids, answers follow the order of the prompts: --done relies on it */
	return put_waiting(a, a->ordered ? a->first : find_equal(a->first, w), out);
}

/* A string of the map `ended`, of fewer than size bytes, or to unchanged.  */
static void
get_string(const msgpack_object *m, const char *key, char *to, size_t size)
{
	for (uint32_t i = 0; i < m->via.map.size; i++) {
		const msgpack_object *v = &m->via.map.ptr[i].val;

		if (!is_key(&m->via.map.ptr[i].key, key) || v->type != MSGPACK_OBJECT_STR || v->via.str.size >= size)
			continue;
		memcpy(to, v->via.str.ptr, v->via.str.size);
		to[v->via.str.size] = 0;
	}
}

/* The reason that ds-sample has named, or another program's.  */
static const char *
read_ended(struct reply *w, const struct frame *f)
{
	static const char *const reasons[] = {"stop", "length"};
	const struct frame_key *k = frame_other(f, "ended");
	char reason[16] = "";
	msgpack_unpacked u;

	msgpack_unpacked_init(&u);
	if (k && msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) == MSGPACK_UNPACK_SUCCESS &&
	    u.data.type == MSGPACK_OBJECT_MAP) {
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

int
replies_frame(struct replies *a, struct frame *f, struct buf *out)
{
	struct reply *w;

	if (f->op == OP_NONE)
		return add_rows(a, f);
	if (!frame_frees(f) || !(w = find(a, f->seq)))
		return 0;
	if (f->op == OP_FAILED)
		return finish(a, w, "error", f->text, out);
	return finish(a, w, read_ended(w, f), NULL, out);
}

int64_t
replies_end(struct replies *a, struct buf *out)
{
	int64_t n = 0;

	for (; a->first; n++)   /* what waits for its turn waits for the first */
		if (finish(a, a->first, "error", "the stream ended before the sequence", out) < 0)
			return -1;
	return n;
}
