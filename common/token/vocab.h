/*
 * The vocabulary and merges of a tokenizer as its file spells them, in GPT-2's alphabet: from
 * tokenizer.json or from a GGUF file. No string is ended by a NUL.
 */
#ifndef DS_VOCAB_H
#define DS_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/mem.h"

struct vocab_token {
	const char *s;
	uint32_t n;
	int32_t id;
};

/* "a b" has b NULL: one blank separates its two tokens. */
struct vocab_merge {
	const char *a, *b;
	uint32_t na, nb;
};

struct vocab {
	struct vocab_token *tokens;     /* [ntokens] in the order of the file */
	size_t ntokens, tokens_cap;
	struct vocab_merge *merges;     /* [nmerges] by rank */
	size_t nmerges, merges_cap;
	struct buf arena;               /* strings whose escapes are resolved */
};

/* Append one. Return 0, or -1 and a message. */
int vocab_add(struct vocab *v, const char *s, size_t n, int32_t id);
int vocab_merge(struct vocab *v, const char *a, size_t na, const char *b, size_t nb);
void vocab_free(struct vocab *v);

/* Fill v from the values of the keys vocab and merges, which must outlive it. Returns 0, or -1 and
 * a message. */
int vocab_json(struct vocab *v, const cJSON *vocab, const cJSON *merges);

/*
 * The same, much faster, from the n bytes of a tokenizer.json, which must outlive v: it finds the
 * two keys of its "model" and appends to rest the text with both values empty, for json_parse.
 * Returns 1; 0 if there is anything unusual: parse the text with vocab_json(), which also says
 * what is wrong; or -1 and a message.
 */
int vocab_skim(struct vocab *v, const char *text, size_t n, struct buf *rest);

#endif
