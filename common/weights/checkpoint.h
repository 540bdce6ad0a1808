/*
 * The tensors of a checkpoint by their names, mapped from its files, nothing copied
 * but scales in BF16.  A checkpoint
 * is a folder, whose files are opened when the first of their tensors is asked for, or a GGUF file,
 * the first of its parts where it has several.
 */
#ifndef DS_CHECKPOINT_H
#define DS_CHECKPOINT_H

#include "base/table.h"
#include "weights/tensor_file.h"

#define CHECKPOINT_INDEX "model.safetensors.index.json"

struct shard {
	char *path;
	struct tensor_file file;        /* file.map.p is NULL until a tensor is asked for */
};

struct checkpoint {
	char *dir;                      /* or the path of the GGUF file */
	char id[17];                    /* 16 hex digits: hash of config.json and of the names, */
	                                /* or of the metadata; ds-frame(5) */
	struct table files;             /* tensor name -> struct shard */
	struct shard *shards;
	size_t nshards;
	int indexed;                    /* an index lists the files of the tensors */
	char *names;                    /* memory of the names */
	struct table floats;            /* tensor name -> its float32 copy, see layout_mat */
	int private;                    /* checkpoint_private */
};

/* Read the index, or the headers of the one file or of the parts of a GGUF file; no tensor is
 * touched.  0, or -1 and a message. */
int checkpoint_open(struct checkpoint *w, const char *dir);
void checkpoint_close(struct checkpoint *w);    /* a zeroed *w is fine */

/* The id alone: 0, or -1 where the folder has no config.json or no weights. */
int checkpoint_id(const char *dir, char id[17]);

/* For a folder that lacks a file.  1, and a message: it has a GGUF file, which is to be given, or
 * it does not exist. */
int checkpoint_hint(const char *dir, const char *missing);

/* The header with the metadata; NULL for a folder. */
const struct gguf *checkpoint_gguf(const struct checkpoint *w);

/* Let the bytes of tensors be changed, in this process only: also of files that are open already,
 * whose tensors stay where they are.  The files never change.  0, or -1 and a message. */
int checkpoint_private(struct checkpoint *w);

/* Give back the memory of mapped pages: bytes that are needed again are read again. */
void checkpoint_drop(const struct checkpoint *w);

/* Open the file of a shard, if it is not open: 0, or -1 and a message. */
int shard_open(struct shard *s);

/* All names are the keys of w->files, in no order. */
int checkpoint_has(const struct checkpoint *w, const char *name);

/* What the header of its file has of a tensor, its bytes untouched.  NULL and a message that names
 * it. */
const struct tensor_entry *checkpoint_entry(struct checkpoint *w, const char *name);

/* A tensor as it is stored, its bytes in *data (tensor_file_data).  NULL and a message. */
const struct tensor_entry *checkpoint_data(struct checkpoint *w, const char *name,
    const void **data);

#endif
