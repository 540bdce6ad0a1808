/*
 * Rotary embedding in config.json: rope_theta, and rope_scaling or what newer checkpoints call
 * rope_parameters.
 */
#include <string.h>

#include "arch/config_internal.h"
#include "base/fail.h"

static const char *const types[] = {
	[ROPE_DEFAULT] = "default", [ROPE_LINEAR] = "linear", [ROPE_YARN] = "yarn",
	[ROPE_LLAMA3] = "llama3", NULL
};

enum { LINEAR = 1 << ROPE_LINEAR, YARN = 1 << ROPE_YARN, LLAMA3 = 1 << ROPE_LLAMA3, ALL = ~0 };

/* MLA has two types, and of YaRN only the keys that DeepSeek's own code has. */
enum { OF_MLA = 1 << ROPE_DEFAULT | YARN };

/* The keys that the object may have with a type, and what becomes of those that are numbers. */
static const struct rope_key {
	const char *key;
	int types, mla;
	enum json_presence need;
	double min, max;
	size_t at;                      /* of a double in struct rope_config; 0: read elsewhere */
} keys[] = {
#define NUMBER(member) offsetof(struct rope_config, member)
	{"type", .types = ALL, .mla = 1}, {"rope_type", .types = ALL, .mla = 1},
	{"rope_theta", .types = ALL, .mla = 1}, {"partial_rotary_factor", .types = ALL, .mla = 1},
	{"original_max_position_embeddings", .types = YARN | LLAMA3, .mla = 1},
	{"factor", LINEAR | YARN | LLAMA3, 1, JSON_REQUIRED, 1, 1e6, NUMBER(factor)},
	{"beta_fast", YARN, 1, JSON_OPTIONAL, 1e-3, 1e6, NUMBER(beta_fast)},
	{"beta_slow", YARN, 1, JSON_OPTIONAL, 1e-3, 1e6, NUMBER(beta_slow)},
	{"mscale", YARN, 1, JSON_OPTIONAL, 0, 100, NUMBER(mscale)},
	{"mscale_all_dim", YARN, 1, JSON_OPTIONAL, 0, 100, NUMBER(mscale_all_dim)},
	{"attention_factor", YARN, 0, JSON_OPTIONAL, 1e-6, 100, NUMBER(attention_factor)},
	/* transformers ignores it; vLLM multiplies it into the factor of cosine and sine */
	{"attn_factor", .types = YARN},
	{"truncate", .types = YARN},
	{"low_freq_factor", LLAMA3, 0, JSON_REQUIRED, 1e-6, 1e6, NUMBER(low_freq_factor)},
	{"high_freq_factor", LLAMA3, 0, JSON_REQUIRED, 1e-6, 1e6, NUMBER(high_freq_factor)},
	{0}
};

/*
 * One of the two scales alone is ambiguous.  DeepSeek's own code then uses the other's default (1
 * and 0), transformers ignores both.  transformers treats 0 as missing.
 */
static int
check_mscale(const cJSON *o)
{
	static const char *const names[] = {"mscale", "mscale_all_dim"};
	double x[2] = {0, 0};

	for (int i = 0; i < 2; i++)
		if (json_number(o, names[i], JSON_OPTIONAL, 0, 100, &x[i]) < 0)
			return -1;
	if ((x[0] > 0) == (x[1] > 0))
		return 0;
	return fail(FAIL_DATA, "%s is %g, but %s is missing or 0: implementations differ on what "
	    "that means", names[x[1] > 0], x[x[1] > 0], names[x[0] > 0]);
}

static int
check_keys(const cJSON *o, enum rope_type type, int mla)
{
	const cJSON *v;

	cJSON_ArrayForEach(v, o) {
		const struct rope_key *k = keys;

		while (k->key && strcmp(k->key, v->string) != 0)
			k++;
		if (cJSON_IsNull(v))
			continue;
		if (!k->key || !(k->types >> type & 1) || (mla && !k->mla))
			return fail(FAIL_DATA, "%.100s is not supported", v->string);
	}
	return 0;
}

/* Only whole heads are rotated. */
static int
check_partial(const cJSON *o)
{
	double part = 1;

	if (json_number(o, "partial_rotary_factor", JSON_OPTIONAL, 0, 1, &part) < 0)
		return -1;
	return part == 1 ? 0 :
	    fail(FAIL_DATA, "partial_rotary_factor is %g, which is not supported", part);
}

static int
read_numbers(struct rope_config *r, const cJSON *o)
{
	for (const struct rope_key *k = keys; k->key; k++)
		if (k->at && k->types >> r->type & 1 &&
		    json_number(o, k->key, k->need, k->min, k->max,
		    (double *)(void *)((char *)r + k->at)) < 0)
			return -1;
	if ((r->type == ROPE_YARN || r->type == ROPE_LLAMA3) &&
	    json_int(o, "original_max_position_embeddings", JSON_REQUIRED, 1, 1 << 30,
	    &r->original_max_position) < 0)
		return -1;
	if (r->type == ROPE_LLAMA3 && r->high_freq_factor <= r->low_freq_factor)
		return fail(FAIL_DATA, "high_freq_factor is %g, must be above low_freq_factor, %g",
		    r->high_freq_factor, r->low_freq_factor);
	return check_partial(o) < 0 || config_must_be(o, "truncate", 1) < 0 ? -1 : check_mscale(o);
}

/* Its type by either key. */
static int
read_type(struct rope_config *r, const cJSON *o, int mla)
{
	int old = -1, new = -1;

	if (json_choice(o, "type", JSON_OPTIONAL, types, &old) < 0 ||
	    json_choice(o, "rope_type", old < 0 ? JSON_REQUIRED : JSON_OPTIONAL, types, &new) < 0)
		return -1;
	if (old >= 0 && new >= 0 && old != new)
		return fail(FAIL_DATA, "type is '%s', but rope_type is '%s'", types[old],
		    types[new]);
	r->type = (enum rope_type)(new < 0 ? old : new);
	return !mla || OF_MLA >> r->type & 1 ? 0 :
	    fail(FAIL_DATA, "%s is '%s', which is not supported with multi-head latent attention",
	    new < 0 ? "type" : "rope_type", types[r->type]);
}

/* 1: the key is there. */
static int
read_scaling(struct rope_config *r, const cJSON *o, const char *key, int mla)
{
	const cJSON *s = NULL;
	int got = json_object(o, key, JSON_OPTIONAL, &s);

	if (got <= 0)
		return got;
	r->beta_fast = 32;
	r->beta_slow = r->mscale = 1;
	if (read_type(r, s, mla) < 0 || check_keys(s, r->type, mla) < 0 ||
	    json_number(s, "rope_theta", JSON_OPTIONAL, 2, 1e15, &r->theta) < 0 ||
	    read_numbers(r, s) < 0)
		return fail_in("%s", key);
	return 1;
}

int
config_rope(struct config *c, const cJSON *o)
{
	struct rope_config *r = &c->rope;
	int mla = c->attention != ATTENTION_GQA, scaling;

	r->theta = 10000;
	if (json_number(o, "rope_theta", JSON_OPTIONAL, 2, 1e15, &r->theta) < 0 ||
	    check_partial(o) < 0 ||
	    (scaling = read_scaling(r, o, "rope_scaling", mla)) < 0)
		return -1;
	return scaling || read_scaling(r, o, "rope_parameters", mla) >= 0 ? 0 : -1;
}
