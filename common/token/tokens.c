#include "token/tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "token/alphabet.h"

int
tokens_reserve(struct tokens *t, size_t nbytes)
{
	t->bytes = mem_raw(nbytes + 1, 1);
	t->bytes_cap = nbytes;
	return t->bytes ? 0 : -1;
}

/* The entry of an id, with the n bytes after the last token's. */
static struct token *
add(struct tokens *t, uint64_t id, const char *spelling, size_t n, int plain)
{
	size_t old = t->n;
	struct token *token;

	if (id >= old) {
		if (mem_grow(&t->v, &t->cap, id + 1, sizeof(*t->v)) < 0)
			return NULL;
		t->n = id + 1;
		memset(t->v + old, 0, (t->n - old) * sizeof(*t->v));
	}
	token = &t->v[id];
	if (token->known) {
		fail(FAIL_DATA, "'%.*s' has the id %d of another token", n > 100 ? 100 : (int)n,
		    spelling, (int)id);
		return NULL;
	}
	*token = (struct token){.at = t->nbytes, .len = (uint32_t)n, .known = 1};
	token->plain = (unsigned char)plain;
	return token;
}

struct token *
tokens_add_bytes(struct tokens *t, const char *bytes, size_t n, uint64_t id)
{
	struct token *token = add(t, id, bytes, n, 1);

	if (token && n > 0)
		memcpy(t->bytes + t->nbytes, bytes, n);
	t->nbytes += token ? n : 0;
	return token;
}

struct token *
tokens_add(struct tokens *t, const char *spelling, size_t n, uint64_t id)
{
	ptrdiff_t decoded = alphabet_bytes(t->bytes + t->nbytes, spelling, n, NULL);
	struct token *token = add(t, id, spelling, n, decoded >= 0);

	if (!token)
		return NULL;
	if (decoded >= 0)
		token->len = (uint32_t)decoded;
	else
		memcpy(t->bytes + t->nbytes, spelling, n);
	t->nbytes += token->len;
	return token;
}

void
tokens_free(struct tokens *t)
{
	free(t->v);
	free(t->bytes);
	*t = (struct tokens){0};
}
