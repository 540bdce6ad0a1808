/*
 * The state of one reply, and what else the files of replies share: replies_entry.c reads msgpack
 * maps, replies_line.c writes JSON, replies.c keeps the order.
 */
#ifndef DS_REPLIES_INTERNAL_H
#define DS_REPLIES_INTERNAL_H

#include "stage/replies.h"
#include "stage/stop.h"

struct reply {
	uint64_t seq;                   /* key of `live` */
	struct reply *prev, *next;
	char *id;                       /* JSON text */
	uint64_t index, paths, seed, prompt_tokens;
	char model[17];                 /* of the prompt, then of the logits; "": unknown */
	char precision[24];             /* precision_text; "": unknown */
	struct stops stops;             /* strings that end it */
	int wants_logprobs, started, ended;

	int32_t *prompt;                /* [prompt_tokens]; NULL: the line has none of them */
	int32_t *ids;                   /* [n] */
	float *logprobs;                /* [n], NaN: none */
	size_t n, ids_cap, logprobs_cap;
	struct speech speech;
	int thought;                    /* 1: it has or had reasoning */
	int trim;                       /* newlines at the start of the answer are dropped */
	struct buf text, reasoning, answer;
	size_t before;                  /* bytes of text before the last token */
	size_t since;                   /* bytes of `answer` or `reasoning` since the last marker */
	struct buf line;                /* if it waits for its turn */
};

/* Functions return 0, or -1 and a message.  */

/* Read the frame of the prompt into w.  */
int reply_prompt(const struct replies *a, struct reply *w, struct frame *f);

/* Why a `free` has ended w: "stop" or "length" as ds-sample names it, or "stopped" by another
 * program.  Sets the model and the precision.  */
const char *reply_ended(struct reply *w, const struct frame *f);

/* The last token has completed a stop string: drop it, and what follows.  */
void reply_cut(struct reply *w);

/* Append the line.  error: the message of a failed sequence, or NULL.  */
int reply_line(const struct reply *w, const char *reason, const char *error, struct buf *to);

#endif
