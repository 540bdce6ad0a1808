/*
 * State of the CPU as a device, and what the files of ops_cpu share.
 */
#ifndef DS_DEVICE_CPU_H
#define DS_DEVICE_CPU_H

#include <pthread.h>

#include "device/ops.h"

#define CPU_GRAIN 16            /* outputs of a product that a thread takes at least */
#define CPU_MANY 16             /* rows of x whose conversion is worth larger ranges */

/* Outputs that are claimed together, of so many in all, of a product with some rows of x: many, but
 * threads must have several turns each. */
int cpu_grain(size_t outputs, size_t threads, int rows);

struct cpu {
	struct scratch tiles;           /* attention over pages, */
	struct scratch slots;           /* and each thread's own of it */
	struct scratch scores;          /* of the indexer */
	struct scratch batches;         /* what experts make of their rows */
	pthread_mutex_t lock;           /* for threads of attention that wait for their turn */
	pthread_cond_t passed;
};

int cpu_angles(struct device *d, float *cosine, float *sine, const uint32_t *pos, int T,
    const double *freq, int half, double factor);
int cpu_kv_append(struct device *d, const struct kv_append *a, const struct kv_rows *rows);
int cpu_index(struct device *d, int32_t *chosen, const struct indexer *x,
    const struct kv_rows *rows);
int cpu_attend(struct device *d, float *out, float *max, float *sum, const float *query,
    const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale);
int cpu_probs(struct device *d, float *probs, size_t positions, const float *max, const float *sum,
    const float *query, const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale);
int cpu_route(struct device *d, float *scores, float *choice, int32_t *idx, float *w,
    const float *bias, int T, const struct router *r);
int cpu_sort(struct device *d, const struct expert_pairs *c, const int32_t *idx, const float *w,
    int T, int K, const unsigned char *has);
int cpu_all_rows(struct device *d, const struct expert_pairs *c, int T);
int cpu_experts(struct device *d, int64_t *acc, const float *x, int D, const struct expert_group *g,
    int n);

#endif
