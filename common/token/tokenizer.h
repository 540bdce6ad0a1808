/*
 * Inside of the tokenizer: what tokenizer.c loads and encode.c uses.
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
	size_t at;                      /* its bytes, in tokenizer.bytes */
	uint32_t len;
	unsigned char known, plain, special;    /* plain: spelled in the byte-level alphabet */
};

/* Ids that go around a text: the first `before` of them before it, the others after it. */
struct around {
	int32_t *ids;
	size_t n, before, cap;
};

struct tokenizer {
	struct token *tokens;           /* [ntokens] by id */
	size_t ntokens, tokens_cap;
	char *bytes;                    /* of all tokens, and the contents of added tokens */
	size_t nbytes, bytes_cap;
	struct bpe bpe;
	struct added added[2];          /* first those to be found before normalization, then those after */
	struct pattern *splits[SPLITS_MAX];
	int nsplits;
	struct around around;
	int64_t vocab;                  /* ids from here on are no model's output: vocab_size */
	cJSON *json;                    /* only to be freed: a program that encodes one line ends sooner without */
	struct buf text;                /* scratch: the text made valid */
	struct cuts cuts, finer;        /* scratch */
	struct pattern_time time;       /* of all matches of a text */
};

/* Around what tokenizer.json's post_processor says; then what tokenizer_config.json's keys say, where they decide.
 * 0, or -1 and a message. */
int post_load(struct tokenizer *t, const cJSON *json);
int post_settings(struct tokenizer *t, const cJSON *settings);

#endif
