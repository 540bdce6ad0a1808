/*
 * Shared by the files of common/frame alone.
 */
#ifndef DS_FRAME_INTERNAL_H
#define DS_FRAME_INTERNAL_H

#include <msgpack.h>

#include "frame/frame.h"

/* n bytes kept as long as the frame, followed by a NUL: copied from p, or
 * unset where p is NULL.  NULL and a message without memory.  */
void *frame_keep(struct frame *f, const void *p, size_t n);

/* --- control frames of learning (learn.c): f->op is set --- */

/* 1 if learn_read reads that key of f.  */
int learn_reads(const struct frame *f, const msgpack_object *key);

/* The numbers and texts of the header's map.  0, or -1 and a message.  */
int learn_read(struct frame *f, const msgpack_object *map);

/* How many keys learn_pack writes, and these keys.  */
size_t learn_keys(const struct frame *f);
void learn_pack(msgpack_packer *k, const struct frame *f);

/* The big-endian number at p.  */
static inline uint32_t
frame_get32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#define ALIGN64(n) (((n) + 63) & ~(size_t)63)

#endif
