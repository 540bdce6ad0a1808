/*
 * Chat templates.  They are Jinja programs; those of the known families are
 * recognised in tokenizer_config.json by what they contain and not interpreted.
 */
#ifndef DS_TEMPLATE_H
#define DS_TEMPLATE_H

struct template {
	char *before, *after;   /* text around a user turn, special tokens spelled out; owned */
	int thinks;             /* after ends in "<think>\n" (or "<think>"): the answer starts inside a thought */
};

/* The template of the checkpoint dir, or, with file, of a text file in which
 * "{}" stands for the user's text.  0, or -1 and a message that names --template. */
int template_open(struct template *t, const char *dir, const char *file);
void template_close(struct template *t);

#endif
