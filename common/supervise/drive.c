#include "supervise/drive.h"

#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/io.h"
#include "supervise/drive_internal.h"
#include "launch/streams.h"
#include "stage/stage.h"

/* --- frames --- */

/* Write to ds-detokenize, which reads its pipe to end of file. */
static void
write_text(struct drive *d)
{
	int r = link_flush(&d->text);

	if (r < 0 || (r == 1 && d->ended))
		drive_shut(&d->text);   /* the reason is known when it ends */
}

static int
queue_text(struct drive *d, struct frame *f)
{
	if (!d->text.opened)
		return 0;
	if (link_queue(&d->text, f) < 0)
		return -1;
	write_text(d);
	return 0;
}

/* Read a prompt, while there is room to keep it. */
static int
read_prompts(struct drive *d)
{
	struct frame f;
	int r, kept = 0;

	frame_init(&f);
	r = link_try_receive(&d->prompts, &f);
	if (r == 1 && f.op == OP_NONE)
		kept = replay_add(&d->replay, &f);
	/* a prompt that ds-tokenize refused; the pipeline does not see it */
	else if (r == 1 && f.op == OP_FAILED) {
		tally_count(d->tally, &f);
		kept = queue_text(d, &f);
	}
	else if (r == 1 && f.op == OP_END)
		d->prompts_ended = 1;
	frame_free(&f);
	/* on an error or an early end the program reports the reason when it ends */
	if (r == -2 || r == -1 || f.op == OP_ERROR || d->prompts_ended)
		drive_shut(&d->prompts);
	return kept;
}

/* Queue one frame at a time, so that unsent prompts stay in the replay buffer. */
static int
feed(struct drive *d)
{
	struct frame f;
	int r = 1;

	while (r > 0 && d->feed.queue.n == 0 && !d->fed) {
		frame_init(&f);
		r = replay_next(&d->replay, &f);
		if (r == 0 && d->prompts_ended) {
			f.op = OP_END;
			d->fed = r = 1;
		}
		if (r > 0 && link_queue(&d->feed, &f) < 0)
			r = -1;
		frame_free(&f);
		if (r > 0 && link_flush(&d->feed) < 0)
			return drive_link_failed(d);
	}
	return r < 0 ? -1 : 0;
}

int
drive_finish(struct drive *d)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = OP_END;
	d->ended = 1;
	r = queue_text(d, &f);
	frame_free(&f);
	return r;
}

/* Read new tokens. Each arrives once: after a restart the pipeline continues where the last one
 * stopped. */
static int
read_tokens(struct drive *d)
{
	struct frame f;
	int r, ok;

	frame_init(&f);
	r = link_try_receive(&d->take, &f);
	if (r <= 0) {
		if (r == -2)
			fail(FAIL_SYSTEM, "%s: ended without an end frame: " LOST_UPSTREAM, d->take.name);
		return r == 0 ? 0 : drive_link_failed(d);
	}
	if (f.op == OP_ERROR) {
		(void)stage_upstream(&f, NULL);
		cluster_note_error(&d->cluster, fail_text());
		frame_free(&f);
		return drive_link_failed(d);
	}
	ok = replay_receive(&d->replay, &f);
	if (ok == 0 && f.op == OP_NONE && f.rows > 0)
		d->failures = 0;
	if (ok == 0 && d->o->run.count)
		tally_count(d->tally, &f);
	if (ok == 0 && d->o->run.dialog)
		ok = dialog_add_frame(d->o->run.dialog, &f);
	if (ok == 0 && f.op == OP_END)
		ok = replay_left(&d->replay) == 0 && d->prompts_ended ? drive_finish(d) :
		    fail(FAIL_DATA, "%s: it ended before all answers were complete", d->take.name);
	else if (ok == 0)
		ok = queue_text(d, &f);
	frame_free(&f);
	return ok;
}

/* --- child processes and signals --- */

static void
reap(struct drive *d)
{
	int wstatus;
	pid_t pid;

	while ((pid = waitpid(-1, &wstatus, WNOHANG)) > 0) {
		if (cluster_reap(&d->cluster, pid, wstatus))
			continue;
		for (int i = 0; i < 2; i++)
			if (d->own[i].pid == pid) {
				if (d->state == DRIVE_ENDS && d->verdict.blame > BLAME_NONE)
					child_discard(&d->own[i]);
				else
					child_ended(&d->own[i], wstatus, &d->verdict);
			}
	}
}

static void
read_signals(struct drive *d)
{
	struct signalfd_siginfo s;

	while (read(d->signals, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGCHLD) {
			reap(d);
			continue;
		}
		if (d->sig)
			cluster_kill(&d->cluster);      /* the second signal */
		d->sig = (int)s.ssi_signo;
		drive_end(d);
	}
}

/* --- the loop --- */

/* Descriptors: ours, those of textio, those of the hosts. */
enum { POLL_SIGNALS, POLL_PROMPTS, POLL_FEED, POLL_TAKE, POLL_TEXT, POLL_OWN, POLL_TEXTIO = POLL_OWN + 2,
	POLL_CLUSTER = POLL_TEXTIO + TEXTIO_POLL };

static struct pollfd
poll_link(struct link *l, int wanted)
{
	return l->opened && wanted ? link_poll(l) : (struct pollfd){.fd = -1};
}

static void
wait_for(struct drive *d)
{
	struct pollfd *p = d->polls;
	int n = POLL_CLUSTER + 3 * d->plan.nhosts, going = d->state == DRIVE_GOES || d->state == DRIVE_DOUBTS;
	double now = clock_now(), until = now + d->cluster.timeout / 8;

	p[POLL_SIGNALS] = (struct pollfd){.fd = d->signals, .events = POLLIN};
	p[POLL_PROMPTS] = poll_link(&d->prompts, replay_has_room(&d->replay) && d->state != DRIVE_ENDS);
	p[POLL_FEED] = poll_link(&d->feed, going && d->feed.queue.n > 0);
	p[POLL_TAKE] = poll_link(&d->take, going && d->text.queue.n == 0);
	p[POLL_TEXT] = poll_link(&d->text, d->text.queue.n > 0);
	for (int i = 0; i < 2; i++)
		p[POLL_OWN + i] = (struct pollfd){.fd = d->own[i].err, .events = POLLIN};
	textio_poll(&d->textio, p + POLL_TEXTIO);
	cluster_wait(&d->cluster, p + POLL_CLUSTER);
	if (d->until > 0 && d->until < until)
		until = d->until;
	if (poll(p, (nfds_t)n, until > now ? (int)((until - now) * 1000) + 1 : 0) < 0)
		for (int i = 0; i < n; i++)
			p[i].revents = 0;
}

static int
move_frames(struct drive *d)
{
	struct pollfd *p = d->polls;

	if (p[POLL_PROMPTS].revents && read_prompts(d) < 0)
		return -1;
	if (p[POLL_TEXT].revents)
		write_text(d);
	if (d->state != DRIVE_GOES && d->state != DRIVE_DOUBTS)
		return 0;
	if (p[POLL_FEED].revents && link_flush(&d->feed) < 0)
		return drive_link_failed(d);
	if (p[POLL_TAKE].revents && read_tokens(d) < 0)
		return -1;
	return d->feed.opened ? feed(d) : 0;
}

/* The line gives way to messages, which may come from any host. */
static void
show_progress(struct drive *d)
{
	struct progress *progress = d->o->run.progress;
	int others = 0;

	for (int i = POLL_OWN; i < POLL_TEXTIO; i++)
		others |= d->polls[i].revents;
	for (int i = POLL_CLUSTER; i < POLL_CLUSTER + 3 * d->plan.nhosts; i++)
		others |= d->polls[i].revents;
	if (others)
		progress_clear(progress);
	else if (d->state == DRIVE_GOES)
		progress_show(progress, d->tally);
}

static int
step(struct drive *d)
{
	struct pollfd *p = d->polls;

	wait_for(d);
	if (d->o->run.progress)
		show_progress(d);
	for (int i = 0; i < 2; i++)
		if (p[POLL_OWN + i].revents)
			child_read_stderr(&d->own[i], d->state != DRIVE_ENDS);
	if (cluster_step(&d->cluster, p + POLL_CLUSTER) < 0)
		return -1;
	if (p[POLL_SIGNALS].revents)
		read_signals(d);
	if (move_frames(d) < 0)
		return -1;
	if (textio_step(&d->textio, p + POLL_TEXTIO) < 0) {
		d->verdict.signal = d->textio.gone ? SIGPIPE : 0;
		return -1;
	}
	if (d->textio.asked)
		tally_question(d->tally);
	d->textio.asked = 0;
	return drive_advance(d);
}

/* Record the stored message as the cause, which is final. */
static void
record_own_failure(struct drive *d)
{
	(void)verdict_own(&d->verdict);
	drive_end(d);
}

static int
is_done(const struct drive *d)
{
	return d->state == DRIVE_ENDS && cluster_gone(&d->cluster) && d->own[0].pid == 0 && d->own[1].pid == 0 &&
	    (d->verdict.blame > BLAME_NONE || d->sig || textio_done(&d->textio));
}

int
drive_plan(const struct drive_options *o, struct tally *tally, int *sig)
{
	struct drive d = {.o = o, .tally = tally, .signals = -1, .prompts.fd = -1};
	int r = drive_open(&d);

	memset(tally, 0, sizeof(*tally));
	tally->first = -1;
	tally->asked = o->run.began;
	if (r == 0) {
		if (drive_start(&d) < 0)
			record_own_failure(&d);
		while (!is_done(&d))
			if (step(&d) < 0)
				record_own_failure(&d);
		if (o->run.progress)
			progress_clear(o->run.progress);
		*sig = d.sig ? d.sig : d.verdict.signal;
		if (d.dim && (*sig || d.verdict.blame > BLAME_NONE) && *sig != SIGPIPE)
			(void)io_write(1, "\033[m", 3);         /* reset the terminal */
		if (*sig == 0 && d.verdict.blame > BLAME_NONE)
			r = fail(d.verdict.status, "%s", d.verdict.text);
		else if (*sig == 0)
			r = d.verdict.failed;
	}
	drive_close(&d);
	return r;
}
