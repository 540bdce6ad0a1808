/*
 * Shared by the files of common/link alone.
 */
#ifndef DS_LINK_MEM_H
#define DS_LINK_MEM_H

#include "link/link.h"

/* The frame that is arriving, in l->frame.  link_room makes room for its next bytes: as many as
 * l->cap - l->have, of which no more than l->need - l->have belong to it; -1 without memory.
 * link_took says that n have come there, and checks them as far as they tell what follows.
 * link_parse makes a frame of what is whole. */
int link_room(struct link *l);
int link_took(struct link *l, size_t n);
int link_parse(struct link *l, struct frame *f);

extern const struct transport link_fd, link_zmq;

#endif
