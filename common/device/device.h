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

#include "base/pool.h"
#include "cuda/gpu.h"

struct device {
	/* To be set before device_start. */
	struct pool *pool;              /* whose threads copy weights; NULL: the caller does */
	uint64_t expected;              /* bytes: working memory that stages are sure to need; each adds its own */
	uint64_t position;              /* bytes that a position of a sequence takes in the caches of all of the stage's layers */

	/* Known then. */
	const struct gpu_lib *lib;      /* NULL before device_start has been successful */
	struct gpu *gpu;
	struct gpu_about about;         /* as it was before anything was put there */
	uint64_t weights;               /* bytes: of all wants */
	uint64_t working;               /* bytes: in use besides, as they are now */
	uint64_t moves;                 /* how often memory of slots and scratches got another address: what was */
	                                /* recorded before may point to where nothing is */
	uint64_t waits;                 /* how often device_wait has come back */
	int turn;                       /* 0 or 1: which pinned memory tensors of frames come and go by */

	char name[16];                  /* "cuda:0" */
	int ordinal;
	struct device_part *parts;      /* what is to be there: [n] */
	size_t n, cap;
	struct device_piece *pieces;    /* the memory of the weights: [npieces] */
	size_t npieces, pieces_cap;
	struct device_slot *slots;      /* tensors of frames: see device/tensor.h */
};

/* -d: "cpu" gives -1, "cuda" 0, "cuda:3" 3 in *ordinal.  0, or -1 and a message (FAIL_USAGE)
 * for whoever puts the option's name in front. */
int device_parse(const char *text, int *ordinal);

/* Nothing is loaded yet.  NULL and a message where there is no memory. */
struct device *device_new(int ordinal);

/* Frees what is in the GPU, but for what device_need gave and device_drop has not taken back.  NULL: nothing. */
void device_close(struct device *d);

/* w, or the n numbers at *v, shall be in the GPU: w->data, scale and groups, or *v become what is there once
 * device_start has run; w and v must stay where they are until then.  The same memory wanted twice is there once.
 * *v was allocated and is freed then; at the stage's end it is for device_vec_free.
 * An mlp of one expert of many is three such.  0, or -1 and a message. */
int device_want(struct device *d, struct mat *w);
int device_want_vec(struct device *d, float **v, size_t n);

/* free(v), unless it is in the GPU, where it goes with the rest.  d NULL: free(v). */
void device_vec_free(const struct device *d, float *v);

/*
 * Load the library, open the GPU, see that the weights and the memory that is expected fit into what is free there, and put the
 * weights there, through pinned memory, reading the files ahead.
 * 0, or -1 and one line (FAIL_SYSTEM) that says what is missing and how much memory it takes; the wants are then as they were.
 */
int device_start(struct device *d);

/* Until all that is on the stream has been done.  0, or -1 and a message. */
int device_wait(struct device *d);

/* The message of the library, with the device's name and `what` in front: always -1 (FAIL_SYSTEM).  */
int device_fail(const struct device *d, const char *what);

/* Behind a failure, for who has copies from or to the host's own memory on the stream: wait until they are done, for it may be freed
 * next.  Always -1; the message stays. */
int device_settle(const struct device *d);

/* Working memory in the GPU, as base/scratch.h has it on the CPU: at least that many bytes, not set, what it held lost when it
 * grows (which waits for the stream).  NULL and a message where there is none. */
struct device_scratch {
	void *p;
	size_t bytes;
};
void *device_need(struct device *d, struct device_scratch *s, size_t bytes);
void device_drop(struct device *d, struct device_scratch *s);

#endif
