/*
 * numpy's file format for one array, versions 1 to 3.
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
	size_t data, bytes;             /* where in the file the elements are, in C order, and how many bytes */
};

/* Check n bytes of a file: 0, or -1 and a message. Arrays in Fortran's order and types that a frame does
 * not have are refused. */
int npy_parse(struct npy *a, const unsigned char *p, size_t n);

#endif
