/*
 * Hashes of a run's tensors, one for each run of positions, which do not depend on how the work was
 * divided. Used by ds-hash.
 *
 * The SHA-256 of each row is kept, 64 bytes in all. The hash of a line is the SHA-256 of its rows'
 * hashes in order. If a row arrives again, the last one counts. If its bits have changed, a draft
 * was rolled back, and later positions received before it are dropped, as a cache truncates them.
 */
#ifndef DS_HASH_H
#define DS_HASH_H

#include "inspect/rows.h"
#include "inspect/source.h"

struct hash_line;

struct hashes {
	struct groups groups;
	struct table names;             /* (group, sequence, generation) -> struct hash_line */
	struct hash_line **lines;       /* [n] */
	size_t n, cap;
	struct table generations;       /* in this stream: sequence -> struct generation */
	struct hash_line *last;         /* last lookup */
	uint64_t odd;                   /* tensors that do not have one row per position */
};

/* Read a stream, or all streams of a folder. Returns 0, or -1 and a message; truncated streams
 * are errors. */
int hash_read(struct hashes *t, const char *name);

/* Print the lines ordered by sequence, pipeline and position. *total is their number. Returns 0,
 * or -1 and a message. */
int hash_print(FILE *to, struct hashes *t, long *total);

/*
 * Compare the lines of a file with what was read and print each that differs. Returns their
 * number, with *total that of all lines, or -1 and a message. *more counts the run's tensors, per
 * sequence, with rows that no line covers; these are no errors.
 */
long hash_check(FILE *to, struct hashes *t, const char *path, long *total, long *more);

void hash_free(struct hashes *t);

#endif
