/*
 * A plan as an equivalent POSIX shell script.
 */
#ifndef DS_SCRIPT_H
#define DS_SCRIPT_H

#include "base/mem.h"
#include "launch/plan.h"

/* A word of a plan and what a script has instead; words are found by address. */
struct script_word {
	const char *word;               /* NULL: none, and never found */
	const char *text;
};

/* Append `run` and the command line, with n words replaced.  Returns 0, or -1 and a message. */
int script_command(struct buf *to, const struct command *t, const struct script_word *words, int n);

/* Append "#!/bin/sh", a PATH that begins with dir (NULL: as it is) and the model. */
int script_begin(struct buf *to, const char *dir, const char *model);

/* Append an assignment to a shell variable, and the text after it. */
int script_assign(struct buf *to, const char *name, const char *value, const char *after);

/* A temporary folder $dir with a FIFO `loop`, and the function run(); the status of a script that
 * used it. */
extern const char script_folder[], script_status[];

/*
 * Append the script of a plan without loop_out. Programs are searched in dir first (NULL: in PATH
 * only). ntexts texts become operands of ds-tokenize; without any it reads the file prompts or, if
 * that is NULL, standard input. With --jsonl, copy_in and copy_out of o are the same pointer, and
 * so are votes_in and votes_out.
 * Returns 0, or -1 and a message.
 */
int script_write(struct buf *to, const struct plan *p, const struct plan_options *o,
    const char *dir, const char *prompts, char **texts, int ntexts);

/*
 * Append a word, quoted for sh. Every untrusted word (name, path, option, text) in a script, a plan
 * or an order to an agent goes through this function. Returns 0, or -1 and a message.
 */
int script_quote(struct buf *b, const char *s);

/* Append text to a comment or report. Control characters, which could end its line, become '?'.
 * Returns 0, or -1 and a message. */
int script_remark(struct buf *b, const char *s);

#endif
