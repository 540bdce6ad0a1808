/*
 * Where the products of the down matrices end, on the device: see struct sink.
 */
#ifndef DS_SINK_CUH
#define DS_SINK_CUH

#include "launch.cuh"
#include "products.h"

#include "cpu/cpu.h"

/* The product y of pair i and column n goes where it belongs. */
static __device__ __forceinline__ void
sink_add(const struct sink *s, int i, int n, float y)
{
	const float c = canonical(y) * s->weight[i];
	int64_t term;

	if (fixed_of_float(c, &term))
		atomicAdd((unsigned long long *)&s->acc[(size_t)s->row[i] * s->D + n], (unsigned long long)term);
	else
		atomicMin(s->bad, i);
	if (s->each)
		s->each[(size_t)s->slot[i] * s->D + n] = canonical(c);
}

#endif
