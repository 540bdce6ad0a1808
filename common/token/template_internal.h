/*
 * Shared by template.c (loading), template_known.c (known releases) and template_jinja.c (all
 * others).
 */
#ifndef DS_TEMPLATE_INTERNAL_H
#define DS_TEMPLATE_INTERNAL_H

#include "base/json.h"
#include "token/template.h"

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT };

struct turn {
	enum role role;
	const char *text;
	size_t n;
};

/* Read the template of the checkpoint dir, whose settings are o or NULL, into text, tool_use and
 * from of a zeroed *t. Returns 1, 0 if it has none, or -1 and a message. */
int template_read(struct template *t, const char *dir, const cJSON *o);

/* Find the release with this template of n bytes, or NULL. Its lines must end as Jinja reads
 * them: in
 * , without one at the end. The functions after it return 1 if the release reads that variable. */
const struct known *known_find(const char *text, size_t n);
int known_reads_thinking(const struct known *k);
int known_reads_bos(const struct known *k);
int known_reads_eos(const struct known *k);

/* A template that puts each message between marks: before[role], the role, after, the text, end. */
struct turns {
	const char *before[3];          /* by enum role */
	const char *after, *end;
	const char *system;             /* of a conversation that begins otherwise; NULL: none */
	const char *preamble;           /* before the text of the first system message, or NULL */
	int trims;                      /* texts are stripped of white space */
	int reasons;                    /* answers as Qwen3 splits them at </think> */
	const char *open;               /* after the head of the answer to come, or NULL */
	const char *unthinking;         /* after that if thinking is off; NULL: not read */
};

/* Append the prompt of a conversation of n > 0 turns; bos is put first, NULL: none. Returns 0, or
 * -1 and a message. */
int turns_render(const struct turns *f, const char *bos, int thinking, struct buf *to,
    const struct turn *turns, size_t n);

/* Append the prompt of a conversation of n turns. Returns 0, or -1 and a message. */
int known_render(const struct template *t, struct buf *to, const struct turn *turns, size_t n);

/* Start the renderer for t->text. Returns 0, or -1 and a message. *names lists the variables
 * that the template reads, separated by single blanks, to be freed. */
int jinja_open(struct template *t, char **names);
void jinja_close(struct jinja *j);

/* Append the rendering of a conversation in JSON. Returns 0, or -1 and a message. If the
 * template itself refuses the conversation, the message is FAIL_DATA and *refused, unless NULL,
 * becomes 1. */
int jinja_render(struct template *t, struct buf *to, const char *json, size_t n, int *refused);

#endif
