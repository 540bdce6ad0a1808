/*
 * A manifest: a fingerprint of each tensor of a checkpoint, as text.  Two checkpoints of one
 * shape, such as a model and its fine-tune, have the same names, shapes and model id; a manifest
 * tells them apart.  ds-info(1) has the format.
 */
#ifndef DS_MANIFEST_H
#define DS_MANIFEST_H

#include "base/mem.h"
#include "base/pool.h"
#include "weights/checkpoint.h"

#define MANIFEST_PIECES 5       /* of a tensor that are read, unless all of it is */
#define MANIFEST_BYTES_MAX (256u << 20)        /* of a manifest */
#define MANIFEST_PIECE 256      /* bytes of one */

/* What of each tensor its fingerprint covers. */
struct manifest_sample {
	int pieces;                     /* 0: all of the tensor */
	int bytes;                      /* of a piece */
	double seconds;                 /* reading them for longer is a failure; 0: it may take any time */
};

struct manifest {
	char model[17];
	struct manifest_sample sample;
	struct table lines;             /* name -> what stands before it, "HASH DTYPE SHAPE" */
	struct buf text;                /* memory of both */
};

/* Selects tensors by name: 1 or 0.  Of a missing file t has only the name. */
typedef int manifest_filter(void *arg, const struct tensor_entry *t);

/*
 * Append the manifest of the tensors that the filter accepts (NULL: all), sorted by name.  Returns
 * 0, or -1 and a message.  A file that does not exist is an error, unless `missing` is given: its
 * tensors then get "-" in place of a fingerprint, *missing is their number, and a message about the
 * first such file is kept.  *n: all tensors.
 */
int manifest_write(struct buf *to, struct checkpoint *c, struct manifest_sample sample,
    manifest_filter *filter, void *arg, struct pool *pool, size_t *missing, size_t *n);

/* Read a file.  0, or -1 and a message; manifest_close frees, also a zeroed *f. */
int manifest_open(struct manifest *f, const char *path);
void manifest_close(struct manifest *f);

/*
 * Compare the tensors that the filter accepts with the manifest.  Returns how many differ, with a
 * message about the first of them (FAIL_DATA), or -1 and a message.  *n: how many were compared;
 * those with "-" are not.  each (or NULL): called for each tensor that differs, in order of names.
 */
long manifest_compare(const struct manifest *f, struct checkpoint *c, manifest_filter *filter,
    void *arg, struct pool *pool, void (*each)(void *arg, const char *name), long *n);

/* A filter: the tensors whose bytes were asked for since the checkpoint was opened. */
int manifest_mapped(void *arg, const struct tensor_entry *t);

#endif
