/*
 * What the machine can do at most, measured: how fast its memory is read, and how many multiply-adds it makes on
 * registers alone, with the threads, the instruction set and the precision that the model runs with.
 */
#ifndef DS_LIMIT_H
#define DS_LIMIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "kernels.h"

struct limit {
	double read;                    /* bytes per second */
	double fma;                     /* operations per second, two for a multiply-add that is summed in float32 */
};

struct sweep {                          /* memory that is larger than the caches, to be read from end to end */
	unsigned char *p;
	size_t n;
};

/* How many bytes no cache holds, but at most `most`. */
size_t sweep_size(uint64_t most);

/* 0, or -1 and a message. */
int sweep_open(struct sweep *s, size_t n);
void sweep_close(struct sweep *s);

/* Read all of it once, by all threads: what the caches held before is gone.  Returns the seconds it took. */
double sweep_read(const struct sweep *s, const struct kernels *k, struct pool *pool);

/* The best of several tries for each, `seconds` long in all.  now: the clock for what is read, clock_now or, of one thread, clock_thread. */
void limit_measure(struct limit *l, const struct sweep *s, const struct kernels *k, struct pool *pool, double seconds,
    double (*now)(void));


/*
 * What an instruction set supplies: read returns a number that depends on all n bytes (n a multiple of 1024), with the
 * bytes that lie `ahead` of it fetched early (0: by the processor's own guess); multiply_adds does `rounds`
 * times PEAK_CHAINS vector operations, none of which waits for the one before it, and returns how many operations on
 * numbers they were.
 */
struct peak {
	uint64_t (*read)(const void *p, size_t n, size_t ahead);
	double (*multiply_adds)(long rounds);
};

#define PEAK_CHAINS 12          /* enough for two units with a delay of 5; AVX2 has 16 registers */

extern const struct peak peak_ref, peak_avx2, peak_avx512;

/* multiply_adds in tiles of BF16, each with six of the units' operations in a round. */
double peak_amx(long rounds);

#endif
