/*
 * The prompts of ds-learn --grpo: a file of requests (stage/request.h), each with an id of its own.
 */
#ifndef DS_LEARN_PROMPTS_H
#define DS_LEARN_PROMPTS_H

#include "base/table.h"
#include "stage/request.h"
#include "token/prompt.h"

struct learn_prompt {
	char *text;                     /* [n] the line, then a NUL */
	size_t n;
	uint64_t number;                /* of the line, from 1 */
	char *id;                       /* JSON text */
};

struct learn_prompts {
	const char *path;
	struct learn_prompt *p;         /* [n], at least 1 */
	size_t n, cap;
	uint64_t hash;                  /* of the file's bytes */
	struct request_defaults given;
	struct prompt tokens;           /* its ids are those of the last prompt */
	uint32_t most;                  /* tokens of a prompt */
	struct table ids;               /* id -> number of its line */
};

/* Read the file: each line is parsed and encoded once, so that none fails later.  given and
 * sampling options in it are borrowed.  0, or -1 and a message with the line; learn_prompts_close
 * in either case. */
int learn_prompts_open(struct learn_prompts *a, const char *path, const char *model, uint32_t most,
    const struct request_defaults *given);
void learn_prompts_close(struct learn_prompts *a);

/* The request of prompt i into *q, for request_free; a->tokens.ids become its ids.  0, or -1 and a
 * message. */
int learn_prompts_get(struct learn_prompts *a, size_t i, struct request *q);

#endif
