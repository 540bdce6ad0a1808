/*
 * A GPU as stages use it: the library that is loaded for it, the weights that are put there, its working
 * memory.
 *
 * A stage opens its weights as for the CPU, mapped files that nobody has read yet, and names
 * those that it wants in the GPU; device_start then knows how much that is, before it looks whether
 * there is a GPU at all.
 */
#ifndef DS_DEVICE_H
#define DS_DEVICE_H

#include "cuda/gpu.h"

struct device {
	const struct gpu_lib *lib;      /* NULL before device_start */
	struct gpu *gpu;
	int ordinal;
	struct device_want *wants;      /* what is to be there: [n] */
	size_t n, cap;
	uint64_t weights, working;      /* bytes: of all wants; in use besides, at the start and as it grows */
};

/* -d: "cpu" gives -1, "cuda" 0, "cuda:3" 3 in *ordinal.  0, or -1 and a message (FAIL_USAGE). */
int device_parse(const char *text, int *ordinal);

/* Nothing is loaded yet.  NULL and a message where there is no memory. */
struct device *device_new(int ordinal);
void device_close(struct device *d);    /* NULL: nothing */

/* w, or the n numbers at *v, shall be in the GPU: w->data, scale and groups, or *v become what is there once
 * device_start has run.  Until then both stay where they are.  *v was allocated and is freed then.
 * An mlp of one expert of many is three such.  0, or -1 and a message. */
int device_want(struct device *d, struct mat *w);
int device_want_vec(struct device *d, float **v, size_t n);

/*
 * Load the library, open the GPU, see that weights and `working` bytes fit into what is free there, and put the
 * weights there, through pinned memory, reading the files ahead.  With -v (verbose) says what goes where.
 * 0, or -1 and one line (FAIL_SYSTEM) that says what is missing and how much memory it takes.
 */
int device_start(struct device *d, uint64_t working, int verbose);

/* The message of the library, with the device's name in front: always -1 (FAIL_SYSTEM). */
int device_fail(const struct device *d, const char *what);

/* Working memory in the GPU, as stage/scratch.h has it on the CPU: at least that many bytes, not set, what it held lost when it
 * grows.  NULL and a message where there is none. */
struct device_scratch {
	void *p;
	size_t bytes;
};
void *device_need(struct device *d, struct device_scratch *s, size_t bytes);
void device_drop(struct device *d, struct device_scratch *s);

#endif
