/*
 * A thread pool. Idle workers sleep, because dozens of stages may share few cores. After a task
 * they poll for the next one for 0.1 ms and yield the processor meanwhile.
 */
#ifndef DS_POOL_H
#define DS_POOL_H

#include <stddef.h>

struct pool;

/* A pool of n threads, the caller included. They start with the first task that they share. Where
 * the system refuses one, a warning says how many compute. Returns NULL and a message on
 * failure. */
struct pool *pool_new(int n);
void pool_free(struct pool *p);
int pool_threads(const struct pool *p);

/*
 * Call fn(arg, from, to, thread) on ranges that cover 0..n-1 exactly once; return when all calls
 * have returned. Ranges start at multiples of `grain`; n has fewer than 2^31 of them. Each
 * thread has neighbouring indices, and steals from others when it has done them. `cost` is the
 * approximate number of multiply-adds for one index: small tasks run on the calling thread alone.
 * `thread` is 0..pool_threads-1 and selects scratch memory. The result must not depend on the
 * ranges. Not reentrant.
 */
void pool_run(struct pool *p, size_t n, size_t grain, double cost,
    void (*fn)(void *arg, size_t from, size_t to, int thread), void *arg);

#endif
