/*
 * Internals of the tokenizer. Files fill struct tokenizer (tokenizer_json.c, tokenizer_gguf.c,
 * tokenizer_tiktoken.c) with the functions of tokenizer_build.c; encode.c uses it.
 */
#ifndef DS_TOKENIZER_H
#define DS_TOKENIZER_H

#include "base/json.h"
#include "token/added.h"
#include "token/bpe.h"
#include "token/pattern.h"
#include "token/token.h"
#include "token/tokens.h"
#include "token/vocab.h"

#define SPLITS_MAX 32

/* Ids put around a text: the first `before` of them before it, the rest after it. */
struct around {
	int32_t *ids;
	size_t n, before, cap;
};

struct tokenizer {
	struct tokens tokens;
	struct bpe bpe;
	struct added added[2];          /* found before normalization; found after it */
	int nfc;                        /* 1: text between them is normalized to NFC */
	struct pattern *splits[SPLITS_MAX];
	char *regexes[SPLITS_MAX + 1];  /* of the splits, ended by NULL */
	int nsplits;
	struct around around;
	int64_t vocab;                  /* vocab_size: ids from here on are invalid */
	struct buf text, normal;        /* scratch: the text as valid UTF-8, and in NFC */
	struct cuts cuts, finer;        /* scratch */
	struct pattern_time time;       /* of all matches of a text */
};

/* All functions return 0, or -1 and a message. */

/* tokenizer_json.c: from dir/tokenizer.json */
int tokenizer_load_json(struct tokenizer *t, const char *path);

/* tokenizer_gguf.c: from the metadata of a GGUF file */
int tokenizer_load_gguf(struct tokenizer *t, const char *path);

/* tokenizer_tiktoken.c: from a tiktoken.model and dir's tokenizer_config.json; t->vocab is set */
int tokenizer_load_tiktoken(struct tokenizer *t, const char *path, const char *dir);

/* tokenizer_build.c: first reserve memory for the vocabulary and n bytes of contents of added
 * tokens, then add the added tokens, the vocabulary, the merges. */
int tokenizer_reserve(struct tokenizer *t, const struct vocab *v, size_t n);
int tokenizer_add(struct tokenizer *t, const char *content, size_t n, uint64_t id, int special,
    int normalized);
/* 0, or -1 and a message: what a file says of an added token asks for spaces around it to count. */
int tokenizer_check_flags(const cJSON *v, const char *content);
int tokenizer_add_done(struct tokenizer *t);
int tokenizer_add_vocab(struct tokenizer *t, const struct vocab *v);
int tokenizer_add_merges(struct tokenizer *t, const struct vocab *v);
int tokenizer_add_split(struct tokenizer *t, const char *regex);

/* Fill t->around from tokenizer.json's post_processor, then from the keys of
 * tokenizer_config.json where they take precedence (post.c). */
int post_load(struct tokenizer *t, const cJSON *json);
int post_settings(struct tokenizer *t, const cJSON *settings);
int post_add(struct tokenizer *t, int64_t id, int before);

#endif
