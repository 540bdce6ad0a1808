/*
 * A GPU emulated on the CPU, for tests: kernels/cuda/ *.cu compiled by the host's C++ compiler, with the
 * cuda_runtime.h of this directory in place of CUDA's.
 *
 * The threads of a block are fibers, the lanes 0..31 of a warp being neighbours in them; one runs until it comes to a
 * barrier or to something that its warp does together, and then another goes on.  Blocks run one after another.
 * Who waits for threads that have returned or wait elsewhere is told, and the process ends (abort).
 *
 * Environment, read at every launch or when a device is looked for:
 *	DS_EMULATE_ORDER        forward (as it is without it), reverse, or a number: the seed of a random order of
 *	                        threads and blocks
 *	DS_EMULATE_DEVICES      how many there are: 1; 0: none; none: no driver; old: one that is too old
 *	DS_EMULATE_CAPABILITY   90
 *	DS_EMULATE_MEMORY       bytes that a device has: 4 GiB
 *
 * This file is what twins of PTX instructions (emulate_ptx.h, emulate_fp8.h) are written with.
 */
#ifndef DS_EMULATE_H
#define DS_EMULATE_H

#include <stddef.h>
#include <stdint.h>

/* What needs no check by sanitizers: it reads and writes registers of lanes alone. */
#define EMULATE_UNCHECKED __attribute__((no_sanitize("address", "undefined")))

enum { EMULATE_THREADS = 1024 };        /* the most of a block */

/* Every lane of mask comes here with a struct of its own, *mine; when the last has come, together(lane) runs
 * once, lane[i] being lane i's struct, NULL where i is not in mask; it may read and write all of them.  Then all
 * go on.  together may be NULL. */
void emulate_warp(unsigned mask, void *mine, void (*together)(void *lane[32]));

/* The same, but each lane gives a value, and gets those of all: [i] is lane i's, or 0, until this
 * lane comes to something else.  from must be in mask.  what: the address of anything that tells
 * this operation from others. */
const uint64_t *emulate_values(unsigned mask, uint64_t mine, unsigned from, const void *what);

/* The barrier `id` (0..15) of the block, for `threads` of them (0: all): how many came with a yes. */
const int *emulate_barrier(int id, int threads, int yes);

/* A copy of n bytes, and `zeros` zeros after them, that happens when this thread waits for it, and not before:
 * cp.async, its commit_group, and wait_group for all but the last n groups. */
void emulate_async(void *to, const void *from, size_t n, size_t zeros);
void emulate_async_commit(void);
void emulate_async_wait(int n);

/* A block of so many threads has ended: the process, too, if one has not waited for its copies. */
void emulate_async_end(unsigned threads);

extern unsigned emulate_index;  /* of the thread in its block */
static inline unsigned emulate_lane(void) { return emulate_index % 32; }
void *emulate_shared(void);     /* the dynamic shared memory of the block, NaN bytes when it begins */

/* End the process with a message: the kernel did what a GPU does not define. */
void emulate_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn, cold));

/* Of the runtime: what is put on a stream, to be run there with a copy of the n bytes at data. */
struct emulate_stream;
int emulate_put(struct emulate_stream *s, void (*run)(void *data), const void *data, size_t n);

/* Run a kernel: call(args) for every thread. */
void emulate_grid(const unsigned grid[3], const unsigned block[3], size_t shared, void (*call)(void *args), void *args);

#endif
