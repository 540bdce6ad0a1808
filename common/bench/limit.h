/*
 * Measured limits of the machine: memory bandwidth, and multiply-adds on registers, with the
 * threads, instruction set and precision of the model.
 */
#ifndef DS_LIMIT_H
#define DS_LIMIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "kernels.h"

struct limit {
	double read;                    /* bytes per second */
	double fma;     /* operations per second in the precision; a multiply-add counts as two */
};

struct sweep {                          /* a block of memory larger than the caches */
	unsigned char *p;
	size_t n;
};

/* A size that exceeds all caches, but at most `most` bytes. */
size_t sweep_size(uint64_t most);

/* Allocate n bytes, in huge pages or without any, as the weights are. Returns 0, or -1 and a
 * message. Free with sweep_close. */
int sweep_open(struct sweep *s, size_t n, int huge);
void sweep_close(struct sweep *s);

/* Read all of it with all threads, which evicts everything else from the caches. Returns the
 * seconds it took. */
double sweep_read(const struct sweep *s, const struct kernels *k, struct pool *pool);

/* Measure both limits, the best of several tries, in about `seconds` seconds. now: the clock for
 * reads, clock_now or, with one thread, clock_thread. */
void limit_measure(struct limit *l, const struct sweep *s, const struct kernels *k, struct pool *pool, double seconds,
    double (*now)(void));


/*
 * Supplied by an instruction set. read: returns a number that depends on all n bytes (n a multiple
 * of 1024); prefetches `ahead` bytes (0: left to the hardware). multiply_adds: does `rounds` times
 * PEAK_CHAINS independent vector operations and returns the number of scalar operations.
 */
struct peak {
	uint64_t (*read)(const void *p, size_t n, size_t distance);
	double (*multiply_adds)(long rounds);
};

#ifdef __aarch64__
#define PEAK_CHAINS 20          /* for four units with a latency of 5 */
#else
#define PEAK_CHAINS 12          /* for two units with a latency of 5; AVX2 has 16 registers */
#endif

extern const struct peak peak_ref, peak_avx2, peak_avx512, peak_neon;

/* multiply_adds in BF16 tiles; six tile operations per round. */
double peak_amx(long rounds);

/* multiply_adds of 8-bit integers: the fastest of this processor, up to that instruction set. */
typedef double peak_loop(long rounds);

peak_loop *peak_i8_ref(void);
peak_loop *peak_i8_avx2(void);          /* VPMADDUBSW, or VPDPBUSD of AVX-VNNI */
peak_loop *peak_i8_avx512(void);        /* VPDPBUSD of AVX-512 VNNI */
peak_loop *peak_i8_amx(void);           /* TDPBSSD */
peak_loop *peak_i8_neon(void);          /* SMULL, SMLAL and SADALP */
peak_loop *peak_i8_dot(void);           /* SDOT */
peak_loop *peak_i8_i8mm(void);          /* SMMLA */

#endif
