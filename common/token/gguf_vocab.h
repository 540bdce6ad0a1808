/*
 * The tokenizer that a GGUF file describes: keys tokenizer.ggml.*
 */
#ifndef DS_GGUF_VOCAB_H
#define DS_GGUF_VOCAB_H

#include "token/pre.h"
#include "token/vocab.h"
#include "weights/gguf.h"

/* tokenizer.ggml.token_type */
enum gguf_token {
	GGUF_TOKEN_NORMAL = 1, GGUF_TOKEN_UNKNOWN, GGUF_TOKEN_CONTROL, GGUF_TOKEN_USER_DEFINED,
	GGUF_TOKEN_UNUSED, GGUF_TOKEN_BYTE
};

enum gguf_id { GGUF_BOS, GGUF_EOS, GGUF_UNK, GGUF_SEP, GGUF_PAD, GGUF_MASK, GGUF_IDS };

/* Names of these tokens in tokenizer_config.json, and their keys in a GGUF file. */
extern const char *const gguf_id_names[GGUF_IDS];
extern const char *const gguf_id_keys[GGUF_IDS];

struct gguf_vocab {
	struct gguf file;
	const struct pre *pre;
	size_t n;                       /* ids, also of unused tokens */
	struct vocab vocab;             /* all tokens but unused ones; merges */
	int32_t *types;                 /* [vocab.ntokens] enum gguf_token */
	int64_t ids[GGUF_IDS];          /* -1: none */
	int add_bos, add_eos;           /* 1 only if there is such an id */
};

/* Open a GGUF file and check these keys. A tokenizer.ggml.model other than gpt2 and an unknown
 * tokenizer.ggml.pre are errors. Returns 0, or -1 and a message that names the file. */
int gguf_vocab_open(struct gguf_vocab *g, const char *path);
void gguf_vocab_close(struct gguf_vocab *g);

/* 1 if token i of g->vocab is an added token, found in the text before all else. */
int gguf_vocab_is_added(const struct gguf_vocab *g, size_t i);

/* The string of an id in g->file, *n bytes; NULL if there is none. */
const char *gguf_vocab_string(const struct gguf_vocab *g, int64_t id, size_t *n);

#endif
