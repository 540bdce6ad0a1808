#include "stage/request.h"

#include <errno.h>
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

/* --- packing --- */

static int
write_buf(void *to, const char *p, size_t n)
{
	return buf_add(to, p, n);
}

static msgpack_packer
packer(struct buf *to)
{
	msgpack_packer k;

	msgpack_packer_init(&k, to, write_buf);
	return k;
}

static int
pack_text(msgpack_packer *k, const char *s)
{
	return msgpack_pack_str_with_body(k, s, strlen(s));
}

/* Begin a parameter.  */
static msgpack_packer
param(struct request *q, const char *key)
{
	msgpack_packer k = packer(&q->params);

	(void)pack_text(&k, key);       /* a failure shows with the value */
	q->nparams++;
	return k;
}

/* --- keys of a line --- */

typedef int read_fn(struct request *q, const cJSON *v, const struct tokenizer *t);

struct key {
	const char *name;
	read_fn *read;                  /* NULL: read by request_parse itself, or a number: */
	const char *param;              /* key in seqs, or NULL */
	double max;                     /* from 0 */
	int real;                       /* 1: need not be an integer */
};

static int
read_prompt(struct request *q, const cJSON *v, const struct tokenizer *t)
{
	(void)t;
	if (!cJSON_IsString(v))
		return fail(FAIL_DATA, "prompt must be a string");
	q->prompt = v->valuestring;
	return 0;
}

/* The id that v is, if the vocabulary has it; `key` for messages.  */
static int
get_id(const cJSON *v, const char *key, const struct tokenizer *t, int32_t *id)
{
	uint64_t n;
	size_t len;

	if (json_whole(v, INT32_MAX, &n) < 0)
		return fail(FAIL_DATA, "%s has an element that is not a token id", key);
	if (!tokenizer_bytes(t, (int64_t)n, &len))
		return fail(FAIL_DATA, "%s: the vocabulary has no id %u", key, (unsigned)n);
	*id = (int32_t)n;
	return 0;
}

static int
read_ids(struct request *q, const cJSON *v, const struct tokenizer *t)
{
	const cJSON *e;

	if (!cJSON_IsArray(v))
		return fail(FAIL_DATA, "ids must be an array of token ids");
	cJSON_ArrayForEach(e, v) {
		if (mem_grow(&q->ids, &q->cap, q->nids + 1, sizeof(*q->ids)) < 0 ||
		    get_id(e, "ids", t, &q->ids[q->nids]) < 0)
			return -1;
		q->nids++;
	}
	return 0;
}

static int
read_bool(struct request *q, const cJSON *v, const struct tokenizer *t)
{
	msgpack_packer k;

	(void)t;
	if (!cJSON_IsBool(v))
		return fail(FAIL_DATA, "logprobs must be true or false");
	k = param(q, "logprobs");
	return cJSON_IsTrue(v) ? msgpack_pack_true(&k) : msgpack_pack_false(&k);
}

static int
pack_stops(struct request *q, const int32_t *ids, size_t nids, const char *const *texts,
    size_t ntexts)
{
	msgpack_packer k;
	int r = 0;

	if (nids > 0) {
		k = param(q, "stop_ids");
		r = msgpack_pack_array(&k, nids);
	}
	for (size_t i = 0; i < nids && r == 0; i++)
		r = msgpack_pack_int32(&k, ids[i]);
	if (ntexts > 0 && r == 0) {
		k = param(q, "stop_text");
		r = msgpack_pack_array(&k, ntexts);
	}
	for (size_t i = 0; i < ntexts && r == 0; i++)
		r = pack_text(&k, texts[i]);
	return r;
}

/* An id, a string, or an array of these.  */
static int
read_stop(struct request *q, const cJSON *v, const struct tokenizer *t)
{
	int32_t ids[REQUEST_STOPS_MAX];
	const char *texts[REQUEST_STOPS_MAX];
	size_t nids = 0, ntexts = 0;

	for (const cJSON *e = cJSON_IsArray(v) ? v->child : v; e; e = e == v ? NULL : e->next) {
		if (nids == REQUEST_STOPS_MAX || ntexts == REQUEST_STOPS_MAX)
			return fail(FAIL_DATA, "stop has more than %d ids or strings",
			    REQUEST_STOPS_MAX);
		if (!cJSON_IsString(e)) {
			if (get_id(e, "stop", t, &ids[nids++]) < 0)
				return -1;
			continue;
		}
		texts[ntexts] = e->valuestring;
		if (!*texts[ntexts] || strlen(texts[ntexts]) > REQUEST_ID_MAX)
			return fail(FAIL_DATA, "stop has a string of %zu bytes, must be 1 to %d",
			    strlen(texts[ntexts]), REQUEST_ID_MAX);
		ntexts++;
	}
	return pack_stops(q, ids, nids, texts, ntexts);
}

static const struct key keys[] = {
	{"id", NULL, NULL, 0, 0}, {"seed", NULL, NULL, 0, 0}, {"n", NULL, NULL, 0, 0},
	{"messages", NULL, NULL, 0, 0}, {"tools", NULL, NULL, 0, 0},
	{"prompt", read_prompt, NULL, 0, 0},
	{"ids", read_ids, NULL, 0, 0},
	{"temperature", NULL, "temperature", 1000, 1},
	{"top_p", NULL, "top_p", 1, 1},
	{"top_k", NULL, "top_k", INT32_MAX, 0},
	{"max_tokens", NULL, "max_new", UINT32_MAX, 0},
	{"think_min", NULL, "think_min", UINT32_MAX, 0},
	{"think_max", NULL, "think_max", UINT32_MAX, 0},
	{"stop", read_stop, NULL, 0, 0},
	{"logprobs", read_bool, NULL, 0, 0},
};

static int
add_number(struct request *q, const struct key *k, double v)
{
	msgpack_packer to = param(q, k->param);

	return k->real ? msgpack_pack_double(&to, v) : msgpack_pack_uint64(&to, (uint64_t)v);
}

static int
read_number(struct request *q, const struct key *k)
{
	double v = 0;

	if (json_number(q->json, k->name, JSON_OPTIONAL, 0, k->max, &v) < 0)
		return -1;
	if (!k->real && v != (double)(uint64_t)v)
		return fail(FAIL_DATA, "%s is %.17g, must be an integer", k->name, v);
	return add_number(q, k, v);
}

static int
read_key(struct request *q, const cJSON *v, const struct tokenizer *t)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (strcmp(v->string, keys[i].name) != 0)
			continue;
		if (cJSON_IsNull(v))
			return 0;
		if (keys[i].param)
			return read_number(q, &keys[i]);
		return keys[i].read ? keys[i].read(q, v, t) : 0;
	}
	return fail(FAIL_DATA, "unknown key '%.100s'", v->string);
}

/* --- id, seed, conversation: from the text of the line --- */

/* The text of a value.  1, 0: there is none, or it is null; -1 and a message.  */
static int
get_raw(const struct request *q, const char *line, const char *key, const char **raw, size_t *n)
{
	const cJSON *v;
	int r = json_get(q->json, key, JSON_OPTIONAL, &v);

	if (r > 0 && !(*raw = json_raw(line, key, n)))
		return fail(FAIL_DATA, "the key %s is written with escapes", key);
	return r;
}

static int
read_id(struct request *q, const char *line)
{
	struct buf b = {0};
	int r = json_name(q->json, line, "id", &b);

	if (r > 0 && b.n > REQUEST_ID_MAX)
		r = fail(FAIL_DATA, "id has more than %d bytes", REQUEST_ID_MAX);
	if (r <= 0 || buf_addc(&b, 0) < 0) {
		buf_free(&b);
		return r == 0 ? 0 : -1;
	}
	free(q->id);
	q->id = (char *)b.p;
	return 0;
}

static int
read_seed(struct request *q, const char *line)
{
	const char *raw;
	uint64_t seed;
	size_t n = 0;
	char *end;
	int r = get_raw(q, line, "seed", &raw, &n);

	if (r <= 0)
		return r;
	errno = 0;
	seed = strtoull(raw, &end, 10);
	if (*raw < '0' || *raw > '9' || errno || end != raw + n)
		return fail(FAIL_DATA, "seed is %.*s, must be an integer from 0 to %llu",
		    n < 40 ? (int)n : 40, raw, (unsigned long long)UINT64_MAX);
	q->seed = seed;
	return 0;
}

static int
read_conversation(struct request *q, const char *line)
{
	const char *messages, *tools = "null";
	size_t n = 0, ntools = 4;
	struct buf b = {0};
	int r = get_raw(q, line, "messages", &messages, &n), with;

	if (r < 0 || (with = get_raw(q, line, "tools", &tools, &ntools)) < 0)
		return -1;
	if (r == 0)
		return with ? fail(FAIL_DATA, "tools without messages") : 0;
	if (*messages != '[')
		return fail(FAIL_DATA, "messages must be an array");
	r = with ? buf_addf(&b, "{\"messages\": ") : 0;
	if (r == 0)
		r = buf_add(&b, messages, n);
	if (r == 0 && with)
		r = buf_addf(&b, ", \"tools\": ") < 0 || buf_add(&b, tools, ntools) < 0 ||
		    buf_addc(&b, '}') < 0 ? -1 : 0;
	if (r < 0 || buf_addc(&b, 0) < 0) {
		buf_free(&b);
		return -1;
	}
	q->conversation = (char *)b.p;
	return 0;
}

/* --- a line --- */

int
request_name(struct request *q, uint64_t number, const struct request_defaults *d)
{
	*q = (struct request){.seed = d->seed, .n = d->n, .id = malloc(24)};
	if (!q->id)
		return fail(FAIL_SYSTEM, "no memory for a request");
	snprintf(q->id, 24, "%llu", (unsigned long long)number);
	return 0;
}

static int
has_key(const struct request *q, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(q->json, key);

	return v && !cJSON_IsNull(v);
}

/* Add a number of the command line, unless the line has one.  NAN or less than 0: not given.  */
static int
add_default(struct request *q, const char *key, double v)
{
	const struct key *k = keys;

	if (isnan(v) || v < 0 || has_key(q, key))
		return 0;
	while (strcmp(k->name, key) != 0)
		k++;
	return add_number(q, k, v);
}

static int
add_defaults(struct request *q, const struct request_defaults *d)
{
	const struct sampling_options *o = d->sampling;
	msgpack_packer k;

	if (d->logprobs && !has_key(q, "logprobs")) {
		k = param(q, "logprobs");
		if (msgpack_pack_true(&k) < 0)
			return -1;
	}
	return o && (add_default(q, "temperature", o->temperature) < 0 ||
	    add_default(q, "top_p", o->top_p) < 0 ||
	    add_default(q, "top_k", (double)o->top_k) < 0 ||
	    add_default(q, "max_tokens", (double)o->max_new) < 0 ||
	    add_default(q, "think_min", (double)o->think_min) < 0 ||
	    add_default(q, "think_max", (double)o->think_max) < 0) ? -1 : 0;
}

/* The id and the seed come first, so that a message about the rest has them.  */
static int
read_line(struct request *q, const char *line, const struct request_defaults *d,
    const struct tokenizer *t)
{
	const cJSON *v;

	if (!cJSON_IsObject(q->json))
		return fail(FAIL_DATA, "not an object");
	if (read_id(q, line) < 0 || read_seed(q, line) < 0 || json_unique(q->json) < 0)
		return -1;
	cJSON_ArrayForEach(v, q->json)
		if (read_key(q, v, t) < 0)
			return -1;
	if (json_int(q->json, "n", JSON_OPTIONAL, 1, REQUEST_PATHS_MAX, &q->n) < 0 ||
	    read_conversation(q, line) < 0)
		return -1;
	if (has_key(q, "prompt") + has_key(q, "messages") + has_key(q, "ids") != 1)
		return fail(FAIL_DATA, "exactly one of prompt, messages and ids must be given");
	return add_defaults(q, d);
}

int
request_parse(struct request *q, const char *line, size_t n, uint64_t number,
    const struct request_defaults *d, const struct tokenizer *t)
{
	if (request_name(q, number, d) < 0)
		return -1;
	if ((q->json = json_parse(line, n)) && read_line(q, line, d, t) == 0)
		return 0;
	q->n = 1;       /* the error is its only answer */
	return -1;
}

void
request_free(struct request *q)
{
	free(q->id);
	free(q->conversation);
	free(q->ids);
	buf_free(&q->params);
	cJSON_Delete(q->json);
	*q = (struct request){0};
}

/* --- entries of seqs --- */

int
request_map(const struct request *q, int index, struct buf *to)
{
	msgpack_packer k = packer(to);

	return msgpack_pack_map(&k, 4) < 0 || pack_text(&k, "id") < 0 || pack_text(&k, q->id) < 0 ||
	    pack_text(&k, "index") < 0 || msgpack_pack_int(&k, index) < 0 ||
	    pack_text(&k, "n") < 0 || msgpack_pack_int(&k, q->n) < 0 ||
	    pack_text(&k, "seed") < 0 || msgpack_pack_uint64(&k, q->seed) < 0 ? -1 : 0;
}

int
request_entry(const struct request *q, int index, struct buf *to)
{
	msgpack_packer k = packer(to);

	return msgpack_pack_map(&k, q->nparams + 3u) < 0 ||
	    buf_add(to, q->params.p, q->params.n) < 0 ||
	    pack_text(&k, "seed") < 0 || msgpack_pack_uint64(&k, q->seed) < 0 ||
	    pack_text(&k, "stream") < 0 || msgpack_pack_int(&k, index) < 0 ||
	    pack_text(&k, "request") < 0 || request_map(q, index, to) < 0 ? -1 : 0;
}
