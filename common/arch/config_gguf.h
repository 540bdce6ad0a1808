/*
 * The metadata of a GGUF file as config.json has them, for the families to read.
 */
#ifndef DS_CONFIG_GGUF_H
#define DS_CONFIG_GGUF_H

#include <cJSON.h>

#include "arch/config.h"
#include "weights/checkpoint.h"

/* What config.json and generation_config.json would have, in one object that the caller deletes.
 * NULL and a message that names the key, the tensor, or the architecture that is not supported. */
cJSON *config_of_gguf(struct checkpoint *w);

/* general.architecture of a GGUF file of such a model; NULL: GGUF has none for it. */
const char *gguf_name_of(const struct config *c);

#endif
