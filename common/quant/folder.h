/*
 * The folder of a new checkpoint, but for its tensors.
 */
#ifndef DS_FOLDER_H
#define DS_FOLDER_H

#include "quant/quant.h"

/* Copy the other files of the model: no weights, index, config.json or hidden files. */
int folder_copy(const struct quant *q);

/* The index, where the model has one: names and files of all tensors, their bytes together. */
int folder_index(const struct quant *q, const struct table *files);

/* config.json, its quantization_config as the new matrices are. */
int folder_config(const struct quant *q);

#endif
