#include "launch/run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "launch/crew.h"
#include "launch/keep.h"
#include "launch/streams.h"
#include "launch/textio.h"

struct run {
	const struct run_options *o;
	struct plan_options options;
	char loop_in[32], loop_out[32], copy[32], prompts_in[32], prompts_out[32];
	char votes_in[32], votes_out[32];
	struct plan plan;
	struct crew crew;
	struct pollfd *polls;
	struct textio textio;
	struct tally *tally;
};

/* --- starting --- */

struct pipes {
	int feed[2], text[2], loop[2], copy[2], prompts[2], votes[2];
};

/* The name under which a child opens an inherited descriptor. */
static const char *
name_fd(char to[32], int fd)
{
	snprintf(to, 32, "/dev/fd/%d", fd);
	return to;
}

static int
make_plan(struct run *r, struct pipes *p)
{
	const struct run_options *o = r->o;

	memset(p, -1, sizeof(*p));
	if (streams_pipe(p->feed, o->ntexts > 0 || o->ask) < 0 || streams_pipe(p->text, o->ask) < 0 ||
	    streams_pipe(p->loop, 1) < 0 || streams_pipe(p->copy, o->count || o->dialog) < 0 ||
	    streams_pipe(p->prompts, o->plan.jsonl) < 0 ||
	    streams_pipe(p->votes, o->plan.early != NULL) < 0)
		return -1;
	r->options = o->plan;
	r->options.loop_in = name_fd(r->loop_in, p->loop[0]);
	r->options.loop_out = name_fd(r->loop_out, p->loop[1]);
	r->options.tally = o->count || o->dialog ? name_fd(r->copy, p->copy[1]) : NULL;
	r->options.copy_in = name_fd(r->prompts_in, p->prompts[0]);
	r->options.copy_out = name_fd(r->prompts_out, p->prompts[1]);
	r->options.votes_in = name_fd(r->votes_in, p->votes[0]);
	r->options.votes_out = name_fd(r->votes_out, p->votes[1]);
	r->options.texts |= o->ntexts > 0 || o->ask;
	r->options.messages |= o->dialog != NULL;
	r->options.asks = o->ask;
	r->options.dim = o->ask && isatty(1);
	if (plan_make(&r->plan, &r->options) < 0 || (o->plan.keep && keep_create(&r->plan, o->plan.keep) < 0))
		return -1;
	r->polls = mem_new((size_t)r->plan.n + TEXTIO_POLL + 2, sizeof(*r->polls));
	return r->polls ? crew_size(&r->crew, r->plan.n) : -1;
}

static int
start_children(struct run *r, struct pipes *p)
{
	const struct run_options *o = r->o;
	int n = r->plan.n, in = p->feed[0] >= 0 ? p->feed[0] : o->prompts >= 0 ? o->prompts : 0, next[2], result = 0;

	r->crew.children[n - 1].to_stdout = p->text[1] < 0;
	for (int i = 0; i < n && result == 0; i++) {
		struct child_options s = {.in = in, .keep = {-1, -1, -1}, .dir = r->o->dir};

		if ((result = streams_pipe(next, i < n - 1)) < 0)
			break;
		s.out = i < n - 1 ? next[1] : p->text[1] >= 0 ? p->text[1] : o->out;
		if (i == 0) {           /* ds-tokenize */
			s.keep[0] = p->prompts[1];
			s.keep[1] = p->votes[1];
		}
		if (i == n - 1)         /* ds-detokenize */
			s.keep[0] = p->prompts[0];
		if (i == 1)             /* ds-embed */
			s.keep[0] = p->loop[0];
		if (i == n - 2) {       /* ds-sample, ds-draft or ds-vote */
			s.keep[0] = p->loop[1];
			s.keep[1] = p->copy[1];
			s.keep[2] = p->votes[0];
		}
		result = crew_start(&r->crew, i, &r->plan.commands[i], &s);
		streams_shut(&next[1]);
		if (i > 0)
			streams_shut(&in);
		in = next[0];
	}
	return result;
}

/* Close the children's ends of the pipes and start to use ours. */
static int
keep_pipe_ends(struct run *r, struct pipes *p, int result)
{
	streams_shut(&p->feed[0]);
	streams_shut(&p->text[1]);
	streams_shut(&p->loop[0]);
	streams_shut(&p->loop[1]);
	streams_shut(&p->copy[1]);
	streams_shut(&p->prompts[0]);
	streams_shut(&p->prompts[1]);
	streams_shut(&p->votes[0]);
	streams_shut(&p->votes[1]);
	if (textio_open(&r->textio, p->feed[1], p->text[0], r->o->ask, r->o->dialog, r->o->texts, r->o->ntexts) < 0)
		return -1;
	if (p->copy[0] >= 0 && tally_open(r->tally, p->copy[0], r->o->began) < 0)
		return -1;
	r->tally->dialog = r->o->dialog;
	return result;
}

/* Record the stored message as the cause. */
static void
record_own_failure(struct run *r)
{
	if (crew_fail(&r->crew))
		r->crew.verdict.signal = r->textio.gone ? SIGPIPE : 0;
}

/* --- the loop --- */

/* Descriptors: the tally, text, the crew's. */
enum { POLL_TALLY, POLL_TEXT, POLL_CREW = POLL_TEXT + TEXTIO_POLL };

static void
wait_for(struct run *r)
{
	struct pollfd *p = r->polls;
	int going = crew_goes(&r->crew), n = POLL_CREW + 1 + r->plan.n;

	p[POLL_TALLY] = (struct pollfd){.fd = going && r->tally->open ?
	    link_poll(&r->tally->in).fd : -1, .events = POLLIN};
	textio_poll(&r->textio, p + POLL_TEXT);
	for (int i = 0; i < TEXTIO_POLL && !going; i++)
		p[POLL_TEXT + i].fd = -1;
	crew_poll(&r->crew, p + POLL_CREW);
	if (poll(p, (nfds_t)n, crew_timeout(&r->crew)) < 0)
		for (int i = 0; i < n; i++)
			p[i].revents = 0;
}

static void
step(struct run *r)
{
	struct pollfd *p = r->polls;

	wait_for(r);
	if (r->o->progress && crew_speaks(&r->crew, p + POLL_CREW))
		progress_clear(r->o->progress);
	crew_step(&r->crew, p + POLL_CREW);
	if (!crew_goes(&r->crew))
		return;
	if (p[POLL_TALLY].revents && tally_read(r->tally) < 0)
		record_own_failure(r);
	if (r->o->progress)
		progress_show(r->o->progress, r->tally);
	if (textio_step(&r->textio, p + POLL_TEXT) < 0)
		record_own_failure(r);
	if (r->textio.asked)
		tally_question(r->tally);
	r->textio.asked = 0;
}

/* 1 if all children have ended and, after success, all of their output was read. */
static int
is_done(const struct run *r)
{
	return crew_gone(&r->crew) && (r->crew.verdict.blame != BLAME_NONE || !crew_goes(&r->crew) ||
	    (textio_done(&r->textio) && !r->tally->open));
}

/* If the reasoning was cut off, reset the terminal. */
static int
finish(const struct run *r, int *sig)
{
	int status = crew_result(&r->crew, sig);

	if (r->o->progress)
		progress_clear(r->o->progress);
	if ((*sig || status < 0) && r->options.dim && *sig != SIGPIPE)
		(void)io_write(1, "\033[m", 3);
	return status;
}

static void
run_close(struct run *r)
{
	textio_close(&r->textio);
	tally_close(r->tally);
	crew_close(&r->crew);
	free(r->polls);
	plan_free(&r->plan);
}

int
run_pipeline(const struct run_options *o, struct tally *tally, int *sig)
{
	struct run r = {.o = o, .tally = tally, .crew.signals = -1};
	struct pipes p;
	int status;

	memset(tally, 0, sizeof(*tally));
	if (streams_check(o->ntexts > 0 || o->prompts > 0) < 0 || crew_open(&r.crew) < 0)
		return -1;
	if (make_plan(&r, &p) < 0)
		return -1;
	if (keep_pipe_ends(&r, &p, start_children(&r, &p)) < 0)
		record_own_failure(&r);
	while (!is_done(&r))
		step(&r);
	status = finish(&r, sig);
	run_close(&r);
	return status;
}
