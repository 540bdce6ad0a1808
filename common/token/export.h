/*
 * The tokenizer of a model in the other of the two kinds of files: what the metadata of a GGUF file
 * say about a folder's, and the files of a folder for that of a GGUF file.
 */
#ifndef DS_EXPORT_H
#define DS_EXPORT_H

#include "token/gguf_vocab.h"
#include "token/token.h"

/* Not ended by a NUL. */
struct export_string {
	const char *s;
	size_t n;
};

/* Values of the keys tokenizer.ggml.*, for tokenizer.ggml.model gpt2. */
struct export {
	const struct pre *pre;          /* tokenizer.ggml.pre is its name; NULL: there is none */
	struct export_string *tokens;   /* [n]; unused ids up to vocab_size have names, too */
	int32_t *types;                 /* [n] enum gguf_token */
	size_t n;
	struct export_string *merges;   /* [nmerges] "a b" */
	size_t nmerges;
	int64_t ids[GGUF_IDS];          /* keys gguf_id_keys; -1: none */
	int add_bos, add_eos;           /* tokenizer.ggml.add_bos_token, add_eos_token */
	char *template;                 /* tokenizer.chat_template, ended by a NUL; NULL: none */
	char *tool_use;                 /* tokenizer.chat_template.tool_use; NULL: none */
	/* owned */
	struct tokenizer *tokenizer;
	cJSON *settings;
	struct buf text;                /* all strings */
};

/* Fill a zeroed *e from a model: a folder or a GGUF file. A tokenizer that GGUF has no name for is
 * no error here: e->pre is NULL. Returns 0, or -1 and a message. */
int export_open(struct export *e, const char *model);
void export_close(struct export *e);

/* Append the texts of tokenizer.json and tokenizer_config.json, which make the same ids and prompts
 * as the model. Return 0, or -1 and a message. */
int export_tokenizer(const struct export *e, struct buf *to);
int export_settings(const struct export *e, struct buf *to);

#endif
