/*
 * tokenizer_config.json, as far as the tokenizer and the chat template need it.
 */
#ifndef DS_SETTINGS_H
#define DS_SETTINGS_H

#include "base/json.h"

/* Load it from dir: 1, or 0 where there is none, or -1 and a message.  cJSON_Delete(*o). */
int settings_load(const char *dir, cJSON **o);

/* A token such as "bos_token", a string or an object with its content; NULL where there is none. 0, or -1 and a message. */
int settings_token(const cJSON *o, const char *name, const char **token);


#endif
