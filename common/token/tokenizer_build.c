/* What every kind of tokenizer file needs to fill struct tokenizer. */
#include <string.h>

#include "base/fail.h"
#include "token/alphabet.h"
#include "token/normal.h"
#include "token/pre.h"
#include "token/tokenizer.h"

#define MERGE_MAX 4096

int
tokenizer_reserve(struct tokenizer *t, const struct vocab *v, size_t n)
{
	n *= 2 * NORMAL_GROWTH;         /* each content as bytes of a token, too */
	for (size_t i = 0; i < v->ntokens; i++)
		n += v->tokens[i].n;
	return tokens_reserve(&t->tokens, n) < 0 ? -1 :
	    bpe_reserve(&t->bpe, &t->tokens, v->ntokens);
}

int
tokenizer_add(struct tokenizer *t, const char *content, size_t n, uint64_t id, int special,
    int normalized)
{
	struct buf normal = {0};
	struct token *token;
	char *copy = t->tokens.bytes + t->tokens.nbytes;
	int shown = n > 100 ? 100 : (int)n, r = 0;

	if (table_get(&t->added[0].ids, content, n) || table_get(&t->added[1].ids, content, n))
		return fail(FAIL_DATA, "'%.*s' appears twice", shown, content);
	if (normalized && t->nfc && (r = normal_nfc(&normal, content, n)) > 0) {
		memcpy(copy, normal.p, normal.n);
		t->tokens.nbytes += normal.n;
		r = added_put(&t->added[1], copy, normal.n, (int32_t)id);
	} else if (r == 0) {
		memcpy(copy, content, n);
		t->tokens.nbytes += n;
		r = added_put(&t->added[normalized], copy, n, (int32_t)id);
	}
	buf_free(&normal);
	token = r < 0 ? NULL : t->bpe.by_rank ? tokens_add_bytes(&t->tokens, content, n, id) :
	    tokens_add(&t->tokens, content, n, id);
	if (!token)
		return -1;
	token->special = (unsigned char)special;
	token->added = 1;
	return 0;
}

int
tokenizer_check_flags(const cJSON *v, const char *content)
{
	static const char *const unsupported[] = {"single_word", "lstrip", "rstrip"};
	int set = 0;

	for (size_t i = 0; i < sizeof(unsupported) / sizeof(*unsupported); i++) {
		if (json_bool(v, unsupported[i], JSON_OPTIONAL, &set) < 0)
			return -1;
		if (set)
			return fail(FAIL_DATA, "'%.100s' has %s true, which is not supported",
			    content, unsupported[i]);
	}
	return 0;
}

int
tokenizer_add_done(struct tokenizer *t)
{
	return added_ready(&t->added[0]) < 0 || added_ready(&t->added[1]) < 0 ? -1 : 0;
}

/* An added token may be in the vocabulary as well, under the same id. */
static const struct token *
vocab_token(struct tokenizer *t, const struct vocab_token *v)
{
	intptr_t added = (intptr_t)table_get(&t->added[0].ids, v->s, v->n);
	int shown = v->n > 100 ? 100 : (int)v->n;

	if (!added)
		added = (intptr_t)table_get(&t->added[1].ids, v->s, v->n);
	if (!added)
		return tokens_add(&t->tokens, v->s, v->n, (uint64_t)v->id);
	if (added - 1 == v->id)
		return &t->tokens.v[v->id];
	fail(FAIL_DATA, "'%.*s' has the id %d, and %d as an added token", shown, v->s, v->id,
	    (int)(added - 1));
	return NULL;
}

int
tokenizer_add_vocab(struct tokenizer *t, const struct vocab *v)
{
	for (size_t i = 0; i < v->ntokens; i++) {
		const struct token *token = vocab_token(t, &v->tokens[i]);
		int shown = v->tokens[i].n > 100 ? 100 : (int)v->tokens[i].n;

		if (!token)
			return -1;
		if (token->plain && (token->len == 0 || bpe_put(&t->bpe, v->tokens[i].id) < 0))
			return fail(FAIL_DATA, "'%.*s' is empty or a duplicate", shown,
			    v->tokens[i].s);
	}
	return 0;
}

/* Decode a merge into at most MERGE_MAX bytes. Returns their number; *left is the length of its
 * left token. */
static ptrdiff_t
merge_bytes(const struct vocab_merge *m, char *to, size_t *left)
{
	ptrdiff_t n, b;

	*left = SIZE_MAX;
	if (m->na > MERGE_MAX || m->nb > MERGE_MAX - m->na)
		return -1;
	n = alphabet_bytes(to, m->a, m->na, m->b ? NULL : left);
	if (n < 0 || !m->b)
		return *left == SIZE_MAX ? -1 : n;
	*left = (size_t)n;
	b = alphabet_bytes(to + n, m->b, m->nb, NULL);
	return b < 0 ? -1 : n + b;
}

/* The id of the token with these bytes, or -1. Merges are mostly in the order of their products, so
 * try the last one and the id after it before the table. */
static int32_t
find_product(const struct tokenizer *t, const char *bytes, size_t n, int32_t last)
{
	for (int32_t id = last < 0 ? 0 : last; id <= last + 1 && (size_t)id < t->tokens.n; id++) {
		const struct token *token = &t->tokens.v[id];

		if (token->plain && token->len == n &&
		    memcmp(t->tokens.bytes + token->at, bytes, n) == 0)
			return id;
	}
	return bpe_find(&t->bpe, bytes, n);
}

/* A merge whose left or right half is no token can never apply. */
int
tokenizer_add_merges(struct tokenizer *t, const struct vocab *v)
{
	char bytes[MERGE_MAX];
	int32_t product = -1;
	size_t left;

	if (bpe_start(&t->bpe, v->nmerges) < 0)
		return -1;
	for (size_t i = 0; i < v->nmerges; i++) {
		ptrdiff_t n = merge_bytes(&v->merges[i], bytes, &left);

		if (n < 0 || left == 0 || left == (size_t)n)
			return fail(FAIL_DATA, "merge %zu is not two byte-level strings", i);
		product = find_product(t, bytes, (size_t)n, product);
		if (product < 0)
			return fail(FAIL_DATA,
			    "merge %zu: '%.*s' and '%.*s' together are not in the vocabulary", i,
			    (int)left, bytes, (int)((size_t)n - left), bytes + left);
		bpe_merge(&t->bpe, left, product);
	}
	return 0;
}

int
tokenizer_add_split(struct tokenizer *t, const char *regex)
{
	char *copy;

	if (t->nsplits == SPLITS_MAX)
		return fail(FAIL_DATA, "more than %d splits", SPLITS_MAX);
	if (!(copy = mem_raw(strlen(regex) + 1, 1)))
		return -1;
	t->regexes[t->nsplits] = strcpy(copy, regex);
	t->splits[t->nsplits] = pre_has(regex) ? pattern_later(copy) : pattern_open(regex);
	return t->splits[t->nsplits] ? (t->nsplits++, 0) : -1;
}
