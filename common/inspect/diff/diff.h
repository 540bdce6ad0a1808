/*
 * Two runs laid against each other: what ds-diff does.
 */
#ifndef DS_DIFF_H
#define DS_DIFF_H

#include "inspect/diff/measure.h"
#include "inspect/diff/named.h"
#include "inspect/diff/pair.h"
#include "inspect/source.h"

struct first {                  /* a difference */
	struct group *group;    /* NULL: there is none */
	uint64_t seq;
	uint32_t pos;
	struct difference at;
	int unlocated;          /* nobody knows where in the row */
	int only;               /* the side (0, 1) that alone has the row; -1: both have it */
};

struct only {                   /* rows from..to that one side alone has */
	struct group *group;
	uint64_t seq;
	uint32_t from, to;
	int side;
};

struct diff {
	/* in */
	const char *names[2];   /* -, a path, a folder; one of them a file of named tensors */
	const char *map;        /* --map, or NULL */
	double tol;             /* as in measure_rows */
	size_t hold;            /* as in pair_init */
	int common;             /* a tensor of a stage that one side alone has is no difference */
	uint64_t seq;           /* --seq: of a file of named tensors */
	int seq_known;
	/* out */
	struct source src[2];
	int named_side;         /* 0 or 1: that side is `named`; -1 none is */
	struct named named;
	struct groups groups;
	struct measure *measures;       /* [groups.n], by id */
	size_t cap;
	struct first first;             /* of the compared rows; failing that of `only` */
	struct only *only;              /* [nonly], pipeline order within a side */
	size_t nonly, only_cap;
	uint64_t rows, differ;          /* compared; of these further apart than tol */
	uint64_t unlocated;             /* of these, not measured */
	uint64_t tensors, whole;        /* that could be compared, and of these each row was */
	uint64_t apart;                 /* that were not, or in part, where that is no difference */
	uint64_t extra_tensors;         /* tensors of the run that the file does not have */
	uint64_t longer;                /* that it has, but not all rows of */
	uint64_t nan;                   /* rows that are the same, and not a number somewhere */
	uint64_t odd;                   /* tensors without a row for each position */
	uint64_t missed;                /* rows of `only` that the other side, not cut short, should have */
	struct pair pair;
};

/*
 * DIFF_SAME: all was compared and is the same; all of the file, where one side is one.
 * DIFF_PART: what was compared is the same, and the rest was not compared.
 * DIFF_CUT: the same as far as a run that was cut short goes.
 */
enum { DIFF_SAME, DIFF_DIFFERS, DIFF_CUT, DIFF_PART };

/* Open both sides and compare them to their ends: how it came out, or -1 and a message. */
int diff_run(struct diff *d);
void diff_close(struct diff *d);

/* Was each row that either side has of it compared? */
int diff_is_whole(const struct measure *m, const struct group *g);

/* Print what was found: lines for people and awk, or one JSON object.  ds-diff(1) describes them. */
void diff_report(FILE *to, const struct diff *d, int answer);
void diff_report_json(FILE *to, const struct diff *d, int answer);

#endif
