#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/crew.h"
#include "launch/learn_internal.h"
#include "launch/learn_metrics.h"
#include "launch/streams.h"

enum { FEED, LOOP, BACK, PIPES };

struct launch {
	const struct learn_launch *o;
	struct plan plan;
	struct crew crew;
	struct pollfd *polls;           /* the metrics, the crew's */
	int pipe[PIPES][2];
	char name[PIPES][2][32];
	struct learn_metrics metrics;
};

/* --- starting --- */

static int
make_plan(struct launch *l)
{
	struct learn_ends e;

	for (int i = 0; i < PIPES; i++) {
		if (streams_pipe(l->pipe[i], 1) < 0)
			return -1;
		for (int k = 0; k < 2; k++)
			snprintf(l->name[i][k], sizeof(l->name[i][k]), "/dev/fd/%d", l->pipe[i][k]);
	}
	e = (struct learn_ends){.feed = l->name[FEED][1], .loop_in = l->name[LOOP][0],
	    .loop_out = l->name[LOOP][1],
	    .back_in = l->name[BACK][0], .back_out = l->name[BACK][1]};
	if (learn_plan(&l->plan, l->o, &e) < 0)
		return -1;
	l->polls = mem_new((size_t)l->plan.n + 2, sizeof(*l->polls));
	return l->polls ? crew_size(&l->crew, l->plan.n) : -1;
}

static int
start_driver(struct launch *l)
{
	struct child_options s = {.in = 0, .dir = l->o->dir,
	    .keep = {l->pipe[FEED][1], l->pipe[BACK][0], -1}};
	int r;

	if (learn_metrics_open(&l->metrics, &s.out) < 0)
		return -1;
	l->crew.children[0].to_stdout = s.out == 1;
	r = crew_start(&l->crew, 0, &l->plan.commands[0], &s);
	if (s.out != 1)
		close(s.out);
	return r;
}

/* The other programs, each with the pipes that its words name. */
static int
start_line(struct launch *l)
{
	int n = l->plan.n, in = l->pipe[FEED][0], r = 0, next[2];

	for (int i = 1; i < n && r == 0; i++) {
		struct child_options s = {.in = in, .keep = {-1, -1, -1}, .dir = l->o->dir};

		if ((r = streams_pipe(next, i < n - 1)) < 0)
			break;
		s.out = i < n - 1 ? next[1] : 1;
		if (i == 1)             /* ds-embed */
			s.keep[0] = l->pipe[LOOP][0];
		if (i == n - 1) {       /* ds-loss or ds-sample */
			s.keep[0] = l->pipe[LOOP][1];
			s.keep[1] = l->pipe[BACK][1];
		}
		r = crew_start(&l->crew, i, &l->plan.commands[i], &s);
		streams_shut(&next[1]);
		if (i > 1)
			streams_shut(&in);
		in = next[0];
	}
	return r;
}

static int
start(struct launch *l)
{
	int r = start_driver(l) < 0 || start_line(l) < 0 ? -1 : 0;

	for (int i = 0; i < PIPES; i++) {
		streams_shut(&l->pipe[i][0]);
		streams_shut(&l->pipe[i][1]);
	}
	return r;
}

/* --- the loop --- */

static void
step(struct launch *l)
{
	struct pollfd *p = l->polls;

	p[0] = (struct pollfd){.fd = l->metrics.fd, .events = POLLIN};
	crew_poll(&l->crew, p + 1);
	if (poll(p, (nfds_t)l->plan.n + 2, crew_timeout(&l->crew)) < 0)
		for (int i = 0; i < l->plan.n + 2; i++)
			p[i].revents = 0;
	if (crew_speaks(&l->crew, p + 1))
		progress_clear(&l->metrics.progress);
	crew_step(&l->crew, p + 1);
	if (p[0].revents && learn_metrics_read(&l->metrics) < 0 && crew_fail(&l->crew))
		l->crew.verdict.signal = l->metrics.gone ? SIGPIPE : 0;
}

int
learn_launch_run(const struct learn_launch *o, int *sig)
{
	struct launch l = {.o = o, .metrics.fd = -1, .crew.signals = -1};
	int r = -1;

	memset(l.pipe, -1, sizeof(l.pipe));
	if (streams_check(0) == 0 && crew_open(&l.crew) == 0 && make_plan(&l) == 0) {
		if (start(&l) < 0)
			(void)crew_fail(&l.crew);
		while (!crew_gone(&l.crew) || (l.metrics.fd >= 0 && crew_goes(&l.crew)))
			step(&l);
		progress_clear(&l.metrics.progress);
		r = crew_result(&l.crew, sig);
	}
	crew_close(&l.crew);
	plan_free(&l.plan);
	learn_metrics_close(&l.metrics);
	free(l.polls);
	return r;
}
