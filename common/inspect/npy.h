/*
 * numpy's npy format, versions 1 to 3.
 */
#ifndef DS_NPY_H
#define DS_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"

#define NPY_RANK_MAX 8

struct npy {
	enum dtype dtype;               /* or ROW_F64 */
	int rank;
	uint64_t shape[NPY_RANK_MAX];
	size_t data, bytes;             /* offset and size of the elements, in C order */
};

/* Parse a file of n bytes. Returns 0, or -1 and a message. Fortran order and types that frames
 * do not have are errors. */
int npy_parse(struct npy *a, const unsigned char *p, size_t n);

#endif
