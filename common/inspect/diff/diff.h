/*
 * Comparison of two runs, for ds-diff.
 */
#ifndef DS_DIFF_H
#define DS_DIFF_H

#include "inspect/diff/measure.h"
#include "inspect/diff/named.h"
#include "inspect/diff/pair.h"
#include "inspect/source.h"

struct first {                  /* the first difference */
	struct group *group;    /* NULL: none */
	uint64_t seq;
	uint32_t pos;
	struct difference at;
	int unlocated;          /* 1: the element is unknown */
	int only;               /* the side (0, 1) that has the row alone; -1: both have it */
};

struct only {                   /* rows from..to that only one side has */
	struct group *group;
	uint64_t seq;
	uint32_t from, to;
	int side;
};

struct diff {
	/* set by the caller */
	const char *names[2];   /* -, a path or a folder; at most one is a file of named tensors */
	const char *map;        /* --map, or NULL */
	double tol;             /* as in measure_rows */
	size_t hold;            /* as in pair_init */
	int common;             /* 1: ignore tensors that only one side has */
	uint64_t seq;           /* --seq: the sequence of a file of named tensors */
	int seq_known;
	/* results */
	struct source src[2];
	int named_side;         /* the side that is `named`; -1: none */
	struct named named;
	struct groups groups;
	struct measure *measures;       /* [groups.n] by group id */
	size_t cap;
	struct first first;             /* among compared rows, else among `only` */
	struct only *only;              /* [nonly] in pipeline order within each side */
	size_t nonly, only_cap;
	uint64_t rows, differ;          /* rows compared; rows that differ by more than tol */
	uint64_t unlocated;          /* differing rows without element and size of the difference */
	uint64_t tensors, whole;        /* comparable tensors; those compared completely */
	uint64_t apart;       /* comparable tensors not compared completely, without a difference */
	uint64_t extra_tensors;         /* tensors of the run that the file lacks */
	uint64_t longer;                /* tensors whose rows the file lacks in part */
	uint64_t nan;                   /* equal rows with NaNs */
	uint64_t odd;                   /* tensors without one row per position */
	uint64_t missed;                /* rows of `only` that an untruncated side lacks */
	struct pair pair;
};

/*
 * Verdicts. DIFF_SAME: everything was compared and is equal; if one side is a file, everything in
 * the file. DIFF_PART: what was compared is equal, the rest was not compared. DIFF_CUT: equal as
 * far as a truncated run goes.
 */
enum { DIFF_SAME, DIFF_DIFFERS, DIFF_CUT, DIFF_PART };

/* Open both sides and compare them to the end. Returns the verdict, or -1 and a message. Call
 * diff_close in either case. */
int diff_run(struct diff *d);
void diff_close(struct diff *d);

/* Print the results as text or as one JSON object; see ds-diff(1). answer: the verdict. */
void diff_report(FILE *to, const struct diff *d, int answer);
void diff_report_json(FILE *to, const struct diff *d, int answer);

#endif
