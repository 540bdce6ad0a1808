/*
 * What products do beside multiplying: they prefetch what is read next (struct mat).  Included
 * after products.h.
 */
#ifndef DS_PREFETCH_H
#define DS_PREFETCH_H

/* In each step of the loops as much as brings all of it. */
struct prefetch {
	const char *at, *due;
	ptrdiff_t each;         /* bytes that become due in a step */
};

ALWAYS void
prefetch_step(struct prefetch *c)
{
	for (; c->at < c->due; c->at += 64)
		__builtin_prefetch(c->at, 0, 2);
	c->due += c->each;
}

/* steps: that there will be. */
static inline struct prefetch
prefetch_of(const struct mat *w, ptrdiff_t steps)
{
	const char *at = w->prefetch;
	ptrdiff_t each = steps > 0 ? (ptrdiff_t)w->prefetch_bytes / steps : 0;

	return (struct prefetch){at, at + each, each};
}

/* blocks_lanes.h: the transposed product of one row of x with BLOCK_COLS columns from c on, a
 * multiple of that; 0 if the type has none, and nothing is written. */
int KERNELS_ISA(blocks_down)(float *out, const float *x, const struct mat *w, int c,
    struct prefetch *prefetch);

#endif
