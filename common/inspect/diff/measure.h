/*
 * How far two rows are apart, and the sum of that over many.
 */
#ifndef DS_MEASURE_H
#define DS_MEASURE_H

#include "inspect/rows.h"

struct measure {                /* of a group */
	uint64_t rows;          /* compared */
	uint64_t equal;         /* of these, with the same bits (of two dtypes: the same values) */
	uint64_t differ;        /* further apart than the tolerance */
	uint64_t unlocated;     /* of these, known by their digest alone: not in the rest */
	uint64_t only[2];       /* rows that one side alone has */
	double max_abs;         /* |a - b|; infinite where only one is a finite number */
	double max_rel;         /* |a - b| / max(|a|, |b|), of the finite */
	uint64_t max_ulps;      /* of floats: how many values of the type lie between, of numbers */
	double cosine;          /* the least of a row */
	int floats;             /* cosine means something */
	uint64_t nan;           /* rows that are the same, and not a number somewhere */
	int reshaped;           /* rows of one length have two shapes: the first such tensors: */
	enum dtype types[2];
	struct extent extents[2];
	uint64_t choices;       /* of expert.idx: experts that a chose and b did not */
};

struct difference {             /* in a row */
	uint64_t index;         /* the first element that differs */
	int shape;              /* 1: rows of two kinds or lengths: index is where the shorter ends, */
	enum dtype types[2];    /* and these are their tensors */
	struct extent extents[2];
	double a, b;            /* the values there */
};

void measure_init(struct measure *m);

/*
 * Compare two rows, of one group, and add what is found to m.  tol is the largest error that counts as the
 * same, in units of the row's largest magnitude on either side; below 0 only the same bits do (of
 * tensors of different dtype: the same values).  Integers, but for those of expert.acc, have to be
 * equal with any tol.  1 the row differs, *d says where; 0 it does not.
 */
int measure_rows(struct measure *m, const struct row *a, const struct row *b, double tol, struct difference *d);

/* A row that is known to differ, its values being gone. */
void measure_digest_only(struct measure *m);

#endif
