/*
 * tiktoken.model: the bytes of each token in base64 and its rank, which is its id. Pairs merge by
 * the rank of their product. The pattern is in Python code of the release, which
 * tokenizer_config.json names; its added_tokens_decoder has the special tokens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/base64.h>

#include "base/fail.h"
#include "base/file.h"
#include "token/pre.h"
#include "token/settings.h"
#include "token/tokenizer.h"

#define FILE_MAX (64u << 20)
#define RESERVED 256            /* ids after the ranks that Kimi's tokenizer class names */

/* --- the pattern --- */

/* Tokenizer classes by auto_map's AutoTokenizer, and names in pre.c. */
static const char *const classes[][2] = {
	{"tokenization_kimi.TikTokenTokenizer", "kimi-k2"},
	{"tokenization_moonshot.TikTokenTokenizer", "kimi-k2"},
};

/* The class: auto_map.AutoTokenizer[0], without the repository that may precede it; NULL: none. */
static const char *
class_name(const cJSON *settings)
{
	const cJSON *map = cJSON_GetObjectItemCaseSensitive(settings, "auto_map");
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(map, "AutoTokenizer");
	const char *name = cJSON_GetStringValue(cJSON_IsArray(list) ? list->child : list);
	const char *after = name ? strstr(name, "--") : NULL;

	return after ? after + 2 : name;
}

/* The user's key pre_tokenizer is a name of pre.c, or else a regular expression. */
static int
add_named(struct tokenizer *t, const char *name)
{
	const struct pre *pre = pre_find(name, strlen(name));

	if (!pre && name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.")] == 0)
		return fail(FAIL_DATA, "pre_tokenizer is '%.100s', an unknown name", name);
	if (!pre)
		return tokenizer_add_split(t, name);
	t->nfc = pre->nfc;
	for (int i = 0; pre->splits[i]; i++)
		if (tokenizer_add_split(t, pre->splits[i]) < 0)
			return -1;
	return 0;
}

static int
add_pattern(struct tokenizer *t, const cJSON *settings)
{
	const char *name = NULL, *class = class_name(settings);

	if (json_string(settings, "pre_tokenizer", JSON_OPTIONAL, &name) < 0)
		return -1;
	for (size_t i = 0; !name && class && i < sizeof(classes) / sizeof(*classes); i++)
		if (strcmp(class, classes[i][0]) == 0)
			name = classes[i][1];
	if (name)
		return add_named(t, name);
	return fail(FAIL_DATA,
	    "the pattern of its tokenizer class '%.100s' is unknown: give the key pre_tokenizer, "
	    "kimi-k2 or a regular expression", class ? class : "");
}

/* --- special tokens --- */

static const cJSON *
special_of(const cJSON *decoder, uint64_t id)
{
	char key[24];

	snprintf(key, sizeof(key), "%llu", (unsigned long long)id);
	return cJSON_GetObjectItemCaseSensitive(decoder, key);
}

static int
add_special(struct tokenizer *t, const cJSON *v)
{
	const char *content;
	char *end;
	int special = 0;
	unsigned long id = strtoul(v->string, &end, 10);

	if (*end || end == v->string || id > TOKEN_ID_MAX)
		return fail(FAIL_DATA, "'%.100s' is not an id between 0 and %d", v->string,
		    TOKEN_ID_MAX);
	if (json_string(v, "content", JSON_REQUIRED, &content) < 0 ||
	    json_bool(v, "special", JSON_OPTIONAL, &special) < 0)
		return -1;
	if (tokenizer_check_flags(v, content) < 0)
		return -1;
	if (!*content)
		return fail(FAIL_DATA, "token %lu is empty", id);
	return tokenizer_add(t, content, strlen(content), id, special, 0);
}

/* A file of ranks that was cut at a line ends too far before the special tokens.  */
static int
check_last(const cJSON *decoder, uint64_t first)
{
	const cJSON *v;

	cJSON_ArrayForEach(v, decoder)
		if (strtoull(v->string, NULL, 10) >= first + RESERVED)
			return fail(FAIL_DATA, "token %s is not one of the %d after the last rank, "
			    "%llu: is tiktoken.model complete?", v->string, RESERVED,
			    (unsigned long long)first - 1);
	return 0;
}

/* Those of the file, and Kimi's names for the other ids up to the first of the two limits. */
static int
add_specials(struct tokenizer *t, const cJSON *decoder, uint64_t first)
{
	const cJSON *v;

	cJSON_ArrayForEach(v, decoder)
		if (add_special(t, v) < 0)
			return fail_in("added_tokens_decoder");
	if (check_last(decoder, first) < 0)
		return fail_in("added_tokens_decoder");
	for (uint64_t id = first; id < first + RESERVED && (int64_t)id < t->vocab; id++) {
		char name[48];
		int n = snprintf(name, sizeof(name), "<|reserved_token_%llu|>",
		    (unsigned long long)id);

		if (!special_of(decoder, id) && tokenizer_add(t, name, (size_t)n, id, 1, 0) < 0)
			return -1;
	}
	return tokenizer_add_done(t);
}

/* Bytes of the contents, and of the names. */
static size_t
specials_size(const cJSON *decoder)
{
	const cJSON *v;
	size_t n = RESERVED * 48;

	cJSON_ArrayForEach(v, decoder) {
		const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(v,
		    "content"));

		n += s ? strlen(s) : 0;
	}
	return n;
}

/* --- ranks --- */

/* Add the token of a line, "BASE64 RANK". */
static int
add_rank(struct tokenizer *t, const char *line, const char *end, size_t number)
{
	const char *space = memchr(line, ' ', (size_t)(end - line)), *digit = space ? space + 1 :
	    end;
	char *to = t->tokens.bytes + t->tokens.nbytes;
	struct base64_decode_ctx base64;
	uint64_t rank = 0;
	size_t n = 0;

	base64_decode_init(&base64);
	if (space)
		n = (size_t)(space - line);
	if (digit == end || end - digit > 9 ||
	    !base64_decode_update(&base64, &n, (uint8_t *)to, n, line) ||
	    !base64_decode_final(&base64) || n == 0)
		return fail(FAIL_DATA, "line %zu is not a token in base64 and its rank", number);
	for (; digit < end; digit++) {
		if (*digit < '0' || *digit > '9')
			return fail(FAIL_DATA, "line %zu is not a token in base64 and its rank",
			    number);
		rank = 10 * rank + (uint64_t)(*digit - '0');
	}
	if (rank > TOKEN_ID_MAX)
		return fail(FAIL_DATA, "line %zu: the rank is above %d", number, TOKEN_ID_MAX);
	if (!tokens_add_bytes(&t->tokens, to, n, rank))
		return fail_in("line %zu", number);
	return bpe_put(&t->bpe, (int32_t)rank) < 0 ?
	    fail(FAIL_DATA, "line %zu: the token appears twice", number) : 0;
}

static int
add_ranks(struct tokenizer *t, const char *p, size_t n)
{
	const char *all = p + n;

	for (size_t number = 1; p < all; number++) {
		const char *end = memchr(p, '\n', (size_t)(all - p));

		end = end ? end : all;
		if (end > p && add_rank(t, p, end - (end[-1] == '\r'), number) < 0)
			return -1;
		p = end + 1;
	}
	for (size_t i = 0; i < t->tokens.n; i++)
		if (!t->tokens.v[i].known)
			return fail(FAIL_DATA, "it has no token of rank %zu", i);
	return t->tokens.n > 0 ? 0 : fail(FAIL_DATA, "it has no tokens");
}

static size_t
count_lines(const char *p, size_t n)
{
	size_t lines = 1;

	for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))); p++)
		lines++;
	return lines;
}

static int
load_ranks(struct tokenizer *t, const char *path, size_t more)
{
	struct buf b = {0};
	int r = file_read(path, &b, FILE_MAX);

	if (r == 0) {
		r = tokens_reserve(&t->tokens, b.n + 2 * more) < 0 ||
		    bpe_reserve(&t->bpe, &t->tokens, count_lines((char *)b.p, b.n)) < 0 ? -1 :
		    add_ranks(t, (char *)b.p, b.n);
		if (r < 0)
			fail_in("'%s'", path);
	}
	buf_free(&b);
	return r;
}

int
tokenizer_load_tiktoken(struct tokenizer *t, const char *path, const char *dir)
{
	cJSON *settings = NULL;
	const cJSON *decoder = NULL;
	int r = settings_load(dir, &settings);

	t->bpe.by_rank = t->bpe.ignore_merges = 1;
	if (r == 0)
		return fail(FAIL_DATA,
		    "'%s' has no tokenizer_config.json, which says what '%s' leaves out", dir,
		    path);
	if (r < 0)
		return -1;
	r = json_object(settings, "added_tokens_decoder", JSON_OPTIONAL, &decoder);
	if (r >= 0)
		r = add_pattern(t, settings);
	if (r < 0)
		fail_in("'%s/tokenizer_config.json'", dir);
	if (r == 0)
		r = load_ranks(t, path, specials_size(decoder));
	if (r == 0 && (r = add_specials(t, decoder, t->tokens.n)) < 0)
		fail_in("'%s/tokenizer_config.json'", dir);
	cJSON_Delete(settings);
	return r < 0 ? -1 : bpe_start(&t->bpe, 0);
}
