/*
 * A checkpoint with learned weights, in the form of the one that it was learned from: the same
 * files, headers and order of tensors.
 */
#ifndef DS_ASSEMBLE_H
#define DS_ASSEMBLE_H

#include "arch/model.h"

/* What a folder has that learn_assemble wrote: a hidden file with the id of the source. */
#define ASSEMBLE_MARK ".dspipe-learn"

/*
 * Whether `out` may be written: it does not exist, is an empty folder, or was written by
 * learn_assemble from a model with m's id.  0, or -1 and a message (FAIL_USAGE).
 */
int assemble_check(const struct model *m, const char *out);

/*
 * Write the folder `out`: m's files, with the tensors of `shards` (learn_save with SAVE_WEIGHTS) in
 * the place of m's.  All tensors that learn must be there; others keep their bytes.  Files that are
 * no weights are copied, without hidden ones.
 *
 * It is written as out.part, synchronised with the disk and renamed, so that `out` is complete at
 * any moment.  On an error out.part is removed and `out` is unchanged.  0, or -1 and a message.
 */
int learn_assemble(struct model *m, const char *shards, const char *out);

#endif
