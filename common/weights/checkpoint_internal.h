/*
 * What checkpoint.c and checkpoint_gguf.c share.  Functions return 0, or -1 and a message.
 */
#ifndef DS_CHECKPOINT_INTERNAL_H
#define DS_CHECKPOINT_INTERNAL_H

#include "weights/checkpoint.h"

int shard_set_path(struct shard *s, const char *path);

/* Put the tensors of a shard that is open into w->files. */
int shard_list(struct checkpoint *w, struct shard *s);

/* Open all parts of the GGUF file w->dir: the shards, the names, the id. */
int checkpoint_open_gguf(struct checkpoint *w);

#endif
