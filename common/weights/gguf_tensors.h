/*
 * The tensors of a GGUF file under the names, and in the shapes, that they have in a checkpoint
 * folder.
 */
#ifndef DS_GGUF_TENSORS_H
#define DS_GGUF_TENSORS_H

#include "weights/tensor_file.h"

/*
 * Fill f->tensors, f->n and f->text from f->gguf.  `first` has the metadata: the file itself, or
 * the first of several.  A stack of experts becomes a tensor for each; MLA's k_b and v_b become
 * matrices, the first `turned`; llama's q and k become `zipped`.  A name that no architecture has
 * is an error.  0, or -1 and a message that names the tensor.
 */
int gguf_tensors(struct tensor_file *f, const struct gguf *first);

/* The name in a GGUF file of a tensor of a folder, after "blk.N." where it belongs to a layer; of
 * an expert's, the stack of all.  NULL where there is none (no message). */
const char *gguf_tensor_name(const char *name);

#endif
