/*
 * Sets of experts: ranges of routed experts and `s`, the shared ones, as
 * `-e` and the header key experts_done write them: "0-7,12,s".
 */
#ifndef DS_EXPERT_SET_H
#define DS_EXPERT_SET_H

#include "base/mem.h"
#include "arch/config.h"

struct expert_set {
	unsigned char has[EXPERTS_MAX];
	int shared;
};

/* Experts 0..E-1 may be named, each once.  0, or -1 and a message with the given status.  */
int expert_set_parse(struct expert_set *s, const char *text, int E, int status);

/* Append the canonical text of a set: ascending ranges, as long as possible, then s.  A NUL follows
 * that is not counted.  0, or -1 and a message.  */
int expert_set_text(const struct expert_set *s, int E, struct buf *b);

/* Add the experts of from to those of to.  0, or -1 and a message (FAIL_DATA) if an expert is in
 * both.  */
int expert_set_merge(struct expert_set *to, const struct expert_set *from, int E);

void expert_set_all(struct expert_set *s, int E);
int expert_set_is_all(const struct expert_set *s, int E);

#endif
