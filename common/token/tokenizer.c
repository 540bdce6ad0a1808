#include "token/tokenizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "base/json.h"
#include "token/alphabet.h"
#include "token/settings.h"

#define FILE_MAX (256u << 20)
#define CONFIG_MAX (1u << 20)
#define ID_MAX ((1 << 24) - 1)

/*
 * Add the entry of an id, with the bytes that the ByteLevel decoder produces: a token with
 * characters outside the alphabet is its own spelling. NULL and a message on failure.
 */
static struct token *
token_new(struct tokenizer *t, const char *spelling, uint64_t id)
{
	size_t len = strlen(spelling), old = t->ntokens;
	ptrdiff_t n = alphabet_bytes(t->bytes + t->nbytes, spelling, NULL);
	struct token *token;

	if (id >= old) {
		if (mem_grow(&t->tokens, &t->tokens_cap, id + 1, sizeof(*t->tokens)) < 0)
			return NULL;
		t->ntokens = id + 1;
		memset(t->tokens + old, 0, (t->ntokens - old) * sizeof(*t->tokens));
	}
	token = &t->tokens[id];
	if (token->known) {
		fail(FAIL_DATA, "'%.100s' has the id %d of another token", spelling, (int)id);
		return NULL;
	}
	if (n < 0)
		memcpy(t->bytes + t->nbytes, spelling, len);
	*token = (struct token){t->nbytes, (uint32_t)(n < 0 ? (ptrdiff_t)len : n), 1, n >= 0, 0};
	t->nbytes += token->len;
	return token;
}

/* Reserve memory for the bytes of all tokens and contents of added ones: as keys of tables they
 * must not move. */
static int
reserve(struct tokenizer *t, const cJSON *vocab, const cJSON *added)
{
	size_t n = 1, entries = 0;
	const cJSON *v;

	cJSON_ArrayForEach(v, vocab) {
		n += strlen(v->string);
		entries++;
	}
	cJSON_ArrayForEach(v, added) {
		const char *content = NULL;

		if (json_string(v, "content", JSON_REQUIRED, &content) < 0)
			return fail_in("added_tokens");
		n += 2 * strlen(content);
	}
	t->bytes_cap = n;
	t->bytes = mem_raw(n, 1);
	return t->bytes ? table_reserve(&t->bpe.vocab, entries) : -1;
}

/* An added token may be in the vocabulary as well, under the same id. */
static struct token *
load_token(struct tokenizer *t, const char *spelling, const cJSON *number, uint64_t *id)
{
	int64_t added = tokenizer_id(t, spelling);

	if (json_whole(number, ID_MAX, id) < 0)
		fail(FAIL_DATA, "'%.100s' has no id between 0 and %d", spelling, ID_MAX);
	else if (added < 0)
		return token_new(t, spelling, *id);
	else if ((uint64_t)added != *id)
		fail(FAIL_DATA, "'%.100s' has the id %d, and %d as an added token", spelling, (int)*id, (int)added);
	else
		return &t->tokens[*id];
	return NULL;
}

static int
load_vocab(struct tokenizer *t, const cJSON *vocab)
{
	const cJSON *v;
	uint64_t id;

	cJSON_ArrayForEach(v, vocab) {
		const struct token *token = load_token(t, v->string, v, &id);
		const char *bytes;

		if (!token)
			return -1;
		if (!token->plain)
			continue;
		bytes = t->bytes + token->at;
		if (token->len == 0 || table_get(&t->bpe.vocab, bytes, token->len))
			return fail(FAIL_DATA, "'%.100s' is empty or a duplicate", v->string);
		if (table_put(&t->bpe.vocab, bytes, token->len, (void *)(intptr_t)(id + 1)) < 0)
			return -1;
	}
	return 0;
}

/* Decode a merge, "a b" or ["a", "b"], into at most max bytes. Returns their number; *left is
 * the length of a. */
static ptrdiff_t
merge_parts(const cJSON *v, char *to, size_t max, size_t *left)
{
	const cJSON *b;
	ptrdiff_t n, m;

	*left = SIZE_MAX;
	if (cJSON_IsString(v) && strlen(v->valuestring) <= max) {
		n = alphabet_bytes(to, v->valuestring, left);
		return *left == SIZE_MAX ? -1 : n;
	}
	if (cJSON_GetArraySize(v) != 2 || !cJSON_IsString(v->child) || !cJSON_IsString(b = v->child->next) ||
	    strlen(v->child->valuestring) + strlen(b->valuestring) > max)
		return -1;
	n = alphabet_bytes(to, v->child->valuestring, NULL);
	m = n < 0 ? -1 : alphabet_bytes(to + n, b->valuestring, NULL);
	*left = (size_t)n;
	return m < 0 ? -1 : n + m;
}

/* The id of the token with these bytes, or -1. Merges mostly produce tokens in order of id, so
 * try `guess`, the id after the last one, before the table, which exceeds the caches. */
static int32_t
find_product(const struct tokenizer *t, const char *bytes, size_t n, size_t guess)
{
	const struct token *token = guess < t->ntokens ? &t->tokens[guess] : NULL;

	if (token && token->plain && token->len == n && memcmp(t->bytes + token->at, bytes, n) == 0)
		return (int32_t)guess;
	return bpe_find(&t->bpe, bytes, n);
}

static int
load_merges(struct tokenizer *t, const cJSON *merges)
{
	char bytes[4096];
	const cJSON *v;
	size_t left;
	int32_t a, b, ab = -1, rank = 0;

	if (bpe_start(&t->bpe, (size_t)cJSON_GetArraySize(merges)) < 0)
		return -1;
	cJSON_ArrayForEach(v, merges) {
		ptrdiff_t n = merge_parts(v, bytes, sizeof(bytes), &left);

		if (n < 0 || left == 0 || left == (size_t)n)
			return fail(FAIL_DATA, "merge %d is not two byte-level strings", rank);
		a = bpe_find(&t->bpe, bytes, left);
		b = bpe_find(&t->bpe, bytes + left, (size_t)n - left);
		ab = find_product(t, bytes, (size_t)n, (size_t)ab + 1);
		if (a < 0 || b < 0 || ab < 0)
			return fail(FAIL_DATA, "merge %d: '%.*s', '%.*s' or both together are not in the vocabulary", rank,
			    (int)left, bytes, (int)((size_t)n - left), bytes + left);
		bpe_merge(&t->bpe, a, b, ab, rank++);
	}
	return 0;
}

/* Refuse options of the model that change its result. */
static int
check_model(const cJSON *model, int *ignore_merges)
{
	static const char *const names[] = {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"};
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
			return fail(FAIL_DATA, "%s is '%.100s', which is not supported", names[i], s);
	}
	return 0;
}

static int
load_model(struct tokenizer *t, const cJSON *model, const cJSON *vocab)
{
	const cJSON *merges;

	if (check_model(model, &t->bpe.ignore_merges) < 0 ||
	    json_array(model, "merges", JSON_REQUIRED, &merges) < 0)
		return -1;
	if (load_vocab(t, vocab) < 0)
		return fail_in("vocab");
	return load_merges(t, merges) < 0 ? fail_in("merges") : 0;
}

static int
load_added_token(struct tokenizer *t, const cJSON *v)
{
	static const char *const unsupported[] = {"single_word", "lstrip", "rstrip"};
	const char *content;
	const cJSON *number = NULL;
	int special = 0, normalized = 0, set = 0;
	struct token *token;
	char *copy = t->bytes + t->nbytes;
	size_t len;
	uint64_t id;

	if (json_string(v, "content", JSON_REQUIRED, &content) < 0 || json_get(v, "id", JSON_REQUIRED, &number) < 0 ||
	    json_bool(v, "special", JSON_OPTIONAL, &special) < 0 ||
	    json_bool(v, "normalized", JSON_OPTIONAL, &normalized) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(unsupported) / sizeof(*unsupported); i++) {
		if (json_bool(v, unsupported[i], JSON_OPTIONAL, &set) < 0)
			return -1;
		if (set)
			return fail(FAIL_DATA, "'%.100s' has %s true, which is not supported", content, unsupported[i]);
	}
	len = strlen(content);
	if (len == 0 || json_whole(number, ID_MAX, &id) < 0)
		return fail(FAIL_DATA, "'%.100s' is empty or has no id between 0 and %d", content, ID_MAX);
	if (tokenizer_id(t, content) >= 0)
		return fail(FAIL_DATA, "'%.100s' appears twice", content);
	memcpy(copy, content, len);
	t->nbytes += len;
	token = token_new(t, content, id);
	if (!token)
		return -1;
	token->special = (unsigned char)special;
	return added_put(&t->added[normalized], copy, len, (int32_t)id);
}

static int
load_added(struct tokenizer *t, const cJSON *added)
{
	const cJSON *v;

	cJSON_ArrayForEach(v, added)
		if (load_added_token(t, v) < 0)
			return fail_in("added_tokens");
	for (int i = 0; i < 2; i++)
		if (added_ready(&t->added[i]) < 0)
			return -1;
	return 0;
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
	if (t->nsplits == SPLITS_MAX)
		return fail(FAIL_DATA, "more than %d splits", SPLITS_MAX);
	t->splits[t->nsplits] = pattern_open(regex);
	return t->splits[t->nsplits] ? (t->nsplits++, 0) : -1;
}

static int
check_byte_level(const cJSON *o)
{
	static const char *const names[] = {"add_prefix_space", "use_regex"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int set = 1;

		if (json_bool(o, names[i], JSON_OPTIONAL, &set) < 0)
			return -1;
		if (set)
			return fail(FAIL_DATA, "%s of ByteLevel is true, which is not supported", names[i]);
	}
	return 0;
}

/* A Sequence of splits that ends in ByteLevel. */
static int
load_pre_tokenizer(struct tokenizer *t, const cJSON *o)
{
	static const char *const sequence[] = {"Sequence", NULL};
	static const char *const types[] = {"Split", "Digits", "ByteLevel", NULL};
	const cJSON *list, *v;
	int type = -1;

	if (json_choice(o, "type", JSON_REQUIRED, sequence, &type) < 0 ||
	    json_array(o, "pretokenizers", JSON_REQUIRED, &list) < 0)
		return -1;
	type = -1;
	cJSON_ArrayForEach(v, list) {
		if (type == 2)
			return fail(FAIL_DATA, "ByteLevel is not the last");
		if (json_choice(v, "type", JSON_REQUIRED, types, &type) < 0 ||
		    (type == 2 ? check_byte_level(v) : load_split(t, v, type == 1)) < 0)
			return -1;
	}
	return type == 2 ? 0 : fail(FAIL_DATA, "ByteLevel is missing");
}

/* Check that no normalizer changes the text and that the decoder is ByteLevel. */
static int
check_ends(const cJSON *o)
{
	static const char *const sequence[] = {"Sequence", NULL};
	static const char *const byte_level[] = {"ByteLevel", NULL};
	const cJSON *normalizer = NULL, *list, *decoder;
	int type, r = json_object(o, "normalizer", JSON_OPTIONAL, &normalizer);

	if (r > 0 && (json_choice(normalizer, "type", JSON_REQUIRED, sequence, &type) < 0 ||
	    json_array(normalizer, "normalizers", JSON_REQUIRED, &list) < 0))
		r = -1;
	if (r > 0 && cJSON_GetArraySize(list) > 0)
		r = fail(FAIL_DATA, "not empty, which is not supported");
	if (r < 0)
		return fail_in("normalizer");
	if (json_object(o, "decoder", JSON_REQUIRED, &decoder) < 0 ||
	    json_choice(decoder, "type", JSON_REQUIRED, byte_level, &type) < 0)
		return fail_in("decoder");
	return 0;
}

static int
load(struct tokenizer *t, const cJSON *o)
{
	const cJSON *model, *pre, *vocab, *added = NULL;

	if (check_ends(o) < 0 || json_object(o, "model", JSON_REQUIRED, &model) < 0 ||
	    json_object(model, "vocab", JSON_REQUIRED, &vocab) < 0 ||
	    json_array(o, "added_tokens", JSON_OPTIONAL, &added) < 0 ||
	    reserve(t, vocab, added) < 0 || load_added(t, added) < 0)
		return -1;
	if (load_model(t, model, vocab) < 0)
		return fail_in("model");
	if (post_load(t, o) < 0 || json_object(o, "pre_tokenizer", JSON_REQUIRED, &pre) < 0)
		return -1;
	return load_pre_tokenizer(t, pre) < 0 ? fail_in("pre_tokenizer") : 0;
}

static int
load_settings(struct tokenizer *t, const char *dir)
{
	cJSON *o = NULL;
	int r = settings_load(dir, &o);

	if (r > 0 && (r = post_settings(t, o)) < 0)
		fail_in("'%s/tokenizer_config.json'", dir);
	cJSON_Delete(o);
	return r < 0 ? -1 : 0;
}

/* The model's number of ids, which may exceed the number of tokens. */
static int
load_vocab_size(struct tokenizer *t, const char *dir)
{
	char path[PATH_MAX];
	cJSON *o;
	int size = INT_MAX, r;

	t->vocab = (int64_t)INT_MAX + 1;
	if (io_path(path, sizeof(path), dir, "config.json") < 0)
		return -1;
	if (!file_exists(path))
		return 0;
	if (!(o = json_load(path, CONFIG_MAX)))
		return -1;
	r = json_int(o, "vocab_size", JSON_OPTIONAL, 1, INT_MAX, &size);
	if (r > 0)
		t->vocab = (size_t)size > t->ntokens ? size : (int64_t)t->ntokens;
	cJSON_Delete(o);
	return r < 0 ? fail_in("'%s'", path) : 0;
}

struct tokenizer *
tokenizer_open(const char *dir)
{
	char path[PATH_MAX];
	struct tokenizer *t = mem_new(1, sizeof(*t));
	int r = -1;

	if (t && io_path(path, sizeof(path), dir, "tokenizer.json") == 0 && (t->json = json_load(path, FILE_MAX))) {
		r = load(t, t->json);
		if (r < 0)
			fail_in("'%s'", path);
		else
			r = load_settings(t, dir) < 0 || load_vocab_size(t, dir) < 0 ? -1 : 0;
	}
	if (r < 0) {
		tokenizer_close(t);
		return NULL;
	}
	return t;
}

void
tokenizer_close(struct tokenizer *t)
{
	if (!t)
		return;
	for (int i = 0; i < t->nsplits; i++)
		pattern_close(t->splits[i]);
	for (int i = 0; i < 2; i++)
		added_free(&t->added[i]);
	bpe_free(&t->bpe);
	buf_free(&t->text);
	free(t->cuts.end);
	free(t->finer.end);
	free(t->around.ids);
	free(t->tokens);
	free(t->bytes);
	cJSON_Delete(t->json);
	free(t);
}

static const struct token *
token_get(const struct tokenizer *t, int64_t id)
{
	return id >= 0 && (uint64_t)id < t->ntokens && t->tokens[id].known ? &t->tokens[id] : NULL;
}

const char *
tokenizer_bytes(const struct tokenizer *t, int64_t id, size_t *n)
{
	const struct token *token = token_get(t, id);

	if (!token) {
		*n = 0;
		return id >= 0 && id < t->vocab ? "" : NULL;
	}
	*n = token->len;
	return t->bytes + token->at;
}

int
tokenizer_is_special(const struct tokenizer *t, int64_t id)
{
	const struct token *token = token_get(t, id);

	return token && token->special;
}

int64_t
tokenizer_id(const struct tokenizer *t, const char *token)
{
	int64_t id = 0;

	for (int i = 0; i < 2 && !id; i++)
		id = (intptr_t)table_get(&t->added[i].ids, token, strlen(token));
	return id - 1;
}

const int32_t *
tokenizer_around(const struct tokenizer *t, size_t *n, size_t *before)
{
	*n = t->around.n;
	*before = t->around.before;
	return t->around.ids;
}
