/*
 * The ids around a text, as transformers' AutoTokenizer adds them for the same files.
 *
 * tokenizer.json's post_processor defines them. The Llama classes, which DeepSeek's files name, are
 * older: up to transformers 4.57 they replace the post_processor by add_bos_token and add_eos_token
 * of tokenizer_config.json. V3's tokenizer.json relies on that, as its post_processor adds nothing.
 * Files saved by transformers 5 have neither key and use their post_processor.
 */
#include <string.h>

#include "base/fail.h"
#include "token/settings.h"
#include "token/tokenizer.h"

#define AROUND_MAX 65536        /* a template may name an entry of special_tokens many times */

int
post_add(struct tokenizer *t, int64_t id, int before)
{
	struct around *a = &t->around;

	if (a->n == AROUND_MAX)
		return fail(FAIL_DATA, "more than %d tokens around a text", AROUND_MAX);
	if (mem_grow(&a->ids, &a->cap, a->n + 1, sizeof(*a->ids)) < 0)
		return -1;
	a->ids[a->n++] = (int32_t)id;
	a->before += (size_t)before;
	return 0;
}

/* Add the ids of a special token of a template, which may be several. */
static int
add_special(struct tokenizer *t, const cJSON *specials, const char *name, int before)
{
	const cJSON *special = NULL, *ids, *v;
	uint64_t id;

	if (json_object(specials, name, JSON_REQUIRED, &special) < 0 ||
	    json_array(special, "ids", JSON_REQUIRED, &ids) < 0)
		return fail_in("special_tokens");
	cJSON_ArrayForEach(v, ids) {
		if (json_whole(v, INT32_MAX, &id) < 0 || id >= t->tokens.n ||
		    !t->tokens.v[id].known)
			return fail(FAIL_DATA,
			    "special_tokens: '%.100s' has an id that is not in the vocabulary",
			    name);
		if (post_add(t, (int64_t)id, before) < 0)
			return -1;
	}
	return 0;
}

/* TemplateProcessing: the pieces for a single text. */
static int
load_template(struct tokenizer *t, const cJSON *o)
{
	const cJSON *single, *specials, *v, *piece = NULL;
	const char *id;
	int texts = 0, r;

	if (json_array(o, "single", JSON_REQUIRED, &single) < 0 ||
	    json_object(o, "special_tokens", JSON_REQUIRED, &specials) < 0)
		return -1;
	cJSON_ArrayForEach(v, single) {
		r = json_object(v, "SpecialToken", JSON_OPTIONAL, &piece);
		if (r < 0 || (r == 0 && json_object(v, "Sequence", JSON_REQUIRED, &piece) < 0) ||
		    json_string(piece, "id", JSON_REQUIRED, &id) < 0)
			return fail_in("single");
		if (r > 0 && add_special(t, specials, id, !texts) < 0)
			return -1;
		if (r == 0 && (texts++ || strcmp(id, "A") != 0))
			return fail(FAIL_DATA, "single: must have one text, A");
	}
	return texts ? 0 : fail(FAIL_DATA, "single: must have one text, A");
}

static int
load_processor(struct tokenizer *t, const cJSON *o, int *templates)
{
	/* ByteLevel changes offsets, which are not used here, and no ids */
	static const char *const types[] = {"TemplateProcessing", "ByteLevel", "Sequence", NULL};
	const cJSON *list, *v;
	int type;

	if (json_choice(o, "type", JSON_REQUIRED, types, &type) < 0)
		return -1;
	if (type == 0)
		return (*templates)++ ? fail(FAIL_DATA,
		    "more than one TemplateProcessing, which is not supported") :
		    load_template(t, o);
	if (type == 1)
		return 0;
	if (json_array(o, "processors", JSON_REQUIRED, &list) < 0)
		return -1;
	cJSON_ArrayForEach(v, list)
		if (load_processor(t, v, templates) < 0)
			return -1;
	return 0;
}

int
post_load(struct tokenizer *t, const cJSON *json)
{
	const cJSON *o = NULL;
	int templates = 0, r = json_object(json, "post_processor", JSON_OPTIONAL, &o);

	if (r > 0)
		r = load_processor(t, o, &templates);
	return r < 0 ? fail_in("post_processor") : 0;
}

/* 1 if the class honours the two keys. DeepSeek's model types use it if no class is named. */
static int
reads_keys(const char *class)
{
	return !class || strcmp(class, "LlamaTokenizer") == 0 ||
	    strcmp(class, "LlamaTokenizerFast") == 0;
}

static int
add_named(struct tokenizer *t, const cJSON *o, const char *key, int before)
{
	const char *token;
	int64_t id;

	if (settings_token(o, key, &token) < 0)
		return -1;
	if (!token)
		return 0;
	if ((id = tokenizer_id(t, token)) < 0)
		return fail(FAIL_DATA, "%s '%.100s' is not an added token", key, token);
	return post_add(t, id, before);
}

int
post_settings(struct tokenizer *t, const cJSON *o)
{
	const char *class = NULL, *token;
	int bos = 1, eos = 0, given;

	if (settings_token(o, "bos_token", &token) < 0 ||
	    settings_token(o, "eos_token", &token) < 0 ||
	    json_string(o, "tokenizer_class", JSON_OPTIONAL, &class) < 0 ||
	    (given = json_bool(o, "add_bos_token", JSON_OPTIONAL, &bos)) < 0)
		return -1;
	switch (json_bool(o, "add_eos_token", JSON_OPTIONAL, &eos)) {
	case -1:
		return -1;
	case 1:
		given = 1;
	}
	if (!given || !reads_keys(class))
		return 0;
	t->around.n = t->around.before = 0;
	if ((bos && add_named(t, o, "bos_token", 1) < 0) ||
	    (eos && add_named(t, o, "eos_token", 0) < 0))
		return -1;
	return 0;
}
