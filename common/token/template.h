/*
 * Chat templates.  They are Jinja programs; those of the known families are
 * recognised by what they contain and not interpreted.
 */
#ifndef DS_TEMPLATE_H
#define DS_TEMPLATE_H

#include <stddef.h>

struct template {
	char *before, *after;   /* text around a user turn, special tokens spelled out; owned */
	size_t nbos;            /* bytes of the beginning-of-sequence token that `before` starts with, or 0 */
	int thinks;             /* after ends in "<think>\n" (or "<think>"): the answer starts inside a thought */
};

/* The template of the checkpoint dir (chat_template.jinja, else tokenizer_config.json's chat_template), or, with
 * file, of a text file in which "{}" stands, once, for the user's text.  0, or -1 and a message that names --template. */
int template_open(struct template *t, const char *dir, const char *file);
void template_close(struct template *t);

#endif
