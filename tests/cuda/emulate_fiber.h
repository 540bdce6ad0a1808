/*
 * The stacks of an emulated GPU's threads, and how one goes on in place of another.  (Threads take
 * turns very often, so that this is in line.)
 */
#ifndef DS_EMULATE_FIBER_H
#define DS_EMULATE_FIBER_H

#include "emulate.h"
#ifndef __x86_64__
#include <ucontext.h>
#endif

#define INLINE EMULATE_UNCHECKED __attribute__((always_inline)) inline

/* A stack, and where it was left. */
struct fiber {
	void *at;
	uint64_t *bottom;
	struct fiber *next;             /* of the free ones */
#ifndef __x86_64__
	ucontext_t context;
#endif
};

/* The current one; that of the process itself, which none of the threads has. */
extern struct fiber *fiber_here, fiber_host;

/* Room for a fiber of each thread, and one more; each calls begin, which never returns.  Again:
 * nothing.  0, or -1: no memory. */
int fibers_open(void (*begin)(void));

/* One that no thread has; it begins, or goes on after its last fiber_free. */
struct fiber *fiber_new(void);

/* No thread has it any more. */
void fiber_free(struct fiber *f);

/* For the address sanitizer all stacks are one: the process is on them from here on, or no more. */
void fibers_enter(int enter);

#ifdef __x86_64__
/* Keep what a call must keep on this stack, and its address in *from; go on with another.  It
 * returns `result` to its caller when another goes on with this one. */
extern "C" const void *emulate_switch(void **from, void *to, const void *result);

static INLINE const void *
fiber_go(struct fiber *to, const void *result)
{
	struct fiber *from = fiber_here;

	fiber_here = to;
	return emulate_switch(&from->at, to->at, result);
}
#else
static inline const void *
fiber_go(struct fiber *to, const void *result)
{
	struct fiber *from = fiber_here;

	fiber_here = to;
	swapcontext(&from->context, &to->context);
	return result;
}
#endif

#endif
