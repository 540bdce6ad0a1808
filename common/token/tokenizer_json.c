/* tokenizer.json of the Hugging Face tokenizers library. */
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "token/pre.h"
#include "token/tokenizer.h"

#define FILE_MAX (256u << 20)

/* Refuse options of the model that change its result. */
static int
check_model(const cJSON *model, int *ignore_merges)
{
	static const char *const names[] = {"unk_token", "continuing_subword_prefix",
	    "end_of_word_suffix"};
	static const char *const types[] = {"BPE", NULL};
	double dropout = 0;
	int type, byte_fallback = 0;

	if (json_choice(model, "type", JSON_REQUIRED, types, &type) < 0 ||
	    json_number(model, "dropout", JSON_OPTIONAL, 0, 0, &dropout) < 0 ||
	    json_bool(model, "byte_fallback", JSON_OPTIONAL, &byte_fallback) < 0 ||
	    json_bool(model, "ignore_merges", JSON_OPTIONAL, ignore_merges) < 0)
		return -1;
	if (byte_fallback)
		return fail(FAIL_DATA, "byte_fallback is true, which is not supported");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *s = "";

		if (json_string(model, names[i], JSON_OPTIONAL, &s) < 0)
			return -1;
		if (*s)
			return fail(FAIL_DATA, "%s is '%.100s', which is not supported", names[i],
			    s);
	}
	return 0;
}

static int
load_model(struct tokenizer *t, const cJSON *model, const struct vocab *v)
{
	if (check_model(model, &t->bpe.ignore_merges) < 0)
		return -1;
	if (tokenizer_add_vocab(t, v) < 0)
		return fail_in("vocab");
	return tokenizer_add_merges(t, v) < 0 ? fail_in("merges") : 0;
}

static int
load_added_token(struct tokenizer *t, const cJSON *v)
{
	const char *content;
	const cJSON *number = NULL;
	int special = 0, normalized = 0;
	uint64_t id;

	if (json_string(v, "content", JSON_REQUIRED, &content) < 0 ||
	    json_get(v, "id", JSON_REQUIRED, &number) < 0 ||
	    json_bool(v, "special", JSON_OPTIONAL, &special) < 0 ||
	    json_bool(v, "normalized", JSON_OPTIONAL, &normalized) < 0)
		return -1;
	if (tokenizer_check_flags(v, content) < 0)
		return -1;
	if (!*content || json_whole(number, TOKEN_ID_MAX, &id) < 0)
		return fail(FAIL_DATA, "'%.100s' is empty or has no id between 0 and %d", content,
		    TOKEN_ID_MAX);
	return tokenizer_add(t, content, strlen(content), id, special, normalized);
}

static int
load_added(struct tokenizer *t, const cJSON *added)
{
	const cJSON *v;

	cJSON_ArrayForEach(v, added)
		if (load_added_token(t, v) < 0)
			return fail_in("added_tokens");
	return tokenizer_add_done(t);
}

/* Split at matches of its pattern; Digits is a Split at numbers. */
static int
load_split(struct tokenizer *t, const cJSON *o, int digits)
{
	static const char *const behaviors[] = {"Isolated", NULL};
	const cJSON *pattern;
	const char *regex = "\\p{N}+";
	int invert = 0, individual = 0, behavior;

	if (digits) {
		if (json_bool(o, "individual_digits", JSON_REQUIRED, &individual) < 0)
			return -1;
		if (individual)
			regex = "\\p{N}";
	} else if (json_object(o, "pattern", JSON_REQUIRED, &pattern) < 0 ||
	    json_string(pattern, "Regex", JSON_REQUIRED, &regex) < 0 ||
	    json_choice(o, "behavior", JSON_REQUIRED, behaviors, &behavior) < 0 ||
	    json_bool(o, "invert", JSON_OPTIONAL, &invert) < 0) {
		return -1;
	}
	if (invert)
		return fail(FAIL_DATA, "invert is true, which is not supported");
	return tokenizer_add_split(t, regex);
}

/* ByteLevel splits as GPT-2 does, unless use_regex is false. */
static int
load_byte_level(struct tokenizer *t, const cJSON *o)
{
	int space = 1, regex = 1;

	if (json_bool(o, "add_prefix_space", JSON_OPTIONAL, &space) < 0 ||
	    json_bool(o, "use_regex", JSON_OPTIONAL, &regex) < 0)
		return -1;
	if (space)
		return fail(FAIL_DATA,
		    "add_prefix_space of ByteLevel is true, which is not supported");
	return regex ? tokenizer_add_split(t, PRE_GPT2) : 0;
}

/* ByteLevel, or a Sequence of splits that ends in it. */
static int
load_pre_tokenizer(struct tokenizer *t, const cJSON *o)
{
	static const char *const outer[] = {"Sequence", "ByteLevel", NULL};
	static const char *const types[] = {"Split", "Digits", "ByteLevel", NULL};
	const cJSON *list, *v;
	int type = -1;

	if (json_choice(o, "type", JSON_REQUIRED, outer, &type) < 0)
		return -1;
	if (type == 1)
		return load_byte_level(t, o);
	if (json_array(o, "pretokenizers", JSON_REQUIRED, &list) < 0)
		return -1;
	type = -1;
	cJSON_ArrayForEach(v, list) {
		if (type == 2)
			return fail(FAIL_DATA, "ByteLevel is not the last");
		if (json_choice(v, "type", JSON_REQUIRED, types, &type) < 0 ||
		    (type == 2 ? load_byte_level(t, v) : load_split(t, v, type == 1)) < 0)
			return -1;
	}
	return type == 2 ? 0 : fail(FAIL_DATA, "ByteLevel is missing");
}

/* NFC, or a Sequence of nothing else. */
static int
load_normalizer(struct tokenizer *t, const cJSON *o)
{
	static const char *const types[] = {"NFC", "Sequence", NULL};
	const cJSON *list, *v;
	int type;

	if (json_choice(o, "type", JSON_REQUIRED, types, &type) < 0)
		return -1;
	if (type == 0) {
		t->nfc = 1;
		return 0;
	}
	if (json_array(o, "normalizers", JSON_REQUIRED, &list) < 0)
		return -1;
	cJSON_ArrayForEach(v, list)
		if (load_normalizer(t, v) < 0)
			return -1;
	return 0;
}

static int
load_ends(struct tokenizer *t, const cJSON *o)
{
	static const char *const byte_level[] = {"ByteLevel", NULL};
	const cJSON *normalizer, *decoder;
	int type, r = json_object(o, "normalizer", JSON_OPTIONAL, &normalizer);

	if (r < 0 || (r > 0 && load_normalizer(t, normalizer) < 0))
		return fail_in("normalizer");
	if (json_object(o, "decoder", JSON_REQUIRED, &decoder) < 0 ||
	    json_choice(decoder, "type", JSON_REQUIRED, byte_level, &type) < 0)
		return fail_in("decoder");
	return 0;
}

/* Bytes of the contents of added tokens. */
static int
added_size(const cJSON *added, size_t *n)
{
	const cJSON *v;

	*n = 0;
	cJSON_ArrayForEach(v, added) {
		const char *content = NULL;

		if (json_string(v, "content", JSON_REQUIRED, &content) < 0)
			return fail_in("added_tokens");
		*n += strlen(content);
	}
	return 0;
}

/* v has the vocabulary and merges, or is empty: then they are in o. */
static int
load(struct tokenizer *t, const cJSON *o, struct vocab *v, int skimmed)
{
	const cJSON *model, *pre, *vocab, *merges, *added = NULL;
	size_t n;

	if (load_ends(t, o) < 0 || json_object(o, "model", JSON_REQUIRED, &model) < 0 ||
	    json_object(model, "vocab", JSON_REQUIRED, &vocab) < 0 ||
	    json_array(o, "added_tokens", JSON_OPTIONAL, &added) < 0 || added_size(added, &n) < 0)
		return -1;
	if (json_array(model, "merges", JSON_REQUIRED, &merges) < 0 ||
	    (!skimmed && vocab_json(v, vocab, merges) < 0))
		return fail_in("model");
	if (tokenizer_reserve(t, v, n) < 0 || load_added(t, added) < 0)
		return -1;
	if (load_model(t, model, v) < 0)
		return fail_in("model");
	if (post_load(t, o) < 0 || json_object(o, "pre_tokenizer", JSON_REQUIRED, &pre) < 0)
		return -1;
	return load_pre_tokenizer(t, pre) < 0 ? fail_in("pre_tokenizer") : 0;
}

int
tokenizer_load_json(struct tokenizer *t, const char *path)
{
	struct file_map map = {0};
	struct vocab v = {0};
	struct buf rest = {0};
	cJSON *o = NULL;
	int skimmed, r = -1;

	if (file_map(&map, path) < 0)
		return -1;
	skimmed = map.n > FILE_MAX ? 0 : vocab_skim(&v, (const char *)map.p, map.n, &rest);
	if (skimmed > 0)
		o = json_parse((char *)rest.p, rest.n);
	if (!o) {               /* with all messages */
		skimmed = 0;
		vocab_free(&v);
		o = json_load(path, FILE_MAX);
	}
	if (o && (r = load(t, o, &v, skimmed)) < 0)
		fail_in("'%s'", path);
	cJSON_Delete(o);
	vocab_free(&v);
	buf_free(&rest);
	file_unmap(&map);
	return r;
}
