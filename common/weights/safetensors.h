/*
 * A safetensors file, mapped: eight bytes of header length, a JSON header
 * that says where each tensor is, the tensors.  Opening reads the header
 * only and checks all of it: what is found here lies inside the file.
 */
#ifndef DS_SAFETENSORS_H
#define DS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/table.h"

#define TENSOR_RANK_MAX 8

struct cJSON;

struct safetensor {
	const char *name;
	char dtype_text[16];            /* as in the header */
	int dtype;                      /* enum dtype, or -1: one that the kernels don't know */
	int rank;
	uint64_t shape[TENSOR_RANK_MAX];
	uint64_t begin, end;            /* bytes of the file */
	int mapped;                     /* a caller has asked for its bytes (model_tensor) */
};

struct safetensors {
	struct file_map map;            /* .p is NULL: not open */
	struct safetensor *tensors;         /* in the order of their data */
	size_t n;
	struct table names;             /* -> struct safetensor */
	char *text;                     /* memory of the names */
	struct safetensors_copy *copies;
};

/* Map the file of a zeroed *s.  Refused: a header that is longer than the file, not JSON,
 * or not as the format wants it; tensors whose size is not that of their shape, that overlap, or
 * that reach behind the file's end.  0, or -1 and a message that names the file; *s is then zeroed. */
int safetensors_open(struct safetensors *s, const char *path);
void safetensors_close(struct safetensors *s);  /* unmaps and frees; a zeroed *s is fine */

/* The tensor of that name, or NULL (no message). */
struct safetensor *safetensors_find(const struct safetensors *s, const char *name);

/* Its bytes, read-only, at the alignment of its dtype.  That is the mapped file itself, but for a tensor that
 * a header of odd length left unaligned: it is copied once, and the copy lives as long as s.
 * NULL and a message where there is no memory for that. */
const void *safetensors_data(struct safetensors *s, const struct safetensor *t);

/* The header's __metadata__: *out is NULL where it has none, else for the caller to delete.  0, or
 * -1 and a message. */
int safetensors_metadata(const struct safetensors *s, struct cJSON **out);

/* "BF16 [3, 4]" into to, cut where it does not fit; returns to. */
const char *safetensor_describe(const struct safetensor *t, char *to, size_t size);

#endif
