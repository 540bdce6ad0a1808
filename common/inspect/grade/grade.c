#include "inspect/grade/grade.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/io.h"
#include "inspect/grade/grade_internal.h"

#define OUT_BYTES (64 << 10)
#define WAITING_BYTES (64 << 20)        /* of lines that wait for workers */

/* --- lines in --- */

/* 1 if the rules need a worker. */
static int
needs_worker(const struct grade *g)
{
	return g->nworkers > 0;
}

static void
line_free(struct grade_line *x)
{
	free(x->text);
	free(x->error);
	free(x);
}

/* Grade what needs no worker. x->error is set if the line has no reward. Returns 1, 0 and a message
 * if the line must be left out, or -1 and a message. */
static int
line_grade(struct grade *g, struct grade_line *x)
{
	static const uint64_t none;
	struct answer a;
	int r = answer_read(&a, x->text, x->n, g->with ? NULL : &none);
	int room = cJSON_IsObject(a.json) && !cJSON_GetObjectItemCaseSensitive(a.json, "reward");

	if (r == 0)
		r = room ? grade_rules(g, x, &a) : fail(FAIL_DATA, "has a reward");
	if (r < 0 && fail_status() == FAIL_DATA && room) {
		x->error = strdup(fail_text());
		r = x->error ? 0 : fail(FAIL_SYSTEM, "no memory");
	}
	answer_free(&a);
	return r == 0 ? 1 : fail_status() == FAIL_DATA ? 0 : -1;
}

/* Append a line to the queue. Returns 0, or -1 and a message. */
static int
line_add(struct grade *g, const struct lines *l, const char *text, size_t n)
{
	struct grade_line *x;
	int r;

	if (answer_blank(text, n))
		return 0;
	if (!(x = mem_new(1, sizeof(*x))) || !(x->text = mem_raw(n + 1, 1))) {
		free(x);
		return -1;
	}
	memcpy(x->text, text, n + 1);
	x->n = n;
	r = line_grade(g, x);
	if (r <= 0) {
		line_free(x);
		if (r == 0)
			refused_line(&g->refused, l);
		return r;
	}
	x->done = x->error || !needs_worker(g);
	*(g->last ? &g->last->next : &g->first) = x;
	g->last = x;
	g->next = g->next ? g->next : x;
	g->waiting++;
	g->bytes += n;
	return 0;
}

/* --- lines out --- */

/* Write the output if it has at least so many bytes. A closed pipe ends the program, also where
 * workers need SIGPIPE to be ignored. */
static int
grade_flush(struct grade *g, size_t least)
{
	void (*before)(int);
	int r;

	if (g->out.n < least)
		return 0;
	before = signal(SIGPIPE, SIG_DFL);
	r = io_write(1, g->out.p, g->out.n);
	signal(SIGPIPE, before);
	g->out.n = 0;
	return r < 0 ? fail_in("standard output") : 0;
}

/* Write the lines at the head of the queue that are graded. Returns 0, or -1 and a message. */
static int
lines_write(struct grade *g)
{
	for (struct grade_line *x; (x = g->first) && x->done; line_free(x)) {
		g->first = x->next;
		if (g->last == x)
			g->last = NULL;
		if (g->next == x)
			g->next = x->next;
		g->waiting--;
		g->bytes -= x->n;
		if (grade_print(g, x) < 0) {
			line_free(x);
			return -1;
		}
		if (grade_flush(g, OUT_BYTES) < 0) {
			line_free(x);
			return -1;
		}
	}
	return 0;
}

/* --- workers --- */

/* Send a line to a worker, with that of the second file under the key `with`. */
static int
worker_send(struct grade *g, struct worker *w, struct grade_line *x)
{
	struct buf b = {0};
	size_t n = x->n;
	int r;

	while (x->with && x->text[n - 1] != '}')
		n--;
	r = buf_add(&b, x->text, x->with ? n - 1 : n);
	if (r == 0 && x->with)
		r = buf_addf(&b, ", \"with\": %s}", x->with);
	if (r == 0)
		r = buf_addc(&b, '\n');
	if (r == 0)
		r = worker_give(&g->workers, w, x, (const char *)b.p, b.n);
	buf_free(&b);
	return r;
}

/* Give each idle worker a line. Returns 0, or -1 and a message. */
static int
workers_feed(struct grade *g)
{
	for (int i = 0; i < g->nworkers; i++) {
		if (g->worker[i].line)
			continue;
		while (g->next && g->next->done)
			g->next = g->next->next;
		if (!g->next)
			break;
		if (worker_send(g, &g->worker[i], g->next) < 0)
			return -1;
		g->next = g->next->next;
	}
	return 0;
}

/* Collect answers. Returns 0, or -1 and a message. */
static int
workers_step(struct grade *g)
{
	for (int i = 0; i < g->nworkers; i++) {
		struct grade_line *x = g->worker[i].line;
		int r = x ? worker_step(&g->workers, &g->worker[i], &x->values[RULE_COMMAND]) : 0;

		if (r < 0 && fail_status() != FAIL_DATA)
			return -1;
		if (r < 0 && !(x->error = strdup(fail_text())))
			return fail(FAIL_SYSTEM, "no memory");
		if (r != 0) {
			x->done = 1;
			g->worker[i].line = NULL;
		}
	}
	return 0;
}

/* Wait for a worker, or for the descriptor `in` unless it is -1. */
static int
workers_wait(struct grade *g, int in)
{
	struct pollfd *p = mem_new((size_t)g->nworkers * 2 + 1, sizeof(*p));
	double left = 3600;
	int n = 0;

	if (!p)
		return -1;
	for (int i = 0; i < g->nworkers; i++) {
		n += worker_poll(&g->worker[i], p + n);
		if (g->worker[i].line && g->worker[i].deadline - clock_now() < left)
			left = g->worker[i].deadline - clock_now();
	}
	if (in >= 0)
		p[n++] = (struct pollfd){.fd = in, .events = POLLIN};
	n = poll(p, (nfds_t)n, left > 0 ? (int)(left * 1000) + 1 : 0);
	free(p);
	return n < 0 && errno != EINTR ? fail(FAIL_SYSTEM, "cannot wait for workers:") : 0;
}

/* Wait, and do what can be done then. Output that is ready does not wait. */
static int
grade_step(struct grade *g, int in)
{
	if (grade_flush(g, 1) < 0 || workers_wait(g, in) < 0 || workers_step(g) < 0)
		return -1;
	return lines_write(g) < 0 ? -1 : workers_feed(g);
}

static void
workers_end(struct grade *g)
{
	double deadline = clock_now() + g->workers.timeout;

	for (int i = 0; i < g->nworkers && g->worker; i++)
		worker_end(&g->workers, &g->worker[i], deadline);
	free(g->worker);
	g->worker = NULL;
}

static int
grade_file(struct grade *g, const char *path)
{
	struct lines l;
	char *line;
	size_t n;
	int r, room, status = lines_open(&l, path, ANSWER_LINE_MAX);

	while (status == 0) {
		room = !needs_worker(g) || (g->waiting < 4 * (uint64_t)g->nworkers &&
		    g->bytes < WAITING_BYTES);
		r = room ? lines_next(&l, !needs_worker(g), &line, &n) : LINES_WAIT;
		if (r == LINES_END)
			break;
		if (r == LINES_LONG)
			refused_line(&g->refused, &l);
		else if (r == LINES_LINE)
			status = line_add(g, &l, line, n);
		else if (r == LINES_WAIT)
			status = grade_step(g, room ? l.fd : -1);
		else
			status = -1;
		if (status == 0 && (lines_write(g) < 0 || workers_feed(g) < 0))
			status = -1;
	}
	lines_close(&l);
	return status;
}

int
grade_run(struct grade *g, const char *const *paths, int n)
{
	if (g->with && with_open(&g->joined, g->with, g->expect, needs_worker(g), &g->extract) < 0)
		return -1;
	if (needs_worker(g)) {
		signal(SIGPIPE, SIG_IGN);
		if (!(g->worker = mem_new((size_t)g->nworkers, sizeof(*g->worker))))
			return -1;
	}
	for (int i = 0; i < n; i++)
		if (grade_file(g, paths[i]) < 0)
			return -1;
	while (g->first)
		if (grade_step(g, -1) < 0)
			return -1;
	if (grade_flush(g, 1) < 0)
		return -1;
	workers_end(g);
	if (g->workers.surplus)
		return fail(FAIL_DATA,
		    "'%s' answered more lines than it got: rewards may belong to "
		    "other lines", g->workers.command);
	return 0;
}

void
grade_free(struct grade *g)
{
	workers_end(g);
	for (struct grade_line *x = g->first, *next; x; x = next) {
		next = x->next;
		line_free(x);
	}
	with_free(&g->joined);
	buf_free(&g->out);
	extract_close(&g->extract);
}
