/*
 * Where stages compute: the CPU, or a GPU by the library that is loaded for it.
 *
 * A stage opens its weights as mapped files that nothing has been read of, and registers the ones
 * that its computation reads.  device_start then knows how much memory they take, before it looks
 * for a GPU, and copies them there.  On the CPU the weights stay where they are mapped, or are
 * copied to huge pages of memory.
 *
 * What a stage computes with is d->ops (device/ops.h).
 */
#ifndef DS_DEVICE_H
#define DS_DEVICE_H

#include "base/pool.h"
#include "base/scratch.h"
#include "cuda/gpu.h"
#include "device/prefetch.h"

/* bytes of a GPU that pages of caches are cut from at a time */
#define DEVICE_PAGES ((size_t)16 << 20)

struct ops;

struct device {
	const struct ops *ops;
	/* threads that compute on the CPU and copy weights; NULL: the caller's only */
	struct pool *pool;
	const struct kernels *k;        /* the CPU's functions, of the precision that frames have */
	enum dtype cache_type;          /* of the numbers in KV caches: by default, and on a GPU */
	                                /* always, cache_type_default */
	struct cpu *cpu;                /* state of ops_cpu; NULL on a GPU */
	struct prefetch prefetch;       /* of experts that are not in memory, on the CPU */
	char name[16];                  /* "cpu", "cuda:0" */
	int ordinal;                    /* -1: the CPU */
	/* Of the CPU.  1, for the caller to set: registered weights are copied to huge pages; after
	 * device_start 0 if they were not */
	int huge_pages;

	/* Of a GPU.  Set until device_start: */
	/* bytes: working memory that stages use at least; each adds its own */
	uint64_t expected;
	/* bytes that a position of a sequence takes in the caches of all layers */
	uint64_t position;

	/* Known after it: */
	const struct gpu_lib *lib;      /* NULL before device_start has been successful */
	struct gpu *gpu;
	struct gpu_about about;         /* as it was before anything was put there */
	uint64_t weights;               /* bytes of all registered weights */
	uint64_t working;               /* bytes in use besides, now */
	/* how often working memory got another address: recorded work */
	uint64_t moves;
	                                /* may point to freed memory after that */
	uint64_t waits;                 /* how often device_wait has returned */
	/* 0 or 1: the pinned memory that tensors of frames use now */
	int turn;

	struct device_weight *registered;    /* registered: [n] */
	size_t n, cap;
	struct device_slab *slabs;     /* the memory of the weights: [nslabs] */
	size_t nslabs, slabs_cap;
	struct device_slot *slots;      /* tensors of frames: see device/tensor.h */
	struct device_pages *pages;     /* memory of caches: */
	char *page;                     /* the next page, and how many bytes are left from there */
	size_t page_left;
	struct scratch attend, experts; /* what kernels use for themselves */
};

/* -d: "cpu" gives -1, "cuda" 0, "cuda:3" 3 in *ordinal.  0, or -1 and a message (FAIL_USAGE)
 * that lacks the option's name. */
int device_parse(const char *text, int *ordinal);

/* The CPU (ordinal -1), which is ready at once, or a GPU, for which nothing is loaded yet. pool
 * and k outlive it. NULL and a message where there is no memory. */
struct device *device_new(int ordinal, struct pool *pool, const struct kernels *k);

/* Frees what it holds, except what device_reserve allocated and device_release has not freed.
 * NULL: nothing. */
void device_close(struct device *d);

static inline int
device_is_gpu(const struct device *d)
{
	return d->ordinal >= 0;
}

/* Register w, or the n numbers at *v: device_start copies them to the GPU and sets w->data, scale
 * and groups, or *v, to their address there. w and v must not move until then. The same memory
 * registered twice is copied once. *v was allocated and is freed then; at the stage's end
 * device_vec_free frees it. On the CPU *v stays, and so does w without huge pages. 0, or -1 and a
 * message. */
int device_register(struct device *d, struct mat *w);
int device_register_vec(struct device *d, float **v, size_t n);

/* free(v), unless it is in the GPU, where device_close frees it. */
void device_vec_free(const struct device *d, float *v);

/*
 * Load the library, open the GPU, check that weights and expected memory fit into its free
 * memory, and copy the weights, through pinned memory, prefetching the files. On the CPU: copy
 * them to huge pages, if that was asked for and the system has them; a warning if not. 0, or -1
 * and one line (FAIL_SYSTEM) with the cause and the memory needed; weights are then as they were.
 */
int device_start(struct device *d);

/* Wait for all work on the GPU's stream.  0, or -1 and a message. */
int device_wait(struct device *d);

/* The message of the library, with the device's name and `what` in front: always -1
 * (FAIL_SYSTEM). */
int device_fail(const struct device *d, const char *what);

/* Working memory in the GPU, as base/scratch.h has it on the CPU: at least that many bytes, not
 * set, what it held lost when it grows (which waits for the stream). NULL and a message where
 * there is none. */
void *device_reserve(struct device *d, struct scratch *s, size_t bytes);
void device_release(struct device *d, struct scratch *s);

#endif
