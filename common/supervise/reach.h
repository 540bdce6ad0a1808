/*
 * Which hosts of a plan reach each other: its links from host to host, which of them are broken, and whose fault that
 * is.  The driver, who feeds the line, counts as one more host, with the number plan->nhosts.
 */
#ifndef DS_REACH_H
#define DS_REACH_H

#include "plan/planfile.h"

struct reach_link {
	int from, to;                   /* hosts: of the end that connects, and of the one that waits */
	int from_line, to_line;         /* their lines, -1: the driver */
	const char *connects, *waits;   /* the endpoints as the plan has them, without "nccl:" */
	int broken;                     /* it was tried, and could not be made */
	int accused;                    /* a program said that the other end gave no sign of life, or did not come */
};

struct reach {
	const struct planfile *plan;
	struct reach_link *l;           /* [n] */
	int n;
	size_t cap;
};

/* The links of a plan by tcp:// whose two ends it has, between two hosts.  0, or -1 and a message. */
int reach_open(struct reach *r, const struct planfile *plan);
void reach_close(struct reach *r);
void reach_reset(struct reach *r);              /* no link is broken or accused */

/* A program of that line (-1: the driver) ended with this message: if it is about a link, that one is accused. */
void reach_accuse(struct reach *r, int line, const char *text, const char *const *address);

/*
 * The host that broken links (accused: accused ones) speak against most, or -1 where there are none: one that
 * none of its neighbours reaches comes before others, then the one that most do not reach.
 * *peers, if not NULL, is how many those are, and text names them: "alpha, beta and this host".
 */
int reach_culprit(const struct reach *r, int accused, int *peers, char *text, size_t size);

/* Links of that host are not counted any more: the next culprit is another. */
void reach_excuse(struct reach *r, int host);

#endif
