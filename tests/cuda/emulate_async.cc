/* cp.async of an emulated GPU: copies that happen when a thread waits for them.  See emulate.h. */
#include <string.h>

#include "cuda_runtime.h"

#define UNCHECKED EMULATE_UNCHECKED

enum { COPIES = 128 };

struct copy {
	void *to;
	const void *from;
	size_t n, zeros;
};

/* Asynchronous copies of a thread, in rings: how many began and were done, groups of them that were
 * committed and waited for. */
struct waiting {
	unsigned copies, copied, groups, gone;
	unsigned group[COPIES];         /* how many copies there were when it was committed */
	struct copy copy[COPIES];
};

static struct waiting waiting[EMULATE_THREADS];
static int copying;                     /* has a thread of the block such copies? */

UNCHECKED void
emulate_async(void *to, const void *from, size_t n, size_t zeros)
{
	struct waiting *w = &waiting[emulate_index];

	copying = 1;
	if (w->copies - w->copied == COPIES)
		emulate_die("more than %d asynchronous copies that the thread has not waited for", COPIES);
	w->copy[w->copies++ % COPIES] = { to, from, n, zeros };
}

UNCHECKED void
emulate_async_commit(void)
{
	struct waiting *w = &waiting[emulate_index];

	copying = 1;
	if (w->groups - w->gone == COPIES)
		emulate_die("more than %d groups of asynchronous copies that the thread has not waited for", COPIES);
	w->group[w->groups++ % COPIES] = w->copies;
}

/* (most are of 16 bytes) */
static void
copy_now(const struct copy *c)
{
	if (c->n == 16 && c->zeros == 0 && ((size_t)c->to | (size_t)c->from) % 16 == 0) {
		*(uint4 *)c->to = *(const uint4 *)c->from;
		return;
	}
	memcpy(c->to, c->from, c->n);
	memset((char *)c->to + c->n, 0, c->zeros);
}

UNCHECKED void
emulate_async_wait(int n)
{
	struct waiting *w = &waiting[emulate_index];
	unsigned end;

	if (w->groups - w->gone <= (unsigned)n)
		return;
	w->gone = w->groups - (unsigned)n;
	end = w->group[(w->gone - 1) % COPIES];
	while (w->copied != end)
		copy_now(&w->copy[w->copied++ % COPIES]);
}

void
emulate_async_end(unsigned threads)
{
	for (unsigned i = 0; copying && i < threads; i++) {
		if (waiting[i].copies != waiting[i].copied)
			emulate_die("thread %u returned without waiting for its asynchronous copies", i);
		waiting[i].copies = waiting[i].copied = waiting[i].groups = waiting[i].gone = 0;
	}
	copying = 0;
}
