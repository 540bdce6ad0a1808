/* The threads of an emulated GPU: fibers, barriers, what warps do together.  See emulate.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK (256 << 10)       /* frames are larger there */
#else
#define STACK (64 << 10)
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

enum { THREADS = 1024, BARRIERS = 16, COPIES = 128, SHARED_MOST = 256 << 10 };

/* A stack, and where it was left. */
struct fiber {
	void *at;
	void *fake;                     /* of the address sanitizer */
	const void *bottom;
	size_t size;
	struct fiber *next;             /* of the free ones */
#ifndef __x86_64__
	ucontext_t context;
#endif
};

struct copy {
	void *to;
	const void *from;
	size_t n, zeros;
};

struct thread {
	struct fiber *fiber;            /* NULL before it began */
	unsigned index;
	uint3 coordinates;
	int copies, groups;             /* asynchronous copies that it has not waited for */
};

struct waiting {
	struct copy copy[COPIES];
	int group[COPIES];              /* how many copies there were when it was committed */
};

struct meeting {
	unsigned mask, come;
	void (*together)(void *lane[32]);
	void *lane[32];
};

struct barrier {
	int need, come, yes;            /* threads */
	int said;                       /* yes of those who came the last time */
	struct thread *waits[THREADS];
};

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

static struct thread threads[THREADS], *self;
static struct waiting waiting[THREADS];
static struct meeting meetings[THREADS / 32][32];       /* of a warp: by the lowest lane of the mask */
static struct barrier barriers[BARRIERS];
static unsigned count, begun, done;                     /* threads of the block */
static unsigned order[THREADS];                         /* in which they begin */
static struct thread *ready[THREADS];                   /* a ring */
static unsigned ready_first, ready_n;
static struct fiber host, *here = &host, *came_from, *spare;
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

static unsigned
below(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

/*
 * From one fiber to another
 */

static void fiber_main(void);

#ifdef __x86_64__
/* Keep what a call must keep on this stack, and its address in *from; go on with another. */
extern "C" void emulate_switch(void **from, void *to);
asm(".text\n.p2align 4\n.hidden emulate_switch\n.globl emulate_switch\n.type emulate_switch,@function\n"
    "emulate_switch:\n"
    "\tpushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n"
    "\tmovq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n"
    "\tpopq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n"
    "\tret\n.size emulate_switch,.-emulate_switch\n");

static void
fiber_prepare(struct fiber *f)
{
	void **top = (void **)((char *)f->bottom + f->size);

	*--top = NULL;                  /* where a function would find its return address */
	*--top = (void *)fiber_main;
	f->at = top - 6;
}
#else
static void
emulate_switch(struct fiber *from, struct fiber *to)
{
	swapcontext(&from->context, &to->context);
}

static void
fiber_prepare(struct fiber *f)
{
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = (void *)f->bottom;
	f->context.uc_stack.ss_size = f->size;
	makecontext(&f->context, fiber_main, 0);
}
#endif

static void
fiber_arrived(void)
{
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(here->fake, &came_from->bottom, &came_from->size);
#endif
}

static void
fiber_go(struct fiber *to)
{
	struct fiber *from = here;

	if (to == from)
		return;
	came_from = from;
	here = to;
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_start_switch_fiber(&from->fake, to->bottom, to->size);
#endif
#ifdef __x86_64__
	emulate_switch(&from->at, to->at);
#else
	emulate_switch(from, to);
#endif
	fiber_arrived();
}

static struct fiber *
fiber_new(void)
{
	struct fiber *f = spare;
	char *m;

	if (f) {
		spare = f->next;
		return f;
	}
	f = (struct fiber *)calloc(1, sizeof(*f));
	m = (char *)mmap(NULL, STACK + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!f || m == MAP_FAILED || mprotect(m, 4096, PROT_NONE) < 0)
		emulate_die("no memory for the stack of a thread");
	f->bottom = m + 4096;
	f->size = STACK;
	fiber_prepare(f);
	return f;
}

/*
 * Who runs next
 */

static void
make_ready(struct thread *t)
{
	ready[(ready_first + ready_n++) % THREADS] = t;
}

static struct thread *
next_ready(void)
{
	unsigned last = (ready_first + ready_n - 1) % THREADS;
	struct thread **first = &ready[ready_first], **chosen = first, *t;

	if (how == REVERSE)
		chosen = &ready[last];
	else if (how == RANDOM)
		chosen = &ready[(ready_first + below(ready_n)) % THREADS];
	t = *chosen;
	if (how == REVERSE) {
		ready_n--;
		return t;
	}
	*chosen = *first;
	ready_first = (ready_first + 1) % THREADS;
	ready_n--;
	return t;
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

/* The thread that runs next becomes self; NULL: all are done. */
static struct thread *
next_thread(void)
{
	struct thread *t;

	if (ready_n) {
		t = next_ready();
	} else if (begun < count) {
		t = &threads[order[begun++]];
	} else {
		if (done < count)
			stuck();
		return NULL;
	}
	self = t;
	threadIdx = t->coordinates;
	return t;
}

/* self waits: until somebody makes it ready, others run. */
static void
wait_here(void)
{
	struct thread *t = next_thread();

	if (!t->fiber)
		t->fiber = fiber_new();
	fiber_go(t->fiber);
}

/* A fiber runs one thread after another, as long as none waits. */
static void
fiber_main(void)
{
	struct fiber *to;
	struct thread *t;

	fiber_arrived();
	for (;;) {
		kernel(arguments);
		done++;
		t = next_thread();
		if (t && !t->fiber) {
			t->fiber = here;
			continue;
		}
		here->next = spare;
		spare = here;
		to = t ? t->fiber : &host;
		fiber_go(to);
	}
}

/*
 * What threads do together
 */

unsigned
emulate_lane(void)
{
	return self->index % 32;
}

void
emulate_warp(unsigned mask, void *mine, void (*together)(void *lane[32]))
{
	unsigned l = self->index % 32, first = self->index - l;
	struct meeting *m;

	if (count - first < 32)
		mask &= (1u << (count - first)) - 1;
	if (!(mask >> l & 1))
		emulate_die("lane %u is not in the mask %08x that it gives", l, mask);
	m = &meetings[first / 32][__builtin_ctz(mask)];
	if (!m->come) {
		m->mask = mask;
		m->together = together;
		memset(m->lane, 0, sizeof(m->lane));
	} else if (m->mask != mask || m->together != together) {
		emulate_die("the lanes of a warp, %08x, are at different operations", mask);
	}
	m->lane[l] = mine;
	m->come |= 1u << l;
	if (m->come != mask) {
		wait_here();
		return;
	}
	m->come = 0;
	if (together)
		together(m->lane);
	for (unsigned i = 0; i < 32; i++)
		if (i != l && mask >> i & 1)
			make_ready(&threads[first + i]);
}

int
emulate_barrier(int id, int n, int yes)
{
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
	b->waits[b->come++] = self;
	if (b->come < n) {
		wait_here();
		return b->said;         /* no thread can have passed the next barrier before all were here */
	}
	b->come = 0;
	b->said = b->yes;
	for (int i = 0; i < n - 1; i++)
		make_ready(b->waits[i]);
	return b->said;
}

void
emulate_async(void *to, const void *from, size_t n, size_t zeros)
{
	if (self->copies == COPIES)
		emulate_die("more than %d asynchronous copies that the thread has not waited for", COPIES);
	waiting[self->index].copy[self->copies++] = { to, from, n, zeros };
}

void
emulate_async_commit(void)
{
	if (self->groups == COPIES)
		emulate_die("more than %d groups of asynchronous copies that the thread has not waited for", COPIES);
	waiting[self->index].group[self->groups++] = self->copies;
}

void
emulate_async_wait(int n)
{
	struct waiting *w = &waiting[self->index];
	int gone = self->groups - n, copies;

	if (gone <= 0)
		return;
	copies = w->group[gone - 1];
	for (int i = 0; i < copies; i++) {
		memcpy(w->copy[i].to, w->copy[i].from, w->copy[i].n);
		memset((char *)w->copy[i].to + w->copy[i].n, 0, w->copy[i].zeros);
	}
	self->copies -= copies;
	self->groups -= gone;
	memmove(w->copy, w->copy + copies, (size_t)self->copies * sizeof(w->copy[0]));
	for (int i = 0; i < self->groups; i++)
		w->group[i] = w->group[i + gone] - copies;
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
	for (unsigned i = 0; i < count; i++)
		order[i] = how == REVERSE ? count - 1 - i : i;
	for (unsigned i = count; how == RANDOM && i > 1; i--) {
		unsigned j = below(i), t = order[j];

		order[j] = order[i - 1];
		order[i - 1] = t;
	}
}

static void
run_block(size_t shared)
{
	struct thread *t;

	memset(shared_memory, 0xff, shared);
	begun = done = ready_first = ready_n = 0;
	for (unsigned i = 0; i < count; i++) {
		threads[i].fiber = NULL;
		threads[i].copies = threads[i].groups = 0;
	}
	t = next_thread();
	t->fiber = fiber_new();
	fiber_go(t->fiber);
	for (unsigned i = 0; i < count; i++)
		if (threads[i].copies)
			emulate_die("thread %u returned without waiting for its asynchronous copies", i);
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
	if (!shared_memory)
		emulate_die("no memory for the shared memory of a block");
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
	for (unsigned i = 0; i < blocks; i++) {
		unsigned b = how == REVERSE ? blocks - 1 - i : at;

		blockIdx = { b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1] };
		run_block(shared);
		at = (unsigned)(((unsigned long long)at + step) % blocks);
	}
#ifdef __SANITIZE_ADDRESS__
	__asan_unpoison_memory_region(shared_memory, SHARED_MOST);
#endif
}
