/*
 * The metadata of a GGUF that is made from a model, as llama.cpp reads it.
 */
#ifndef DS_GGUF_KEYS_H
#define DS_GGUF_KEYS_H

#include "arch/model.h"
#include "quant/gguf_file.h"

#define GGUF_ROPE_FACTORS "rope_freqs.weight"   /* F32 [head_dim / 2]: of llama3 */

/* The name of the architecture; NULL and a message where there is none for this model. */
const char *gguf_architecture(const struct config *c);

/* All keys of the architecture; file_type is a number of llama.cpp's enum llama_ftype. */
void gguf_put_config(struct gguf_file *f, const struct config *c, int file_type);

/* The tokenizer, the chat template and what generation_config.json says, of a folder or a GGUF
 * file; a model without a tokenizer says so.  A tokenizer that GGUF has no name for is an error.
 * 0, or -1 and a message. */
int gguf_put_tokenizer(struct gguf_file *f, const struct model *m);

/* What divides the frequency of pair i of llama3's rope. */
float gguf_rope_factor(const struct config *c, int i);

#endif
