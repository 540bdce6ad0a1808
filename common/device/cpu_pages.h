/*
 * Pages of the KV cache on the CPU: what of them a row's attention reads.
 */
#ifndef DS_CPU_PAGES_H
#define DS_CPU_PAGES_H

#include "kernels.h"

/* Key head g's keys in a page of r, or its values; of these `rows` positions. */
struct mat cpu_page(const struct kv_rows *r, const struct kv_shape *kv, const void *page, int g,
    int values, int rows);

/* Number `at` of a page becomes x [n], rounded to r->dtype. */
void cpu_store(const struct kv_rows *r, void *page, ptrdiff_t at, const float *x, int n);

/* What a row sees of a page: its positions from .. to - 1; or with `chosen` [to] these, and from is
 * 0.  Nothing where to is not larger. */
struct seen {
	int from, to;
	const int32_t *chosen;
};

struct seen cpu_sees(const struct kv_rows *r, int t, int page);

/* Whether row t sees chosen positions only. */
int cpu_chosen(const struct kv_rows *r, int t);
int cpu_first_page(const struct kv_rows *r, int t);    /* that it sees, but for chosen positions */

/* Key head g's keys, or its values, at the chosen positions of a page: where they lie if they are
 * neighbours, or gathered in `to`. */
struct mat cpu_gather(const struct kv_rows *r, const struct kv_shape *kv, const void *page, int g,
    int values, const struct seen *s, void *to);

#endif
