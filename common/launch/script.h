/*
 * A plan as a POSIX shell script that does the same.
 */
#ifndef DS_SCRIPT_H
#define DS_SCRIPT_H

#include "base/mem.h"
#include "launch/plan.h"

/*
 * Append the script of a plan that has no loop_out: its programs are looked for in dir (NULL: in
 * PATH alone) first, the texts are operands of ds-tokenize; without any it reads the file of prompts, or, if that is NULL,
 * standard input.
 * 0, or -1 and a message.
 */
int script_write(struct buf *to, const struct plan *p, const struct plan_options *o,
    const char *dir, const char *prompts, char **texts, int ntexts);

/*
 * Append a word so that sh takes it literally.  Every word that comes from outside (names, paths,
 * options, texts) gets into a script, a plan or an order to an agent by this function alone.
 * 0, or -1 and a message.
 */
int script_quote(struct buf *b, const char *s);

/* Append text to a comment or a report: a control character, which could end its line, becomes '?'. */
int script_remark(struct buf *b, const char *s);

#endif
