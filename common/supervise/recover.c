/*
 * The state machine of a plan's pipeline: start, run, failure, stop, restart, end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "supervise/drive_internal.h"
#include "launch/plandraft.h"
#include "launch/streams.h"

#define DOUBT 1.0     /* minimum seconds to wait for the cause of a failure whose effect was seen */
#define TRIES 4       /* consecutive failures, without a new token between them, that end the run */
#define PAUSE 0.1       /* seconds before the first restart; tripled for each further one */
#define WAIT 4          /* timeouts that the ends of a link wait for each other */
#define LEAVE 2.0       /* seconds beyond the timeout that agents have to clean up */
#define STEADY 60.0     /* after so many seconds a failure does not count as consecutive */

void
drive_shut(struct link *l)
{
	if (l->opened)
		link_drop(l);
}

static void
set_state(struct drive *d, int state, double seconds)
{
	d->state = state;
	d->since = clock_now();
	d->until = seconds > 0 ? d->since + seconds : 0;
}

/* --- our own programs --- */

static int
open_pipe_end(struct link *l, int fd, enum link_dir dir)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	return link_open(l, path, dir);
}

/* Make the command lines of our own programs: the first and the last of the pipeline. */
static int
make_programs(struct drive *d, int asked)
{
	d->options = d->o->run.plan;
	d->options.layers = 1;
	d->options.loop_in = "-";
	d->options.messages |= d->o->run.dialog != NULL;
	d->options.texts |= asked || d->o->run.ntexts > 0;
	d->options.asks = asked;
	d->options.dim = asked && d->dim;
	if (streams_pipe(d->copy, d->options.jsonl) < 0)
		return -1;
	snprintf(d->copy_in, sizeof(d->copy_in), "/dev/fd/%d", d->copy[0]);
	snprintf(d->copy_out, sizeof(d->copy_out), "/dev/fd/%d", d->copy[1]);
	d->options.copy_in = d->copy_in;
	d->options.copy_out = d->copy_out;
	return plan_make(&d->programs, &d->options);
}

static int
start_programs(struct drive *d)
{
	const struct run_options *o = &d->o->run;
	int given[2], prompts[2], ids[2], text[2], r = -1;
	struct child_options s[2] = {{.in = 0, .keep = {-1, -1, -1}, .dir = o->dir,
	    .mask = &d->mask}};

	d->own[0].command = &d->programs.commands[0];
	d->own[1].command = &d->programs.commands[d->programs.n - 1];
	d->own[1].to_stdout = !o->ask;
	s[1] = s[0];
	s[0].keep[0] = d->copy[1];
	s[1].keep[0] = d->copy[0];
	if (streams_pipe(given, o->ntexts > 0 || o->ask) == 0 && streams_pipe(prompts, 1) == 0 && streams_pipe(ids, 1) == 0 &&
	    streams_pipe(text, o->ask) == 0) {
		s[0].in = given[0] >= 0 ? given[0] : o->prompts >= 0 ? o->prompts : 0;
		s[0].out = prompts[1];
		s[1].in = ids[0];
		s[1].out = text[1] >= 0 ? text[1] : o->out;
		r = open_pipe_end(&d->prompts, prompts[0], LINK_IN) < 0 || open_pipe_end(&d->text, ids[1], LINK_OUT) < 0 ||
		    child_start(&d->own[0], &s[0]) < 0 || child_start(&d->own[1], &s[1]) < 0 ? -1 : 0;
		streams_shut(&given[0]);
		streams_shut(&text[1]);
		for (int i = 0; i < 2; i++) {
			streams_shut(&prompts[i]);
			streams_shut(&ids[i]);
			streams_shut(&d->copy[i]);
		}
		if (textio_open(&d->textio, given[1], text[0], o->ask, o->dialog, o->texts, o->ntexts) < 0)
			return -1;
	}
	return r;
}

/* --- starting --- */

int
drive_open(struct drive *d)
{
	const struct run_options *o = &d->o->run;
	struct cluster *c = &d->cluster;

	d->own[0].err = d->own[1].err = -1;
	d->copy[0] = d->copy[1] = -1;
	d->textio.in = d->textio.text = -1;
	d->replay.o = &d->options;
	c->plan = &d->plan;
	c->weights = &d->weights;
	c->rsh = d->o->rsh;
	c->dir = o->dir;
	c->timeout = link_settings.timeout;
	c->precision = o->plan.precision ? o->plan.precision : precision_name(PRECISION_F32);
	c->cache_type = o->plan.cache_type;
	c->verbose = o->plan.verbose;
	c->mask = &d->mask;
	/* all programs start at once: a peer that has not come by then will not come */
	if (link_settings.wait == 0)
		link_settings.wait = WAIT * c->timeout;
	if (planfile_read(&d->plan, d->o->plan) < 0 ||
	    (o->plan.draft && plandraft_add(&d->plan, o->plan.draft) < 0) ||
	    (o->plan.batches &&
	    plandraft_embed(&d->plan, "--batches", o->plan.batches) < 0) ||
	    (o->plan.cache_size &&
	    plandraft_embed(&d->plan, "--cache-size", o->plan.cache_size) < 0) ||
	    streams_check(o->ntexts > 0 || o->prompts > 0) < 0)
		return -1;
	if (planfile_keyed(&d->plan) && !link_settings.key)
		return fail(FAIL_USAGE, "plan '%s' has keys: give --key FILE and --peers FILE of this machine as well", d->o->plan);
	d->dim = o->ask && isatty(1);
	if ((d->signals = streams_signals(&d->mask)) < 0 || make_programs(d, o->ask) < 0 || cluster_open(c) < 0)
		return -1;
	d->polls = mem_new(16 + TEXTIO_POLL + 3 * (size_t)d->plan.nhosts, sizeof(*d->polls));
	return d->polls ? 0 : -1;
}

/* Check the keys of our own links before any host is contacted. A name that cannot be resolved
 * may be resolved later. */
static int
check_links(struct drive *d)
{
	const char *ends[] = {d->plan.feed, d->plan.take};

	for (int i = 0; i < 2; i++) {
		struct buf b = {0};
		int r = planfile_fill(&b, &d->plan, ends[i], d->cluster.address) < 0 || buf_addc(&b, 0) < 0 ? -1 :
		    link_check((char *)b.p);

		buf_free(&b);
		if (r < 0 && fail_status() != FAIL_SYSTEM)
			return -1;
	}
	return 0;
}

int
drive_start(struct drive *d)
{
	if (check_links(d) < 0)
		return -1;
	set_state(d, DRIVE_STARTS, 0);
	if (start_programs(d) < 0 || host_weights_open(&d->weights, &d->plan, d->o->run.plan.model, d->o->manifest) < 0)
		return -1;
	return cluster_start(&d->cluster);
}

static int
open_link(struct drive *d, struct link *l, const char *endpoint, enum link_dir dir)
{
	struct buf b = {0};
	int r = planfile_fill(&b, &d->plan, endpoint, d->cluster.address) < 0 || buf_addc(&b, 0) < 0 ? -1 :
	    link_open(l, (char *)b.p, dir);

	buf_free(&b);
	return r;
}

/* All processes were started: open our links. */
static int
open_links(struct drive *d)
{
	set_state(d, DRIVE_GOES, 0);
	replay_rewind(&d->replay);
	d->fed = 0;
	if (open_link(d, &d->feed, d->plan.feed, LINK_OUT) < 0 || open_link(d, &d->take, d->plan.take, LINK_IN) < 0)
		return drive_link_failed(d);
	return 0;
}

/* --- failing --- */

int
drive_link_failed(struct drive *d)
{
	drive_shut(&d->feed);
	drive_shut(&d->take);
	if (fail_status() != FAIL_SYSTEM)
		return -1;
	cluster_link_failed(&d->cluster);
	return 0;
}

static int
end_with(struct drive *d, const struct verdict *v)
{
	if (d->verdict.blame == BLAME_NONE)
		d->verdict = *v;
	drive_end(d);
	return 0;
}

/* The pipeline has failed: stop all of it, to restart it. */
static int
halt(struct drive *d)
{
	if (d->prompts_ended && replay_left(&d->replay) == 0) {        /* everything was received */
		if (drive_finish(d) < 0)
			return -1;
		drive_end(d);
		return 0;
	}
	if (d->cluster.verdict.status < FAIL_SYSTEM)
		return end_with(d, &d->cluster.verdict);
	if (clock_now() - d->since > STEADY)
		d->failures = 0;
	drive_shut(&d->feed);
	drive_shut(&d->take);
	d->probed = 0;
	cluster_stop(&d->cluster);
	set_state(d, DRIVE_HALTS, 4 * d->cluster.timeout);
	return 0;
}

/* Links broke, but no host or program failed by itself: probe the links. */
static int
probe(struct drive *d)
{
	d->probed = 1;
	set_state(d, DRIVE_PROBES, PROBE_SECONDS + d->cluster.timeout);
	return cluster_probe(&d->cluster);
}

static void
report_restart(const struct drive *d, const char *moved)
{
	size_t n = replay_left(&d->replay);
	char answers[64] = "";

	if (n > 0)
		snprintf(answers, sizeof(answers), ", %zu answer%s", n, n == 1 ? " goes on" : "s go on");
	if (d->o->run.progress)
		progress_clear(d->o->run.progress);
	warn("%s%s%s", d->cluster.verdict.text, *moved ? moved : "; started again", answers);
}

/* Everything has stopped: replace dead hosts and restart, unless it failed too often. */
static int
restart(struct drive *d)
{
	struct verdict *v = &d->cluster.verdict;
	struct buf moved = {0};
	/* a host with two failures in a row is left, even if it answers */
	int tired = d->failures > 0 && v->blame == BLAME_OWN ? d->cluster.culprit : -1;
	int fresh = cluster_reassign(&d->cluster, tired, &moved);
	double pause = PAUSE;

	if (fresh < 0 || buf_addc(&moved, 0) < 0) {
		buf_free(&moved);
		return -1;
	}
	if (cluster_unfit(&d->cluster)) {
		buf_free(&moved);
		return end_with(d, v);
	}
	d->failures += fresh == 0;
	if (d->failures >= TRIES) {
		size_t n = strlen(v->text);

		snprintf(v->text + n, sizeof(v->text) - n, " (failed %d times in a row)", d->failures);
		buf_free(&moved);
		return end_with(d, v);
	}
	report_restart(d, (char *)moved.p);
	buf_free(&moved);
	for (int i = 1; i < d->failures; i++)
		pause *= 3;
	set_state(d, DRIVE_PAUSES, pause);
	return 0;
}

/* --- ending --- */

void
drive_end(struct drive *d)
{
	int bad = d->verdict.blame > BLAME_NONE || d->sig;

	if (d->state == DRIVE_ENDS)
		return;
	drive_shut(&d->prompts);
	drive_shut(&d->feed);
	drive_shut(&d->take);
	if (bad)
		drive_shut(&d->text);
	for (int i = 0; i < 2 && bad; i++)
		if (d->own[i].pid > 0)
			(void)kill(d->own[i].pid, SIGTERM);
	cluster_release(&d->cluster);
	set_state(d, DRIVE_ENDS, d->cluster.timeout + LEAVE);
}

void
drive_close(struct drive *d)
{
	drive_shut(&d->prompts);
	drive_shut(&d->feed);
	drive_shut(&d->take);
	drive_shut(&d->text);
	for (int i = 0; i < 2; i++)
		child_discard(&d->own[i]);
	for (int i = 0; i < 2; i++)
		streams_shut(&d->copy[i]);
	cluster_close(&d->cluster);
	replay_close(&d->replay);
	planfile_free(&d->plan);
	host_weights_close(&d->weights);
	plan_free(&d->programs);
	textio_close(&d->textio);
	streams_shut(&d->signals);
	free(d->polls);
}

/* --- state changes --- */

static int
doubt(struct drive *d)
{
	set_state(d, DRIVE_DOUBTS, DOUBT);
	cluster_ping(&d->cluster);
	return 0;
}

/* The effect of a failure was seen. Wait until all hosts have answered, so that their reports
 * have arrived, or until one is dead. */
static int
wait_for_cause(struct drive *d, double now)
{
	if (d->cluster.verdict.blame == BLAME_OWN)
		return halt(d);
	if (d->until == 0 || now < d->until)
		return 0;
	if (*d->cluster.error_text && now - d->since < 2 * d->cluster.timeout)
		d->until = now + 0.1;
	else if (cluster_answered(&d->cluster, d->since))
		return halt(d);
	d->until = now + 0.1;
	return 0;
}

/* Enter the next state, if it is time. */
static int
advance(struct drive *d)
{
	enum blame blame = d->cluster.verdict.blame;
	double now = clock_now();
	int due = d->until > 0 && now >= d->until;

	if (d->verdict.blame > BLAME_NONE)
		drive_end(d);
	if (d->ended && d->state < DRIVE_CLOSES)
		set_state(d, DRIVE_CLOSES, d->cluster.timeout);
	switch (d->state) {
	case DRIVE_STARTS:
		return blame ? halt(d) : cluster_up(&d->cluster) ? open_links(d) : 0;
	case DRIVE_GOES:
		return blame == BLAME_OWN ? halt(d) : blame ? doubt(d) : 0;
	case DRIVE_DOUBTS:
		return wait_for_cause(d, now);
	case DRIVE_HALTS:
		if (due)
			cluster_abandon(&d->cluster);
		return !cluster_stopped(&d->cluster) ? 0 : blame < BLAME_OWN && !d->probed ? probe(d) : restart(d);
	case DRIVE_PROBES:
		if (!due && !cluster_probed(&d->cluster))
			return 0;
		cluster_judge(&d->cluster, d->failures > 0);
		cluster_stop(&d->cluster);
		set_state(d, DRIVE_HALTS, 4 * d->cluster.timeout);
		return 0;
	case DRIVE_PAUSES:
		if (!due)
			return 0;
		set_state(d, DRIVE_STARTS, 0);
		return cluster_start(&d->cluster);
	case DRIVE_CLOSES:
		if (due || cluster_running(&d->cluster) == 0)
			drive_end(d);
		return 0;
	case DRIVE_ENDS:
		if (!due)
			return 0;
		cluster_kill(&d->cluster);
		for (int i = 0; i < 2 && (d->sig || d->verdict.blame > BLAME_NONE); i++)
			if (d->own[i].pid > 0)
				(void)kill(d->own[i].pid, SIGKILL);
		d->until = 0;
		return 0;
	}
	return 0;
}

int
drive_advance(struct drive *d)
{
	int before, r;

	do {
		before = (int)d->state;
		r = advance(d);
	} while (r == 0 && (int)d->state != before);
	return r;
}
