/*
 * Internals of the tokenizer: loaded by tokenizer.c, used by encode.c.
 */
#ifndef DS_TOKENIZER_H
#define DS_TOKENIZER_H

#include "base/json.h"
#include "token/added.h"
#include "token/bpe.h"
#include "token/pattern.h"
#include "token/token.h"

#define SPLITS_MAX 32

struct token {
	size_t at;                      /* offset of its bytes in tokenizer.bytes */
	uint32_t len;
	unsigned char known, plain, special;    /* plain: spelled in the byte-level alphabet */
};

/* Ids put around a text: the first `before` of them before it, the rest after it. */
struct around {
	int32_t *ids;
	size_t n, before, cap;
};

struct tokenizer {
	struct token *tokens;           /* [ntokens] by id */
	size_t ntokens, tokens_cap;
	char *bytes;                    /* bytes of all tokens and contents of added tokens */
	size_t nbytes, bytes_cap;
	struct bpe bpe;
	struct added added[2];          /* found before normalization; found after it */
	struct pattern *splits[SPLITS_MAX];
	int nsplits;
	struct around around;
	int64_t vocab;                  /* vocab_size: ids from here on are invalid */
	/* kept only because freeing it takes time: programs that encode one line end sooner */
	cJSON *json;
	struct buf text;                /* scratch: the text as valid UTF-8 */
	struct cuts cuts, finer;        /* scratch */
	struct pattern_time time;       /* of all matches of a text */
};

/* Fill t->around from tokenizer.json's post_processor, then from the keys of
 * tokenizer_config.json where they take precedence (post.c). Return 0, or -1 and a message. */
int post_load(struct tokenizer *t, const cJSON *json);
int post_settings(struct tokenizer *t, const cJSON *settings);

#endif
