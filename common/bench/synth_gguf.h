/*
 * A synthetic checkpoint as a GGUF file.
 */
#ifndef DS_SYNTH_GGUF_H
#define DS_SYNTH_GGUF_H

#include "bench/shape.h"

/* Append the header to b, and set where each tensor of the list begins and l->bytes.  The routed
 * experts of a layer are slices of one tensor.  0, or -1 and a message. */
int synth_gguf(struct shape_list *l, const struct config *c, struct buf *b);

#endif
