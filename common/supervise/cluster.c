#include "supervise/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "link/link.h"
#include "supervise/cluster_internal.h"
#include "launch/streams.h"
#include "launch/tally.h"

#define BAN 300.0      /* seconds before a host whose processes were moved can be used as a spare */
#define LINE_MAX_BYTES 65536
#define REPORTS_MAX 65536
#define LAST_WORDS 0.5        /* seconds for a shell to explain itself after its output has ended */

const char *
cluster_name(const struct cluster *c, const struct machine *m)
{
	return c->plan->hosts[m - c->m].name;
}

int
cluster_open(struct cluster *c)
{
	int n = c->plan->nhosts;

	c->m = mem_new((size_t)n, sizeof(*c->m));
	c->at = mem_new((size_t)n, sizeof(*c->at));
	c->address = mem_new((size_t)n, sizeof(*c->address));
	if (!c->m || !c->at || !c->address)
		return -1;
	if (asprintf(&c->script, "exec %s \"$@\"", c->rsh) < 0)
		return fail(FAIL_SYSTEM, "no memory for a command");
	for (int i = 0; i < n; i++) {
		c->m[i].in = c->m[i].out = c->m[i].shell.err = c->m[i].host = c->at[i] = -1;
		c->address[i] = c->plan->hosts[i].address;
	}
	for (int i = 0; i < c->plan->nlines; i++) {
		int host = c->plan->lines[i].host;

		c->at[host] = c->m[host].host = host;
	}
	c->culprit = -1;
	c->probe.err = -1;
	c->seen = clock_now();
	return reach_open(&c->reach, c->plan);
}

void
cluster_close(struct cluster *c)
{
	for (int i = 0; c->m && i < c->plan->nhosts; i++) {
		struct machine *m = &c->m[i];

		child_discard(&m->shell);
		streams_shut(&m->in);
		streams_shut(&m->out);
		buf_free(&m->send);
		buf_free(&m->got);
	}
	free(c->m);
	free(c->at);
	free(c->address);
	free(c->script);
	buf_free(&c->reports);
	child_discard(&c->probe);
	reach_close(&c->reach);
	c->m = NULL;
}

/* --- failures --- */

/* 1 if the text contains the message of a program that has ended. */
static int
is_reported(const struct cluster *c, const char *error_text)
{
	const char *s = (const char *)c->reports.p, *end = s + c->reports.n;

	for (; s < end; s += strlen(s) + 1)
		if (strstr(error_text, s))
			return 1;
	return 0;
}

/* Record a failure. The first cause counts, and causes count more than effects. */
static void
blame(struct cluster *c, const struct machine *m, enum blame b, int status, const char *who, const char *text)
{
	struct verdict *v = &c->verdict;

	if (b != BLAME_UPSTREAM && c->reports.n < REPORTS_MAX && buf_add(&c->reports, text, strlen(text) + 1) == 0)
		*c->error_text = is_reported(c, c->error_text) ? 0 : *c->error_text;
	if (b <= v->blame)
		return;
	v->blame = b;
	v->status = status;
	c->culprit = (int)(m - c->m);
	snprintf(v->text, sizeof(v->text), "%s: %s%s%s", cluster_name(c, m), who, *who ? ": " : "", text);
}

void
cluster_note_error(struct cluster *c, const char *text)
{
	if (!*c->error_text && !is_reported(c, text))
		snprintf(c->error_text, sizeof(c->error_text), "%s", text);
}

/* Expect nothing more from a machine. Its shell is killed, so that no late answer arrives. */
static void
mark_dead(struct cluster *c, struct machine *m, const char *why)
{
	if (m->state == MACHINE_DEAD || m->state == MACHINE_OFF)
		return;
	blame(c, m, BLAME_OWN, FAIL_SYSTEM, "", why);
	m->state = MACHINE_DEAD;
	m->alive = 0;
	streams_shut(&m->in);
	streams_shut(&m->out);
	if (m->shell.pid > 0)
		(void)kill(m->shell.pid, SIGKILL);
}

void
cluster_link_failed(struct cluster *c)
{
	struct verdict *v = &c->verdict;

	enum blame b = strncmp(fail_text(), "upstream: ", 10) == 0 ? BLAME_UPSTREAM :
	    link_lost(fail_text()) == LOST_UNHEARD ? BLAME_UNHEARD : BLAME_CUT;

	reach_accuse(&c->reach, -1, fail_text(), c->address);
	if (v->blame >= b)
		return;
	v->blame = b;
	v->status = FAIL_SYSTEM;
	snprintf(v->text, sizeof(v->text), "%s", fail_text());
}

/* --- state --- */

int
cluster_unfit(const struct cluster *c)
{
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->at[i] >= 0 && c->m[c->at[i]].unfit)
			return 1;
	return 0;
}

int
cluster_up(const struct cluster *c)
{
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->at[i] >= 0 && c->m[c->at[i]].state != MACHINE_RUNS)
			return 0;
	return 1;
}

int
cluster_running(const struct cluster *c)
{
	int n = 0;

	for (int i = 0; i < c->plan->nhosts; i++)
		n += c->m[i].alive;
	return n;
}

void
cluster_stop(struct cluster *c)
{
	c->starting = 0;
	for (int i = 0; i < c->plan->nhosts; i++) {
		struct machine *m = &c->m[i];

		if (m->state == MACHINE_RUNS) {
			m->state = MACHINE_STOPS;
			(void)buf_addf(&m->send, "stop\n");
		}
	}
}

int
cluster_stopped(const struct cluster *c)
{
	for (int i = 0; i < c->plan->nhosts; i++) {
		const struct machine *m = &c->m[i];

		if (m->state == MACHINE_STOPS || m->state == MACHINE_RUNS || (m->state == MACHINE_DEAD && m->shell.pid > 0))
			return 0;
	}
	return 1;
}

void
cluster_abandon(struct cluster *c)
{
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->m[i].state == MACHINE_STOPS)
			mark_dead(c, &c->m[i], "its processes did not end");
}

/* The idle machine with the fewest failures, none of them recent; the present one if no other is
 * better. */
static int
find_machine(const struct cluster *c, int now)
{
	double banned = clock_now() - BAN;
	int best = now;

	for (int i = 0; i < c->plan->nhosts; i++) {
		const struct machine *m = &c->m[i];

		if (m->host >= 0 || (!c->plan->hosts[i].spare && m->deaths == 0) || (m->failed > 0 && m->failed > banned))
			continue;
		if (m->deaths < c->m[best].deaths)
			best = i;
	}
	return best;
}

int
cluster_reassign(struct cluster *c, int tired, struct buf *what)
{
	int fresh = 0;

	for (int i = 0; i < c->plan->nhosts; i++) {
		int now = c->at[i], to;

		if (now < 0 || (c->m[now].state != MACHINE_DEAD && now != tired && !c->m[now].cut_off))
			continue;
		c->m[now].deaths++;
		c->m[now].failed = clock_now();
		if ((to = find_machine(c, now)) == now)
			continue;
		c->m[now].host = -1;
		if (c->m[now].state != MACHINE_DEAD) {
			streams_shut(&c->m[now].in);
			c->m[now].state = MACHINE_OFF;
		}
		c->m[to].host = i;
		c->at[i] = to;
		c->address[i] = c->plan->hosts[to].address;
		fresh += c->m[to].deaths == 0;
		if (buf_addf(what, "; %s replaces %s", c->plan->hosts[to].name, c->plan->hosts[now].name) < 0)
			return -1;
	}
	return fresh;
}

/* --- answers of agents --- */

static void
on_ready(struct cluster *c, struct machine *m, const char *version)
{
	char why[200];

	if (m->state != MACHINE_CONTACTED)
		return;
	if (strcmp(version, DS_VERSION) != 0) {
		snprintf(why, sizeof(why), "it has version %.40s of dspipe, here is %s", version, DS_VERSION);
		blame(c, m, BLAME_OWN, FAIL_USAGE, "", why);
		return;
	}
	m->state = MACHINE_READY;
	m->quiet = c->timeout;
	m->known = 1;
}

static void
on_ended(struct cluster *c, struct machine *m, char **w)
{
	long line = strtol(w[1], NULL, 10), b = strtol(w[2], NULL, 10), status = strtol(w[3], NULL, 10);

	if (m->state != MACHINE_RUNS || line < 0 || line >= c->plan->nlines || b < BLAME_NONE || b > BLAME_OWN || status < 0 ||
	    status > FAIL_SYSTEM)
		return;
	m->alive--;
	if (c->probing) {
		cluster_on_unreachable(c, m->host, w[4]);
		return;
	}
	reach_accuse(&c->reach, (int)line, w[4], c->address);
	if (b == BLAME_UPSTREAM)
		cluster_note_error(c, w[4]);
	if (b > BLAME_NONE)
		blame(c, m, (enum blame)b, (int)status, c->plan->lines[line].label, w[4]);
}

/* The host lacks something that every start needs. */
static void
on_unfit(struct cluster *c, struct machine *m, const char *why)
{
	if (m->state != MACHINE_CONTACTED)
		return;
	m->unfit = 1;
	mark_dead(c, m, why);
}

/* Output of shell start-up files before the agent is ready is ignored. */
static void
on_line(struct cluster *c, struct machine *m, char *line)
{
	char *w[8];
	int n = words_split(line, w, 8);

	if (n == 2 && strcmp(w[0], "ready") == 0)
		on_ready(c, m, w[1]);
	else if (n == 2 && strcmp(w[0], "unfit") == 0)
		on_unfit(c, m, w[1]);
	else if (n == 5 && strcmp(w[0], "ended") == 0)
		on_ended(c, m, w);
	else if (n == 1 && strcmp(w[0], "stopped") == 0 && m->state == MACHINE_STOPS) {
		m->state = MACHINE_READY;
		m->alive = 0;
	}
}

static int
read_answers(struct cluster *c, struct machine *m)
{
	char got[65536], *line;
	ssize_t n = read(m->out, got, sizeof(got));
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		m->output_ended = clock_now();
		streams_shut(&m->out);
		return 0;
	}
	m->last_heard = clock_now();
	if (buf_add(&m->got, got, (size_t)n) < 0)
		return -1;
	while ((r = words_line(&m->got, &line)) > 0) {
		on_line(c, m, line);
		free(line);
	}
	if (r < 0 || m->got.n > LINE_MAX_BYTES)
		mark_dead(c, m, "its agent sent an invalid line");
	return 0;
}

static void
write_orders(struct machine *m)
{
	ssize_t n = write(m->in, m->send.p, m->send.n);

	if (n > 0)
		buf_drop(&m->send, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR)
		streams_shut(&m->in);           /* the reason is known when it ends */
}

int
cluster_reap(struct cluster *c, pid_t pid, int wstatus)
{
	for (int i = 0; i < c->plan->nhosts; i++) {
		struct machine *m = &c->m[i];
		struct verdict v = {0};

		if (m->shell.pid != pid)
			continue;
		child_ended(&m->shell, wstatus, &v);
		mark_dead(c, m, v.blame > BLAME_NONE ? v.text : "its agent ended");
		return 1;
	}
	if (c->probe.pid == pid && pid > 0) {
		struct verdict v = {0};

		child_ended(&c->probe, wstatus, &v);
		/* it has no label */
		cluster_on_unreachable(c, c->plan->nhosts, v.text + strspn(v.text, ": "));
		return 1;
	}
	return 0;
}

/* --- heartbeats --- */

void
cluster_ping(struct cluster *c)
{
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->m[i].state >= MACHINE_READY && c->m[i].state != MACHINE_DEAD && c->m[i].in >= 0) {
			c->m[i].last_ping = clock_now();
			(void)buf_addf(&c->m[i].send, "alive\n");
		}
}

int
cluster_answered(const struct cluster *c, double since)
{
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->m[i].state >= MACHINE_READY && c->m[i].state != MACHINE_DEAD && c->m[i].last_heard <= since)
			return 0;
	return 1;
}

static void
check_alive(struct cluster *c, struct machine *m, double now)
{
	char why[100];

	if (m->state == MACHINE_OFF || m->state == MACHINE_DEAD)
		return;
	snprintf(why, sizeof(why), m->state == MACHINE_CONTACTED ? "no answer for %g seconds" : "no sign of life for %g seconds", m->quiet);
	if (m->output_ended > 0 ? now - m->output_ended > LAST_WORDS : now - m->last_heard > m->quiet)
		mark_dead(c, m, m->output_ended > 0 ? "its agent ended" : why);
	else if (m->state != MACHINE_CONTACTED && now - m->last_ping > c->timeout / 4) {
		m->last_ping = now;
		(void)buf_addf(&m->send, "alive\n");
	}
}

void
cluster_wait(struct cluster *c, struct pollfd *p)
{
	for (int i = 0; i < c->plan->nhosts; i++) {
		struct machine *m = &c->m[i];

		if (m->send.n > 0 && m->in >= 0)
			write_orders(m);
		*p++ = (struct pollfd){.fd = m->send.n > 0 ? m->in : -1, .events = POLLOUT};
		*p++ = (struct pollfd){.fd = m->out, .events = POLLIN};
		*p++ = (struct pollfd){.fd = m->shell.err, .events = POLLIN};
	}
}

int
cluster_step(struct cluster *c, const struct pollfd *p)
{
	double now = clock_now(), away = now - c->seen;

	for (int i = 0; i < c->plan->nhosts; i++, p += 3) {
		struct machine *m = &c->m[i];

		if (p[2].revents)
			child_read_stderr(&m->shell, 1);
		if (p[1].revents && m->out >= 0 && read_answers(c, m) < 0)
			return -1;
		if (away > c->timeout / 2)      /* we did not read in time ourselves */
			m->last_heard = now;
		check_alive(c, m, now);
	}
	c->seen = now;
	return c->starting ? cluster_start_lines(c) : 0;
}

/* --- closing --- */

void
cluster_release(struct cluster *c)
{
	c->starting = 0;
	for (int i = 0; i < c->plan->nhosts; i++) {
		streams_shut(&c->m[i].in);
		if (c->m[i].state != MACHINE_DEAD)
			c->m[i].state = MACHINE_OFF;
	}
}

int
cluster_gone(const struct cluster *c)
{
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->m[i].shell.pid > 0)
			return 0;
	return 1;
}

void
cluster_kill(struct cluster *c)
{
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->m[i].shell.pid > 0)
			(void)kill(c->m[i].shell.pid, SIGKILL);
}
