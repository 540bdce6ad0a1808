/*
 * What the files of the families share to read config.json: each returns 0, or -1 and a message
 * that names the key.
 */
#ifndef DS_CONFIG_INTERNAL_H
#define DS_CONFIG_INTERNAL_H

#include <stddef.h>

#include "arch/config.h"
#include "base/json.h"

/* Every product of two sizes that the project forms as an int fits one under these bounds. */
#define DIM_MAX (1 << 20)
#define HEAD_DIM_MAX (1 << 14)
#define HEADS_MAX (1 << 12)
#define VOCAB_MAX (1 << 24)

struct config_field {
	const char *key;                /* NULL: the end of a list */
	size_t at;                      /* of an int in struct config */
	int min, max;
	enum json_presence need;
};

int config_fields(struct config *c, const cJSON *o, const struct config_field *f);
int config_float(const cJSON *o, const char *key, enum json_presence need, double min, double max,
    float *out);

/* A switch that must be as given, where the file has it at all. */
int config_must_be(const cJSON *o, const char *key, int value);

/* architectures, where given: that one. */
int config_architecture(const cJSON *o, const char *architecture, const char *type);

/* rope_theta, and rope_scaling or rope_parameters, into c->rope; c->attention is set. */
int config_rope(struct config *c, const cJSON *o);

#endif
