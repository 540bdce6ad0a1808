/*
 * The files that the processes of a pipeline save: one each, FOLDER/WHO.safetensors, with tensors
 * of its own.  The metadata of a file have what it was made of.
 */
#ifndef DS_SHARDS_H
#define DS_SHARDS_H

#include "base/table.h"
#include "frame/learn.h"
#include "weights/tensor_file.h"

/* Keys of the metadata: the id of the checkpoint, save_name() of what was saved, and of a state the
 * step that it follows. */
#define SHARDS_MODEL "dspipe.model"
#define SHARDS_WHAT "dspipe.what"
#define SHARDS_STEP "dspipe.step"

struct shards {
	struct tensor_file *files;
	size_t n, cap;
	struct table names;             /* -> struct tensor_file */
	uint64_t step;                  /* of a state */
};

/*
 * Open all files of a folder that end in .safetensors.  Refused: a file of another model or of
 * another kind, one that is damaged, states of two steps, a tensor in two files, a folder without
 * such files.  0, or -1 and a message.  shards_close frees in any case.
 */
int shards_open(struct shards *s, const char *dir, const char *model, enum save what);
void shards_close(struct shards *s);    /* a zeroed *s is fine */

/* A tensor and its bytes in *data; NULL without a message: there is none of that name. */
const struct tensor_entry *shards_find(const struct shards *s, const char *name,
    const void **data);

#endif
