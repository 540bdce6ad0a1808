#include "supervise/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "link/link.h"
#include "supervise/probe.h"
#include "launch/script.h"
#include "launch/streams.h"
#include "launch/tally.h"

#define BAN 300.0      /* seconds before a host whose processes were moved can be used as a spare */
#define FIRST_CALL 20.0         /* seconds to reach a host the first time: keys, passwords */
#define LINE_MAX_BYTES 65536
#define REPORTS_MAX 65536
#define LAST_WORDS 0.5        /* seconds for a shell to explain itself after its output has ended */

static const char *
name_of(const struct cluster *c, const struct machine *m)
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
	snprintf(v->text, sizeof(v->text), "%s: %s%s%s", name_of(c, m), who, *who ? ": " : "", text);
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

/* --- contacting agents --- */

/* Remote shells take IPv6 addresses without the brackets that a port requires. */
static void
make_command(struct cluster *c, struct machine *m)
{
	const char *address = c->plan->hosts[m - c->m].address;
	const char *direct[] = {"ds-run", "--agent"}, *shell[] = {"sh", "-c", c->script, c->rsh, m->target, "ds-run", "--agent"};
	int here = address_is_here(address), bare = *address == '[' && address[strlen(address) - 1] == ']';

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
	struct child_options s = {.keep = {-1, -1}, .dir = c->dir, .mask = c->mask};
	int to[2] = {-1, -1}, from[2] = {-1, -1}, r = -1;

	make_command(c, m);
	if (streams_pipe(to, 1) == 0 && streams_pipe(from, 1) == 0) {
		s.in = to[0];
		s.out = from[1];
		m->shell.command = &m->command;
		m->shell.prefix = name_of(c, m);
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
	return buf_addf(&m->send, "hello %s %g %g %s %d\n", DS_VERSION, c->timeout, link_settings.wait, c->precision, c->verbose);
}

/* --- starting processes --- */

static int
send_line(struct cluster *c, int number)
{
	const struct plan_line *l = &c->plan->lines[number];
	struct machine *m = &c->m[c->at[l->host]];
	struct buf b = {0};
	int r = buf_addf(&m->send, "run %d", number);

	for (int i = 0; i < l->nwords && r == 0; i++) {
		b.n = 0;
		r = planfile_fill(&b, c->plan, l->words[i], c->address) < 0 || buf_addc(&b, 0) < 0 ||
		    buf_addc(&m->send, ' ') < 0 || script_quote(&m->send, (char *)b.p) < 0 ? -1 : 0;
		if (r == 0 && i == 0 && host_weights_apply(c->weights, l, c->address[l->host]))
			r = buf_addf(&m->send, " --manifest {run}/" WEIGHTS_FILE);
	}
	buf_free(&b);
	m->alive++;
	return r < 0 ? -1 : buf_addc(&m->send, '\n');
}

/* Contact missing agents; once all are ready, send them their processes. */
static int
start_lines(struct cluster *c)
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
	return start_lines(c);
}

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

/* Evaluate a probe of a host (nhosts: of ours), which lists the ends that met no peer. Only
 * connecting ends count, as each link has one. */
static void
on_unreachable(struct cluster *c, int host, const char *text)
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

static void
on_ended(struct cluster *c, struct machine *m, char **w)
{
	long line = strtol(w[1], NULL, 10), b = strtol(w[2], NULL, 10), status = strtol(w[3], NULL, 10);

	if (m->state != MACHINE_RUNS || line < 0 || line >= c->plan->nlines || b < BLAME_NONE || b > BLAME_OWN || status < 0 ||
	    status > FAIL_SYSTEM)
		return;
	m->alive--;
	if (c->probing) {
		on_unreachable(c, m->host, w[4]);
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
		on_unreachable(c, c->plan->nhosts, v.text + strspn(v.text, ": "));
		return 1;
	}
	return 0;
}

/* --- unreachable hosts --- */

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
	struct buf b = {0};
	int r;

	if (n == 0 || n > WORDS_MAX - 8)
		return 0;
	r = buf_addf(&m->send, "run 0 ds-run --probe %d", PROBE_SECONDS);
	for (int i = 0; i < c->reach.n && r == 0; i++) {
		const struct reach_link *l = &c->reach.l[i];

		if (l->from != m->host && l->to != m->host)
			continue;
		b.n = 0;
		r = planfile_fill(&b, c->plan, l->from == m->host ? l->connects : l->waits, c->address) < 0 ||
		    buf_addc(&b, 0) < 0 || buf_addc(&m->send, ' ') < 0 || script_quote(&m->send, (char *)b.p) < 0 ? -1 : 0;
	}
	buf_free(&b);
	m->state = MACHINE_RUNS;
	m->alive = 1;
	return r < 0 ? -1 : buf_addc(&m->send, '\n');
}

/* Our own links are the plan's feed and take. */
static int
start_probe(struct cluster *c)
{
	struct child_options s = {.in = 0, .out = 1, .keep = {-1, -1}, .dir = c->dir, .mask = c->mask};
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
	snprintf(v->text, sizeof(v->text), "%s: no connection to %s", ours ? "this host" : name_of(c, &c->m[c->at[host]]), peers);
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
	return c->starting ? start_lines(c) : 0;
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
