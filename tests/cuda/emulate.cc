/* The threads of an emulated GPU: fibers, barriers, what warps do together.  See emulate.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_runtime.h"
#include "emulate_fiber.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

/* Sanitizers check kernels, and what copies for them, but not how threads take turns. */
#define UNCHECKED EMULATE_UNCHECKED

enum { THREADS = EMULATE_THREADS, WARPS = THREADS / 32, BARRIERS = 16, SHARED_MOST = 256 << 10 };

struct thread {
	struct fiber *fiber;            /* NULL before it began */
	unsigned index;
	uint3 coordinates;
};

/* Values are those of this meeting and of the one before: a lane reads those before it comes to the
 * next. */
struct meeting {
	unsigned mask, come, turn;
	const void *what;
	void *lane[32];
	uint64_t value[2][32];
};

struct barrier {
	int need, come, yes;            /* threads */
	int said;                       /* yes of those who came the last time */
	unsigned waits[WARPS];          /* lanes */
};

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
unsigned emulate_index;

static struct thread threads[THREADS];
static struct meeting meetings[WARPS][32];      /* of a warp: by the lowest lane of the mask */
static struct barrier barriers[BARRIERS];
static unsigned count, done;                            /* threads of the block */
static unsigned ready[WARPS], ready_warps;      /* lanes that can begin or go on; their warps */
static void (*kernel)(void *);
static void *arguments;
static unsigned char *shared_memory;
static enum { FORWARD, REVERSE, RANDOM } how;
static uint64_t seed;

void
emulate_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "emulated GPU: block %u,%u,%u thread %u,%u,%u: ", blockIdx.x, blockIdx.y, blockIdx.z,
	    threadIdx.x, threadIdx.y, threadIdx.z);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	abort();
}

static UNCHECKED unsigned
below(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

/*
 * Who runs next
 */

static INLINE void
make_ready(unsigned warp, unsigned lanes)
{
	ready[warp] |= lanes;
	if (lanes)
		ready_warps |= 1u << warp;
}

static INLINE unsigned
last_of(unsigned mask)
{
	return 31 - (unsigned)__builtin_clz(mask);
}

static UNCHECKED unsigned
any_of(unsigned mask)
{
	for (unsigned n = below((unsigned)__builtin_popcount(mask)); n > 0; n--)
		mask &= mask - 1;
	return (unsigned)__builtin_ctz(mask);
}

static void
stuck(void)
{
	unsigned block = 0, warp = 0;

	for (int i = 0; i < BARRIERS; i++)
		block += (unsigned)barriers[i].come;
	for (unsigned w = 0; w < (count + 31) / 32; w++)
		for (int i = 0; i < 32; i++)
			warp += (unsigned)__builtin_popcount(meetings[w][i].come);
	emulate_die("of %u threads %u wait at a barrier, %u for others of their warp, and %u have returned: none can go on",
	    count, block, warp, done);
}

static INLINE void
run_next(struct thread *t)
{
	const unsigned warp = t->index / 32;

	ready[warp] &= ~(1u << t->index % 32);
	if (!ready[warp])
		ready_warps &= ~(1u << warp);
	emulate_index = t->index;
	threadIdx = t->coordinates;
}

/* The thread that runs next becomes the current one: if the order is not random, one of the same
 * warp.  NULL: all are done. */
static UNCHECKED struct thread *
next_thread(void)
{
	unsigned w = emulate_index / 32, lane;

	if (!ready_warps) {
		if (done < count)
			stuck();
		return NULL;
	}
	if (how == RANDOM)
		w = any_of(ready_warps);
	else if (!ready[w])
		w = how == REVERSE ? last_of(ready_warps) : (unsigned)__builtin_ctz(ready_warps);
	lane = how == RANDOM ? any_of(ready[w]) : how == REVERSE ? last_of(ready[w]) :
	    (unsigned)__builtin_ctz(ready[w]);
	run_next(&threads[w * 32 + lane]);
	return &threads[w * 32 + lane];
}

/* One that has a fiber. */
static UNCHECKED __attribute__((noinline)) struct thread *
next_started(void)
{
	struct thread *t = next_thread();

	if (!t->fiber)
		t->fiber = fiber_new();
	return t;
}

/* The current thread waits: until another makes it ready, others run.  result is what the function
 * returns then. */
static INLINE const void *
wait_here(const void *result)
{
	const unsigned first = emulate_index & ~31u, lanes = ready[emulate_index / 32];
	struct thread *t = &threads[first + (unsigned)__builtin_ctz(lanes | 1u << 31)];

	if (how == FORWARD && lanes && t->fiber)
		run_next(t);            /* (next_thread's choice, in line) */
	else
		t = next_started();
	return fiber_go(t->fiber, result);
}

/* A fiber runs one thread after another, as long as none waits. */
static UNCHECKED void
fiber_main(void)
{
	struct thread *t;

	for (;;) {
		kernel(arguments);
		done++;
		t = next_thread();
		if (t && !t->fiber) {
			t->fiber = fiber_here;
			continue;
		}
		fiber_free(fiber_here);
		fiber_go(t ? t->fiber : &fiber_host, NULL);
	}
}

/*
 * What threads do together
 */

static UNCHECKED __attribute__((noinline)) void
meeting_begin(struct meeting *m, unsigned mask, const void *what)
{
	m->mask = mask;
	m->what = what;
	if (~mask) {
		memset(m->lane, 0, sizeof(m->lane));
		memset(m->value[m->turn], 0, sizeof(m->value[0]));
	}
}

/* The current thread comes to what the lanes of mask do. */
static INLINE struct meeting *
meeting_of(unsigned index, unsigned *mask, const void *what)
{
	const unsigned left = count - (index & ~31u);
	struct meeting *m;

	if (left < 32)
		*mask &= (1u << left) - 1;
	if (!(*mask >> index % 32 & 1))
		emulate_die("lane %u is not in the mask %08x that it gives", index % 32, *mask);
	m = &meetings[index / 32][__builtin_ctz(*mask)];
	if (!m->come)
		meeting_begin(m, *mask, what);
	else if (m->mask != *mask || m->what != what)
		emulate_die("the lanes of a warp, %08x, are at different operations", *mask);
	m->come |= 1u << index % 32;
	return m;
}

/* The current thread comes to what a whole warp does, as most do: others have come, two or more have
 * not but run already, the order is forward.  Then the thread that runs next; else NULL. */
static INLINE struct thread *
next_of_whole(struct meeting *m, unsigned index, unsigned mask, const void *what)
{
	const unsigned lanes = ready[index / 32];
	struct thread *t = &threads[(index & ~31u) + (unsigned)__builtin_ctz(lanes | 1u << 31)];

	if (~mask || how != FORWARD || !m->come || m->mask != mask || m->what != what ||
	    (lanes & (lanes - 1)) == 0 || !t->fiber)
		return NULL;
	m->come |= 1u << index % 32;
	ready[index / 32] = lanes & (lanes - 1);
	emulate_index = t->index;
	threadIdx = t->coordinates;
	return t;
}

static UNCHECKED __attribute__((noinline)) void
warp_of(unsigned mask, void *mine, void (*together)(void *lane[32]))
{
	const unsigned index = emulate_index;
	struct meeting *m = meeting_of(index, &mask, (const void *)together);

	m->lane[index % 32] = mine;
	if (m->come != mask) {
		wait_here(NULL);
		return;
	}
	m->come = 0;
	if (together)
		together(m->lane);
	make_ready(index / 32, mask & ~(1u << index % 32));
}

UNCHECKED void
emulate_warp(unsigned mask, void *mine, void (*together)(void *lane[32]))
{
	const unsigned index = emulate_index;
	struct meeting *m = meetings[index / 32];
	struct thread *t = next_of_whole(m, index, mask, (const void *)together);

	if (t) {
		m->lane[index % 32] = mine;
		fiber_go(t->fiber, NULL);
	} else {
		warp_of(mask, mine, together);
	}
}

static UNCHECKED __attribute__((noinline)) const uint64_t *
values_of(unsigned mask, uint64_t mine, unsigned from, const void *what)
{
	const unsigned index = emulate_index;
	struct meeting *m = meeting_of(index, &mask, what);
	uint64_t *all = m->value[m->turn];

	if (!(mask >> from & 1))
		emulate_die("a shuffle from a lane that is not in the mask");
	all[index % 32] = mine;
	if (m->come != mask)
		return (const uint64_t *)wait_here(all);
	m->come = 0;
	m->turn ^= 1;
	make_ready(index / 32, mask & ~(1u << index % 32));
	return all;
}

UNCHECKED const uint64_t *
emulate_values(unsigned mask, uint64_t mine, unsigned from, const void *what)
{
	const unsigned index = emulate_index;
	struct meeting *m = meetings[index / 32];
	struct thread *t = next_of_whole(m, index, mask, what);
	uint64_t *all = m->value[m->turn];

	if (!t)
		return values_of(mask, mine, from, what);
	all[index % 32] = mine;
	return (const uint64_t *)fiber_go(t->fiber, all);
}

/* (no thread can have passed the next barrier before all have read what was said at this one) */
UNCHECKED const int *
emulate_barrier(int id, int n, int yes)
{
	const unsigned warp = emulate_index / 32, lane = emulate_index % 32;
	struct barrier *b = &barriers[id];

	if (n == 0)
		n = (int)count;
	if (b->come == 0) {
		b->need = n;
		b->yes = 0;
	} else if (b->need != n) {
		emulate_die("barrier %d: %d threads are waited for here, %d elsewhere", id, n, b->need);
	}
	b->yes += yes;
	if (++b->come < n) {
		b->waits[warp] |= 1u << lane;
		return (const int *)wait_here(&b->said);
	}
	b->come = 0;
	b->said = b->yes;
	for (unsigned w = 0; w < (count + 31) / 32; w++) {
		make_ready(w, b->waits[w]);
		b->waits[w] = 0;
	}
	return &b->said;
}

void *
emulate_shared(void)
{
	return shared_memory;
}

/*
 * Blocks
 */

static void
choose_order(void)
{
	const char *text = getenv("DS_EMULATE_ORDER");

	how = !text || !strcmp(text, "forward") ? FORWARD : !strcmp(text, "reverse") ? REVERSE : RANDOM;
	if (how == RANDOM)
		seed = strtoull(text, NULL, 10) + 1;
}

static UNCHECKED void
run_block(size_t shared)
{
	struct thread *t;

	memset(shared_memory, 0xff, shared);
	done = ready_warps = 0;
	for (unsigned w = 0; w * 32 < count; w++)
		make_ready(w, count - w * 32 < 32 ? (1u << (count - w * 32)) - 1 : ~0u);
	for (unsigned i = 0; i < count; i++)
		threads[i].fiber = NULL;
	emulate_index = how == REVERSE ? count - 1 : 0;
	t = next_started();
	fiber_go(t->fiber, NULL);
	emulate_async_end(count);
}

static unsigned
divisor(unsigned a, unsigned b)
{
	return b ? divisor(b, a % b) : a;
}

void
emulate_grid(const unsigned grid[3], const unsigned block[3], size_t shared, void (*call)(void *), void *args)
{
	unsigned blocks = grid[0] * grid[1] * grid[2], step = 1, at = 0;

	if (!shared_memory)
		shared_memory = (unsigned char *)aligned_alloc(4096, SHARED_MOST);
	if (!shared_memory || fibers_open(fiber_main) < 0)
		emulate_die("no memory for the shared memory of a block, and its stacks");
	gridDim = dim3(grid[0], grid[1], grid[2]);
	blockDim = dim3(block[0], block[1], block[2]);
	count = block[0] * block[1] * block[2];
	kernel = call;
	arguments = args;
	for (unsigned i = 0; i < count; i++) {
		threads[i].index = i;
		threads[i].coordinates = { i % block[0], i / block[0] % block[1], i / block[0] / block[1] };
	}
	choose_order();
	if (how == RANDOM) {
		at = below(blocks);
		do
			step = 1 + below(blocks);
		while (divisor(step, blocks) != 1);
	}
#ifdef __SANITIZE_ADDRESS__
	__asan_poison_memory_region(shared_memory + shared, SHARED_MOST - shared);
#endif
	fibers_enter(1);
	for (unsigned i = 0; i < blocks; i++) {
		unsigned b = how == REVERSE ? blocks - 1 - i : at;

		blockIdx = { b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1] };
		run_block(shared);
		at = (unsigned)(((unsigned long long)at + step) % blocks);
	}
	fibers_enter(0);
#ifdef __SANITIZE_ADDRESS__
	__asan_unpoison_memory_region(shared_memory, SHARED_MOST);
#endif
}
