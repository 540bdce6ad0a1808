/*
 * What ds-info says of a GGUF file besides what it says of any checkpoint.
 */
#ifndef DS_INFO_GGUF_H
#define DS_INFO_GGUF_H

#include <stdio.h>

#include <cJSON.h>

#include "weights/checkpoint.h"

/* An object with version, architecture, the tensors of each type, and the metadata that dspipe
 * reads; NULL for a folder.  The caller deletes it. */
cJSON *info_gguf(const struct checkpoint *w);

/* Print it as text. */
void info_gguf_text(FILE *to, const cJSON *o);

#endif
