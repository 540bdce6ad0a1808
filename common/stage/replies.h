/*
 * Answers to requests (request.h): from the prompts' frames and the tokens of ds-sample to one line
 * of JSON for each sequence.
 */
#ifndef DS_REPLIES_H
#define DS_REPLIES_H

#include "base/table.h"
#include "frame/frame.h"
#include "stage/speech.h"

struct reply;

struct replies {
	struct speech_rules rules;
	int ordered;                    /* 1: lines are in the order of the prompts */
	int prompt_ids;                 /* 1: lines have the ids of their prompts */
	struct table live;              /* sequence id -> struct reply */
	struct reply *first, *last;    /* in the order of the prompts; unfinished, or waiting */
	uint64_t newest;                /* id of the last prompt */
	int any;                        /* 1: there was one */
	size_t unstarted;               /* prompts without a token so far */
	uint64_t lines;                 /* written so far */
};

/* The caller sets the options above before the first frame.  t must outlive a.  */
void replies_open(struct replies *a, const struct tokenizer *t);
void replies_close(struct replies *a);

/* Functions return 0, or -1 and a message.  */

/* Add a frame of ds-tokenize --jsonl: a prompt, or the error of one.  Sequence ids ascend.  */
int replies_prompt(struct replies *a, struct frame *f);

/* The id of a live sequence's request, as JSON, and the number of its paths, 0 if unknown.
 * NULL: no such sequence.  */
const char *replies_request(const struct replies *a, uint64_t seq, uint64_t *paths);

/* 1 if the frame of ds-sample is about a sequence whose prompt has not been added.  */
int replies_lacks(const struct replies *a, const struct frame *f);

/* Add a frame of ds-sample, and append to `out` the lines of the sequences that it ends.  */
int replies_frame(struct replies *a, struct frame *f, struct buf *out);

/* The tokens have ended: what is unfinished has failed.  Returns the number of such sequences,
 * whose lines are appended to `out`, or -1 and a message.  */
int64_t replies_end(struct replies *a, struct buf *out);

#endif
