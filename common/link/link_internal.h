/*
 * Shared by the files of common/link alone.
 */
#ifndef DS_LINK_MEM_H
#define DS_LINK_MEM_H

#include "link/link.h"

/* The frame that is arriving, in l->frame.  link_room makes room for its next bytes, at l->frame + l->have: so many of
 * them, LINK_CHUNK at most; 0 and a message without memory.
 * link_received says that n have come there, and checks them as far as they tell what follows.
 * link_parse makes a frame of what is whole. */
#define LINK_CHUNK ((size_t)256 << 10)  /* what a cache holds until its CRC has been taken */

size_t link_room(struct link *l);
int link_received(struct link *l, size_t n);
int link_parse(struct link *l, struct frame *f);

extern const struct transport link_fd, link_zmq, link_nccl, link_ipc;

/* 1 if the other end of a link by ZeroMQ has gone. */
int zmq_lost(const struct link *l);

#endif
