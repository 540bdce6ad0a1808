/*
 * A file of tensors, mapped.  Opening reads its header and checks all of it: what is found here
 * lies inside the file.  safetensors.c and gguf_tensors.c read the formats.
 */
#ifndef DS_TENSOR_FILE_H
#define DS_TENSOR_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/table.h"
#include "weights/gguf.h"

#define TENSOR_RANK_MAX 8

/* What the header has of a tensor. */
struct tensor_entry {
	const char *name;
	char dtype_text[16];            /* as in the header */
	int dtype;                      /* enum dtype, or -1: unknown to the kernels */
	int rank;
	uint64_t shape[TENSOR_RANK_MAX];
	uint64_t begin, end;            /* bytes of the file */
	int zipped, turned;             /* as in struct mat (kernels.h); 0: in order */
	int mapped;                     /* its bytes were asked for (checkpoint_data) */
};

struct tensor_file {
	struct file_map map;            /* .p is NULL: not open */
	struct tensor_entry *tensors;   /* in the order of their data */
	size_t n;
	struct table names;             /* -> struct tensor_entry */
	char *text;                     /* memory of the names */
	struct gguf *gguf;              /* its header; NULL: a safetensors file */
	struct tensor_copy *copies;
};

/* Map the file of a zeroed *f.  Refused: a header that is longer than the file or not as its
 * format has it; tensors whose size is not that of their shape, that overlap, or that reach beyond
 * the file's end.  0, or -1 and a message that names the file; *f is then zeroed. */
int tensor_file_open(struct tensor_file *f, const char *path);

/* The same for a file that dspipe wrote and renamed when it was complete: zeros at its end are
 * numbers, not the rest of a download. */
int tensor_file_open_own(struct tensor_file *f, const char *path);

/* The same for a file that must be a GGUF file.  first: where the metadata are, in the first file
 * of several; NULL: in this one. */
int tensor_file_open_gguf(struct tensor_file *f, const char *path, const struct gguf *first);

void tensor_file_close(struct tensor_file *f);  /* unmaps and frees; a zeroed *f is fine */

/* The tensor of that name, or NULL (no message). */
struct tensor_entry *tensor_file_find(const struct tensor_file *f, const char *name);

/* Its bytes, read-only, at the alignment of its dtype: the mapped file itself, or a copy that lives
 * as long as f where a header of odd length left the tensor unaligned.  NULL and a message where
 * there is no memory for that. */
const void *tensor_file_data(struct tensor_file *f, const struct tensor_entry *t);

/* "BF16 [3, 4]" into to, cut where it does not fit; returns to. */
const char *tensor_entry_describe(const struct tensor_entry *t, char *to, size_t size);

#endif
