/*
 * A checkpoint's tokenizer: byte-level BPE from tokenizer.json, exactly as the
 * Hugging Face tokenizers library does it.
 */
#ifndef DS_TOKEN_H
#define DS_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct tokenizer;

/* Load dir/tokenizer.json (and tokenizer_config.json, if there).  NULL and a message. */
struct tokenizer *tokenizer_open(const char *dir);
void tokenizer_close(struct tokenizer *t);

/* ids of n bytes of text appended to *ids (of *cap, *count used), added tokens found in the text, none put around it.
 * Bytes that are not valid UTF-8 become U+FFFD, one for each maximal ill-formed part (Unicode's recommendation,
 * and what Python's errors="replace" does). 0, or -1 and a message. */
int tokenizer_encode(struct tokenizer *t, const char *text, size_t n,
    int32_t **ids, size_t *count, size_t *cap);

/* The bytes of a token: *n is set.  An id below the model's vocab_size that no token has is empty text; without a
 * config.json so is every id that no token has.  NULL (no message) for other ids. */
const char *tokenizer_bytes(const struct tokenizer *t, int64_t id, size_t *n);
int tokenizer_is_special(const struct tokenizer *t, int64_t id);       /* marked special: hidden in text */
int64_t tokenizer_id(const struct tokenizer *t, const char *token);     /* of an added token by content, or -1 */

/* The ids that the tokenizer's files put around a text: all *n, the first *before of them before it. */
const int32_t *tokenizer_around(const struct tokenizer *t, size_t *n, size_t *before);

#endif
