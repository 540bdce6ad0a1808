/*
 * A file of answer lines, as ds-detokenize --jsonl writes them: what a run that goes on finds
 * there, and what one that fails leaves there.
 */
#ifndef DS_ANSWERS_H
#define DS_ANSWERS_H

#include "base/table.h"

struct answers {
	struct table paths;             /* "INDEX ID" -> struct answers_path */
	uint64_t lines;                 /* whole lines */
};

/*
 * Read the whole lines of a file; a torn last line is left out. model and precision must be
 * those of all answers; NULL or "": any. Returns 0, or -1 and a message with the file and the
 * line; call answers_free in either case.
 */
int answers_load(struct answers *a, const char *path, const char *model, const char *precision);
void answers_free(struct answers *a);

/*
 * 1 if the path `index` of a request has an answer in the file, which then counts for no other
 * request. id [n]: its JSON text. Of requests with equal ids, the first ones asked for here have
 * the answers.
 */
int answers_take(struct answers *a, const char *id, size_t n, uint64_t index);

/*
 * Open the file of --out for appending, and lock it. resume: it may have answers, and loses a torn
 * last line; otherwise it must be empty, or no regular file. Returns the descriptor, or -1 and a
 * message.
 */
int answers_open(const char *path, int resume);

/* Remove the part of a last line after a failed write; nothing if fd is no regular file. */
void answers_trim(int fd);

#endif
