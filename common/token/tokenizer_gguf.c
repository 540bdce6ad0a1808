/* The tokenizer in the metadata of a GGUF file: byte-level BPE with a pre-tokenizer by name. */
#include <string.h>

#include "base/fail.h"
#include "token/gguf_vocab.h"
#include "token/pre.h"
#include "token/tokenizer.h"

/* Bytes of added tokens. */
static size_t
added_size(const struct gguf_vocab *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->vocab.ntokens; i++)
		n += gguf_vocab_is_added(g, i) ? g->vocab.tokens[i].n : 0;
	return n;
}

static int
add_around(struct tokenizer *t, const struct gguf_vocab *g)
{
	if (g->add_bos && post_add(t, g->ids[GGUF_BOS], 1) < 0)
		return -1;
	return g->add_eos ? post_add(t, g->ids[GGUF_EOS], 0) : 0;
}

static int
load(struct tokenizer *t, const struct gguf_vocab *g)
{
	const struct vocab *v = &g->vocab;

	t->nfc = g->pre->nfc;
	t->bpe.ignore_merges = g->pre->ignore_merges;
	if (tokenizer_reserve(t, v, added_size(g)) < 0)
		return -1;
	for (size_t i = 0; i < v->ntokens; i++)
		if (gguf_vocab_is_added(g, i) &&
		    tokenizer_add(t, v->tokens[i].s, v->tokens[i].n, (uint64_t)v->tokens[i].id,
		    g->types[i] == GGUF_TOKEN_CONTROL, 0) < 0)
			return fail_in("tokenizer.ggml.tokens");
	if (tokenizer_add_done(t) < 0)
		return -1;
	if (tokenizer_add_vocab(t, v) < 0)
		return fail_in("tokenizer.ggml.tokens");
	if (tokenizer_add_merges(t, v) < 0)
		return fail_in("tokenizer.ggml.merges");
	for (int i = 0; g->pre->splits[i]; i++)
		if (tokenizer_add_split(t, g->pre->splits[i]) < 0)
			return -1;
	t->vocab = (int64_t)g->n;
	return add_around(t, g);
}

int
tokenizer_load_gguf(struct tokenizer *t, const char *path)
{
	struct gguf_vocab g = {0};
	int r = gguf_vocab_open(&g, path);

	if (r == 0 && (r = load(t, &g)) < 0)
		fail_in("'%s'", path);
	gguf_vocab_close(&g);
	return r;
}
