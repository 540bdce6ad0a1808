/*
 * Pre-tokenizers by the names that GGUF files give them (tokenizer.ggml.pre).
 */
#ifndef DS_PRE_H
#define DS_PRE_H

/* What ByteLevel splits by, unless its use_regex is false. */
#define PRE_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

#endif
