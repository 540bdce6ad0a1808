/*
 * The epilogue of the down products on the device: see struct epilogue.
 */
#ifndef DS_EPILOGUE_CUH
#define DS_EPILOGUE_CUH

#include "launch.cuh"
#include "products.h"

#include "cpu/cpu.h"

/* Add the product y of pair i and column n. */
static __device__ __forceinline__ void
epilogue_add(const struct epilogue *s, int i, int n, float y)
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
