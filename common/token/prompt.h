/*
 * From a text or a conversation to the ids of a prompt.
 */
#ifndef DS_PROMPT_H
#define DS_PROMPT_H

#include "token/template.h"
#include "token/token.h"

struct prompt {
	/* set by the caller */
	struct tokenizer *t;
	const char *model;              /* whose chat template a conversation gets */
	const char *template_file;      /* another template, or NULL */
	int thinking;                   /* 1, 0; -1: not given */
	int chat;                       /* 1: a text is a user's message */
	int bare;                       /* 1: no special tokens around a text */

	int32_t *ids;                   /* [n] of the current prompt */
	size_t n, cap;
	struct template template;       /* open if `opened` */
	int opened;
	struct buf text;                /* the current text in its template */
};

/* Functions return 0, or -1 and a message.  */

/* Open the template now instead of with the first conversation.  */
int prompt_template(struct prompt *p);

/* Set p->ids to those of n bytes of text; of one user's message with p->chat.  */
int prompt_text(struct prompt *p, const char *text, size_t n);

/* Set p->ids to those of a conversation in JSON, as template_conversation() reads it.  json[n] must
 * be 0.  */
int prompt_conversation(struct prompt *p, const char *json, size_t n);

/* Free all but the tokenizer.  */
void prompt_close(struct prompt *p);

#endif
