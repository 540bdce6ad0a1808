/*
 * How a checkpoint stores a matrix or a vector: its dtype, and the tensors of scales that belong to
 * it.  All that reads, writes, counts or invents matrices has the layout from here.
 */
#ifndef DS_LAYOUT_H
#define DS_LAYOUT_H

#include "kernels.h"
#include "weights/checkpoint.h"

#define LAYOUT_PARTS 3

/* One of the tensors of a matrix. */
struct layout_part {
	const char *suffix;             /* after the name of the matrix; "" is the matrix itself */
	const char *dtype;              /* as in safetensors */
	int rank;
	uint64_t shape[2];
	uint64_t bytes;
};

/* The tensors of a matrix [rows][cols], or of a vector [rows] where cols is 0, that is stored as
 * F32, BF16, F16, F8_E4M3, Q8, Q4 or a block type of GGUF: how many. */
int layout_parts(struct layout_part parts[LAYOUT_PARTS], enum dtype dtype, uint64_t rows,
    uint64_t cols);

/* Bytes of all of them. */
uint64_t layout_bytes(enum dtype dtype, uint64_t rows, uint64_t cols);

/* 1: name is that of a tensor of scales, whose matrix has its first *n characters. */
int layout_is_scale(const char *name, size_t *n);

/* A matrix or vector of a checkpoint, known from the headers of its files: no weight is touched. */
struct layout {
	enum dtype dtype;
	const struct tensor_entry *part[LAYOUT_PARTS];  /* the matrix and its scales, or NULL */
	uint64_t bytes;                                 /* of all of them */
};

/* The tensor of that name, which must be [rows][cols], or [rows] where cols is 0, stored as above;
 * a vector as F32, BF16 or F16.  0, or -1 and a message that names the tensor. */
int layout_find(struct layout *l, struct checkpoint *c, const char *name, size_t rows, size_t cols);

/* The matrix itself; its memory is the mapped file.  Scales of BF16 become float32 in memory of c,
 * one copy for all callers.  0, or -1 and a message. */
int layout_mat(struct checkpoint *c, struct mat *w, int rows, int cols, const char *name);

/* A vector [n] as float32 in memory of its own (free() it).  NULL and a message. */
float *layout_vector(struct checkpoint *c, int n, const char *name);

#endif
