/*
 * A model's tokenizer: byte-level BPE from tokenizer.json or from the metadata of a GGUF file,
 * identical to the Hugging Face tokenizers library.
 */
#ifndef DS_TOKEN_H
#define DS_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct tokenizer;

/* Load a GGUF file, or from a folder tokenizer.json, and tokenizer_config.json and config.json if
 * present. Returns NULL and a message on failure. Not thread-safe. */
struct tokenizer *tokenizer_open(const char *model);
void tokenizer_close(struct tokenizer *t);

/* Append the ids of n bytes of text to *ids, which has room for *cap and holds *count. Added
 * tokens are recognised in the text; no ids are put around it. Each maximal ill-formed part of
 * UTF-8 becomes U+FFFD, as in Python's errors="replace". Returns 0, or -1 and a message. */
int tokenizer_encode(struct tokenizer *t, const char *text, size_t n,
    int32_t **ids, size_t *count, size_t *cap);

/* The bytes of a token, *n of them, in memory of t. Ids below config.json's vocab_size without a
 * token are empty text; so is every id without a token if there is no config.json. NULL, without
 * a message, for other ids. */
const char *tokenizer_bytes(const struct tokenizer *t, int64_t id, size_t *n);
int tokenizer_is_special(const struct tokenizer *t, int64_t id);    /* 1: special, hidden in text */
/* of an added token, by its content; -1: none */
int64_t tokenizer_id(const struct tokenizer *t, const char *token);

/* The ids that the files put around a text: *n in all, the first *before of them before it. */
const int32_t *tokenizer_around(const struct tokenizer *t, size_t *n, size_t *before);

#endif
