#include "supervise/learn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "launch/learn_metrics.h"
#include "launch/planlearn.h"
#include "launch/streams.h"
#include "link/link.h"
#include "supervise/cluster.h"

#define DOUBT 1.0       /* least seconds to wait for the cause of a failure whose effect was seen */
#define WAIT 4          /* timeouts that the ends of a link wait for each other */
#define LEAVE 2.0       /* seconds beyond the timeout that agents have to clean up */

struct hosts {
	const struct learn_hosts *o;
	struct planfile plan;
	char *saved;                    /* whole path of the state, or NULL */
	struct host_weights weights;
	struct cluster cluster;
	struct child driver;
	struct command command;         /* of the driver */
	struct buf feed, back;          /* memory of words of it */
	char timeout[32];
	struct learn_metrics metrics;
	enum { HOSTS_START, HOSTS_GO, HOSTS_DOUBT, HOSTS_CLOSE, HOSTS_END } state;
	double since, until;            /* start of the state; the next action, 0: none */
	struct verdict verdict;         /* of the driver, then the result */
	int ok;                         /* the driver has done all */
	int signals, sig;
	sigset_t mask;                  /* the original mask */
	struct pollfd *polls;
};

static void
set_state(struct hosts *h, int state, double seconds)
{
	h->state = state;
	h->since = clock_now();
	h->until = seconds > 0 ? h->since + seconds : 0;
}

/* --- the driver --- */

/* An endpoint of the plan with the addresses of the hosts, as a text. */
static int
fill(struct hosts *h, struct buf *to, const char *endpoint)
{
	if (planfile_fill(to, &h->plan, endpoint, h->cluster.address) < 0 || buf_addc(to, 0) < 0)
		return -1;
	return link_check((char *)to->p);
}

static int
make_command(struct hosts *h)
{
	const struct learn_launch *l = h->o->launch;
	struct command *t = &h->command;

	if (fill(h, &h->feed, h->plan.feed) < 0 || fill(h, &h->back, h->plan.take) < 0)
		return -1;
	t->layer = -1;
	snprintf(t->label, sizeof(t->label), "ds-learn");
	t->words[t->nwords++] = "ds-learn";
	command_option(t, "-m", l->plan.model);
	for (int i = 0; i < l->nwords; i++)
		t->words[t->nwords++] = l->words[i];
	command_option(t, "--feed", (char *)h->feed.p);
	command_option(t, "--back", (char *)h->back.p);
	snprintf(h->timeout, sizeof(h->timeout), "%.17g", link_settings.timeout);
	command_option(t, "--timeout", h->timeout);
	if (link_settings.key)
		command_option(t, "--key", link_settings.key);
	if (link_settings.peers)
		command_option(t, "--peers", link_settings.peers);
	if (link_settings.unsafe)
		t->words[t->nwords++] = "--unsafe";
	return 0;
}

/* All processes were started. */
static int
start_driver(struct hosts *h)
{
	struct child_options s = {.in = 0, .keep = {-1, -1, -1}, .dir = h->o->launch->dir,
	    .mask = &h->mask};
	int r;

	set_state(h, HOSTS_GO, 0);
	if (learn_metrics_open(&h->metrics, &s.out) < 0)
		return -1;
	h->driver.command = &h->command;
	h->driver.to_stdout = s.out == 1;
	r = child_start(&h->driver, &s);
	if (s.out != 1)
		close(s.out);
	return r;
}

/* --- starting --- */

static int
open_plan(struct hosts *h)
{
	const char *path = h->o->plan, *state = h->o->launch->state;

	if (state && !(h->saved = realpath(state, NULL)))
		return fail(FAIL_SYSTEM, "cannot find '%s':", state);
	if (planfile_read(&h->plan, path) < 0 || planlearn(&h->plan, h->saved) < 0)
		return -1;
	if (planfile_keyed(&h->plan) && !link_settings.key)
		return fail(FAIL_USAGE,
		    "plan '%s' has keys: give --key FILE and --peers FILE of this machine as well",
		    path);
	return 0;
}

static int
open_hosts(struct hosts *h)
{
	struct cluster *c = &h->cluster;
	const struct learn_launch *l = h->o->launch;
	char wait[32];

	c->plan = &h->plan;
	c->weights = &h->weights;
	c->rsh = h->o->rsh;
	c->dir = l->dir;
	c->timeout = link_settings.timeout;
	c->precision = precision_name(PRECISION_F32);
	c->verbose = l->plan.verbose;
	c->mask = &h->mask;
	/* all programs start at once: a peer that has not come by then will not come */
	if (link_settings.wait == 0)
		link_settings.wait = WAIT * c->timeout;
	snprintf(wait, sizeof(wait), "%.17g", link_settings.wait);
	if (setenv("DS_WAIT", wait, 1) < 0)
		return fail(FAIL_SYSTEM, "no memory for DS_WAIT");
	if (streams_check(0) < 0 || open_plan(h) < 0 ||
	    (h->signals = streams_signals(&h->mask)) < 0 || cluster_open(c) < 0 ||
	    make_command(h) < 0 ||
	    host_weights_open(&h->weights, &h->plan, l->plan.model, h->o->manifest) < 0)
		return -1;
	if (!(h->polls = mem_new(3 + 3 * (size_t)h->plan.nhosts, sizeof(*h->polls))))
		return -1;
	set_state(h, HOSTS_START, 0);
	return cluster_start(c);
}

static void
close_hosts(struct hosts *h)
{
	child_discard(&h->driver);
	cluster_close(&h->cluster);
	planfile_free(&h->plan);
	host_weights_close(&h->weights);
	learn_metrics_close(&h->metrics);
	streams_shut(&h->signals);
	buf_free(&h->feed);
	buf_free(&h->back);
	free(h->polls);
	free(h->saved);
}

/* --- ending --- */

static void
end(struct hosts *h)
{
	if (h->state == HOSTS_END)
		return;
	if (h->driver.pid > 0)
		(void)kill(h->driver.pid, SIGTERM);
	cluster_release(&h->cluster);
	set_state(h, HOSTS_END, h->cluster.timeout + LEAVE);
}

/* Record the stored message as the cause, which is final. */
static void
record_own_failure(struct hosts *h)
{
	if (verdict_own(&h->verdict))
		h->verdict.signal = h->metrics.gone ? SIGPIPE : 0;
	end(h);
}

static enum blame
blame(const struct hosts *h)
{
	const struct verdict *c = &h->cluster.verdict;

	return c->blame > h->verdict.blame ? c->blame : h->verdict.blame;
}

/* End with the verdict that explains most. */
static void
end_failed(struct hosts *h)
{
	if (h->cluster.verdict.blame > h->verdict.blame)
		h->verdict = h->cluster.verdict;
	end(h);
}

/* Enter the next state, if it is time. */
static int
advance(struct hosts *h)
{
	double now = clock_now();
	int due = h->until > 0 && now >= h->until;

	switch (h->state) {
	case HOSTS_START:
		if (blame(h))
			end_failed(h);
		return h->state == HOSTS_START && cluster_up(&h->cluster) ? start_driver(h) : 0;
	case HOSTS_GO:
		if (h->ok)
			set_state(h, HOSTS_CLOSE, h->cluster.timeout);
		else if (blame(h)) {
			set_state(h, HOSTS_DOUBT, DOUBT);
			cluster_ping(&h->cluster);
		}
		return 0;
	case HOSTS_DOUBT:
		if (blame(h) == BLAME_OWN || (due && (cluster_answered(&h->cluster, h->since) ||
		    now - h->since > 2 * h->cluster.timeout)))
			end_failed(h);
		else if (due)
			h->until = now + 0.1;
		return 0;
	case HOSTS_CLOSE:
		if (due || cluster_running(&h->cluster) == 0)
			end(h);
		return 0;
	case HOSTS_END:
		if (due) {
			cluster_kill(&h->cluster);
			if (h->driver.pid > 0)
				(void)kill(h->driver.pid, SIGKILL);
			h->until = 0;
		}
		return 0;
	}
	return 0;
}

/* --- the loop --- */

static void
reap(struct hosts *h)
{
	int wstatus;
	pid_t pid;

	while ((pid = waitpid(-1, &wstatus, WNOHANG)) > 0) {
		if (cluster_reap(&h->cluster, pid, wstatus) || pid != h->driver.pid)
			continue;
		if (h->state == HOSTS_END) {
			child_discard(&h->driver);
			continue;
		}
		child_ended(&h->driver, wstatus, &h->verdict);
		h->ok = h->verdict.blame == BLAME_NONE;
	}
}

static void
read_signals(struct hosts *h)
{
	struct signalfd_siginfo s;

	while (read(h->signals, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGCHLD) {
			reap(h);
			continue;
		}
		if (h->sig) {                   /* the second signal */
			cluster_kill(&h->cluster);
			if (h->driver.pid > 0)
				(void)kill(h->driver.pid, SIGKILL);
		}
		h->sig = (int)s.ssi_signo;
		end(h);
	}
}

/* Descriptors: ours, those of the hosts. */
enum { POLL_SIGNALS, POLL_METRICS, POLL_DRIVER, POLL_CLUSTER };

static void
wait_for(struct hosts *h)
{
	struct pollfd *p = h->polls;
	int n = POLL_CLUSTER + 3 * h->plan.nhosts;
	double now = clock_now(), until = now + h->cluster.timeout / 8;

	p[POLL_SIGNALS] = (struct pollfd){.fd = h->signals, .events = POLLIN};
	p[POLL_METRICS] = (struct pollfd){.fd = h->metrics.fd, .events = POLLIN};
	p[POLL_DRIVER] = (struct pollfd){.fd = h->driver.err, .events = POLLIN};
	cluster_wait(&h->cluster, p + POLL_CLUSTER);
	if (h->until > 0 && h->until < until)
		until = h->until;
	if (poll(p, (nfds_t)n, until > now ? (int)((until - now) * 1000) + 1 : 0) < 0)
		for (int i = 0; i < n; i++)
			p[i].revents = 0;
}

static int
step(struct hosts *h)
{
	struct pollfd *p = h->polls;
	int messages = 0;

	wait_for(h);
	for (int i = POLL_DRIVER; i < POLL_CLUSTER + 3 * h->plan.nhosts; i++)
		messages |= p[i].revents;
	if (messages)
		progress_clear(&h->metrics.progress);
	if (p[POLL_DRIVER].revents)
		child_read_stderr(&h->driver, h->state != HOSTS_END);
	if (cluster_step(&h->cluster, p + POLL_CLUSTER) < 0)
		return -1;
	if (p[POLL_SIGNALS].revents)
		read_signals(h);
	if (p[POLL_METRICS].revents && learn_metrics_read(&h->metrics) < 0)
		return -1;
	return advance(h);
}

static int
is_done(const struct hosts *h)
{
	return h->state == HOSTS_END && cluster_gone(&h->cluster) && h->driver.pid == 0 &&
	    (!h->ok || h->metrics.fd < 0);
}

int
learn_hosts_run(const struct learn_hosts *o, int *sig)
{
	struct hosts h = {.o = o, .signals = -1, .driver.err = -1, .metrics.fd = -1};
	int r = open_hosts(&h);

	if (r < 0 && h.polls) {
		(void)verdict_own(&h.verdict);
		end(&h);
		r = 0;
	}
	if (r == 0) {
		while (!is_done(&h))
			if (step(&h) < 0)
				record_own_failure(&h);
		progress_clear(&h.metrics.progress);
		*sig = h.sig ? h.sig : h.verdict.signal;
		if (*sig == 0 && h.verdict.blame > BLAME_NONE)
			r = fail(h.verdict.status, "%s", h.verdict.text);
	}
	close_hosts(&h);
	return r;
}
