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

/* Fill in dtype, and make t->begin and t->end, which are relative to the data, places in the file.
 * Refused: a size that is not that of dtype and shape.  0, or -1 and a message. */
int safetensors_entry(struct tensor_entry *t, const char *dtype, size_t len, uint64_t data);

/* The same as safetensors_read, much faster, from the n bytes of the header; f->text has room for
 * them.  1; 0 without a change of f if anything is unusual or wrong: parse it; or -1 and a
 * message.  Names that appear twice are found later, by list_names of tensor_file.c. */
int safetensors_skim(struct tensor_file *f, const char *text, size_t n);

/* The __metadata__ of a file that is open: *out is NULL where it has none, else for the caller to
 * delete.  0, or -1 and a message. */
int safetensors_metadata(const struct tensor_file *f, struct cJSON **out);

#endif
