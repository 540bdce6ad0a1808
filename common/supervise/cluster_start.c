/*
 * Contacting the agents of a cluster and starting its processes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "launch/script.h"
#include "launch/streams.h"
#include "link/address.h"
#include "link/link.h"
#include "supervise/cluster_internal.h"

#define FIRST_CALL 20.0         /* seconds to reach a host the first time: keys, passwords */

/* Remote shells take IPv6 addresses without the brackets that a port requires. */
static void
make_command(struct cluster *c, struct machine *m)
{
	const char *address = c->plan->hosts[m - c->m].address;
	const char *direct[] = {"ds-run", "--agent"}, *shell[] = {"sh", "-c", c->script, c->rsh, m->target, "ds-run", "--agent"};
	int here = address_is_local(address), bare = *address == '[' && address[strlen(address) - 1] == ']';

	snprintf(m->target, sizeof(m->target), "%.*s", (int)(strlen(address) - 2 * (size_t)bare), address + bare);
	m->command.nwords = here ? 2 : 7;
	for (int i = 0; i < m->command.nwords; i++)
		m->command.words[i] = here ? direct[i] : shell[i];
	m->command.words[m->command.nwords] = NULL;
	snprintf(m->command.label, sizeof(m->command.label), "its agent");
}

static int
contact(struct cluster *c, struct machine *m)
{
	struct child_options s = {.keep = {-1, -1, -1}, .dir = c->dir, .mask = c->mask};
	int to[2] = {-1, -1}, from[2] = {-1, -1}, r = -1;

	make_command(c, m);
	if (streams_pipe(to, 1) == 0 && streams_pipe(from, 1) == 0) {
		s.in = to[0];
		s.out = from[1];
		m->shell.command = &m->command;
		m->shell.prefix = cluster_name(c, m);
		r = child_start(&m->shell, &s);
	}
	streams_shut(&to[0]);
	streams_shut(&from[1]);
	m->in = to[1];
	m->out = from[0];
	m->send.n = m->got.n = 0;
	if (r < 0)
		return -1;
	(void)fcntl(m->in, F_SETFL, O_NONBLOCK);
	(void)fcntl(m->out, F_SETFL, O_NONBLOCK);
	m->state = MACHINE_CONTACTED;
	m->last_heard = m->last_ping = clock_now();
	m->quiet = m->known || FIRST_CALL < c->timeout ? 2 * c->timeout : FIRST_CALL;
	m->output_ended = 0;
	m->alive = 0;
	return buf_addf(&m->send, "hello %s %g %g %s %s %d\n", DS_VERSION, c->timeout, link_settings.wait,
	    c->precision, c->cache_type ? c->cache_type : "''", c->verbose);
}

/* --- starting processes --- */

int
cluster_add_word(struct cluster *c, struct machine *m, const char *word)
{
	struct buf b = {0};
	int r = planfile_fill(&b, c->plan, word, c->address) < 0 || buf_addc(&b, 0) < 0 ||
	    buf_addc(&m->send, ' ') < 0 || script_quote(&m->send, (char *)b.p) < 0 ? -1 : 0;

	buf_free(&b);
	return r;
}

static int
send_line(struct cluster *c, int number)
{
	const struct plan_line *l = &c->plan->lines[number];
	struct machine *m = &c->m[c->at[l->host]];
	int r = buf_addf(&m->send, "run %d", number);

	for (int i = 0; i < l->nwords && r == 0; i++) {
		r = cluster_add_word(c, m, l->words[i]);
		if (r == 0 && i == 0 && host_weights_apply(c->weights, l, c->address[l->host]))
			r = buf_addf(&m->send, " --manifest {run}/" WEIGHTS_FILE);
	}
	m->alive++;
	return r < 0 ? -1 : buf_addc(&m->send, '\n');
}

int
cluster_start_lines(struct cluster *c)
{
	int missing = 0;

	for (int i = 0; i < c->plan->nhosts; i++) {
		struct machine *m = c->at[i] >= 0 ? &c->m[c->at[i]] : NULL;

		if (m && m->state == MACHINE_OFF && m->shell.pid == 0 && contact(c, m) < 0)
			return -1;
		missing += m && m->state != MACHINE_READY;
	}
	if (missing)
		return 0;
	c->starting = 0;
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->at[i] >= 0 && host_weights_send(&c->m[c->at[i]].send, c->weights, c->plan, i, c->address[i]) < 0)
			return -1;
	for (int i = 0; i < c->plan->nlines; i++)
		if (send_line(c, i) < 0)
			return -1;
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->at[i] >= 0)
			c->m[c->at[i]].state = MACHINE_RUNS;
	return 0;
}

int
cluster_start(struct cluster *c)
{
	memset(&c->verdict, 0, sizeof(c->verdict));
	*c->error_text = 0;
	c->reports.n = 0;
	c->culprit = -1;
	reach_reset(&c->reach);
	c->starting = 1;
	for (int i = 0; i < c->plan->nhosts; i++) {
		c->m[i].cut_off = 0;
		if (c->at[i] >= 0 && c->m[c->at[i]].state == MACHINE_DEAD)
			c->m[c->at[i]].state = MACHINE_OFF;
	}
	return cluster_start_lines(c);
}
