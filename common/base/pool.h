/*
 * A pool of threads that sleep while there is nothing to do: dozens of
 * stages may share few cores.  For a tenth of a millisecond behind a job they
 * look for the next, each time letting whoever else is ready go first.
 */
#ifndef DS_POOL_H
#define DS_POOL_H

#include <stddef.h>

struct pool;

/* n threads in all, the caller's included; 1 starts none.  NULL and a message
 * on failure. */
struct pool *pool_new(int n);
void pool_free(struct pool *p);
int pool_threads(const struct pool *p);

/*
 * Call fn(arg, from, to, thread) so that its ranges cover 0..n-1 once, and
 * return when all are done.  cost is what one index costs, in multiply-adds,
 * roughly: work too small to share is done by the caller alone.  Ranges start
 * at multiples of `grain`.  thread is 0..pool_threads-1, for scratch memory.
 * fn must not depend on how the range is cut.  Not reentrant.
 */
void pool_run(struct pool *p, size_t n, size_t grain, double cost,
    void (*fn)(void *arg, size_t from, size_t to, int thread), void *arg);

#endif
