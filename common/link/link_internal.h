/*
 * Internal to common/link.
 */
#ifndef DS_LINK_INTERNAL_H
#define DS_LINK_INTERNAL_H

#include "link/link.h"

/* Receiving a frame in pieces, in l->frame. link_room returns how many bytes to read next to
 * l->frame + l->have, at most LINK_CHUNK, or 0 and a message. link_received accounts for n bytes
 * read there and validates the header as soon as it is complete: 0, or -1 and a message.
 * link_parse turns the complete frame into f: 1, or -1 and a message. */
#define LINK_CHUNK ((size_t)256 << 10)  /* stays in the L2 cache until its CRC is computed */

size_t link_room(struct link *l);
int link_received(struct link *l, size_t n);
int link_parse(struct link *l, struct frame *f);

extern const struct transport link_fd, link_zmq, link_nccl, link_ipc;

/* 1 if the peer of a ZeroMQ link has gone. */
int zmq_lost(const struct link *l);

#endif
