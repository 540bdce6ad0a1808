/*
 * A file of answer lines, as ds-detokenize --jsonl writes them: what a run that goes on finds
 * there, and what one that fails leaves there.
 */
#ifndef DS_ANSWER_FILE_H
#define DS_ANSWER_FILE_H

#include "base/table.h"

struct answer_file {
	struct table paths;             /* "INDEX ID" -> struct answer_path */
	uint64_t lines;                 /* whole lines */
};

/*
 * Read the whole lines of a file; a torn last line is left out. model and precision must be
 * those of all answers; NULL or "": any. Returns 0, or -1 and a message with the file and the
 * line; call answer_file_free in either case.
 */
int answer_file_load(struct answer_file *a, const char *path, const char *model,
    const char *precision);
void answer_file_free(struct answer_file *a);

/* The number of answers in the file, which must be those of the model in folder `model`, unless it
 * has a tokenizer only. precision: as above. Returns 0, or -1 and a message. */
int answer_file_count(const char *path, const char *model, const char *precision, uint64_t *n);

/*
 * 1 if the path `index` of a request has an answer in the file, which then counts for no other
 * request. id [n]: its JSON text. Of requests with equal ids, the first ones asked for here have
 * the answers.
 */
int answer_file_take(struct answer_file *a, const char *id, size_t n, uint64_t index);

/*
 * Open the file of --out for appending, and lock it. resume: it may have answers, and a torn last
 * line, which answer_file_trim removes; otherwise it must be empty, or no regular file. Returns
 * the descriptor, or -1 and a message.
 */
int answer_file_open(const char *path, int resume);

/* Remove a torn last line; nothing if fd is no regular file. */
void answer_file_trim(int fd);

#endif
