/*
 * Shared by template.c (where a template comes from), template_known.c (known releases) and
 * template_jinja.c (all others).
 */
#ifndef DS_TEMPLATE_INTERNAL_H
#define DS_TEMPLATE_INTERNAL_H

#include "token/template.h"

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT };

struct turn {
	enum role role;
	const char *text;
	size_t n;
};

/* The release that a template of n bytes is of, or NULL. Its lines end as Jinja reads them: \n,
 * and none at the end. */
const struct known *known_find(const char *text, size_t n);
int known_reads_thinking(const struct known *k);
int known_reads_bos(const struct known *k);
int known_reads_eos(const struct known *k);

/* Append the prompt of a conversation: 0, or -1 and a message. */
int known_render(const struct template *t, struct buf *to, const struct turn *turns, size_t n);

/* Start the program that renders t->text: 0, or -1 and a message. *names: the variables that the
 * template reads, one blank between two, to be freed. */
int jinja_open(struct template *t, char **names);
void jinja_close(struct jinja *j);

/* Append what the template makes of a conversation in JSON: 0; -1 and a message; where the
 * template itself refuses it, the message is FAIL_DATA and *refused, if it is not NULL, is 1. */
int jinja_render(struct template *t, struct buf *to, const char *json, size_t n, int *refused);

#endif
