/*
 * Chat templates: from a conversation to the text of a prompt.
 *
 * Templates are Jinja programs.  Those of known releases are recognised by their whole text, and
 * rendered here where a conversation has messages of system, user and assistant alone.  All else is
 * rendered by Jinja itself (template_jinja.c).
 */
#ifndef DS_TEMPLATE_H
#define DS_TEMPLATE_H

#include <stddef.h>

#include "base/mem.h"

struct jinja;
struct known;

struct template {
	char *before, *after;           /* text around a user's turn; NULL: it is in Jinja */
	char *text, *tool_use;          /* in Jinja; the latter, or NULL, with tools */
	char *tokens;                   /* the special tokens, a JSON object */
	char *bos, *eos;                /* the tokens bos_token and eos_token; NULL: none */
	char *from;                     /* where it comes from, for messages */
	const struct known *known;      /* NULL: not a known release's */
	struct jinja *jinja;            /* NULL: not started */
	int thinking;                   /* 1, 0: told to think or not; -1: neither */
};

/*
 * The template of the checkpoint dir (chat_template.jinja, else tokenizer_config.json's
 * chat_template), or of a file: Jinja if its name ends in ".jinja", otherwise text in which "{}"
 * stands, once, for the user's text. thinking 1 or 0 sets the variables thinking and
 * enable_thinking; a template that reads neither is an error. 0, or -1 and a message.
 */
int template_open(struct template *t, const char *dir, const char *file, int thinking);
void template_close(struct template *t);

/* Append the prompt of a conversation of one message, a user's n bytes (UTF-8, NULs allowed). 0,
 * or -1 and a message. */
int template_user(struct template *t, struct buf *to, const char *text, size_t n);

/* The same for a conversation in JSON: an array of messages, or an object with `messages` and
 * `tools`. json[n] is readable and 0. */
int template_conversation(struct template *t, struct buf *to, const char *json, size_t n);

/* 1: an answer starts inside a thought, since the prompt ends in "<think>" (and white space); 0;
 * -1 and a message. */
int template_thinks(struct template *t);

/* 1: template_open with this file (or NULL) gives one that takes conversations of more than one
 * turn. */
int template_is_multi_turn(const char *file);

#endif
