#include "launch/crew.h"

#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "launch/streams.h"

#define DOUBT 1.0       /* seconds to wait for the cause of a failure whose effect was seen */
#define GRACE 0.5       /* seconds between SIGTERM and SIGKILL */

int
crew_open(struct crew *c)
{
	memset(c, 0, sizeof(*c));
	c->signals = streams_signals(&c->mask);
	return c->signals < 0 ? -1 : 0;
}

int
crew_size(struct crew *c, int n)
{
	if (!(c->children = mem_new((size_t)n, sizeof(*c->children))))
		return -1;
	c->n = n;
	for (int i = 0; i < n; i++)
		c->children[i].err = -1;
	return 0;
}

void
crew_close(struct crew *c)
{
	for (int i = 0; i < c->n; i++)
		child_discard(&c->children[i]);
	streams_shut(&c->signals);
	free(c->children);
	c->children = NULL;
	c->n = 0;
}

int
crew_start(struct crew *c, int i, const struct command *command, struct child_options *s)
{
	c->children[i].command = command;
	s->mask = &c->mask;
	if (child_start(&c->children[i], s) < 0)
		return -1;
	c->alive++;
	return 0;
}

int
crew_goes(const struct crew *c)
{
	return c->state < CREW_STOPS;
}

int
crew_gone(const struct crew *c)
{
	return c->alive == 0;
}

/* --- stopping --- */

static void
signal_children(struct crew *c, int sig)
{
	for (int i = 0; i < c->n; i++)
		if (c->children[i].pid > 0)
			(void)kill(c->children[i].pid, sig);
}

void
crew_stop(struct crew *c)
{
	int again = !crew_goes(c);

	signal_children(c, again ? SIGKILL : SIGTERM);
	c->state = again ? CREW_KILLS : CREW_STOPS;
	c->until = again ? 0 : clock_now() + GRACE;
}

int
crew_fail(struct crew *c)
{
	int recorded = verdict_own(&c->verdict);

	if (crew_goes(c))
		crew_stop(c);
	return recorded;
}

static void
reap(struct crew *c)
{
	for (int i = 0; i < c->n; i++) {
		struct child *p = &c->children[i];
		int wstatus;

		if (p->pid == 0 || waitpid(p->pid, &wstatus, WNOHANG) != p->pid)
			continue;
		c->alive--;
		if (crew_goes(c))
			child_ended(p, wstatus, &c->verdict);
		else
			child_discard(p);
	}
	if (c->verdict.blame == BLAME_OWN && crew_goes(c))
		crew_stop(c);
	else if (c->verdict.blame != BLAME_NONE && c->state == CREW_GOES) {
		c->state = CREW_DOUBTS;
		c->until = clock_now() + DOUBT;
	}
}

static void
read_signals(struct crew *c)
{
	struct signalfd_siginfo s;

	while (read(c->signals, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGCHLD) {
			reap(c);
			continue;
		}
		if (!c->sig)
			c->sig = (int)s.ssi_signo;
		crew_stop(c);
	}
}

/* --- the loop --- */

int
crew_timeout(const struct crew *c)
{
	double left = c->until - clock_now();

	if (c->until == 0)
		return -1;
	return left > 0 ? (int)(left * 1000) + 1 : 0;
}

void
crew_poll(const struct crew *c, struct pollfd *p)
{
	p[0] = (struct pollfd){.fd = c->signals, .events = POLLIN};
	for (int i = 0; i < c->n; i++)
		p[1 + i] = (struct pollfd){.fd = c->children[i].err, .events = POLLIN};
}

int
crew_speaks(const struct crew *c, const struct pollfd *p)
{
	for (int i = 0; i < c->n; i++)
		if (p[1 + i].revents)
			return 1;
	return 0;
}

void
crew_step(struct crew *c, const struct pollfd *p)
{
	for (int i = 0; i < c->n; i++)
		if (p[1 + i].revents)
			child_read_stderr(&c->children[i], crew_goes(c));
	if (p[0].revents)
		read_signals(c);
	if (c->until > 0 && clock_now() >= c->until)
		crew_stop(c);
}

int
crew_result(const struct crew *c, int *sig)
{
	*sig = c->sig ? c->sig : c->verdict.signal;
	if (*sig)
		return 0;
	return c->verdict.blame == BLAME_NONE ? c->verdict.failed :
	    fail(c->verdict.status, "%s", c->verdict.text);
}
