#include "plan/report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "launch/script.h"

enum by { BY_MEMORY, BY_COMPUTE, BY_PROGRAMS, BY_NETWORK };

static const char *const by_name[] = {"memory bandwidth", "compute", "programs", "network"};

struct writer {
	struct buf *to;
	const char *prefix;
	int failed;
};

__attribute__((format(printf, 2, 3)))
static void
line(struct writer *w, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (w->failed || buf_addf(w->to, "%s", *text ? w->prefix : w->prefix[0] ? "#" : "") < 0 ||
	    script_remark(w->to, text) < 0 || buf_addc(w->to, '\n') < 0)
		w->failed = 1;
}

/* Format a number of parameters. */
static const char *
count(double n, char to[32])
{
	snprintf(to, 32, n < 1e9 ? "%.4g million" : "%.4g billion", n / (n < 1e9 ? 1e6 : 1e9));
	return to;
}

/* Format a rate or time with three digits. */
static const char *
digits(double x, char to[32])
{
	snprintf(to, 32, "%.*f", x >= 99.95 ? 0 : x >= 9.995 ? 1 : 2, x);
	return to;
}

static const char *
host_name(const struct report *r, int host)
{
	return r->batched->hosts->h[host].name;
}

static enum by
largest(const struct busy *b)
{
	double t[] = {b->memory, b->compute, b->programs, b->network};
	int most = 0;

	for (int i = 1; i < 4; i++)
		if (t[i] > t[most])
			most = i;
	return (enum by)most;
}

/* Describe what a host of a group runs. */
static char *
programs(const struct report *r, const struct group *g, int member, char to[256])
{
	const struct config *c = &r->batched->s->config;
	int n = 0, first = 0;

	to[0] = 0;
	if (member == 0 && g->from == 0)
		n += snprintf(to + n, 256 - (size_t)n, "ds-embed, ");
	if (g->n == 1 || member == 0)
		n += snprintf(to + n, 256 - (size_t)n, g->to > g->from + 1 ? "layers %d-%d" : "layer %d", g->from, g->to - 1);
	for (int i = 0; i < member; i++)
		first += g->experts[i];
	if (g->n > 1 && g->experts[member] > 0)
		n += snprintf(to + n, 256 - (size_t)n, "%sexperts %d-%d", member == 0 ? " with " : "", first, first + g->experts[member] - 1);
	if (g->n > 1 && g->shared == member && c->n_shared_experts > 0)
		n += snprintf(to + n, 256 - (size_t)n, "%sshared experts", g->experts[member] > 0 ? " and " : member == 0 ? " with " : "");
	if (member > 0)
		n += snprintf(to + n, 256 - (size_t)n, g->to > g->from + 1 ? " of layers %d-%d" : " of layer %d", g->from, g->to - 1);
	if (member == 0 && g->to == c->num_layers)
		snprintf(to + n, 256 - (size_t)n, ", ds-head, ds-sample");
	return to;
}

/* Append the traffic from a host to each other host, per token. */
static void
links(const struct report *r, int host, char *to, size_t size)
{
	const struct lines *o = r->lines;

	for (int h = 0; h < r->batched->hosts->n; h++) {
		double bytes = 0;
		char b[32];
		size_t n = strlen(to);

		for (int i = 0; i < o->nwires; i++)
			if (h != host && o->wire[i].from != DRIVER && o->wire[i].to != DRIVER &&
			    o->line[o->wire[i].from].host == host && o->line[o->wire[i].to].host == h)
				bytes += wire_bytes(&o->wire[i], r->batched) / r->batched->rows;
		if (bytes > 0 && n < size)
			snprintf(to + n, size - n, "%s %s to %s", strchr(to, ';') ? "," : ";", mem_text(bytes, b), host_name(r, h));
	}
}

static void
write_hosts(struct writer *w, const struct report *r)
{
	char a[32], b[32], c[32], t[32], what[900];

	line(w, "%-12s %10s %10s %10s %9s  %s", "host", "weights", "caches", "of memory", "ms/batch", "mostly");
	for (int i = 0; i < r->split->n; i++) {
		const struct group *g = &r->split->group[i];

		for (int m = 0; m < g->n; m++) {
			struct held held = cost_held(r->batched, g, m);
			struct busy busy = cost_member(r->batched, g, m);

			if (m > 0 && g->experts[m] == 0 && g->shared != m)
				continue;
			line(w, "%-12s %10s %10s %10s %9s  %s", host_name(r, g->host + m), mem_text((double)held.weights, a),
			    mem_text((double)held.caches, b), mem_text(r->batched->hosts->h[g->host + m].memory, c),
			    digits(busy_time(&busy) * 1e3, t), by_name[largest(&busy)]);
			links(r, g->host + m, programs(r, g, m, what), sizeof(what));
			line(w, "    %s", what);
		}
	}
}

/* The slowest host, and its time for a batch. */
static double
slowest(const struct report *r, const struct cost *c, const char **name, enum by *by)
{
	double most = 0;

	for (int i = 0; i < r->split->n; i++)
		for (int m = 0; m < r->split->group[i].n; m++) {
			const struct group *g = &r->split->group[i];
			struct busy b = cost_member(c, g, m);
			double t = fmax(busy_time(&b), b.network);

			if (t <= most)
				continue;
			most = t;
			*name = host_name(r, g->host + m);
			if (b.network < busy_time(&b))
				b.network = 0;
			*by = largest(&b);
		}
	return most;
}

/* The time of a batch through the whole loop; the network's part is the remainder. */
static double
round_trip(const struct report *r, const struct cost *c, enum by *by)
{
	struct busy all = {0};
	double t = 0;

	for (int i = 0; i < r->split->n; i++) {
		const struct group *g = &r->split->group[i];
		double took = cost_latency(c, g), done = 0;

		for (int m = 0; m < g->n; m++) {
			struct busy b = cost_member(c, g, m);

			/* members work in parallel: each counts for its share */
			all.memory += b.memory / (m ? g->n : 1);
			all.compute += b.compute / (m ? g->n : 1);
			all.programs += b.programs / (m ? g->n : 1);
			done = fmax(done, busy_time(&b));
		}
		all.network += fmax(0, took - done);
		t += took;
	}
	*by = largest(&all);
	return t;
}

/* Seconds until all programs are ready. */
static double
start_of(const struct report *r)
{
	double most = 0;

	for (int i = 0; i < r->split->n; i++)
		for (int m = 0; m < r->split->group[i].n; m++)
			most = fmax(most, cost_member(r->batched, &r->split->group[i], m).start);
	return most;
}

static void
write_rates(struct writer *w, const struct report *r)
{
	const struct demand *d = r->batched->d;
	const char *host = "";
	enum by by = BY_MEMORY, trip_by;
	char t[32];
	double trip = round_trip(r, r->single, &trip_by), stage;

	line(w, "%s", "");
	line(w, "decode, one sequence: %s tokens/s, bounded by %s", digits(1 / trip, t),
	    trip_by == BY_NETWORK ? "the network" : by_name[trip_by]);
	stage = slowest(r, r->batched, &host, &by);
	trip = round_trip(r, r->batched, &trip_by);
	if (d->sequences == 1)
		;
	else if (trip / d->batches > stage)
		line(w, "decode, %d sequences: %s tokens/s, bounded by the latency of the loop; more --batches keep more hosts busy", d->sequences,
		    digits(r->batched->rows * d->batches / trip, t));
	else
		line(w, "decode, %d sequences: %s tokens/s, bounded by the %s of %s", d->sequences,
		    digits(r->batched->rows / stage, t), by_name[by], host);
	stage = slowest(r, r->prompt, &host, &by);
	line(w, "prefill: %s tokens/s, bounded by the %s of %s", digits(r->prompt->rows / stage, t), by_name[by], host);
	line(w, "start: %s s, with weights in memory", digits(start_of(r), t));
}

/* The rates assumed for hosts without measured ones. */
static const char *
core_rates(const struct report *r, char *to, size_t size)
{
	const struct hosts *hosts = r->batched->hosts;
	const struct demand *d = r->batched->d;
	int own = 0, n;

	for (int i = 0; i < hosts->n; i++)
		own += hosts->h[i].row > 0;
	if (own == hosts->n)
		return "as the hosts file says";
	n = snprintf(to, size, "%g to %g GFLOP/s", d->core.row / 1e9, d->core.rows / 1e9);
	if (d->coded.row != d->core.row && r->batched->s->total.coded > 0)
		snprintf(to + n, size - (size_t)n, ", in i8 %g to %g", d->coded.row / 1e9,
		    d->coded.rows / 1e9);
	return to;
}

int
report_write(struct buf *to, const struct report *r, const char *prefix)
{
	struct writer w = {.to = to, .prefix = prefix};
	const struct sizes *s = r->batched->s;
	const struct demand *d = r->batched->d;
	char a[32], b[32], text[128];

	line(&w, "%s: %d layers", r->model, s->config.num_layers);
	line(&w, "%s parameters, %s for a token, %llu bytes", count((double)s->total.params, a), count((double)s->active, b),
	    (unsigned long long)s->total.bytes);
	line(&w, "sequences: %d, up to %d positions, %d on average; batches in flight: %d, of a prompt up to %d rows", d->sequences,
	    d->context, d->at, d->batches, d->rows);
	line(&w, "network: %g Gbit/s, %g ms a hop; a core: %s; links: bytes a token", d->net * 8 / 1e9, d->hop * 1e3,
	    core_rates(r, text, sizeof(text)));
	line(&w, "%s", "");
	write_hosts(&w, r);
	write_rates(&w, r);
	return w.failed ? -1 : 0;
}
