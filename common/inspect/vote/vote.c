#include "inspect/vote/vote.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"

#define OUT_BYTES (64 << 10)

/* Write the output if it has at least so many bytes. */
static int
vote_flush(struct vote *v, size_t least)
{
	int r = v->out.n >= least ? io_write(1, v->out.p, v->out.n) : 0;

	if (v->out.n >= least)
		v->out.n = 0;
	return r < 0 ? fail_in("standard output") : 0;
}

/* The ballot of a question, which is added if it is new. NULL and a message on failure. */
static struct ballot *
vote_ballot(struct vote *v, const struct buf *id)
{
	struct ballot *b = table_get(&v->ballots, id->p, id->n);

	if (b)
		return b;
	if (!(b = ballot_new(id->p, id->n)))
		return NULL;
	b->before = v->last;
	*(v->last ? &v->last->next : &v->first) = b;
	v->last = b;
	v->questions++;
	return table_put(&v->ballots, b->id, b->id_len, b) < 0 ? NULL : b;
}

/* Append the line of a question, and forget the question. */
static int
vote_print(struct vote *v, struct ballot *b)
{
	struct buf *to = &v->out;
	struct majority m;
	const char *answer;
	int r;

	ballot_count(b, &m);
	answer = m.count > 0 ? b->paths[m.first]->answer : NULL;
	r = buf_addf(to, "{\"id\": %s, \"answer\": ", b->id);
	if (r == 0)
		r = answer ? json_quote(to, answer, strlen(answer)) : buf_addf(to, "null");
	if (r == 0)
		r = buf_addf(to,
		    ", \"share\": %.9g, \"count\": %zu, \"total\": %zu, \"abstained\": %zu, "
		    "\"indices\": [",
		    (double)m.count / (double)b->n, m.count, b->n, m.abstained);
	for (size_t i = m.first; i < m.first + m.count && r == 0; i++)
		r = buf_addf(to, i > m.first ? ", %llu" : "%llu",
		    (unsigned long long)b->paths[i]->index);
	if (r == 0)
		r = buf_addf(to, "]}\n");
	*(b->before ? &b->before->next : &v->first) = b->next;
	*(b->next ? &b->next->before : &v->last) = b->before;
	table_del(&v->ballots, b->id, b->id_len);
	ballot_free(b);
	return r;
}

/* Add an answer that was parsed. A question without a valid answer is not kept. */
static int
vote_add(struct vote *v, const struct answer *a)
{
	struct buf found = {0};
	struct ballot *b;
	int r = a->finished && a->text ? extract_answer(&v->extract, a->text, &found) : 0;

	if (r >= 0) {
		b = vote_ballot(v, &a->id);
		r = !b ? -1 : ballot_add(b, a->index >= 0 ? (uint64_t)a->index : b->n,
		    r > 0 ? (const char *)found.p : NULL, found.n, a->logprob);
		if (r == 0 && b->n == v->of)
			r = vote_print(v, b);
	}
	buf_free(&found);
	return r;
}

/* Add a line. Returns 0, also if it was left out, or -1 and a message. */
static int
vote_line(struct vote *v, struct lines *l, const char *line, size_t n)
{
	struct answer a;
	int r = 0;

	if (answer_blank(line, n))
		return 0;
	v->lines++;
	if (answer_read(&a, line, n, NULL) < 0 || vote_add(v, &a) < 0) {
		r = fail_status() == FAIL_DATA ? 0 : -1;
		if (r == 0)
			refused_line(&v->refused, l);
	}
	answer_free(&a);
	return r < 0 ? -1 : vote_flush(v, 1);
}

static int
vote_file(struct vote *v, const char *path)
{
	struct lines l;
	char *line;
	size_t n;
	int r, status = lines_open(&l, path, ANSWER_LINE_MAX);

	while (status == 0 && (r = lines_next(&l, 1, &line, &n)) != LINES_END) {
		if (r == LINES_LINE)
			status = vote_line(v, &l, line, n);
		else if (r == LINES_LONG)
			refused_line(&v->refused, &l);
		else
			status = -1;
	}
	lines_close(&l);
	return status;
}

int
vote_run(struct vote *v, const char *const *paths, int n)
{
	for (int i = 0; i < n; i++)
		if (vote_file(v, paths[i]) < 0)
			return -1;
	while (v->first)
		if (vote_print(v, v->first) < 0 || vote_flush(v, OUT_BYTES) < 0)
			return -1;
	return vote_flush(v, 1);
}

void
vote_free(struct vote *v)
{
	for (struct ballot *b = v->first, *next; b; b = next) {
		next = b->next;
		ballot_free(b);
	}
	table_free(&v->ballots);
	buf_free(&v->out);
	extract_close(&v->extract);
}
