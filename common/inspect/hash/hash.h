/*
 * The trace of a run: a hash for each run of positions of each tensor, which does not depend on how the
 * work was cut.  What ds-hash does.
 *
 * Of each row the SHA-256 is kept (64 bytes of memory in all); a line's hash is the SHA-256 of those of its rows, one
 * behind the other.  A row that comes again counts as it came last; where it then has other bits, a draft
 * was taken back: rows behind it that came before are forgotten, as caches forget them.
 */
#ifndef DS_HASH_H
#define DS_HASH_H

#include "inspect/rows.h"
#include "inspect/source.h"

struct hash_line;

struct hashes {
	struct groups groups;
	struct table names;             /* (group, sequence, life) -> struct hash_line */
	struct hash_line **lines;       /* [n] */
	size_t n, cap;
	struct table generations;       /* of this stream: sequence -> how often it was freed */
	struct hash_line *last;         /* looked up last */
	uint64_t odd;                   /* tensors without a row for each position */
};

/* Take in a stream, or all of a folder's.  0, or -1 and a message (a stream cut short included). */
int hash_read(struct hashes *t, const char *name);

/* Print the lines in the order of sequence, pipeline and position, *total of them.  0, or -1 and a message. */
int hash_print(FILE *to, struct hashes *t, long *total);

/*
 * Hold the lines of a file against what was read; those that are not as they should be are printed.
 * Their number, *total that of all, or -1 and a message.  Rows that no line asks for are no fault:
 * *more is the number of the run's tensors (a sequence's each) that have such rows.
 */
long hash_check(FILE *to, struct hashes *t, const char *path, long *total, long *more);

void hash_free(struct hashes *t);

#endif
