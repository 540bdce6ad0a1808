/*
 * Chat templates: from a conversation to the text of a prompt.
 *
 * Templates are Jinja programs. Those of known releases are recognised by a hash of their text;
 * conversations of system, user and assistant messages are then rendered here. Everything else is
 * rendered by Jinja (template_jinja.c).
 */
#ifndef DS_TEMPLATE_H
#define DS_TEMPLATE_H

#include <stddef.h>

#include "base/mem.h"

struct jinja;
struct known;

struct template {
	char *before, *after;           /* text around the user's turn; NULL: a Jinja template */
	/* Jinja source; tool_use, or NULL, is for conversations with tools */
	char *text, *tool_use;
	char *tokens;                   /* special tokens, a JSON object */
	char *bos, *eos;                /* bos_token and eos_token; NULL: none */
	char *from;                     /* origin, for messages */
	const struct known *known;      /* NULL: not a known release */
	struct jinja *jinja;            /* the renderer; NULL: not started */
	int thinking;                   /* 1 or 0: thinking on or off; -1: the template's default */
};

/*
 * Open the template of the checkpoint dir (chat_template.jinja, else chat_template of
 * tokenizer_config.json), or of a file: Jinja if its name ends in ".jinja", otherwise text in which
 * "{}" appears once and stands for the user's text. thinking 1 or 0 sets the variables thinking and
 * enable_thinking; it is an error if the template reads neither. Returns 0, or -1 and a message.
 */
int template_open(struct template *t, const char *dir, const char *file, int thinking);
void template_close(struct template *t);

/* Append the prompt for one user message of n bytes (UTF-8, NULs allowed). Returns 0, or -1 and
 * a message. */
int template_user(struct template *t, struct buf *to, const char *text, size_t n);

/* The same for a conversation in JSON: an array of messages, or an object with `messages` and
 * `tools`. json[n] must be 0. */
int template_conversation(struct template *t, struct buf *to, const char *json, size_t n);

/* 1 if an answer starts inside the reasoning, that is if the prompt ends in "<think>" and white
 * space; 0 if not; -1 and a message. */
int template_thinks(struct template *t);

/* 1 if template_open with this file (or NULL) gives a template for conversations of several
 * turns. */
int template_is_multi_turn(const char *file);

#endif
