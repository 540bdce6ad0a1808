/*
 * Pre-tokenizers by name: what GGUF files (tokenizer.ggml.pre) and releases with a tiktoken.model
 * only name, and tokenizer.json writes out. The same splits as in the tokenizer.json of the models
 * with which llama.cpp introduced the names.
 */
#ifndef DS_PRE_H
#define DS_PRE_H

#include <stddef.h>

#define PRE_SPLITS 6

/* What ByteLevel splits by, unless its use_regex is false. */
#define PRE_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)" \
	"|\\s+"

struct pre {
	const char *name;
	const char *splits[PRE_SPLITS + 1];     /* ended by NULL; each an isolated Split */
	int nfc;
	int ignore_merges;
	int bos;                        /* BOS precedes a text unless the file says otherwise */
};

/* Returns NULL if the n bytes are no name of the table, without a message. */
const struct pre *pre_find(const char *name, size_t n);

/* 1 if a row has this split: a pattern that needs no check. */
int pre_has(const char *split);

/* The row with these splits and flags, the first one of several, or NULL. splits is ended by
 * NULL. */
const struct pre *pre_match(const char *const *splits, int nfc, int ignore_merges);

#endif
