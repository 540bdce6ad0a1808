/*
 * tokenizer_config.json, for the tokenizer and the chat template.
 */
#ifndef DS_SETTINGS_H
#define DS_SETTINGS_H

#include "base/json.h"
#include "token/gguf_vocab.h"

/* Load it from the model: a folder, or a GGUF file, whose metadata become the keys that they stand
 * for. Returns 1 with *o, to be freed with cJSON_Delete, 0 if there is no such file, or -1 and a
 * message. */
int settings_load(const char *model, cJSON **o);

/* The same of a GGUF file that is open. Returns NULL and a message on failure. */
cJSON *settings_gguf(const struct gguf_vocab *g);

/* Their name and path in messages: tokenizer_config.json, or the GGUF file. */
const char *settings_name(const char *model);
const char *settings_path(char *to, size_t size, const char *model);

/* Get a token such as "bos_token": a string, or an object with "content". *token belongs to o,
 * and is NULL if absent. Returns 0, or -1 and a message. */
int settings_token(const cJSON *o, const char *name, const char **token);

#endif
