#include "token/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "token/tokens.h"

int
vocab_add(struct vocab *v, const char *s, size_t n, int32_t id)
{
	if (n > INT32_MAX)
		return fail(FAIL_DATA, "a token of %zu bytes", n);
	if (mem_grow(&v->tokens, &v->tokens_cap, v->ntokens + 1, sizeof(*v->tokens)) < 0)
		return -1;
	v->tokens[v->ntokens++] = (struct vocab_token){s, (uint32_t)n, id};
	return 0;
}

int
vocab_merge(struct vocab *v, const char *a, size_t na, const char *b, size_t nb)
{
	if (na > INT32_MAX || nb > INT32_MAX)
		return fail(FAIL_DATA, "a merge of %zu bytes", na > nb ? na : nb);
	if (mem_grow(&v->merges, &v->merges_cap, v->nmerges + 1, sizeof(*v->merges)) < 0)
		return -1;
	v->merges[v->nmerges++] = (struct vocab_merge){a, b, (uint32_t)na, (uint32_t)nb};
	return 0;
}

void
vocab_free(struct vocab *v)
{
	free(v->tokens);
	free(v->merges);
	buf_free(&v->arena);
	memset(v, 0, sizeof(*v));
}

static int
add_merge(struct vocab *v, const cJSON *o, size_t rank)
{
	const cJSON *a = o->child, *b = a ? a->next : NULL;

	if (cJSON_IsString(o))
		return vocab_merge(v, o->valuestring, strlen(o->valuestring), NULL, 0);
	if (!cJSON_IsArray(o) || !cJSON_IsString(a) || !cJSON_IsString(b) || b->next)
		return fail(FAIL_DATA, "merges: merge %zu is not two byte-level strings", rank);
	return vocab_merge(v, a->valuestring, strlen(a->valuestring), b->valuestring,
	    strlen(b->valuestring));
}

int
vocab_json(struct vocab *v, const cJSON *vocab, const cJSON *merges)
{
	const cJSON *o;
	size_t rank = 0;
	uint64_t id;

	cJSON_ArrayForEach(o, vocab) {
		if (json_whole(o, TOKEN_ID_MAX, &id) < 0)
			return fail(FAIL_DATA, "vocab: '%.100s' has no id between 0 and %d",
			    o->string, TOKEN_ID_MAX);
		if (vocab_add(v, o->string, strlen(o->string), (int32_t)id) < 0)
			return -1;
	}
	cJSON_ArrayForEach(o, merges)
		if (add_merge(v, o, rank++) < 0)
			return -1;
	return 0;
}
