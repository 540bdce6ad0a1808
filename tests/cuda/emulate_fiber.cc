/* The stacks of an emulated GPU's threads.  See emulate_fiber.h. */
#include <sys/mman.h>

#include "emulate_fiber.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#define STACK (256 << 10)       /* frames are larger there */
#else
#define STACK (64 << 10)
#endif

enum { FIBERS = EMULATE_THREADS + 1 };
enum { COLOURS = 29, COLOUR = 2 * 64 + 16 };    /* tops of stacks are in different lines of a cache */
#define GUARD 0x646e6520656874u                 /* at the bottom of a stack */

struct fiber fiber_host, *fiber_here = &fiber_host;
static struct fiber fibers[FIBERS], *spare;
static unsigned made;                           /* fibers */
static char *stacks;
static void (*first)(void);

#ifdef __x86_64__
/* (A jump is predicted better than a return from another's call.) */
asm(".text\n.p2align 4\n.hidden emulate_switch\n.globl emulate_switch\n.type emulate_switch,@function\n"
    "emulate_switch:\n"
    "\tpushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n"
    "\tpushq %rdx\n"
    "\tmovq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n"
    "\tpopq %rax\n\tpopq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n"
    "\tpopq %rcx\n\tjmp *%rcx\n.size emulate_switch,.-emulate_switch\n");

static void
fiber_prepare(struct fiber *f, char *end)
{
	void **top = (void **)end;

	*--top = NULL;                  /* where a function would find its return address */
	*--top = (void *)first;
	f->at = top - 7;
}
#else
static void
fiber_prepare(struct fiber *f, char *end)
{
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = (void *)f->bottom;
	f->context.uc_stack.ss_size = (size_t)(end - (char *)f->bottom);
	makecontext(&f->context, first, 0);
}
#endif

int
fibers_open(void (*begin)(void))
{
	void *p;

	if (stacks)
		return 0;
	p = mmap(NULL, (size_t)FIBERS * STACK, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -1;
	stacks = (char *)p;
	first = begin;
	return 0;
}

void
fibers_enter(int enter)
{
#ifdef __SANITIZE_ADDRESS__
	static const void *bottom;
	static size_t size;
	static void *fake;
	void *none;

	if (enter) {
		__sanitizer_start_switch_fiber(&fake, stacks, (size_t)FIBERS * STACK);
		__sanitizer_finish_switch_fiber(NULL, &bottom, &size);
	} else {
		__sanitizer_start_switch_fiber(&none, bottom, size);
		__sanitizer_finish_switch_fiber(fake, NULL, NULL);
	}
#else
	(void)enter;
#endif
}

struct fiber *
fiber_new(void)
{
	struct fiber *f = spare;

	if (f) {
		spare = f->next;
		return f;
	}
	f = &fibers[made];
	f->bottom = (uint64_t *)(stacks + (size_t)made * STACK);
	*f->bottom = GUARD;
	fiber_prepare(f, stacks + (size_t)(made + 1) * STACK - made % COLOURS * COLOUR);
	made++;
	return f;
}

EMULATE_UNCHECKED void
fiber_free(struct fiber *f)
{
	if (*f->bottom != GUARD)
		emulate_die("a thread used more than %d bytes of stack", STACK);
	f->next = spare;
	spare = f;
}
