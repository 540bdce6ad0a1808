/*
 * Progress of many answers: one line on a terminal, which is written over again and again.
 */
#ifndef DS_PROGRESS_H
#define DS_PROGRESS_H

#include "launch/tally.h"

struct progress {
	uint64_t total;                 /* number of answers; 0: unknown */
	uint64_t before;                /* answers that existed when the run began */
	double shown;                   /* when the line was last written, 0: never */
	int width;                      /* its columns now, 0: nothing is shown */
};

/* Count the answers that a file of requests asks for: a path for each line, or as many as its key
 * `n` or `samples` says. Returns 0, which means unknown, if it is no regular file. */
uint64_t progress_count(const char *path, uint64_t samples);

/* Write "12 of 1000 answers, 345.6 tokens/s, 1:23 left" to to[size]. now: clock_now(). Returns
 * to. */
char *progress_text(const struct progress *p, const struct tally *t, double now, char *to,
    size_t size);

/* Show the line on standard error, a terminal, unless it was shown a moment ago. */
void progress_show(struct progress *p, const struct tally *t);

/* The same with this text, whatever the time. */
void progress_print(struct progress *p, const char *text);

/* Remove it, before other text is printed. */
void progress_clear(struct progress *p);

#endif
