#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "launch/crew.h"
#include "launch/learn_internal.h"
#include "launch/progress.h"
#include "launch/streams.h"
#include "launch/words.h"

enum { FEED, LOOP, BACK, PIPES };

struct launch {
	const struct learn_launch *o;
	struct plan plan;
	struct crew crew;
	struct pollfd *polls;           /* the metrics, the crew's */
	int pipe[PIPES][2];
	char name[PIPES][2][32];
	int metrics;                    /* of the driver, if progress is shown; -1: none, or closed */
	struct buf got;                 /* the start of a line of them */
	struct progress progress;
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
	    .loop_out = l->name[LOOP][1], .back_in = l->name[BACK][0], .back_out = l->name[BACK][1]};
	if (learn_plan(&l->plan, l->o, &e) < 0)
		return -1;
	l->polls = mem_new((size_t)l->plan.n + 2, sizeof(*l->polls));
	return l->polls ? crew_size(&l->crew, l->plan.n) : -1;
}

/* The driver, whose metrics come through us if they become progress. */
static int
start_driver(struct launch *l)
{
	struct child_options s = {.in = 0, .out = 1, .dir = l->o->dir,
	    .keep = {l->pipe[FEED][1], l->pipe[BACK][0], -1}};
	int metrics[2], r;

	if (streams_pipe(metrics, !l->o->quiet && isatty(2) && !isatty(1)) < 0)
		return -1;
	l->metrics = metrics[0];
	if (metrics[1] >= 0)
		s.out = metrics[1];
	l->crew.children[0].to_stdout = metrics[1] < 0;
	r = crew_start(&l->crew, 0, &l->plan.commands[0], &s);
	streams_shut(&metrics[1]);
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

/* --- progress --- */

/* Show what a line of metrics has. */
static void
show(struct launch *l, const char *line)
{
	static const struct {
		const char *key, *format;
	} parts[] = {{"step", "step %.0f"}, {"steps", " of %.0f"}, {"loss", ", loss %.4g"},
	    {"reward", ", reward %.4g"}, {"tokens_per_second", ", %.1f tokens/s"}};
	cJSON *o = json_parse(line, strlen(line));
	char text[128];
	int n = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts) && n < (int)sizeof(text); i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, parts[i].key);

		if (cJSON_IsNumber(v) && (n > 0 || i == 0))
			n += snprintf(text + n, sizeof(text) - (size_t)n, parts[i].format, v->valuedouble);
	}
	cJSON_Delete(o);
	if (n > 0)
		progress_print(&l->progress, text);
}

/* Pass on what the driver printed. */
static int
read_metrics(struct launch *l)
{
	char some[4096], *line;
	ssize_t n = read(l->metrics, some, sizeof(some));
	int r;

	if (n <= 0) {
		if (n == 0 || (errno != EINTR && errno != EAGAIN))
			streams_shut(&l->metrics);
		return 0;
	}
	if (io_write(1, some, (size_t)n) < 0) {
		int gone = errno == EPIPE;

		if (crew_fail(&l->crew))
			l->crew.verdict.signal = gone ? SIGPIPE : 0;
		return 0;
	}
	if (buf_add(&l->got, some, (size_t)n) < 0)
		return -1;
	while ((r = words_line(&l->got, &line)) > 0) {
		show(l, line);
		free(line);
	}
	return r;
}

/* --- the loop --- */

static void
step(struct launch *l)
{
	struct pollfd *p = l->polls;

	p[0] = (struct pollfd){.fd = l->metrics, .events = POLLIN};
	crew_poll(&l->crew, p + 1);
	if (poll(p, (nfds_t)l->plan.n + 2, crew_timeout(&l->crew)) < 0)
		for (int i = 0; i < l->plan.n + 2; i++)
			p[i].revents = 0;
	if (crew_speaks(&l->crew, p + 1))
		progress_clear(&l->progress);
	crew_step(&l->crew, p + 1);
	if (p[0].revents && read_metrics(l) < 0)
		(void)crew_fail(&l->crew);
}

int
learn_launch_run(const struct learn_launch *o, int *sig)
{
	struct launch l = {.o = o, .metrics = -1, .crew.signals = -1};
	int r = -1;

	memset(l.pipe, -1, sizeof(l.pipe));
	if (streams_check(0) == 0 && crew_open(&l.crew) == 0 && make_plan(&l) == 0) {
		if (start(&l) < 0)
			(void)crew_fail(&l.crew);
		while (!crew_gone(&l.crew) || l.metrics >= 0)
			step(&l);
		progress_clear(&l.progress);
		r = crew_result(&l.crew, sig);
	}
	crew_close(&l.crew);
	plan_free(&l.plan);
	buf_free(&l.got);
	free(l.polls);
	return r;
}
