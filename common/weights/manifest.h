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

/* The tensors that a caller wants: 1, or 0. */
typedef int manifest_wants(void *arg, const struct tensor_entry *t);

/*
 * Append the manifest of the tensors that `wants` wants (NULL: all), sorted by name, to `to`.  A
 * file that is missing is an error; with `lacking` its tensors get "-" in place of a fingerprint,
 * which is compared with nothing, and *lacking is how many they are, *n of how many.  0, or -1 and
 * a message, which is also given for the first file that is missing.
 */
int manifest_write(struct buf *to, struct checkpoint *c, struct manifest_sample sample, manifest_wants *wants, void *arg,
    struct pool *pool, size_t *lacking, size_t *n);

/* Read a file.  0, or -1 and a message; manifest_close frees, a zeroed *f too. */
int manifest_open(struct manifest *f, const char *path);
void manifest_close(struct manifest *f);

/*
 * Compare the tensors that `wants` wants with the manifest.  Returns how many differ or -1 and a
 * message, which is also given for the first that differs (FAIL_DATA): "tensor 'NAME' is not the
 * one of the manifest".  *n: how many were compared, those with "-" left out. each: called for
 * each that differs, in the order of names; NULL: none.
 */
long manifest_compare(const struct manifest *f, struct checkpoint *c, manifest_wants *wants, void *arg, struct pool *pool,
    void (*each)(void *arg, const char *name), long *n);

/* The tensors whose bytes were asked for since model_open: what a stage has mapped. */
int manifest_mapped(void *arg, const struct tensor_entry *t);

#endif
