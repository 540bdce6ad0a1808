/*
 * The formats in which ggml stores numbers.
 */
#ifndef DS_GGUF_FORMAT_H
#define DS_GGUF_FORMAT_H

#include <stdint.h>

#include "weights/gguf.h"

/* By its number in a file, or by its name ("Q8_0"); NULL where there is none (no message). */
const struct gguf_format *gguf_format(uint32_t number);
const struct gguf_format *gguf_format_named(const char *name);

/* Bytes of n numbers, a multiple of the block: 0, or -1 without a message on overflow or where n is
 * no multiple. */
int gguf_format_bytes(const struct gguf_format *f, uint64_t n, uint64_t *bytes);

#endif
