/*
 * Shared by embed_kv.c and embed_admit.c: the mirror of the caches.
 */
#ifndef DS_EMBED_KV_INTERNAL_H
#define DS_EMBED_KV_INTERNAL_H

#include "stage/embed_internal.h"

#define SHARED_MIN 8            /* a fork for fewer positions costs more than their rows */

/* Positions that the caches hold of the tokens of x.  */
uint32_t kv_held(const struct embed *e, const struct prefix *x);

size_t kv_left(const struct embed *e);  /* pages that are free */

/* Queue a fork; free a retained prefix in the caches and here.  0, or -1 and a message.  */
int kv_send_fork(struct embed *e, uint64_t from, uint64_t to, uint32_t n);
int kv_drop(struct embed *e, struct prefix *x);

#endif
