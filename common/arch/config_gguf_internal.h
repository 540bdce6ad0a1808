/*
 * What the files that read metadata share.  Functions return 0, or -1 and a message.  Readers of
 * an optional value return 1 or 0, as in json.h.
 */
#ifndef DS_CONFIG_GGUF_INTERNAL_H
#define DS_CONFIG_GGUF_INTERNAL_H

#include "arch/config_gguf.h"

#define METADATA_KEY 120                /* bytes of a key */

struct metadata {
	struct checkpoint *weights;
	const struct gguf *gguf;
	const char *arch;               /* "qwen2" */
	cJSON *config;                  /* what is filled */
};

/* Keys are those after "qwen2.". */
const char *metadata_key(const struct metadata *m, const char *key, char to[METADATA_KEY]);
int metadata_int(const struct metadata *m, const char *key, enum json_presence need, int *out);
int metadata_number(const struct metadata *m, const char *key, enum json_presence need,
    double *out);
int metadata_bool(const struct metadata *m, const char *key, int *out);

/* By the name that it has in a folder. */
int metadata_has_tensor(const struct metadata *m, const char *name);

/* Add what is more than keys with another name. */
int metadata_gqa(const struct metadata *m);
int metadata_qwen3moe(const struct metadata *m);
int metadata_deepseek2(const struct metadata *m);
int metadata_rope(const struct metadata *m);
int metadata_generation(const struct metadata *m);

#endif
