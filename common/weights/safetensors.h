/*
 * The safetensors format: eight bytes of header length, a JSON header with the place of each
 * tensor, the tensors.
 */
#ifndef DS_SAFETENSORS_H
#define DS_SAFETENSORS_H

#include "weights/tensor_file.h"

struct cJSON;

/* Read the header of a mapped file: f->tensors, f->n and f->text.  0, or -1 and a message. */
int safetensors_read(struct tensor_file *f);

/* The __metadata__ of a file that is open: *out is NULL where it has none, else for the caller to
 * delete.  0, or -1 and a message. */
int safetensors_metadata(const struct tensor_file *f, struct cJSON **out);

#endif
