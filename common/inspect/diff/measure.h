/*
 * Distance of two rows, accumulated over many.
 */
#ifndef DS_MEASURE_H
#define DS_MEASURE_H

#include "inspect/rows.h"

struct measure {                /* sums for one group */
	uint64_t rows;          /* rows compared */
	uint64_t equal;         /* rows with equal bits (if dtypes differ: equal values) */
	uint64_t differ;        /* rows that differ by more than the tolerance */
	uint64_t unlocated;     /* rows known by their digest only, not measured below */
	uint64_t only[2];       /* rows that only one side has */
	double max_abs;         /* |a - b|; infinite if only one is finite */
	double max_rel;         /* |a - b| / max(|a|, |b|) of finite elements */
	uint64_t max_ulps;      /* floats: distance in units of the last place */
	double cosine;          /* the smallest of a row */
	int floats;             /* cosine is valid */
	uint64_t nan;           /* equal rows with NaNs */
	int reshaped;           /* rows of equal length have different shapes, first these: */
	enum dtype types[2];
	struct extent extents[2];
	uint64_t choices;       /* expert.idx: experts chosen by a and not by b */
};

struct difference {             /* a difference within a row */
	uint64_t index;         /* the first element that differs */
	int shape;              /* 1: type or length differ; index is the shorter length */
	enum dtype types[2];    /* their tensors */
	struct extent extents[2];
	double a, b;            /* the two elements */
};

void measure_init(struct measure *m);

/*
 * Compare two rows of one group and add the result to m. tol is the largest difference that counts
 * as equal, in units of the largest magnitude in either row; below 0 only equal bits do (if dtypes
 * differ: equal values). Integers other than expert.acc must be equal for any tol. Returns 1 if the
 * rows differ, with *d set, else 0.
 */
int measure_rows(struct measure *m, const struct row *a, const struct row *b, double tol, struct difference *d);

/* Add a row that differs but whose values are gone. */
void measure_digest_only(struct measure *m);

#endif
