/*
 * Probing the links between the hosts of a cluster after a failure, and finding unreachable hosts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervise/cluster_internal.h"
#include "supervise/probe.h"

/* Only connecting ends count, as each link has one. */
void
cluster_on_unreachable(struct cluster *c, int host, const char *text)
{
	char *end;

	if (strncmp(text, PROBE_WORD " ", strlen(PROBE_WORD " ")) != 0)
		return;
	for (text += strlen(PROBE_WORD); *text == ' '; text = end) {
		long number = strtol(text, &end, 10), k = 0;

		for (int i = 0; i < c->reach.n && end > text; i++) {
			struct reach_link *l = &c->reach.l[i];

			if (l->from == host && k == number)
				l->broken = 1;
			k += l->from == host || l->to == host;
		}
		if (end == text)
			return;
	}
}

/* Number of link ends on a host. */
static int
count_ends(const struct cluster *c, int host)
{
	int n = 0;

	for (int i = 0; i < c->reach.n; i++)
		n += c->reach.l[i].from == host || c->reach.l[i].to == host;
	return n;
}

/* Send "run 0 ds-run --probe 2 @tcp://10.77.0.2:5611 tcp://10.77.0.3:5612": one process tries
 * all links of the host. */
static int
send_probe(struct cluster *c, struct machine *m)
{
	int n = count_ends(c, m->host);
	int r;

	if (n == 0 || n > WORDS_MAX - 8)
		return 0;
	r = buf_addf(&m->send, "run 0 ds-run --probe %d", PROBE_SECONDS);
	for (int i = 0; i < c->reach.n && r == 0; i++) {
		const struct reach_link *l = &c->reach.l[i];

		if (l->from != m->host && l->to != m->host)
			continue;
		r = cluster_add_word(c, m, l->from == m->host ? l->connects : l->waits);
	}
	m->state = MACHINE_RUNS;
	m->alive = 1;
	return r < 0 ? -1 : buf_addc(&m->send, '\n');
}

/* Our own links are the plan's feed and take. */
static int
start_probe(struct cluster *c)
{
	struct child_options s = {.in = 0, .out = 1, .keep = {-1, -1, -1}, .dir = c->dir,
	    .mask = c->mask};
	struct command *p = &c->probe_command;
	struct buf b = {0};
	int r = 0;

	memset(p, 0, sizeof(*p));
	p->words[p->nwords++] = "ds-run";
	command_option(p, "--probe", c->probe_words[2]);
	snprintf(c->probe_words[2], sizeof(c->probe_words[2]), "%d", PROBE_SECONDS);
	for (int i = 0, k = 0; i < c->reach.n && k < 2 && r == 0; i++) {
		if (c->reach.l[i].from != c->plan->nhosts)
			continue;
		b.n = 0;
		r = planfile_fill(&b, c->plan, c->reach.l[i].connects, c->address) < 0 || buf_addc(&b, 0) < 0 ? -1 : 0;
		if (r == 0)
			snprintf(c->probe_words[k], sizeof(c->probe_words[k]), "%s", (char *)b.p);
		p->words[p->nwords++] = c->probe_words[k++];
	}
	buf_free(&b);
	c->probe.command = p;
	return r < 0 || p->nwords == 3 ? r : child_start(&c->probe, &s);
}

int
cluster_probe(struct cluster *c)
{
	c->probing = 1;
	for (int i = 0; i < c->plan->nhosts; i++)
		if (c->m[i].state == MACHINE_READY && c->m[i].host >= 0 && send_probe(c, &c->m[i]) < 0)
			return -1;
	return c->reach.n > 0 ? start_probe(c) : 0;
}

int
cluster_probed(const struct cluster *c)
{
	return cluster_running(c) == 0 && c->probe.pid == 0;
}

static void
cut_off(struct cluster *c, int host, const char *peers)
{
	struct verdict *v = &c->verdict;
	int ours = host == c->plan->nhosts;

	if (!ours && c->at[host] >= 0)
		c->m[c->at[host]].cut_off = 1;
	if (c->culprit >= 0)    /* only the first is named */
		return;
	c->culprit = ours ? -1 : c->at[host];
	snprintf(v->text, sizeof(v->text), "%s: no connection to %s", ours ? "this host" : cluster_name(c, &c->m[c->at[host]]), peers);
}

void
cluster_judge(struct cluster *c, int again)
{
	int host, peers, links = 0;
	char text[400];

	c->probing = 0;
	if (c->probe.pid > 0)
		(void)kill(c->probe.pid, SIGKILL);
	if (c->verdict.blame == BLAME_OWN)      /* a host was lost meanwhile */
		return;
	c->culprit = -1;
	while ((host = reach_culprit(&c->reach, 0, &peers, text, sizeof(text))) >= 0) {
		cut_off(c, host, text);
		reach_excuse(&c->reach, host);
		links++;
	}
	/* links that fail only under load: few packets pass, or only small ones */
	if (links == 0 && again && (host = reach_culprit(&c->reach, 1, &peers, text, sizeof(text))) >= 0 && peers > 1)
		cut_off(c, host, text);
}
