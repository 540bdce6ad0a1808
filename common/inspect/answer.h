/*
 * Answer lines: JSON objects with the keys id, index, text, answer, finish_reason, logprobs, as
 * ds-detokenize --jsonl writes them. Other keys are not looked at.
 */
#ifndef DS_ANSWER_H
#define DS_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/lines.h"
#include "base/mem.h"

#define ANSWER_LINE_MAX ((size_t)256 << 20)     /* bytes of a line */

struct answer {
	cJSON *json;
	struct buf id;          /* its id as JSON: a string, or a number with all its digits */
	int64_t index;          /* -1: none given */
	const char *text;       /* what follows </think>, in the memory of json; NULL: none, as
				 * with "answer": null */
	int finished;           /* 1: finish_reason is "stop", or missing */
	double logprob;         /* sum of logprobs; -INFINITY without them */
};

/* Parse a line of n bytes; line[n] is 0. With `id` NULL the key id is required, else this is the
 * id of a line without one. Returns 0, or -1 and a message; answer_free() in either case. */
int answer_read(struct answer *a, const char *line, size_t n, const uint64_t *id);

void answer_free(struct answer *a);     /* accepts a zeroed *a */

/* 1 if a line [n], which ends with a NUL, has white space only. */
int answer_blank(const char *line, size_t n);

/* Lines that were left out: the first is reported on standard error, the others are counted. */
struct refused {
	uint64_t n;
};

/* Report the stored message for the last line of l. */
void refused_line(struct refused *r, const struct lines *l);

/* Report the count. Returns FAIL_DATA if there was one, or 0. */
int refused_end(const struct refused *r);

#endif
