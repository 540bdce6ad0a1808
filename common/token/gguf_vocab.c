#include "token/gguf_vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "token/tokens.h"

const char *const gguf_id_names[GGUF_IDS] = {
	[GGUF_BOS] = "bos_token", [GGUF_EOS] = "eos_token", [GGUF_UNK] = "unk_token",
	[GGUF_SEP] = "sep_token", [GGUF_PAD] = "pad_token", [GGUF_MASK] = "mask_token",
};

const char *const gguf_id_keys[GGUF_IDS] = {
	[GGUF_BOS] = "tokenizer.ggml.bos_token_id", [GGUF_EOS] = "tokenizer.ggml.eos_token_id",
	[GGUF_UNK] = "tokenizer.ggml.unknown_token_id",
	[GGUF_SEP] = "tokenizer.ggml.seperator_token_id",      /* so spelled there */
	[GGUF_PAD] = "tokenizer.ggml.padding_token_id", [GGUF_MASK] =
	    "tokenizer.ggml.mask_token_id",
};

static int
refuse(const char *key, const char *is, size_t n, const char *why)
{
	return fail(FAIL_DATA, "%s is '%.*s', %s", key, n > 100 ? 100 : (int)n, is, why);
}

static int
read_kind(struct gguf_vocab *g)
{
	static const char key[] = "tokenizer.ggml.pre";
	const char *model, *pre = "default";
	size_t n, npre = strlen(pre);

	if (gguf_check_first(&g->file) < 0 ||
	    gguf_string(&g->file, "tokenizer.ggml.model", JSON_REQUIRED, &model, &n) < 0)
		return -1;
	if (n != 4 || memcmp(model, "gpt2", 4) != 0)
		return refuse("tokenizer.ggml.model", model, n,
		    "which is not supported: only gpt2 is");
	if (gguf_string(&g->file, key, JSON_OPTIONAL, &pre, &npre) < 0)
		return -1;
	g->pre = pre_find(pre, npre);
	return g->pre ? 0 : refuse(key, pre, npre, "an unknown pre-tokenizer");
}

static int
read_tokens(struct gguf_vocab *g)
{
	static const char key[] = "tokenizer.ggml.token_type";
	const struct gguf_value *tokens, *types;
	const unsigned char *at;

	if (gguf_strings(&g->file, "tokenizer.ggml.tokens", JSON_REQUIRED, &tokens) < 0 ||
	    gguf_ints(&g->file, key, JSON_REQUIRED, &types) < 0)
		return -1;
	g->n = (size_t)tokens->n;
	if (tokens->n > TOKEN_ID_MAX)
		return fail(FAIL_DATA, "tokenizer.ggml.tokens has %zu tokens, the limit is %d",
		    g->n, TOKEN_ID_MAX);
	if (types->n != tokens->n)
		return fail(FAIL_DATA, "%s has %llu types for %zu tokens", key,
		    (unsigned long long)types->n, g->n);
	if (!(g->types = mem_raw(g->n, sizeof(*g->types))))
		return -1;
	at = tokens->p;
	for (size_t i = 0; i < g->n; i++) {
		int64_t type = gguf_element_int(types, i);
		size_t n;
		const char *s = gguf_next_string(&at, &n);

		if (type < GGUF_TOKEN_NORMAL || type >= GGUF_TOKEN_BYTE)
			return fail(FAIL_DATA,
			    "%s: token %zu has type %lld, which is not supported", key, i,
			    (long long)type);
		if (type == GGUF_TOKEN_UNUSED)
			continue;
		if (n == 0)
			return fail(FAIL_DATA, "tokenizer.ggml.tokens: token %zu is empty", i);
		g->types[g->vocab.ntokens] = (int32_t)type;
		if (vocab_add(&g->vocab, s, n, (int32_t)i) < 0)
			return -1;
	}
	return 0;
}

static int
read_merges(struct gguf_vocab *g)
{
	const struct gguf_value *merges;
	const unsigned char *at;

	if (gguf_strings(&g->file, "tokenizer.ggml.merges", JSON_REQUIRED, &merges) < 0)
		return -1;
	if (merges->n > INT32_MAX)
		return fail(FAIL_DATA, "tokenizer.ggml.merges has more than %d merges", INT32_MAX);
	at = merges->p;
	for (uint64_t i = 0; i < merges->n; i++) {
		size_t n;
		const char *s = gguf_next_string(&at, &n);

		if (vocab_merge(&g->vocab, s, n, NULL, 0) < 0)
			return -1;
	}
	return 0;
}

static int
read_ids(struct gguf_vocab *g)
{
	const int64_t last = (int64_t)g->n - 1;

	for (int i = 0; i < GGUF_IDS; i++) {
		g->ids[i] = -1;
		if (gguf_int(&g->file, gguf_id_keys[i], JSON_OPTIONAL, 0, last, &g->ids[i]) < 0)
			return -1;
	}
	g->add_bos = g->pre->bos && g->ids[GGUF_BOS] >= 0;
	if (gguf_bool(&g->file, "tokenizer.ggml.add_bos_token", JSON_OPTIONAL, &g->add_bos) < 0 ||
	    gguf_bool(&g->file, "tokenizer.ggml.add_eos_token", JSON_OPTIONAL, &g->add_eos) < 0)
		return -1;
	for (int i = GGUF_BOS; i <= GGUF_EOS; i++)
		if ((i == GGUF_BOS ? g->add_bos : g->add_eos) && g->ids[i] < 0)
			return fail(FAIL_DATA, "key '%s' is missing", gguf_id_keys[i]);
	return 0;
}

int
gguf_vocab_open(struct gguf_vocab *g, const char *path)
{
	if (gguf_open(&g->file, path) < 0)
		return -1;
	return read_kind(g) < 0 || read_tokens(g) < 0 || read_merges(g) < 0 || read_ids(g) < 0 ?
	    fail_in("'%s'", path) : 0;
}

void
gguf_vocab_close(struct gguf_vocab *g)
{
	vocab_free(&g->vocab);
	free(g->types);
	gguf_close(&g->file);
	*g = (struct gguf_vocab){0};
}

int
gguf_vocab_is_added(const struct gguf_vocab *g, size_t i)
{
	return g->types[i] != GGUF_TOKEN_NORMAL;
}

const char *
gguf_vocab_string(const struct gguf_vocab *g, int64_t id, size_t *n)
{
	const struct gguf_value *tokens;
	const unsigned char *at;
	const char *s = NULL;

	if (id < 0 || (size_t)id >= g->n || gguf_strings(&g->file, "tokenizer.ggml.tokens",
	    JSON_REQUIRED, &tokens) < 0)
		return NULL;
	at = tokens->p;
	for (int64_t i = 0; i <= id; i++)
		s = gguf_next_string(&at, n);
	return s;
}
